"""The words a violin's prompt is built from. All of them are words of the captions that adapters learn from."""

from __future__ import annotations

from pages.words import ChipGroup, Preset

CHIPS = (
    ChipGroup("tempo", "Tempo", ("slow", "medium tempo", "fast", "60 bpm", "90 bpm", "130 bpm"), exclusive=True),
    ChipGroup("key", "Key", ("major key", "minor key", "in D minor", "in G major", "in A minor"), exclusive=True),
    ChipGroup("bow", "Bow", ("long bows", "legato", "detached", "staccato", "pizzicato"), exclusive=True),
    ChipGroup(
        "line",
        "Line",
        ("stepwise", "leaps", "arpeggios", "scale runs", "repeated notes", "double stops"),
    ),
    ChipGroup("register", "Register", ("low register", "high register", "wide range"), exclusive=True),
    ChipGroup("mood", "Mood", ("calm", "gentle", "sad", "melancholic", "happy", "energetic", "dramatic", "solemn")),
    ChipGroup("style", "Style", ("baroque", "classical", "romantic"), exclusive=True),
)

PRESETS = (
    Preset("Prelude", "slow baroque prelude, minor key, long bows"),
    Preset("Fugue", "medium tempo baroque fugue, minor key, double stops"),
    Preset("Gigue", "fast baroque dance, major key, detached, scale runs"),
    Preset("Song", "slow romantic song melody, gentle, major key, legato"),
    Preset("Étude", "fast étude, energetic, minor key, staccato, arpeggios"),
    Preset("Plucked", "happy melody, medium tempo, major key, pizzicato"),
)
