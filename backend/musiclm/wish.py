"""What a prompt says exactly (tempo in figures; key, mode, instruments by name) is kept to, not by resemblance."""

from __future__ import annotations

import re
from typing import Literal, cast

from backend.corpus.wording import ENSEMBLE, STYLE
from backend.musiclm.compose import MOST_PLAYERS, Wish
from backend.musiclm.events import CAST, HIGHEST_BPM, KEYS, LOWEST_BPM, tempo_code

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
_ABSENT = re.compile(
    r"\b(?:no|without)\s+(?:any\s+)?(?:(?:[\w-]+\s+){1,3}(?:or|and|nor)\s+)*(?:[\w-]+\s+)?$", re.IGNORECASE
)
_PITCH = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_SHIFT = {"": 0, "sharp": 1, "#": 1, "♯": 1, "flat": -1, "b": -1, "♭": -1}

_FEW = {"solo", "duo", "duet", "drum solo", "drums only"}
_OTHERS = {word.lower() for table in (STYLE, ENSEMBLE) for words in table["train"].values() for word in words} - _FEW
_COMPANY = re.compile(
    rf"\b(?:{'|'.join(map(re.escape, sorted(_OTHERS)))}|band|orchestra|ensemble|accompan\w+)\b", re.IGNORECASE
)


def _callings() -> dict[str, tuple[int, ...]]:
    """What instruments are called, and who it may be: a name is one of them, "guitar" any whose name ends with it."""
    exact = {name.lower(): (i,) for i, who in enumerate(CAST) for name in (who.name, *who.synonyms)}
    kinds: dict[str, tuple[int, ...]] = {}
    for i, who in enumerate(CAST):
        kind = who.name.split()[-1]
        kinds[kind] = (*kinds.get(kind, ()), i)
    return kinds | exact


_CALLED = _callings()
_PLAYER = re.compile(
    rf"\b({'|'.join(re.escape(name) for name in sorted(_CALLED, key=len, reverse=True))})s?\b", re.IGNORECASE
)


def players_of(prompt: str) -> tuple[tuple[int, ...], ...]:
    """Whom the prompt names, each once, in order, as indices into `CAST`; "no drums" names nobody."""
    found = (m for m in _PLAYER.finditer(prompt) if not _ABSENT.search(prompt[: m.start()]))
    return tuple(dict.fromkeys(_CALLED[m[1].lower()] for m in found))[:MOST_PLAYERS]


def wish_of(prompt: str) -> Wish:
    """Tempo ("70 bpm"), key ("in A minor") or mode ("minor key"), and instruments that the prompt names.

    Named instruments play. Where no style or ensemble is named that others belong to, hardly anybody else does.

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
    players = players_of(prompt)
    alone = bool(players) and not _COMPANY.search(prompt)
    return Wish(tempo, key, cast("Literal['major', 'minor'] | None", mode), players, alone)
