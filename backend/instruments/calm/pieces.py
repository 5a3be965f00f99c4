"""Bundled calm pieces, composed here by rule: a form, a harmony, a figure for the left hand, a tune of steps.

Nothing is copied and no file is needed: the same name gives the same piece everywhere. All pitches are counted as
degrees of the white-key scale, so that every piece is in the normal form of `piece.CalmPiece` (C major or A minor).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from backend.errors import RequestError
from backend.instruments.calm.piece import (
    ACCOMPANIMENT_VELOCITY,
    MELODY_VELOCITY,
    NOTE_GRID,
    STEPS_PER_BAR,
    CalmPiece,
    tidy,
)
from backend.instruments.calm.recipes import RECIPES, Recipe

NAMES = tuple(RECIPES)
"""Of the bundled pieces, in the order of the page."""

Figure = tuple[tuple[int, int, int], ...]

WHITE = (0, 2, 4, 5, 7, 9, 11)
CHORD = (0, 4, 7, 9, 11, 14)
"""Degrees above the bass of the voices 0 to 5: root, fifth, octave, tenth, twelfth, fifteenth."""

BASS_LOWEST = -12  # degrees from C4: E2
TUNE_LOWEST, TUNE_HIGHEST = 2, 11  # E4 to G5

FIGURES: Mapping[str, Figure] = {
    "rocking": ((0, 8, 0), (4, 4, 2), (6, 2, 3), (8, 8, 1), (12, 4, 2), (14, 2, 3)),
    "wide": ((0, 16, 0), (2, 14, 1), (4, 12, 2), (6, 10, 3), (8, 8, 4), (10, 6, 3), (12, 4, 2), (14, 2, 1)),
    "harp": ((0, 16, 0), (2, 6, 1), (4, 6, 2), (6, 6, 3), (8, 8, 4), (10, 6, 5), (12, 4, 4), (14, 2, 3)),
    "chorale": ((0, 8, 0), (0, 8, 1), (0, 8, 3), (8, 8, 0), (8, 8, 2), (8, 8, 3)),
    "drone": ((0, 16, 0), (0, 16, 1), (8, 8, 3)),
    "cradle": ((0, 4, 0), (4, 4, 1), (4, 4, 3), (8, 4, 2), (12, 4, 1), (12, 4, 3)),
    "bells": ((0, 16, 0), (4, 12, 4), (8, 8, 3), (12, 4, 5)),
    "pads": ((0, 16, 0), (0, 16, 1), (0, 16, 3)),
    "tide": ((0, 16, 0), (4, 12, 1), (6, 10, 2), (8, 8, 3), (12, 4, 2)),
    "steps": ((0, 8, 0), (4, 4, 1), (8, 8, 2), (12, 4, 1)),
}
"""Left-hand patterns of one bar: step, length, voice."""

RHYTHMS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "song": ((8, 4, 4), (12, 4), (6, 2, 8), (16,)),
    "hymn": ((8, 8), (8, 8), (4, 4, 8), (16,)),
    "flowing": ((4, 4, 4, 4), (8, 4, 4), (6, 2, 4, 4), (12, 4)),
    "sparse": ((16,), (12, 4), (8, 8), (16,)),
    "dotted": ((6, 2, 8), (6, 2, 4, 4), (12, 4), (16,)),
}
"""Lengths in sixteenths of the tune's notes in the four bars of a phrase."""


@cache
def bundled(name: str) -> CalmPiece:
    """The piece of this name; the same object every time, not to be changed.

    Raises:
        RequestError: there is none.
    """
    if name not in RECIPES:
        raise RequestError("anchors", name, f"one of {', '.join(RECIPES)}")
    return compose(RECIPES[name])


def compose(recipe: Recipe) -> CalmPiece:
    """A piece after a recipe."""
    degrees = [int(digit) - 1 for digit in recipe.chords if digit.isdigit()]
    tonic = 0 if recipe.mode == "major" else -2
    rows = _accompaniment(degrees, tonic, FIGURES[recipe.figure])
    rows += _tune(degrees, tonic, RHYTHMS[recipe.rhythm], np.random.default_rng(recipe.seed))
    steps = len(degrees) * STEPS_PER_BAR
    notes = tidy(np.array(rows, NOTE_GRID), steps)
    return CalmPiece(notes, len(degrees), float(recipe.tempo_bpm), recipe.mode, recipe.transpose)


def _accompaniment(degrees: list[int], tonic: int, figure: Figure) -> list[tuple[int, int, int, int, int]]:
    """The figure on every chord; the last bar holds root, fifth and tenth. The bass moves as little as it can."""
    rows, bass = [], tonic - 7
    for bar, degree in enumerate(degrees):
        options = [tonic + degree - 7 * octaves for octaves in (1, 2)]
        bass = min((option for option in options if option >= BASS_LOWEST), key=lambda option: abs(option - bass))
        pattern = figure if bar < len(degrees) - 1 else ((0, 16, 0), (0, 16, 1), (0, 16, 3))
        for step, length, voice in pattern:
            velocity = ACCOMPANIMENT_VELOCITY - (4 if step % 8 else 0)
            rows.append((bar * STEPS_PER_BAR + step, length, _pitch(bass + CHORD[voice]), velocity, 1))
    return rows


def _tune(
    degrees: list[int], tonic: int, rhythm: tuple[tuple[int, ...], ...], rng: np.random.Generator
) -> list[tuple[int, int, int, int, int]]:
    """Phrases of four bars that begin alike: chord notes on the strong beats, steps between, home at the end."""
    rows, here = [], tonic + 9
    opening: list[int] = []
    for bar, degree in enumerate(degrees):
        chord = {(tonic + degree + third) % 7 for third in (0, 2, 4)}
        last = bar == len(degrees) - 1
        step = bar * STEPS_PER_BAR
        for index, length in enumerate((16,) if last else rhythm[bar % 4]):
            if last:
                here = min((d for d in _range() if d % 7 == tonic % 7), key=lambda d: abs(d - here))
            elif bar % 4 == 0 and bar and index < len(opening):
                here = _nearest(opening[index], chord) if index == 0 else opening[index]
            elif step % 8 == 0:
                arch = 8 if bar % 4 in (1, 2) else 5  # a phrase rises and comes back
                wanted = here + int(rng.integers(-1, 3)) if here < tonic + arch else here - int(rng.integers(0, 3))
                here = _nearest(wanted, chord)
            else:
                here += int(rng.choice((-1, 1)))
            here = int(np.clip(here, TUNE_LOWEST, TUNE_HIGHEST))
            if bar == 0:
                opening.append(here)
            rows.append((step, length, _pitch(here), MELODY_VELOCITY - (4 if step % 8 else 0), 0))
            step += length
    return rows


def _range() -> range:
    return range(TUNE_LOWEST, TUNE_HIGHEST + 1)


def _nearest(degree: int, chord: set[int]) -> int:
    """The degree of the chord nearest to one, within the tune's range; the lower of two."""
    return min((d for d in _range() if d % 7 in chord), key=lambda d: abs(d - degree))


def _pitch(degree: int) -> int:
    """MIDI pitch of a degree of the white-key scale from C4."""
    return 60 + 12 * (degree // 7) + WHITE[degree % 7]
