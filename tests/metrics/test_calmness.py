"""The calm score: linear, additive, each cue hearing its own thing and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from backend.audio.midi import Notes, make_notes
from backend.errors import AudioError
from backend.metrics.calmness import (
    CUES,
    articulation,
    calm_cues,
    calm_score,
    consonance,
    dissonance,
    explain,
    variability,
    weighted,
)

TRIAD = (60, 64, 67)


def row(start: float, end: float, pitch: int, velocity: int = 50) -> tuple[float, float, int, int, int, bool, int]:
    return (start, end, pitch, velocity, 0, False, 0)


def chords(
    pitches: tuple[int, ...] = TRIAD, count: int = 8, every_s: float = 2.0, share: float = 1.0, velocity: int = 50
) -> Notes:
    """Even chords: calm in every respect."""
    return make_notes([row(i * every_s, (i + share) * every_s, p, velocity) for i in range(count) for p in pitches])


UNEVEN = make_notes([row(a, b, 60) for a, b in ((0, 2), (2, 2.5), (2.5, 5), (5, 5.5), (5.5, 8))])


def test_weights_add_up_to_one_and_slow_soft_legato_triads_in_major_score_one() -> None:
    assert sum(cue.weight for cue in CUES.values()) == pytest.approx(1.0)
    assert calm_score(chords(), 60, "major") == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("cue", "notes", "tempo_bpm", "mode"),
    [
        ("tempo", chords(), 120, "major"),
        ("mode", chords(), 60, "minor"),
        ("register", chords((90, 94, 97)), 60, "major"),
        ("dynamics", chords(velocity=100), 60, "major"),
        ("articulation", chords(share=0.4), 60, "major"),
        ("dissonance", chords((60, 61, 66)), 60, "major"),
        ("density", chords(every_s=0.5), 60, "major"),
        ("regularity", UNEVEN, 60, "major"),
    ],
)  # fmt: skip
def test_each_cue_hears_its_own_thing_and_nothing_else(cue: str, notes: Notes, tempo_bpm: float, mode: str) -> None:
    cues = calm_cues(notes, tempo_bpm, mode)
    assert cues[cue] < 0.8
    assert all(value == pytest.approx(1.0) for name, value in cues.items() if name != cue)
    assert calm_score(notes, tempo_bpm, mode) == pytest.approx(1.0 - CUES[cue].weight * (1.0 - cues[cue]))


def test_a_cue_is_linear_between_its_ends_and_flat_beyond_them() -> None:
    values = [calm_cues(chords(), tempo, "major")["tempo"] for tempo in (40, 60, 80, 100, 140, 200)]
    assert values == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.0, 0.0])


def test_consonance_is_that_of_the_interval_classes() -> None:
    assert consonance(chords()) == pytest.approx((0.594 + 0.386 + 1.240) / 3)
    assert consonance(chords((60, 73))) == pytest.approx(-1.428)  # a minor ninth is a semitone
    assert consonance(chords((60, 66))) == pytest.approx(-0.453)
    assert consonance(chords((60, 72))) == consonance(chords((60,)))  # an octave is no interval
    half = make_notes([row(0, 1, 60), row(0, 1, 67), row(1, 2, 60), row(1, 2, 61)])
    assert consonance(half) == pytest.approx((1.240 - 1.428) / 2)  # each sonority counts with its length
    assert dissonance(chords()) == pytest.approx(0.0) and dissonance(chords((60, 61))) == 1.0


def test_articulation_is_the_share_that_sounds_and_rolled_chords_are_one_onset() -> None:
    assert articulation(chords(share=0.5)) == pytest.approx(0.5)
    rolled = make_notes([row(i * 2 + 0.01 * k, i * 2 + 2, 60 + 4 * k) for i in range(4) for k in range(3)])
    assert articulation(rolled) > 0.99 and variability(rolled) < 1.0


def test_variability_is_zero_when_even_and_a_hundred_for_long_short_of_three_to_one() -> None:
    assert variability(chords()) == pytest.approx(0.0)
    times = np.cumsum([0, 3, 1, 3, 1, 3, 1])
    assert variability(make_notes([row(float(t), float(t) + 1, 60) for t in times])) == pytest.approx(100.0)


def test_the_explanation_adds_up_and_begins_with_what_lowers_most() -> None:
    notes = chords(velocity=100, share=0.4)
    readings = explain(notes, 90, "major")
    assert 1.0 - sum(reading.lost for reading in readings) == pytest.approx(calm_score(notes, 90, "major"))
    assert [r.lost for r in readings] == sorted((r.lost for r in readings), reverse=True)
    assert readings[0].cue == "dynamics" and "loud playing" in readings[0].sentence
    assert readings[-1].sentence.endswith("calm.")
    assert weighted({reading.cue: reading.value for reading in readings}) == pytest.approx(
        calm_score(notes, 90, "major")
    )


def test_drums_are_not_heard_and_drums_alone_are_refused() -> None:
    drum = make_notes([(0.1 * i, 0.1 * i + 0.05, 38, 127, 0, True, 9) for i in range(100)])
    both = np.sort(np.concatenate((chords(), drum)), order=["start_s"])
    assert calm_score(both, 60, "major") == calm_score(chords(), 60, "major")
    with pytest.raises(AudioError, match="no pitched notes"):
        calm_score(drum, 60, "major")
