from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from backend.audio.midi import make_notes, to_sequence
from backend.errors import AudioError
from backend.instruments.calm.music_vae.config import CAT_MEL_2BAR_SMALL, HIERDEC_TRIO_16BAR
from backend.instruments.calm.music_vae.sequences import Labels, only_window, to_notes, windows

MELODY = CAT_MEL_2BAR_SMALL
TRIO = dataclasses.replace(HIERDEC_TRIO_16BAR, bars=2)
STEP_S = 0.125  # at 120 bpm


def melody(*notes: tuple[int, int, int], program: int = 0, part: int = 0) -> Any:
    """A sequence of ``(start step, end step, pitch)``."""
    rows = [(a * STEP_S, b * STEP_S, pitch, 90, program, False, part) for a, b, pitch in notes]
    return to_sequence(make_notes(rows))


def classes(events: dict[int, int], steps: int = 32) -> Labels:
    labels = np.zeros((steps, 1), dtype=np.int64)
    for step, label in events.items():
        labels[step] = label
    return labels


def test_a_note_is_an_onset_holds_and_an_off() -> None:
    found = only_window(melody((0, 4, 60), (8, 32, 62)), MELODY)
    np.testing.assert_array_equal(found, classes({0: 41, 4: 1, 8: 43}))


def test_the_highest_of_simultaneous_notes_is_the_melody() -> None:
    found = only_window(melody((0, 16, 60), (0, 16, 72), (0, 32, 55), (16, 32, 64)), MELODY)
    np.testing.assert_array_equal(found, classes({0: 53, 16: 45}))


def test_notes_off_the_grid_go_to_the_nearest_sixteenth() -> None:
    rows = [(0.02, 0.49, 60, 90, 0, False, 0), (1.05, 4.0, 62, 90, 0, False, 0)]
    np.testing.assert_array_equal(only_window(to_sequence(make_notes(rows)), MELODY), classes({0: 41, 4: 1, 8: 43}))


def test_windows_slide_by_a_bar_in_order_of_time_and_come_once() -> None:
    notes = [(bar * 16, bar * 16 + 16, pitch) for bar, pitch in enumerate([60, 62, 60, 62, 64])]
    found = windows(melody(*notes), MELODY)
    assert [tuple(labels[[0, 16], 0]) for labels in found] == [(41, 43), (43, 41), (43, 45)]


def test_a_note_cut_off_by_a_window_leaves_no_end_in_it() -> None:
    found = windows(melody((0, 20, 60), (24, 32, 62), (32, 48, 64)), MELODY)
    np.testing.assert_array_equal(found[1], classes({8: 43, 16: 45}))


def test_a_bar_of_silence_ends_a_melody() -> None:
    assert windows(melody((0, 16, 60), (48, 64, 60)), MELODY) == []
    assert len(windows(melody((0, 20, 60), (48, 64, 60), (64, 80, 62)), MELODY)) == 2


@pytest.mark.parametrize(
    "sequence",
    [
        melody((0, 32, 60), program=40),
        melody((0, 32, 20)),
        melody((0, 32, 109)),
        melody((0, 16, 60)),
        melody((0, 1, 60)),
    ],
    ids=["a violin", "below the piano", "above the piano", "one bar", "one note"],
)
def test_what_holds_no_melody_of_that_length_is_refused(sequence: Any) -> None:
    with pytest.raises(AudioError, match="holds no 2 bars of melody in 4/4"):
        only_window(sequence, MELODY)


def test_several_excerpts_are_counted_in_the_refusal() -> None:
    with pytest.raises(AudioError, match="holds 2 excerpts of 2 bars of melody"):
        only_window(melody((0, 16, 60), (16, 48, 62)), MELODY)


def test_a_sequence_is_cut_where_the_metre_changes_and_keeps_what_is_in_four() -> None:
    sequence = melody((0, 32, 60), (32, 56, 62))
    sequence.time_signatures.add(numerator=4, denominator=4, time=0)
    sequence.time_signatures.add(numerator=3, denominator=4, time=4.0)
    np.testing.assert_array_equal(only_window(sequence, MELODY), classes({0: 41}))
    odd = melody((0, 40, 60))
    odd.time_signatures.add(numerator=5, denominator=8, time=0)
    assert windows(odd, MELODY) == []


def test_the_sequence_that_was_read_is_left_as_it_was() -> None:
    sequence = melody((0, 32, 60), (0, 32, 20))
    before = sequence.SerializeToString()
    windows(sequence, MELODY)
    assert sequence.SerializeToString() == before


def test_melody_classes_become_notes_at_the_tempo() -> None:
    labels = classes({0: 1, 1: 41, 4: 1, 6: 43, 9: 43})
    notes = to_notes(labels, MELODY, tempo_bpm=60)
    assert notes[["start_s", "end_s", "pitch"]].tolist() == [(0.25, 1.0, 60), (1.5, 2.25, 62), (2.25, 8.0, 62)]
    assert set(notes["velocity"]) == {80}


def test_a_melody_survives_notes_and_back() -> None:
    labels = classes({0: 41, 4: 1, 8: 43, 9: 43, 20: 89, 30: 2})
    np.testing.assert_array_equal(only_window(to_sequence(to_notes(labels, MELODY)), MELODY), labels)


def trio_labels() -> Labels:
    labels = np.zeros((32, 3), dtype=np.int64)
    labels[[0, 6, 16], 0] = [41, 45, 48]
    labels[[0, 8, 16, 24], 1] = [20, 1, 25, 22]
    labels[::4, 2] = [0b101, 0b100, 0b110, 0b100, 0b1_0000_0101, 0b100, 0b110, 0b111]
    return labels


def test_a_trio_survives_notes_and_back() -> None:
    notes = to_notes(trio_labels(), TRIO)
    assert set(notes["part"]) == {0, 1, 2}
    assert set(notes["program"][notes["part"] == 1]) == {33}
    assert set(notes["pitch"][notes["is_drum"]]) == {36, 38, 42, 51}
    np.testing.assert_array_equal(only_window(to_sequence(notes), TRIO), trio_labels())


def test_a_trio_needs_all_three() -> None:
    notes = to_notes(trio_labels(), TRIO)
    for missing in range(3):
        with pytest.raises(AudioError, match="holds no 2 bars of melody, bass and drums"):
            only_window(to_sequence(notes[notes["part"] != missing]), TRIO)


def test_silence_makes_no_notes() -> None:
    assert len(to_notes(classes({3: 1}), MELODY)) == 0
