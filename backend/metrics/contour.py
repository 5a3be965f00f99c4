"""Melodic contour: how alike two pitch curves move, whatever their key and octave.

Conventions: fractional MIDI pitch a frame, NaN where there is none. A correlation does not hear transposition. Octave
slips of a tracker stay in: moving each frame to the octave nearest the other curve's makes unrelated tunes correlate
by .9.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]

FRAME_RATE = 20.0
LEAST_FRAMES = 20


def contour_of_notes(onset_s: Array, duration_s: Array, pitch: npt.NDArray[Any], length_s: float) -> Array:
    """Pitch curve of one voice at `FRAME_RATE`; where notes overlap, the later one."""
    out = np.full(round(length_s * FRAME_RATE), np.nan)
    for onset, duration, midi in zip(onset_s, duration_s, pitch, strict=True):
        out[round(onset * FRAME_RATE) : max(round(onset * FRAME_RATE) + 1, round((onset + duration) * FRAME_RATE))] = (
            midi
        )
    return out


def at_frame_rate(contour: Array, frame_rate: float) -> Array:
    """A pitch curve of another rate at `FRAME_RATE`: the median of each frame's values, NaN without any."""
    n = int(len(contour) / frame_rate * FRAME_RATE)
    edges = np.round(np.arange(n + 1) * frame_rate / FRAME_RATE).astype(int)
    parts = [contour[a:b][np.isfinite(contour[a:b])] for a, b in pairwise(edges)]
    return np.array([np.median(part) if len(part) else np.nan for part in parts])


def contour_correlation(wanted: Array, heard: Array) -> float:
    """Pearson correlation over the frames in which both have a pitch; 0 with fewer than a second of them.

    Args:
        wanted: at `FRAME_RATE`.
        heard: likewise; longer or shorter.
    """
    n = min(len(wanted), len(heard))
    both = np.isfinite(wanted[:n]) & np.isfinite(heard[:n])
    if both.sum() < LEAST_FRAMES:
        return 0.0
    a, b = wanted[:n][both].astype(np.float64), heard[:n][both].astype(np.float64)
    if a.std() < 1e-6 or b.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
