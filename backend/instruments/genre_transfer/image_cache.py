"""Spectrograms of whole tracks on disk, half a decibel a step, so that training reads pictures and decodes no sound."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backend.audio.io import read
from backend.errors import AudioError, RequestError
from backend.instruments.genre_transfer.cutting import LONGEST_S, SPLITS, GenreFolder
from backend.instruments.genre_transfer.spectrogram import (
    AMIN,
    BINS,
    CLIP_SAMPLES,
    FRAMES,
    HOP,
    QUIETEST,
    SAMPLE_RATE,
    TOP_DB,
    complex_stft,
)  # fmt: skip

logger = logging.getLogger(__name__)

LOWEST_DB, STEP_DB = -77.0, 0.5
LOWEST_PEAK_DB = float(20 * np.log10(QUIETEST))


@dataclass(frozen=True, eq=False)
class CachedSplit:
    """Tracks of a split.

    Attributes:
        genres: names of the labels.
        codes: ``[frames of all tracks, 631]``, decibels as ``LOWEST_DB + STEP_DB * code``; on disk.
        starts: first frame of each track and the end ``[tracks + 1]``.
        labels: genre of each track ``[tracks]``.
    """

    genres: tuple[str, ...]
    codes: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]

    @property
    def tracks(self) -> int:
        """How many."""
        return len(self.labels)

    def decibels(self, track: int, frame: int, frames: int = FRAMES) -> Tensor:
        """``[631, frames]`` from a frame of a track on; a shorter track is repeated."""
        first, end = int(self.starts[track]), int(self.starts[track + 1])
        at = first + (frame + np.arange(frames)) % (end - first) if frame + frames > end - first else None
        rows = self.codes[first + frame : first + frame + frames] if at is None else self.codes[at]
        return torch.from_numpy(rows.astype(np.float32)).T * STEP_DB + LOWEST_DB

    def length(self, track: int) -> int:
        """Frames of a track."""
        return int(self.starts[track + 1] - self.starts[track])

    def batch(self, rng: np.random.Generator, n: int, only: int | None = None) -> tuple[Tensor, Tensor]:
        """Excerpts from anywhere, every genre equally often: decibels ``[n, 631, 631]`` and labels ``[n]``."""
        present = np.unique(self.labels) if only is None else np.array([only])
        labels = rng.choice(present, n)
        tracks = [int(rng.choice(np.flatnonzero(self.labels == label))) for label in labels]
        rows = [self.decibels(t, int(rng.integers(0, max(1, self.length(t) - FRAMES)))) for t in tracks]
        return torch.stack(rows), torch.from_numpy(labels.astype(np.int64))

    def clips(self) -> Iterator[tuple[Tensor, int]]:
        """Every whole clip of five seconds, one after another: decibels ``[631, 631]`` and label."""
        for track in range(self.tracks):
            for frame in range(0, max(1, self.length(track) - FRAMES + 1), CLIP_SAMPLES // HOP):
                yield self.decibels(track, frame), int(self.labels[track])


def images(decibels: Tensor) -> Tensor:
    """Decibels ``[n, 631, frames]`` as the images Lil Data sees ``[n, 1, 631, frames]``."""
    peak = decibels.amax((-2, -1), keepdim=True).clamp(min=LOWEST_PEAK_DB)
    return (1 + (decibels - peak) / TOP_DB).clamp(min=0)[:, None]


def encode(samples: Tensor) -> npt.NDArray[np.uint8]:
    """Mono sound at 22,050 Hz ``[samples]`` as codes ``[frames, 631]``."""
    decibels = 20 * torch.log10(complex_stft(samples).abs().clamp(min=AMIN))
    codes = ((decibels - LOWEST_DB) / STEP_DB).round().clamp(0, 255)
    return codes.T.contiguous().to(torch.uint8).numpy()


def open_cache(folder: GenreFolder, cache: Path, splits: tuple[str, ...] = SPLITS) -> dict[str, CachedSplit]:
    """The splits of a folder of genres, decoded once.

    Args:
        folder: what `cutting.read_genre_folder` found.
        cache: where the pictures are kept, 2 MB for 25 s; begun anew when the files are others.
        splits: which to open.

    Raises:
        RequestError: a split has no readable sound.
    """
    return {split: _open(folder, split, cache) for split in splits}


def _open(folder: GenreFolder, split: str, cache: Path) -> CachedSplit:
    cache.mkdir(parents=True, exist_ok=True)
    tracks = folder.tracks(split)
    listing, data = cache / f"{split}.json", cache / f"{split}.u8"
    names = [f"{genre}/{path.name}/{path.stat().st_size}" for genre, path in tracks]
    if not listing.is_file() or json.loads(listing.read_text("utf-8"))["names"] != names:
        _write(folder, tracks, names, listing, data)
    known = json.loads(listing.read_text("utf-8"))
    if not known["labels"]:
        raise RequestError("genres", split, "a split with sound files that can be read")
    starts = np.array(known["starts"], np.int64)
    codes = np.memmap(data, np.uint8, "r", shape=(int(starts[-1]), BINS))
    return CachedSplit(folder.genres, codes, starts, np.array(known["labels"], np.int64))


def _write(folder: GenreFolder, tracks: list[tuple[str, Path]], names: list[str], listing: Path, data: Path) -> None:
    starts, labels = [0], []
    with data.open("wb") as file:
        for k, (genre, path) in enumerate(tracks):
            try:
                sound = read(path, sample_rate=SAMPLE_RATE, mono=True, max_seconds=LONGEST_S, max_bytes=2_000_000_000)
            except AudioError as error:
                logger.warning("%s: %s", path.name, error)
                continue
            codes = encode(torch.from_numpy(sound.samples[0]))
            file.write(codes.tobytes())
            starts.append(starts[-1] + len(codes))
            labels.append(folder.genres.index(genre))
            if k % 100 == 0:
                logger.info("%d of %d tracks decoded", k, len(tracks))
    listing.write_text(json.dumps({"names": names, "starts": starts, "labels": labels}), "utf-8")
