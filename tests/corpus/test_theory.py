from __future__ import annotations

import numpy as np
import pytest

from backend.corpus.progressions import MAJOR, MINOR, progressions
from backend.corpus.theory import (
    SCALES,
    measure_key,
    parse_progression,
    tempo_clarity,
    tempo_class,
    tempo_scores,
    to_mode,
    voice,
)


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize("mode", ["major", "minor"])
def test_a_cadence_is_heard_in_its_key(tonic: int, mode: str) -> None:
    chords = parse_progression("I IV V I" if mode == "major" else "i iv V i", tonic, mode)
    pitches = np.array([p for c in chords for p in c.classes], float)
    key = measure_key(pitches, np.ones(len(pitches)))
    assert (key.tonic, key.mode, key.clear) == (tonic, mode, True)


def test_all_twelve_notes_alike_have_no_clear_key() -> None:
    assert not measure_key(np.arange(60.0, 72.0), np.ones(12)).clear


def test_the_parallel_mode_keeps_tonic_and_fifth_and_goes_back() -> None:
    scale = np.array([60, 62, 64, 65, 67, 69, 71], float)
    minor = to_mode(scale, 0, "minor", raised_leading=False)
    assert minor.tolist() == [60, 62, 63, 65, 67, 68, 70]
    assert to_mode(minor, 0, "major", raised_leading=False).tolist() == scale.tolist()
    assert to_mode(scale, 0, "minor", raised_leading=True)[-1] == 71


@pytest.mark.parametrize("bpm", [60, 75, 100, 140, 170])
def test_a_click_is_heard_at_its_tempo(bpm: int) -> None:
    clicks = np.arange(0, 29.5, 60 / bpm)
    tempi, scores = tempo_scores(clicks, np.ones(len(clicks)))
    assert tempi[scores.argmax()] == pytest.approx(bpm, rel=0.03)
    assert tempo_clarity(clicks, np.ones(len(clicks)), bpm) > 1


def test_slow_music_in_loud_eighths_is_not_felt_as_slow() -> None:
    eighths = np.arange(0, 29.5, 30 / 66)
    assert tempo_clarity(eighths, np.ones(len(eighths)), 66) < 1


@pytest.mark.parametrize(("bpm", "name"), [(87.9, "slow"), (88, "medium"), (122, "medium"), (122.1, "fast")])
def test_tempo_classes_have_the_stated_borders(bpm: float, name: str) -> None:
    assert tempo_class(bpm) == name


def test_every_progression_reads_and_triads_on_degrees_of_the_scale_stay_in_it() -> None:
    assert len(MAJOR) + len(MINOR) >= 40
    for mode, table in (("major", MAJOR), ("minor", MINOR)):
        for text in table:
            assert len(parse_progression(text, 5, mode)) == len(text.split())
    diatonic = parse_progression("I ii iii IV V vi", 0, "major", "ninth")
    assert {p for c in diatonic for p in c.classes} <= set(SCALES["major"])
    with pytest.raises(ValueError, match="X"):
        parse_progression("I X", 0, "major")


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_held_out_progressions_occur_in_no_training_clip(mode: str) -> None:
    train, held = set(progressions(mode, False)), set(progressions(mode, True))
    assert len(held) >= 4
    assert not train & held


def test_voicings_hold_the_chord_near_the_centre() -> None:
    for chord in parse_progression("i iv V VI", 9, "minor", "seventh"):
        pitches = voice(chord, 60.0)
        assert {p % 12 for p in pitches} == set(chord.classes)
        assert abs(np.mean(pitches) - 60) <= 7
        assert max(pitches) - min(pitches) < 12
