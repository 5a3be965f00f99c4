"""Reading a built corpus: its clips, their notes and their metadata."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.corpus.instruments import FAMILIES, INSTRUMENTS


@dataclass(frozen=True)
class Clip:
    """One clip of a corpus folder; ``meta`` is its metadata line."""

    id: str
    split: str
    audio_path: Path
    notes_path: Path
    meta: dict[str, Any]

    def notes(self) -> dict[str, npt.NDArray[Any]]:
        """Note arrays: ``onset_s, duration_s, pitch, velocity, program, is_drum, part, role, beats_s, downbeats_s``."""
        with np.load(self.notes_path) as stored:
            return {name: stored[name] for name in stored.files}


@cache
def _family_of_program() -> dict[int, int]:
    return {i.program: FAMILIES.index(i.family) for i in INSTRUMENTS if not i.is_drum}


def note_families(notes: dict[str, npt.NDArray[Any]]) -> npt.NDArray[np.uint8]:
    """Index into `FAMILIES` of every note, ``[notes]``."""
    table, drums = _family_of_program(), FAMILIES.index("drums")
    pairs = zip(notes["program"].tolist(), notes["is_drum"].tolist(), strict=True)
    return np.array([drums if drum else table[program] for program, drum in pairs], dtype=np.uint8)


def read_catalogue(corpus: Path, *, silent: bool = False) -> list[Clip]:
    """All clips of ``corpus/clips.jsonl`` whose files exist, in its order.

    Args:
        corpus: its folder.
        silent: the training clips of ``silent.jsonl`` instead, which have notes but no sound; none if it is not there.

    Raises:
        FileNotFoundError: no corpus was built there.
    """
    clips: list[Clip] = []
    path = corpus / ("silent.jsonl" if silent else "clips.jsonl")
    if silent and not path.exists():
        return clips
    for line in path.read_text(encoding="utf-8").splitlines():
        meta = json.loads(line)
        audio, notes = corpus / meta["audio"], corpus / meta["notes"]
        if audio.exists() and notes.exists():
            clips.append(Clip(meta["id"], meta["split"], audio, notes, meta))
    return clips
