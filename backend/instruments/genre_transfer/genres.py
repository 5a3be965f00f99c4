"""The eight genres, after the seed project (a boom-bap class in place of its one rapper), and the names people read."""

from __future__ import annotations

from collections.abc import Mapping

from backend.errors import RequestError

GENRES: tuple[str, ...] = (
    "trap", "future_bass", "lofi", "hardstyle", "house", "liquid_dnb", "boom_bap", "noise",
)  # fmt: skip
"""The order of every classifier's outputs."""

SEED_GENRES: tuple[str, ...] = ("trap", "future_bass", "lofi", "hardstyle")
"""The four of the seed's first experiment."""

TITLES: Mapping[str, str] = {
    "trap": "Trap",
    "future_bass": "Future Bass",
    "lofi": "Lo-fi",
    "hardstyle": "Hardstyle",
    "house": "House",
    "liquid_dnb": "Liquid Drum & Bass",
    "boom_bap": "Boom Bap",
    "noise": "Noise / not music",
}

EXAMPLES: Mapping[str, tuple[str, int]] = {
    f"{title} {k + 1}": (genre, seed)
    for genre, title, seeds in (
        ("trap", "Trap", (5, 3)), ("future_bass", "Future Bass", (1, 3)), ("lofi", "Lo-fi", (4, 3)),
        ("hardstyle", "Hardstyle", (3, 1)), ("house", "House", (5, 4)), ("liquid_dnb", "Liquid D&B", (4, 8)),
        ("boom_bap", "Boom Bap", (6, 1)), ("noise", "Noise", (1,)),
    )
    for k, seed in enumerate(seeds)
}  # fmt: skip
"""Clips that come with the page: name → genre and seed. Produced when asked for (`produce.example`); no files."""


def genre_index(genre: str) -> int:
    """Place of a genre among a classifier's outputs.

    Raises:
        RequestError: there is no such genre.
    """
    if genre not in GENRES:
        raise RequestError("genre", genre, f"one of {', '.join(GENRES)}")
    return GENRES.index(genre)
