from __future__ import annotations

import numpy as np
import pytest

from backend.instruments.genre_transfer.rhythm import align, donate, find_hits, replace_hits
from backend.instruments.genre_transfer.tempo import Beats
from tests.instruments.genre_transfer.sounds import RATE, clicks, notes, stereo


def samples(mono: np.ndarray) -> np.ndarray:
    return stereo(mono).samples


def grid(tempo_bpm: float, seconds: float) -> Beats:
    return Beats(np.arange(0, seconds + 60 / tempo_bpm, 60 / tempo_bpm), tempo_bpm)


def test_hits_are_found_to_the_millisecond() -> None:
    times = [0.25, 0.6, 1.1, 1.4, 1.9]
    found = find_hits(samples(clicks(times, 2.5)), RATE).starts / RATE
    assert found == pytest.approx(times, abs=0.002)


def test_new_drums_begin_where_the_old_ones_did() -> None:
    times = [0.2, 0.5, 0.9, 1.3, 1.75]
    rng = np.random.default_rng(0)
    kit = samples(clicks([0.3 * k for k in range(1, 8)], 2.5, 0.01, 3))
    made = replace_hits(samples(clicks(times, 2.5)), kit, 0 * kit, RATE, rng)
    assert made is not None
    assert find_hits(made, RATE).starts / RATE == pytest.approx(times, abs=0.003)


def test_a_groove_keeps_its_pattern_at_the_contents_tempo() -> None:
    pattern = [0.0, 0.75, 1.5, 2.0, 3.0]  # beats of a bar
    style_times = [(4 * bar + beat) * 0.5 + 0.05 for bar in range(3) for beat in pattern]
    style, content = samples(clicks(style_times, 6.2)), samples(clicks([k * 0.6 for k in range(1, 12)], 7.2))
    style_beats = Beats(0.05 + 0.5 * np.arange(13), 120.0)
    alignment = align(style, style_beats, content, grid(100, 7.2), RATE)
    assert alignment is not None
    made = donate(style, 0 * style, alignment, content.shape[1], RATE)
    assert made is not None
    beats = find_hits(made, RATE).starts / RATE / 0.6
    shift = (np.array(pattern)[None] - beats[2:-2, None] % 4 + 2) % 4 - 2
    rotations = [np.abs((shift + r + 2) % 4 - 2).min(1).max() for r in range(4)]
    assert min(rotations) < 0.02


def test_style_time_runs_through_the_repeated_bars() -> None:
    style, content = (
        samples(clicks([0.5 * k for k in range(8)], 4.0)),
        samples(clicks([0.5 * k for k in range(16)], 8.0)),
    )
    alignment = align(style, grid(120, 4), content, grid(120, 8), RATE)
    assert alignment is not None
    times = alignment.style_times(np.array([0.6, 4.6]))
    assert times[0] == pytest.approx(times[1], abs=1e-6)
    assert abs((times[0] - 0.6) / 0.5 - round((times[0] - 0.6) / 0.5)) < 1e-6


def test_too_few_hits_make_no_kit() -> None:
    drone = samples(notes([220.0], 2.0) * 0)
    rng = np.random.default_rng(0)
    assert replace_hits(drone, samples(clicks([0.2, 0.6, 1.0, 1.5], 2.0)), drone, RATE, rng) is None
    assert align(drone, Beats(np.zeros(0), 0.0), drone, grid(120, 2), RATE) is None
