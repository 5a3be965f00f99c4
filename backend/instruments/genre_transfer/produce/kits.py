"""Where drum sounds come from: synthesis alone, unless a kit of samples (`sample_kit`) is given."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from backend.instruments.genre_transfer.produce import drums
from backend.instruments.genre_transfer.produce.kernels import Samples

DrumSet = dict[str, Samples]
ROLES = ("kick", "snare", "clap", "hat", "open", "rim", "shaker", "crash", "ride", "tom")
KICKS = {"trap": "boomy", "future_bass": "punchy", "lofi": "dusty", "boom_bap": "dusty", "hardstyle": "hard"}
SNARES = {"trap": "tight", "future_bass": "fat", "lofi": "dusty", "boom_bap": "crack", "liquid_dnb": "crack"}


class Kit(Protocol):
    """A source of drum sounds."""

    name: str

    def draw(self, genre: str, rng: np.random.Generator) -> DrumSet:
        """One sound for each of `ROLES`."""

    def groove(self, rng: np.random.Generator, n_beats: float) -> npt.NDArray[Any] | None:
        """A performance to play instead of a written pattern, if the kit has any.

        Rows of onset and length in beats, General MIDI drum and velocity.
        """

    def recording(self, kind: str, rng: np.random.Generator) -> Samples | None:
        """A ``break`` (drum loop) or an ``ambience`` ``[samples]``, if the kit has any."""


class SynthKit:
    """Every sound synthesised anew."""

    name = "synth"

    def draw(self, genre: str, rng: np.random.Generator) -> DrumSet:
        """One sound for each of `ROLES`, in the ranges of the genre; now and then in another's."""
        dusty = genre in ("lofi", "boom_bap") and rng.random() < 0.7
        kick, snare = KICKS.get(genre, "punchy"), SNARES.get(genre, "tight")
        if genre != "hardstyle" and rng.random() < 0.3:
            kick = str(rng.choice(["punchy", "boomy", "dusty"]))
        if rng.random() < 0.3:
            snare = str(rng.choice(["tight", "fat", "dusty", "crack"]))
        return {
            "kick": drums.kick(rng, kick), "snare": drums.snare(rng, snare), "clap": drums.clap(rng),
            "hat": drums.hat(rng, False, dusty), "open": drums.hat(rng, True, dusty), "rim": drums.rim(rng),
            "shaker": drums.shaker(rng), "crash": drums.cymbal(rng), "ride": drums.ride(rng), "tom": drums.tom(rng),
        }  # fmt: skip

    def groove(self, rng: np.random.Generator, n_beats: float) -> npt.NDArray[Any] | None:
        """None: patterns are written."""
        return None

    def recording(self, kind: str, rng: np.random.Generator) -> Samples | None:
        """None: nothing is recorded."""
        return None
