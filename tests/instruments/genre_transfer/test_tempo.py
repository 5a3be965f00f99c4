from __future__ import annotations

import numpy as np
import pytest

from backend.instruments.genre_transfer.tempo import Beats, at_the_level_of, track
from tests.instruments.genre_transfer.sounds import clicks, notes, stereo


@pytest.mark.parametrize("tempo_bpm", [84.0, 120.0, 150.0])
def test_beats_lie_on_the_clicks(tempo_bpm: float) -> None:
    times = [0.3 + k * 60 / tempo_bpm for k in range(int(7.5 * tempo_bpm / 60))]
    beats = track(stereo(clicks(times, 8.0)))
    assert beats.tempo_bpm == pytest.approx(tempo_bpm, rel=0.01)
    off = np.abs(beats.times_s[:, None] - np.array(times)).min(0)
    assert off.max() < 0.015


def test_beats_reach_from_before_the_start_to_after_the_end() -> None:
    beats = track(stereo(clicks([1 + k * 0.5 for k in range(10)], 8.0)))
    assert beats.times_s[0] <= 0.0
    assert beats.times_s[-1] >= 8.0


@pytest.mark.parametrize("samples", [np.zeros(5 * 44_100), clicks([0.2], 1.0), np.zeros(10)])
def test_silence_and_what_is_short_have_no_beats(samples: np.ndarray) -> None:
    assert len(track(stereo(samples))) == 0


def test_a_drone_is_tracked_without_an_error() -> None:
    assert track(stereo(notes([220.0], 5.0))).tempo_bpm >= 0


@pytest.mark.parametrize(("tempo", "wanted", "found"), [(174, 90, 87), (70, 140, 140), (120, 130, 120), (60, 240, 240)])
def test_the_metrical_level_nearest_in_octaves_is_chosen(tempo: float, wanted: float, found: float) -> None:
    beats = Beats(np.arange(17) * 60 / tempo, tempo)
    level = at_the_level_of(beats, wanted)
    assert level.tempo_bpm == pytest.approx(found)
    assert np.diff(level.times_s) == pytest.approx(60 / found)
