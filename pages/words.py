"""The words a prompt is built from: chips, presets and surprises. All of them are words the model was trained on."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class ChipGroup:
    """Chips of one kind.

    Attributes:
        id: used in element ids.
        title: what the page says.
        words: appended to the prompt, or removed from it, as they are. No word of any group contains another.
        exclusive: choosing one takes the others of the group out of the prompt.
    """

    id: str
    title: str
    words: tuple[str, ...]
    exclusive: bool = False


CHIPS = (
    ChipGroup(
        "instrument",
        "Instrument",
        (
            "piano",
            "violin",
            "cello",
            "acoustic guitar",
            "electric guitar",
            "harp",
            "flute",
            "clarinet",
            "trumpet",
            "saxophone",
            "church organ",
            "choir",
            "drums",
        ),
    ),
    ChipGroup("mood", "Mood", ("happy", "sad", "calm", "melancholic", "tense", "dramatic", "energetic", "gentle")),
    ChipGroup("tempo", "Tempo", ("slow", "medium tempo", "fast", "70 bpm", "100 bpm", "140 bpm"), exclusive=True),
    ChipGroup("key", "Key", ("major key", "minor key", "in C major", "in A minor", "in D minor"), exclusive=True),
    ChipGroup(
        "style",
        "Style",
        ("rock", "funk", "jazz", "latin", "hip-hop", "reggae", "country", "electronic", "quartet"),
        exclusive=True,
    ),
)


@dataclass(frozen=True)
class Preset:
    """Settings worth starting from; a seed is left to chance."""

    title: str
    prompt: str
    guidance_scale: float = 3.0
    temperature: float = 1.0


PRESETS = (
    Preset("Elegy", "slow, sad violin over soft piano, minor key, 70 bpm"),
    Preset("Night club", "jazz band, upright bass, tenor saxophone lead, drums, medium tempo, minor key"),
    Preset("Parlour", "happy strings, quartet, major key, fast"),
    Preset("Street", "funk groove with electric guitar, slap bass and drums, energetic, 100 bpm"),
    Preset("Lullaby", "calm, gentle harp and flute, major key, slow", temperature=0.9),
    Preset("Stadium", "fast rock band, dramatic distorted guitar and drums, 140 bpm, minor key", guidance_scale=4.0),
)

_SOLO = ("piano", "acoustic guitar", "harp", "organ", "music box")
_LEAD = ("violin", "cello", "flute", "clarinet", "trumpet", "saxophone")
_UNDER = ("soft piano", "acoustic guitar", "harp", "soft strings")
_BAND = ("rock", "funk", "jazz", "latin", "hip-hop")
_MOOD = {
    "major key": ("happy", "calm", "gentle", "energetic"),
    "minor key": ("sad", "melancholic", "tense", "dramatic"),
}


def surprise(random_source: random.Random) -> str:
    """A prompt put together by chance: one of three ensembles, a mode, a mood that suits it, and a tempo."""
    key = random_source.choice(tuple(_MOOD))
    mood = random_source.choice(_MOOD[key])
    tempo = random_source.choice(("slow", "medium tempo", "fast", f"{random_source.randrange(60, 161, 5)} bpm"))
    ensemble = random_source.choice(
        (
            f"{random_source.choice(_LEAD)} over {random_source.choice(_UNDER)}",
            f"solo {random_source.choice(_SOLO)}",
            f"{random_source.choice(_BAND)} band with {random_source.choice(_LEAD)}, bass and drums",
        )
    )
    return f"{mood} {ensemble}, {key}, {tempo}"
