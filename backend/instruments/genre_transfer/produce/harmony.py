"""Keys, chords and tunes for the recipes: scale degrees, voicings that move little, motifs that return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PITCH_NAMES = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
MINOR = (
    (0, 5, 2, 6), (0, 6, 5, 6), (0, 3, 5, 4), (5, 6, 0, 0), (0, 0, 5, 6), (3, 4, 0, 0),
    (0, 5, 3, 4), (5, 3, 0, 6), (0, 2, 5, 6), (0, 3, 0, 4), (5, 6, 0, 2), (0, 4, 5, 3),
    (3, 5, 0, 6), (0, 0, 3, 5), (1, 4, 0, 0), (0, 5, 6, 4), (5, 4, 0, 0), (0, 6, 3, 5),
)  # fmt: skip
MAJOR = (
    (0, 4, 5, 3), (3, 4, 5, 0), (1, 4, 0, 5), (3, 2, 1, 0), (5, 3, 0, 4), (0, 2, 3, 4),
    (3, 0, 4, 5), (1, 4, 2, 5), (0, 5, 1, 4), (3, 4, 2, 5), (0, 3, 1, 4), (5, 4, 3, 3),
    (3, 3, 2, 5), (0, 1, 3, 4), (3, 1, 4, 0), (5, 1, 3, 4), (0, 0, 3, 3), (3, 4, 0, 5),
)  # fmt: skip
HELD_OUT_EVERY = 4


@dataclass(frozen=True)
class Harmony:
    """A key and a progression of scale degrees.

    Attributes:
        tonic: pitch class.
        mode: ``major`` or ``minor``.
        degrees: roots, 0 for the tonic.
        size: notes of a chord: 3 triad, 4 seventh, 5 ninth.
    """

    tonic: int
    mode: str
    degrees: tuple[int, ...]
    size: int

    @property
    def key(self) -> str:
        """Such as ``F minor``."""
        return f"{PITCH_NAMES[self.tonic]} {self.mode}"

    def pitch(self, degree: int, octave: int = 5) -> int:
        """MIDI pitch of a scale degree, which may lie beyond the octave."""
        scale = SCALES[self.mode]
        return 12 * (octave + degree // 7) + self.tonic + scale[degree % 7]

    def root(self, index: int, lowest: int = 28) -> int:
        """Bass pitch of a chord of the progression, at or above ``lowest`` and less than an octave away."""
        pitch = self.pitch(self.degrees[index % len(self.degrees)], 0)
        return lowest + (pitch - lowest) % 12

    def chord(self, index: int, centre: float = 62.0, size: int | None = None) -> list[int]:
        """A chord's pitches, each within about a fifth of ``centre``; a ninth goes above."""
        degree = self.degrees[index % len(self.degrees)]
        classes = [self.pitch(degree + 2 * k, 0) % 12 for k in range(size or self.size)]
        low = round(centre) - 7
        return sorted({low + (c - low) % 12 + (12 if k == 4 else 0) for k, c in enumerate(classes)})

    def tune(
        self, rng: np.random.Generator, steps: int = 32, density: float = 0.4, leap: float = 0.3
    ) -> list[tuple[int, int, int]]:
        """A motif of two bars: ``(step, length in steps, degree above the chord's root)``, its second half varied.

        Chord tones on the beat, steps or leaps between; a half that repeats is what makes it a tune.
        """
        half: list[tuple[int, int, int]] = []
        degree, step = int(rng.choice([0, 2, 4, 7])), int(rng.choice([0, 0, 2, 4]))
        while step < steps // 2:
            length = int(rng.choice([1, 2, 3, 4, 6, 8], p=_lengths(density)))
            half.append((step, min(length, steps // 2 - step), degree))
            step += length if rng.random() > 0.15 else length + 2
            move = int(rng.choice([-1, 1, -2, 2])) if rng.random() > leap else int(rng.choice([-4, 3, 4, -3, 0]))
            degree = int(np.clip(degree + move, -2, 9))
            if step % 4 == 0 and rng.random() < 0.7:
                degree = min((0, 2, 4, 7, 9), key=lambda tone: abs(tone - degree))
        again = [(at + steps // 2, length, d) for at, length, d in half]
        if again and rng.random() < 0.8:
            at, length, d = again[-1]
            again[-1] = (at, length, int(np.clip(d + rng.choice([-2, -1, 1, 2]), -2, 9)))
        return half + again


def _lengths(density: float) -> Sequence[float]:
    weights = np.array([density**2, density, 0.35, 0.5, 0.5 * (1 - density), (1 - density) ** 2])
    share: list[float] = (weights / weights.sum()).tolist()
    return share


def draw_harmony(rng: np.random.Generator, minor: float, sizes: Sequence[int], held_out: bool) -> Harmony:
    """A key and a progression; every fourth progression is kept for held-out tracks.

    Args:
        rng: draws.
        minor: probability of the minor mode.
        sizes: chord sizes to choose from.
        held_out: which side of the split.
    """
    mode = "minor" if rng.random() < minor else "major"
    table = MINOR if mode == "minor" else MAJOR
    pool = [p for i, p in enumerate(table) if (i % HELD_OUT_EVERY == 2) == held_out]
    degrees = pool[int(rng.integers(len(pool)))]
    if rng.random() < 0.25:
        short: tuple[int, ...] = degrees[:2]
    else:
        short = degrees
    return Harmony(int(rng.integers(12)), mode, short, int(rng.choice(sizes)))
