"""Figures in a prompt are kept to; what only sounds like one is not."""

from __future__ import annotations

import pytest

from backend.musiclm.events import CAST, KEYS, tempo_code
from backend.musiclm.wish import wish_of


@pytest.mark.parametrize(
    ("prompt", "bpm"),
    [
        ("slow, sad violin over soft piano, minor key, 70 bpm", 70),
        ("rock band at 128 BPM", 128),
        ("waltz, 90 beats per minute", 90),
        ("metronome at 61, flute", 61),
        ("tempo: 100, cello", 100),
        ("808 drums", None),
        ("5 bpm drone", None),
        ("999 bpm", None),
        ("slow piano", None),
    ],
)
def test_a_tempo_in_figures_is_read(prompt: str, bpm: float | None) -> None:
    assert wish_of(prompt).tempo == (None if bpm is None else tempo_code(bpm))


@pytest.mark.parametrize(
    ("prompt", "key"),
    [
        ("piano in A minor", "A minor"),
        ("Piano, key of f sharp major", "F sharp major"),
        ("E flat major quartet", "E flat major"),
        ("in Bb minor, slow", "B flat minor"),
        ("D# major", "E flat major"),
        ("piano in a minor key", None),
        ("A minor key, slow", None),
        ("a minor piece", None),
        ("C major scale exercise", None),
        ("minor key", None),
    ],
)
def test_a_named_key_is_read(prompt: str, key: str | None) -> None:
    index = wish_of(prompt).key
    assert (None if index is None else KEYS[index]) == key


@pytest.mark.parametrize(
    ("prompt", "mode"),
    [
        ("slow, sad violin over soft piano, minor key, 70 bpm", "minor"),
        ("A tune written in the MAJOR", "major"),
        ("from minor to major", None),
        ("minor thirds on a flute", None),
        ("happy piano", None),
        ("cello in A minor", None),
    ],
)
def test_a_named_mode_is_read_where_no_key_is(prompt: str, mode: str | None) -> None:
    assert wish_of(prompt).mode == mode


@pytest.mark.parametrize(
    ("prompt", "names", "alone"),
    [
        ("slow, sad violin over soft piano, minor key, 70 bpm", ["violin", "piano"], True),
        ("Electric piano and drums", ["electric piano", "drums"], True),
        ("jazz piano trio", ["piano"], False),
        ("rock band with violins", ["violin"], False),
        ("piano, no drums", ["piano"], True),
        ("flute without any drums", ["flute"], True),
        ("harp without electric guitar or drums", ["harp"], True),
        ("not loud piano", ["piano"], True),
        ("something for a rainy evening", [], False),
    ],
)
def test_named_instruments_are_read_in_order(prompt: str, names: list[str], alone: bool) -> None:
    wish = wish_of(prompt)
    assert [CAST[who[0]].name for who in wish.players] == names and wish.alone == alone


def test_a_kind_of_instrument_may_be_any_of_it() -> None:
    (who,) = wish_of("a guitar by the fire").players
    assert len(who) > 2 and all(CAST[i].name.endswith("guitar") for i in who)
    assert len(wish_of("piano and bass").players) == 2
