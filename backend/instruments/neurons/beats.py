"""Beats programmed on a drum machine's single sounds, so that an ear for beats hears them as music."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

STEPS = 16  # sixteenths of a bar
ROLES: Mapping[str, tuple[str, ...]] = {
    "low": ("kick", "bd_", "bass", "low", "boom"),
    "back": ("snare", "sn_", "clap", "rim", "snap"),
    "top": ("hat", "hh", "cymbal", "ride", "maraca", "cabasa", "tick", "shaker"),
}
"""What a sound is for, by a part of its name; any other sound is played now and then."""

PATTERNS: Mapping[str, tuple[str, ...]] = {
    "low": ("x---x---x---x---", "x-----x-x-------", "x--x--x-----x---", "x-------x-x-----", "x---------x--x--"),
    "back": ("----x-------x---", "--------x-------", "----x--x-x--x---", "----x-------x-xx"),
    "top": ("--x---x---x---x-", "x-x-x-x-x-x-x-x-", "xxxxxxxxxxxxxxxx", "x--xx-x-x--xx-x-"),
}
LEVELS: Mapping[str, float] = {"low": 1.0, "back": 0.8, "top": 0.4, "other": 0.5}


@dataclass(frozen=True, eq=False)
class DrumMachine:
    """Single sounds by role, all at one sample rate.

    Attributes:
        name: of the machine.
        sample_rate: Hz.
        sounds: role → sounds ``[samples]``.
    """

    name: str
    sample_rate: int
    sounds: Mapping[str, Sequence[FloatArray]]

    def play(self, rng: np.random.Generator, length: int) -> FloatArray:
        """A beat of ``length`` samples that begins anywhere in its bar: 80 to 160 a minute, sometimes swung."""
        step = 60 / rng.uniform(80, 160) / 4 * self.sample_rate
        swing = step * rng.choice([0.0, 0.0, 0.2, 0.33])
        bar, first = STEPS * step, rng.uniform(0, STEPS * step)
        mixed = np.zeros(length + round(2 * bar), np.float32)
        for role, sounds in self.sounds.items():
            for sound in (sounds[i] for i in rng.choice(len(sounds), 1 if role in PATTERNS else 2)):
                for at, loudness in self._pattern(role, rng):
                    gain = np.float32(LEVELS[role] * loudness)
                    for start in np.arange(at * step + (at % 2) * swing, len(mixed), bar):
                        begin = round(start)
                        part = sound[: len(mixed) - begin]
                        mixed[begin : begin + len(part)] += gain * part
        played = mixed[round(first) :][:length]
        return np.asarray(played / max(1.0, float(np.abs(played).max())), np.float32)

    def _pattern(self, role: str, rng: np.random.Generator) -> list[tuple[int, float]]:
        """Steps and loudnesses of a bar; a few steps are left out or added."""
        written = (
            np.array([c == "x" for c in rng.choice(PATTERNS[role])]) if role in PATTERNS else np.zeros(STEPS, bool)
        )
        played = written ^ (rng.random(STEPS) < (0.06 if role in PATTERNS else 0.15))
        return [(int(at), float(rng.uniform(0.6, 1.0))) for at in np.flatnonzero(played)]


def role_of(name: str) -> str:
    """The role of a sound of this name."""
    return next((role for role, parts in ROLES.items() if any(part in name.lower() for part in parts)), "other")
