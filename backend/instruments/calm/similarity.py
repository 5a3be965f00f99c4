"""How alike two passages are: notes found again, melody tokens, and steps of a road."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from backend.instruments.calm.piece import LOWEST, Roll, with_hands

Array = npt.NDArray[np.float64]
HOLD, OFF, FIRST_PITCH = 0, 1, 2


def matched_notes(found: Roll, truth: Roll, tolerance: int = 1) -> int:
    """Notes of ``found`` with a partner in ``truth``: equal pitch, onset within ``tolerance`` steps, one to one.

    Args:
        found: onsets ``[steps, pitches]``.
        truth: onsets ``[steps, pitches]``.
    """
    count = 0
    for column in np.flatnonzero(found.any(0) & truth.any(0)):
        ours, theirs = np.flatnonzero(found[:, column]).tolist(), np.flatnonzero(truth[:, column]).tolist()
        i = j = 0
        while i < len(ours) and j < len(theirs):  # in order of time, the first that fits is an optimal partner
            if abs(ours[i] - theirs[j]) <= tolerance:
                count, i, j = count + 1, i + 1, j + 1
            elif ours[i] < theirs[j]:
                i += 1
            else:
                j += 1
    return count


def note_f1(found: Roll, truth: Roll, tolerance: int = 1) -> float:
    """Harmonic mean of precision and recall of `matched_notes`; 1 when both are silent."""
    total = int(found.sum()) + int(truth.sum())
    return 2.0 * matched_notes(found, truth, tolerance) / total if total else 1.0


def melody_tokens(notes: npt.NDArray[np.void], steps: int) -> npt.NDArray[np.int64]:
    """MusicVAE's tokens of the melody ``[steps]``: 0 nothing happens, 1 a note ends, from 2 on a pitch starts."""
    tokens = np.full(steps, HOLD)
    line = with_hands(notes)
    line = line[line["hand"] == 0]
    ends = line["step"] + line["length"]
    ends[:-1] = np.minimum(ends[:-1], line["step"][1:])
    tokens[ends[ends < steps]] = OFF
    tokens[line["step"]] = line["pitch"].astype(np.int64) - LOWEST + FIRST_PITCH
    return tokens


def distances(onsets: Roll, holds: Roll) -> Array:
    """Normalised Hamming distance between neighbours on a road ``[points - 1]``: the share of cells that differ.

    Args:
        onsets: ``[points, steps, pitches]``.
        holds: the same.
    """
    changed = (onsets[1:] ^ onsets[:-1]).sum((1, 2)) + (holds[1:] ^ holds[:-1]).sum((1, 2))
    return np.asarray(changed / (2 * onsets[0].size), np.float64)
