"""What a prompt says exactly, a tempo in figures, a key or a mode by name, is kept to exactly, not by resemblance."""

from __future__ import annotations

import re
from typing import Literal, cast

from backend.musiclm.compose import Wish
from backend.musiclm.events import HIGHEST_BPM, KEYS, LOWEST_BPM, tempo_code

_TEMPO = re.compile(
    r"(?:metronome (?:at|=)\s*|tempo(?: of| =|:)?\s*)(\d{2,3})\b|\b(\d{2,3})\s*(?:bpm|beats? (?:per|a) min)",
    re.IGNORECASE,
)
_KEY = re.compile(
    r"\b(?:(?:[Ii]n|[Kk]ey of)\s+([A-Ga-g])|([A-G]))(?:[ -]?(sharp|flat|#|♯|b|♭))?[ -](major|minor)\b"
    r"(?!\s+(?:key|mode|tonality|scale|chords?|harmon))"
)
_MODE = re.compile(
    r"\b(major|minor)\b(?!\s+(?:second|third|sixth|seventh|interval|change|detail|variation)s?\b)", re.IGNORECASE
)
_PITCH = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SHIFT = {"": 0, "sharp": 1, "#": 1, "♯": 1, "flat": -1, "b": -1, "♭": -1}


def wish_of(prompt: str) -> Wish:
    """Tempo ("70 bpm", "metronome at 70"), key ("in A minor", "F sharp major") or mode ("minor key") the prompt names.

    "In a minor key" names a mode but no key, "from minor to major" neither. A tempo that cannot be played is left to
    the model.
    """
    tempo, key = None, None
    found = _TEMPO.search(prompt)
    if found:
        bpm = float(found[1] or found[2])
        tempo = tempo_code(bpm) if LOWEST_BPM <= bpm <= HIGHEST_BPM else None
    named = _KEY.search(prompt)
    if named:
        tonic = (_PITCH[(named[1] or named[2]).upper()] + _SHIFT[named[3] or ""]) % 12
        key = tonic + (12 if named[4] == "minor" else 0)
    assert key is None or key < len(KEYS)
    modes = {mode.lower() for mode in _MODE.findall(prompt)}
    mode = next(iter(modes)) if len(modes) == 1 and key is None else None
    return Wish(tempo, key, cast("Literal['major', 'minor'] | None", mode))
