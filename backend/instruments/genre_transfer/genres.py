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


def genre_index(genre: str) -> int:
    """Place of a genre among a classifier's outputs.

    Raises:
        RequestError: there is no such genre.
    """
    if genre not in GENRES:
        raise RequestError("genre", genre, f"one of {', '.join(GENRES)}")
    return GENRES.index(genre)
