"""Chord progressions the bands and miniatures play, some of them kept for held-out clips."""

from __future__ import annotations

MAJOR = (
    "I V vi IV", "I vi IV V", "I IV V IV", "I IV I V", "I V IV V", "I iii IV V", "I ii IV V", "I vi ii V", "I IV vi V",
    "I I IV V", "I iii vi IV", "I bVII IV I", "IV I V I", "I V I IV", "I IV ii V", "I V ii IV", "I ii iii IV",
    "I I IV I V IV I V", "I V vi iii IV I IV V", "I vi iii IV", "I IV iv I", "I III IV V", "I II IV I", "I ii V I",
    "IV V I I", "I iii ii V", "I IV bVII IV", "I V IV I", "I I V V", "I IV I IV",
)  # fmt: skip
MINOR = (
    "i VI III VII", "i VII VI VII", "i iv VII III", "i VI iv V", "i iv v i", "i VII VI V", "i III VII VI",
    "i iv i V", "i VI VII i", "i v VI iv", "i iv VI V", "i i iv V", "i VII iv i", "i III iv VI", "i v iv v",
    "i VI i VII", "i iio V i", "i iv III VII", "i VII i VI", "i i VI VII", "i V i iv", "i iv iio V", "i VI III iv",
    "i v i VII", "i i i V", "VI VII i i", "i III VI V", "i VII III VI", "i iv i v", "i VI v i",
)  # fmt: skip
HELD_OUT_EVERY = 6


def progressions(mode: str, held_out: bool) -> tuple[str, ...]:
    """Progressions of a mode; every sixth is kept for validation and test clips and occurs in no training clip."""
    table = MAJOR if mode == "major" else MINOR
    return tuple(p for i, p in enumerate(table) if (i % HELD_OUT_EVERY == 3) == held_out)
