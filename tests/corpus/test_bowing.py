"""Register, motion, articulation and texture of lines whose playing is known by construction."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest

from backend.corpus.bowing import (
    WORDS,
    articulation_of,
    line_of,
    motion_of,
    range_of,
    texture_of,
    words_of,
)

NOTE = np.dtype([("onset_s", "f4"), ("duration_s", "f4"), ("pitch", "u1"), ("velocity", "u1")])


def played(pitches: list[int], step_s: float = 0.5, share: float = 1.0) -> np.ndarray:
    """Evenly spaced notes that sound for ``share`` of the time to the next."""
    notes = np.zeros(len(pitches), NOTE)
    notes["onset_s"] = step_s * np.arange(len(pitches))
    notes["duration_s"], notes["pitch"], notes["velocity"] = share * step_s, pitches, 80
    return notes


SCALE = [60, 62, 64, 65, 67, 69, 71, 72, 71, 69, 67, 65, 64, 62, 60]


@pytest.mark.parametrize(
    ("pitches", "step_s", "expected"),
    [
        ([67] * 8, 0.5, "static"),
        ([67, 69, 67, 69, 67, 68, 69], 0.5, "static"),
        (SCALE, 0.5, "stepwise"),
        ([60, 62, 60, 62, 64, 62, 64, 65, 64], 0.2, "stepwise"),
        (SCALE, 0.15, "runs"),
        ([60, 64, 67, 72, 67, 64, 60, 64, 67, 72], 0.2, "arpeggiated"),
        ([60, 72, 58, 70, 62, 74, 61, 69], 0.5, "leaping"),
        ([60, 62, 67, 69, 64, 65, 60, 62], 0.5, "mixed"),
    ],
)
def test_motion_is_that_of_the_line(pitches: list[int], step_s: float, expected: str) -> None:
    assert motion_of(played(pitches, step_s)) == expected


@pytest.mark.parametrize(
    ("step_s", "share", "expected"),
    [
        (1.0, 0.97, "sustained"),
        (0.3, 1.0, "legato"),
        (0.3, 0.92, "legato"),
        (0.3, 0.75, "detached"),
        (0.3, 0.4, "staccato"),
    ],
)
def test_articulation_is_the_sounding_share_of_a_note(step_s: float, share: float, expected: str) -> None:
    assert articulation_of(played(SCALE, step_s, share)) == expected


def test_a_rest_after_a_phrase_is_not_staccato() -> None:
    notes = played([67, 69, 71], 0.4, 0.98)
    notes["onset_s"][2] = 6.0
    assert articulation_of(notes) == "legato"


@pytest.mark.parametrize(
    ("pitches", "register"),
    [([55, 57, 60], "low"), ([67, 71, 74], "middle"), ([81, 84, 88], "high"), ([55, 62, 70, 78, 86], "wide")],
)
def test_register_is_where_the_line_lies(pitches: list[int], register: str) -> None:
    found = range_of(played(pitches))
    assert (found.low, found.high, found.register) == (min(pitches), max(pitches), register)


def test_the_line_is_the_highest_of_notes_that_begin_together() -> None:
    notes = np.concatenate([played([60, 62, 64]), played([67, 69, 71])])
    notes["onset_s"][3:] += 0.02
    assert line_of(notes)["pitch"].tolist() == [67, 69, 71]
    assert texture_of(notes) == "double_stops" and texture_of(notes[:3]) == "single"
    assert motion_of(notes) == motion_of(played([67, 69, 71]))


def test_nothing_and_one_note_are_answered() -> None:
    none, one = played([]), played([69], 2.0)
    assert (motion_of(none), articulation_of(none), texture_of(none)) == ("mixed", "mixed", "single")
    assert (motion_of(one), articulation_of(one), range_of(one).low) == ("static", "sustained", 69)
    with pytest.raises(ValueError, match="at least one note"):
        range_of(none)


def test_held_out_words_are_in_no_training_wording() -> None:
    for table in WORDS.values():
        assert set(table["train"]) == set(table["unseen"])
        train = set(chain.from_iterable(table["train"].values()))
        assert not train & set(chain.from_iterable(table["unseen"].values()))


def test_a_value_without_words_is_not_said() -> None:
    rng = np.random.default_rng(0)
    assert words_of("motion", "mixed", "train", rng) == ""
    assert words_of("motion", "runs", "train", rng) in WORDS["motion"]["train"]["runs"]
