"""The bundled pieces by name: what the page and a request may know of them without the composer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How a bundled piece is made.

    Attributes:
        title: what the page says.
        character: a few words about it.
        mode: ``major`` or ``minor``.
        chords: scale degree of the root of each bar's chord, 8 to 16 bars.
        figure: left hand, a key of `pieces.FIGURES`.
        rhythm: tune, a key of `pieces.RHYTHMS`.
        tempo_bpm: quarter notes a minute.
        transpose: semitones to the key it is written for.
        seed: of the tune's choices.
    """

    title: str
    character: str
    mode: str
    chords: str
    figure: str
    rhythm: str
    tempo_bpm: float
    transpose: int
    seed: int


RECIPES: Mapping[str, Recipe] = {
    "lullaby": Recipe("Lullaby", "rocking, simple", "major", "11451465 14651541", "rocking", "song", 66, 5, 11),
    "nocturne": Recipe("Nocturne", "wide chords, singing", "major", "16251465 14325151", "wide", "dotted", 63, 3, 12),
    "harp_garden": Recipe(
        "Harp garden", "rising arpeggios", "major", "16451645 14625511", "harp", "sparse", 66, -2, 13
    ),
    "evening_chorale": Recipe(
        "Evening chorale", "four voices", "major", "15641251 14651451", "chorale", "hymn", 60, 0, 14
    ),
    "pastoral": Recipe("Pastoral", "a drone and a tune", "major", "11441155 14411511", "drone", "flowing", 72, 7, 15),
    "cradle_song": Recipe(
        "Cradle song", "soft quarter notes", "major", "14151625 14151451", "cradle", "song", 68, 2, 16
    ),
    "distant_bells": Recipe(
        "Distant bells", "sparse, open", "major", "14141641 16441141", "bells", "sparse", 60, -4, 17
    ),
    "still_water": Recipe("Still water", "long held chords", "major", "13641451", "pads", "hymn", 62, 4, 18),
    "tide": Recipe("Tide", "slow waves", "major", "14561421", "tide", "dotted", 64, -1, 19),
    "first_snow": Recipe("First snow", "minor, quiet", "minor", "16374167 14674511", "tide", "sparse", 62, 0, 20),
    "old_photograph": Recipe(
        "Old photograph", "minor, tender", "minor", "14731651 16347511", "rocking", "song", 66, -3, 21
    ),
    "night_walk": Recipe("Night walk", "minor, even steps", "minor", "17671451", "steps", "flowing", 70, 2, 22),
    "candle": Recipe("Candle", "minor chorale", "minor", "16347651", "chorale", "hymn", 60, -5, 23),
    "morning_field": Recipe(
        "Morning field", "bright, unhurried", "major", "15264515 16454511", "steps", "flowing", 72, 1, 24
    ),
}
"""Name → recipe, in the order of the page."""
