"""The design of ds003720, its event tables, and which volumes belong to which clip."""

from __future__ import annotations

import numpy as np
import pytest

from backend.errors import RequestError
from backend.instruments.brain.layout import (
    N_TEST,
    N_TRAIN,
    Event,
    dataset_design,
    mean_of_repeats,
    read_events,
    window_samples,
)

HEAD = "onset\tduration\tgenre\ttrack\tstart\tend\r\n"


def test_events_with_crlf_and_quoted_genres_are_read() -> None:
    events = read_events(HEAD + "15\t15\t'hiphop'\t72\t0.4\t15.4\r\n0\t15\tjazz\t9\t7.44\t22.44\r\n")
    assert [event.clip for event in events] == ["jazz.00009@7.44", "hiphop.00072@0.4"]
    assert (events[1].onset_s, events[1].genre, events[1].end_s) == (15.0, "hiphop", 15.4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("onset\tduration\ttrial_type\n0\t15\tface\n", "another dataset"),
        ("", "no rows"),
        ("\x1f\ufffd\0\n", "no text"),
        (HEAD + "0\tlong\tjazz\t9\t0\t15\n", "line 2"),
        (HEAD + "0\t15\t../etc\t9\t0\t15\n", "line 2"),
        (HEAD + "0\t15\tjazz\t9\tnan\t15\n", "line 2"),
    ],
)
def test_events_of_something_else_are_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        read_events(text)


def test_the_design_is_that_of_the_dataset() -> None:
    design = dataset_design(np.random.default_rng(0))
    assert design.train.shape == (12, 41) and design.test.shape == (6, 41)
    assert sorted(design.train[:, 1:].ravel()) == list(range(N_TRAIN))
    assert (np.bincount(design.test[:, 1:].ravel()) == 4).all() and design.test.max() == N_TEST - 1
    assert (design.train[1:, 0] == design.train[:-1, -1]).all()  # the first clip repeats the last of the run before
    assert (design.test[:, 0] == design.test[:, -1]).all()


def test_a_clip_is_the_mean_of_its_volumes_three_later_and_the_last_one_has_seven() -> None:
    volumes = np.arange(30, dtype=np.float32)[:, None]
    events = [Event(15.0 * i, 15.0, f"c{i}", "jazz") for i in range(3)]
    rows, windows = window_samples(volumes, events[1:], 1.5)
    assert rows[:, 0].tolist() == [np.arange(13, 23).mean(), np.arange(23, 30).mean()]
    assert windows == [(0, 0.0, 15.0), (1, 0.0, 15.0)]


def test_the_seeds_pairing_has_ten_windows_and_the_papers_four_of_seven_volumes() -> None:
    volumes, event = np.arange(40, dtype=np.float32)[:, None], [Event(0.0, 15.0, "c", "jazz")]
    ten, _ = window_samples(volumes, event, 1.5, pairing="ten_windows")
    four, windows = window_samples(volumes, event, 1.5, pairing="four_windows")
    assert ten[:, 0].tolist() == list(range(3, 13))
    assert four[:, 0].tolist() == [6, 7, 8, 9] and windows[0][2] - windows[0][1] == pytest.approx(10.5)
    with pytest.raises(ValueError, match="pairing"):
        window_samples(volumes, event, 1.5, pairing="two")


def test_repeats_are_averaged_in_order_of_first_appearance() -> None:
    rows, names = mean_of_repeats(np.array([[1.0], [2.0], [5.0]], np.float32), ["b", "a", "b"])
    assert names == ["b", "a"] and rows[:, 0].tolist() == [3.0, 2.0]
