"""Two strings at once: which is the upper one, when a pitch tracker for one voice has heard something of both.

Of two notes in a simple ratio such a tracker hears their common period (a fifth D4–A4 as D3), or one of them. Where
the partials heard are only multiples of two small numbers, the period is not a note and the larger number is the upper
note; where strong partials lie between those of the note, a second note above it sounds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

PARTIALS = 16
WIDTH = 0.03
"""A partial is the highest magnitude within 3 % of its place (half a semitone: vibrato and intonation)."""

COMMON_PERIODS = ((2,), (3,), (2, 3), (3, 4), (2, 5), (3, 5), (4, 5), (5, 6), (5, 8))
LEFT_OVER = 0.03
"""Of the power of all partials, the most that may lie outside the multiples of those numbers."""

OWN_SHARE, FIRST_SHARE = 0.05, 0.01
"""Of that power, the least that must belong to each of the two notes alone, and to its fundamental."""

ABOVE = tuple(range(3, 10))  # semitones: from a minor third to a major sixth
LOUD_ABOVE = 0.3
"""Power of the partials in between, relative to the note's own, from which on they are a second note."""


def semitones_to_upper(samples: Array, sample_rate: int, hz: float) -> float:
    """How far above a tracked pitch the upper of two notes lies; 0 where there is one note.

    Args:
        samples: the steady part of a note, mono ``[samples]``; shorter than six periods is answered with 0.
        sample_rate: Hz.
        hz: the tracked fundamental.
    """
    if len(samples) < 6 * sample_rate / hz:
        return 0.0
    size = 1 << max(13, int(np.ceil(np.log2(len(samples)))))
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size))
    resolution = sample_rate / size

    def peak(at_hz: float) -> float:
        low, high = int(at_hz * (1 - WIDTH) / resolution), int(at_hz * (1 + WIDTH) / resolution) + 2
        return float(spectrum[low:high].max(initial=0.0)) if at_hz < 0.45 * sample_rate else 0.0

    power = np.array([peak(h * hz) for h in range(1, PARTIALS + 1)]) ** 2
    if power.sum() <= 0:
        return 0.0
    power /= power.sum()
    numbers = np.arange(1, PARTIALS + 1)
    for factors in COMMON_PERIODS:
        belongs = np.stack([numbers % factor == 0 for factor in factors])
        left_over = power[~belongs.any(0)].sum()
        alone = [power[own & (belongs.sum(0) == 1)].sum() for own in belongs]
        first = [power[factor - 1] for factor in factors]
        if left_over < LEFT_OVER and min(alone) > OWN_SHARE and min(first) > FIRST_SHARE:
            return 12.0 * float(np.log2(max(factors)))
    return _second_note(peak, hz)


def _second_note(peak: Callable[[float], float], hz: float) -> float:
    """Semitones to the loudest second note above, by its partials that are none of the lower note's."""
    own = sum(peak(h * hz) ** 2 for h in range(1, 7))
    best, found = LOUD_ABOVE, 0.0
    for semitones in ABOVE:
        ratio = 2 ** (semitones / 12)
        between = [h * ratio for h in range(1, 7) if abs(h * ratio / round(h * ratio) - 1) > 2 * WIDTH]
        levels = [peak(place * hz) ** 2 for place in between]
        if len(levels) < 2 or peak(ratio * hz) ** 2 < 0.1 * own or sorted(levels)[-2] < 0.01 * own:
            continue
        share = sum(levels) / own
        if share > best:
            best, found = share, float(semitones)
    return found
