"""A result as Calm makes it, without a model: tones and notes of the asked number, and arrays of the right shapes."""

from __future__ import annotations

import numpy as np

from backend.audio.midi import make_notes
from backend.audio.waveform import Waveform
from backend.contract import Provenance, Result
from backend.instruments.calm.request import CalmRequest
from backend.metrics.calmness import CUES

RATE = 8_000
SECONDS = 23.1  # of which 3.1 are around the music


def calm_result(request: CalmRequest) -> Result:
    """What an engine would answer."""
    counts = {"path": request.steps, "sample": request.variations, "listen": len(request.anchors), "session": 1}
    count = counts[request.mode]
    seconds = 60.0 * request.minutes if request.mode == "session" else SECONDS
    notes = make_notes([(0.1, 1.0, 72, 70, 0, False, 0), (0.1, 2.0, 48, 60, 0, False, 1)])
    rng, spread = np.random.default_rng(0), np.linspace(0, 1, count)
    anchors = len(request.anchors)
    arrays = {
        "anchor_titles": np.array(request.titles(), dtype=np.str_),
        "remarks": np.array(["A file: The metre is 5/8 <so>."] if request.uploads else [], dtype=np.str_),
        "map_corpus": rng.normal(size=(20, 2)),
        "map_path": np.stack([spread, spread], 1),
        "map_anchors": np.stack([np.linspace(0, 1, anchors)] * 2, 1),
        "piece_tempo_bpm": 66 - 3 * spread,
        "piece_cues": np.full((anchors if request.mode == "session" else count, len(CUES)), 0.5),
    }
    if request.mode == "session":
        beats = np.linspace(2, seconds - 8, 41)
        arrays |= {
            "tempo_bpm": np.linspace(66, 60, 40), "beat_s": beats, "loudness_lufs": np.full(100, -23.0),
            "route": np.array([[beats[0], beats[20], 0, 1, 0.0], [beats[20], beats[-1], 0, 1, 0.5]]),
            "integrated_lufs": np.array(-23.0), "true_peak_dbtp": np.array(-4.0), "level_jump_lu": np.array(3.0),
            "session_cues": np.full(len(CUES), 0.75),
            "onset_jump_db": np.array(2.0), "tempo_jump_bpm": np.array(0.1), "repeat_share": np.array(0.0),
        }  # fmt: skip
    made = Provenance("calm", request.to_dict(), request.seed, {"calm.model": "ab" * 32}, "cpu", 1.25, "0.1.0")
    waveforms = tuple(tone(seconds, 220.0 * 2 ** (index / 12)) for index in range(count))
    return Result(waveforms, arrays, (notes,) * count, made)


def tone(seconds: float, hz: float) -> Waveform:
    """A tone that fades in and out."""
    time_s = np.arange(round(seconds * RATE)) / RATE
    sound = 0.2 * np.sin(np.pi * time_s / seconds) * np.sin(2 * np.pi * hz * time_s)
    return Waveform(np.stack([sound, sound]).astype(np.float32), RATE)
