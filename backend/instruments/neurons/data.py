"""What an ear learns from: excerpts of a rendered corpus, of recordings, and of beats programmed on drum machines."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backend.audio.io import read
from backend.errors import AudioError, RequestError
from backend.instruments.neurons.beats import DrumMachine, role_of
from backend.musiclm.codec_train import read_excerpt

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

TASTES = ("score", "beats")
SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff"}
ONE_SHOT_S = 1.5  # shorter sounds are played by a drum machine, longer ones are recordings
SILENT = 0.003  # peak below which an excerpt is drawn again
HELD_OUT = 8  # one in so many files that belong to no corpus validates

MAX_SHIFT = 4  # bins up or down
LEVEL_RMS, MAX_GAIN = 0.1, 30.0
GAIN_DB = (-12.0, 6.0)
NOISY = 0.5  # share of the batches with noise; the others keep the digital silence that synthesised loops have
NOISE_DB = (-100.0, -55.0)
TILT = 0.5
MASKED_BINS, MASKED_FRAMES = 24, 24


class Source(Protocol):
    """Something excerpts are taken from."""

    @property
    def piece(self) -> str:
        """Excerpts of one piece never stand in one batch: they would be each other's negatives."""

    def draw(self, rng: np.random.Generator, length: int) -> FloatArray:
        """An excerpt of ``length`` samples."""


@dataclass(frozen=True)
class Clip:
    """A file of the rendered corpus, at the ear's rate."""

    path: Path
    piece: str
    samples: int

    def draw(self, rng: np.random.Generator, length: int) -> FloatArray:
        """From anywhere."""
        start = int(rng.integers(0, max(1, self.samples - length)))
        return np.asarray(read_excerpt(self.path, start, length).numpy(), np.float32)


@dataclass(frozen=True, eq=False)
class Recording:
    """A sound in memory, 16 bits a sample; one that is shorter than an excerpt is a loop."""

    sound: npt.NDArray[np.int16]
    piece: str

    def draw(self, rng: np.random.Generator, length: int) -> FloatArray:
        """From anywhere."""
        if len(self.sound) > length:
            start = int(rng.integers(0, len(self.sound) - length))
            part = self.sound[start : start + length]
        else:
            part = np.take(self.sound, np.arange(length) + rng.integers(len(self.sound)), mode="wrap")
        return part.astype(np.float32) / np.float32(32768)


@dataclass(frozen=True, eq=False)
class Programmed:
    """Beats on a drum machine."""

    machine: DrumMachine

    @property
    def piece(self) -> str:
        """The machine's name."""
        return self.machine.name

    def draw(self, rng: np.random.Generator, length: int) -> FloatArray:
        """A new beat."""
        return self.machine.play(rng, length)


class Listening:
    """Everything of one taste and one split.

    Args:
        folders: each holds a corpus (``clips.jsonl``) or any sound files, however deep.
        taste: ``score`` or ``beats``: which clips of a corpus; and whether short sounds are programmed to beats.
        split: ``train`` or ``valid``.
        sample_rate: the ear's, in Hz.

    Raises:
        RequestError: a folder does not exist, or nothing in them suits the taste.
    """

    def __init__(self, folders: Sequence[Path], taste: str, split: str, sample_rate: int) -> None:
        if taste not in TASTES:
            raise RequestError("ear", taste, " or ".join(TASTES))
        self.sample_rate = sample_rate
        groups: list[list[Source]] = [[], [], []]
        sizes = [0, 0, 0]
        for folder in folders:
            if not folder.is_dir():
                raise RequestError("audio", str(folder), "a folder")
            if (folder / "clips.jsonl").is_file():
                groups[0] += _clips(folder, taste, split)
                continue
            recordings, machines = _sounds(folder, split, sample_rate)
            groups[1] += recordings
            if taste == "beats":
                groups[2] += [Programmed(machine) for machine in machines]
                sizes[2] += sum(len(sounds) for machine in machines for sounds in machine.sounds.values())
        sizes[:2] = len(groups[0]), len(groups[1])
        self._groups = [group for group in groups if group]
        if not self._groups:
            raise RequestError("audio", [str(f) for f in folders], f"folders with sound for {taste}, split {split}")
        # By the square root of its size, so that a few recordings are heard beside a thousand clips, but not too often.
        weights = np.sqrt([size for size in sizes if size])
        self._shares = weights / weights.sum()
        self.pieces = len({source.piece for group in self._groups for source in group})

    def sources(self, rng: np.random.Generator, n: int) -> list[Source]:
        """``n`` sources of different pieces.

        Raises:
            RequestError: there are not so many pieces.
        """
        if n > self.pieces:
            raise RequestError("batch", n, f"at most {self.pieces}, the pieces there are")
        chosen: dict[str, Source] = {}
        while len(chosen) < n:
            group = self._groups[int(rng.choice(len(self._groups), p=self._shares))]
            source = group[int(rng.integers(len(group)))]
            chosen.setdefault(source.piece, source)
        return list(chosen.values())

    def batch(self, rng: np.random.Generator, n: int, length: int) -> Tensor:
        """``[n, length]`` excerpts of different pieces, levelled; nearly silent ones are drawn again a few times."""
        rows = []
        for source in self.sources(rng, n):
            for _ in range(4):
                excerpt = source.draw(rng, length)
                if np.abs(excerpt).max() > SILENT:
                    break
            rows.append(levelled(excerpt))
        return torch.from_numpy(np.stack(rows))


def augment(audio: Tensor, bins: int, frames: int, rng: np.random.Generator) -> dict[str, Tensor]:
    """A training batch: level, polarity, tilt and noise of the sound; shift and masks for its scalogram.

    All excerpts of a batch are changed alike. What differs between them is a clue by which the right encoding is found
    among the candidates, and an ear that can tell them apart by their hiss need not listen to the music.

    Args:
        audio: ``[batch, samples]``.
        bins: of the scalogram.
        frames: of the scalogram.
        rng: draws everything.
    """
    n, length = audio.shape
    gain = float(rng.choice([-1, 1]) * 10 ** (rng.uniform(*GAIN_DB) / 20))
    tilt = float(rng.uniform(-TILT, TILT))
    before = torch.nn.functional.pad(audio, (1, 0))[:, :-1]
    changed = (audio + tilt * before) * (gain / (1 + abs(tilt)))
    if rng.random() < NOISY:
        noisy = torch.from_numpy(rng.standard_normal(2 * length, dtype=np.float32))
        # The same noise for all, begun elsewhere: drawing it would take a tenth of the step.
        hiss = torch.stack([noisy[start : start + length] for start in rng.integers(0, length, n)])
        changed = changed + hiss * 10 ** (float(rng.uniform(*NOISE_DB)) / 20)
    height, width = int(rng.integers(0, MASKED_BINS + 1)), int(rng.integers(0, MASKED_FRAMES + 1))
    low, start = int(rng.integers(0, bins - height + 1)), int(rng.integers(0, frames - width + 1))
    return {
        "audio": changed,
        "shift": torch.full((n,), int(rng.integers(-MAX_SHIFT, MAX_SHIFT + 1))),
        "mask": torch.tensor([low, height, start, width]).repeat(n, 1),
    }


def levelled(excerpt: FloatArray) -> FloatArray:
    """At `LEVEL_RMS`, so that loudness tells no two excerpts apart; a nearly silent one is not blown up."""
    rms = float(np.sqrt(np.mean(np.square(excerpt, dtype=np.float64))))
    return excerpt * np.float32(min(LEVEL_RMS / max(rms, 1e-9), MAX_GAIN))


def _clips(folder: Path, taste: str, split: str) -> Iterator[Clip]:
    """Scores are clips rendered from a score, beats those with drums."""
    with (folder / "clips.jsonl").open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            suits = row["kind"] == "score" if taste == "score" else "drums" in row["families"]
            if suits and row["split"] == split:
                path = folder / row["audio"]
                yield Clip(path, row["source"], (path.stat().st_size - 44) // 2)


def _sounds(folder: Path, split: str, sample_rate: int) -> tuple[list[Recording], list[DrumMachine]]:
    """Recordings, and the short sounds of each folder as a drum machine; a hash of the name chooses a file's split."""
    recordings: list[Recording] = []
    machines: dict[str, dict[str, list[FloatArray]]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        name = path.relative_to(folder).as_posix()
        if (hashlib.sha256(name.encode()).digest()[0] % HELD_OUT == 0) != (split == "valid"):
            continue
        try:
            sound = read(path, sample_rate=sample_rate, mono=True).samples[0]
        except AudioError as error:
            logger.warning("%s: %s", name, error)
            continue
        if len(sound) < ONE_SHOT_S * sample_rate:
            machine = name.split("/")[0] if "/" in name and split == "train" else "all"  # few are held out: one machine
            owner = f"{folder.name}/{machine}"
            machines.setdefault(owner, {}).setdefault(role_of(name), []).append(sound)
        else:
            recordings.append(Recording(np.rint(sound * 32767).astype(np.int16), f"{folder.name}/{name}"))
    return recordings, [DrumMachine(name, sample_rate, sounds) for name, sounds in machines.items()]
