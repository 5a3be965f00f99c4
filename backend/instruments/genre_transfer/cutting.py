"""Long mixes into clips of five seconds, and a folder of folders of sound files as genres of one's own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.audio.waveform import Waveform
from backend.errors import RequestError

CLIP_S = 5.0
SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus"}
SPLITS = ("train", "valid", "test")
LONGEST_S = 4 * 3600.0


def cut(waveform: Waveform, clip_s: float = CLIP_S, hop_s: float = CLIP_S) -> list[Waveform]:
    """Clips of equal length, one every ``hop_s``; what is left at the end is dropped.

    A sound shorter than a clip is repeated until it fills one. Cut only after tracks are split: clips of one track
    in training and in the test would measure memory (Sturm, "The GTZAN dataset", arXiv 1306.1461).

    Args:
        waveform: any channels, any rate.
        clip_s: length of a clip.
        hop_s: between the beginnings of clips.

    Raises:
        RequestError: there is no sound, or a length is not positive.
    """
    if waveform.n_samples == 0:
        raise RequestError("clip", "an empty sound", "a sound of at least one sample")
    if clip_s <= 0 or hop_s <= 0:
        raise RequestError("clip_s", min(clip_s, hop_s), "a number above 0")
    length, hop = round(clip_s * waveform.sample_rate), max(1, round(hop_s * waveform.sample_rate))
    samples = waveform.samples
    if samples.shape[1] < length:
        samples = np.take(samples, np.arange(length) % samples.shape[1], axis=1)
    starts = range(0, samples.shape[1] - length + 1, hop)
    return [Waveform(samples[:, start : start + length], waveform.sample_rate) for start in starts]


@dataclass(frozen=True)
class GenreFolder:
    """Tracks by genre and split.

    Attributes:
        genres: names, in the order of a classifier's outputs.
        files: split → genre → sound files.
    """

    genres: tuple[str, ...]
    files: Mapping[str, Mapping[str, tuple[Path, ...]]]

    def tracks(self, split: str) -> list[tuple[str, Path]]:
        """``(genre, file)`` of a split, genres in order."""
        return [(genre, path) for genre in self.genres for path in self.files[split].get(genre, ())]


def read_genre_folder(folder: Path, order: tuple[str, ...] = ()) -> GenreFolder:
    """Genres from folders: ``folder/<genre>/*`` or, already split, ``folder/<train|valid|test>/<genre>/*``.

    Without splits a hash of a track's name puts it into training (70 %), validation (10 %) or test (20 %), so that a
    track stays where it was when others are added.

    Args:
        folder: to read, however deep the files lie below a genre.
        order: of genres; those named come first, others follow by name.

    Raises:
        RequestError: no folder, fewer than two genres, or one of them has no sound file to learn from.
    """
    if not folder.is_dir():
        raise RequestError("genres", str(folder), "a folder of folders of sound files")
    files: dict[str, dict[str, tuple[Path, ...]]] = {split: {} for split in SPLITS}
    if (folder / "train").is_dir():
        for split in SPLITS:
            for child in _folders(folder / split):
                files[split][child.name] = tuple(_sounds(child))
    else:
        for child in _folders(folder):
            for split in SPLITS:
                files[split][child.name] = tuple(p for p in _sounds(child) if _split_of(p.name) == split)
    found = [name for name in sorted(files["train"]) if any(files[s].get(name) for s in SPLITS)]
    genres = tuple(g for g in order if g in found) + tuple(g for g in found if g not in order)
    if len(genres) < 2:
        raise RequestError(
            "genres", str(folder), "a folder with one folder of sound files for each of two or more genres"
        )
    empty = [genre for genre in genres if not files["train"][genre]]
    if empty:
        raise RequestError("genres", empty[0], "more tracks: none is left to learn from")
    return GenreFolder(genres, files)


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def _sounds(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)


def _split_of(name: str) -> str:
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return "train" if share < 0.7 else "valid" if share < 0.8 else "test"
