"""Sound folders for the tests of the ears' training: a corpus as the builder writes it, recordings, a drum machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from backend.audio.io import write
from backend.audio.waveform import Waveform
from backend.instruments.neurons.architecture import TINY

RATE = TINY.cqt.sample_rate


def pulsed(frequency: float, pulse_hz: float, seconds: float) -> Waveform:
    t = np.arange(round(seconds * RATE)) / RATE
    sound = 0.5 * np.sin(2 * np.pi * frequency * t) * (np.sin(2 * np.pi * pulse_hz * t) > 0)
    return Waveform(sound.astype(np.float32), RATE)


def corpus(folder: Path, pieces: int = 8) -> Path:
    """Half of the pieces are scores, half are bands with drums; one in four validates."""
    rows = []
    for i in range(2 * pieces):
        split, kind = "valid" if i % 8 < 2 else "train", "score" if i % 2 else "band"
        path = folder / "audio" / split / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(pulsed(120 * 1.2 ** (i % 12), 2 + i % 5, 2.0), path)
        families = ["piano"] if kind == "score" else ["bass", "drums"]
        rows.append({"audio": f"audio/{split}/{i}.wav", "kind": kind, "split": split, "source": f"piece/{i}"})
        rows[-1]["families"] = families  # type: ignore[assignment]
    (folder / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return folder


def machine(folder: Path) -> Path:
    """Sixty short sounds of a drum machine and six recordings."""
    for i in range(60):
        name = ("kick", "snare", "hat", "cowbell")[i % 4]
        path = folder / f"machine{i % 2}" / f"{name}-{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        write(pulsed(100 + 30 * i, 5, 0.1), path)
    for i in range(6):
        write(pulsed(200 + 50 * i, 3, 2.0), folder / f"loop-{i}.wav")
    return folder
