"""Starting loops: deterministic, seamless, level; and any sound made into one."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from backend.audio.loudness import integrated_lufs, true_peak_db
from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.neurons.level import level_loop
from backend.instruments.neurons.loops import LOOPS, Meter, fit_loop, make_loop
from tests.instruments.neurons.listening import noise, tone

RATE = 24_000
METER = Meter(120.0, 2)


@functools.cache
def bundled(name: str) -> Waveform:
    return make_loop(name, METER, RATE)


def seam_jump(loop: Waveform) -> float:
    """The step from the last sample to the first, against the largest step inside."""
    samples = loop.samples[0].astype(np.float64)
    return float(abs(samples[0] - samples[-1]) / np.abs(np.diff(samples)).max())


def test_two_bars_at_120_are_four_seconds() -> None:
    assert METER.seconds == 4.0 and METER.samples(44_100) == 176_400
    assert bundled("house").samples.shape == (1, 96_000)


@pytest.mark.parametrize("name", LOOPS)
def test_a_bundled_loop_is_deterministic_seamless_level_and_follows_the_tempo(name: str) -> None:
    loop = bundled(name)
    assert np.array_equal(loop.samples, make_loop(name, METER, RATE).samples)
    assert integrated_lufs(loop) == pytest.approx(-18.0, abs=1.5) and true_peak_db(loop) <= -0.99
    assert seam_jump(loop) <= 1.0 and abs(float(loop.samples.mean())) < 1e-3
    assert make_loop(name, Meter(90.0, 2), RATE).duration_s == pytest.approx(16 / 3, abs=1e-3)


def test_bundled_loops_differ() -> None:
    loops = [bundled(name).samples[0] for name in LOOPS]
    for index, one in enumerate(loops):
        assert all(abs(np.corrcoef(one, other)[0, 1]) < 0.95 for other in loops[:index])


def test_the_house_beat_strikes_on_every_beat() -> None:
    loop = bundled("house").samples[0]
    windows = np.square(loop.reshape(32, 3000)[:, :1500]).mean(1)  # sixteenths
    assert set(np.argsort(windows)[-8:]) == set(range(0, 32, 4))


def test_silence_is_silent_and_noise_is_drawn_by_the_seed() -> None:
    assert not make_loop("silence", METER, RATE).samples.any()
    first, again, other = (make_loop("noise", METER, RATE, seed).samples for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    with pytest.raises(RequestError, match="start"):
        make_loop("polka", METER, RATE)


def test_a_longer_sound_is_cut_without_a_step_at_the_seam() -> None:
    long = tone(100.3, seconds=5.0, rate=RATE)  # whose cut would be anywhere in its period
    loop = fit_loop(long, METER, RATE)
    assert loop.n_samples == 96_000 and seam_jump(loop) < 1.05
    bare = Waveform(long.samples[:, :96_000], RATE)
    assert seam_jump(bare) > 1.2


def test_a_sound_of_the_loops_length_is_kept() -> None:
    loop = bundled("house")
    assert np.corrcoef(fit_loop(loop, METER, RATE).samples, loop.samples)[0, 1] > 0.9999


def test_a_shorter_sound_is_repeated_on_the_beat() -> None:
    hit = Waveform(tone(300, seconds=0.6, rate=RATE).samples * np.linspace(1, 0, 14_400, dtype=np.float32), RATE)
    loop = fit_loop(hit, METER, RATE).samples[0].reshape(4, 24_000)  # 0.6 s reach into the second beat
    assert np.allclose(loop[0], loop[3], atol=1e-4) and np.abs(loop[:, 15_000:]).max() < 1e-3


@pytest.mark.parametrize(
    "sound",
    [
        Waveform(np.zeros((1, 1), np.float32), 8_000),
        Waveform(np.ones((1, 192_000), np.float32), 192_000),
        Waveform(np.sign(noise(3.0).samples), 8_000),
        Waveform(np.repeat(noise(9.0).samples, 8, 0), 8_000),
        Waveform(np.full((2, 500_000), 1e-9, np.float32), 48_000),
    ],
    ids=["one sample", "offset at 192 kHz", "full-scale noise", "eight channels", "almost silence"],
)
def test_any_sound_becomes_a_safe_loop(sound: Waveform) -> None:
    loop = fit_loop(sound, METER, RATE)
    assert loop.samples.shape == (1, 96_000) and np.isfinite(loop.samples).all()
    assert true_peak_db(loop) <= -0.99 and integrated_lufs(loop) <= -17.9


def test_no_sound_is_refused() -> None:
    with pytest.raises(RequestError, match="start"):
        fit_loop(Waveform(np.zeros((1, 0), np.float32), RATE), METER, RATE)


def test_the_level_of_a_loop_is_held_whatever_comes_and_its_limiter_knows_no_seam() -> None:
    wild = np.zeros(24_000)
    wild[[5, 23_990]] = [1e30, -1e30]  # at both ends, and far above full scale
    wild[100:5000] = np.nan
    wild += 0.2 * np.sin(2 * np.pi * 50 * np.arange(24_000) / RATE)
    loop = level_loop(wild, RATE)
    assert np.isfinite(loop.samples).all() and true_peak_db(loop) <= -0.99
    hot = np.tile(tone(441, seconds=0.5, amplitude=0.9, rate=RATE).samples[0], 2)
    hot[:2000] *= 1.1
    level = level_loop(hot / 50, RATE)
    rolled = level_loop(np.roll(hot, 7000) / 50, RATE)
    assert np.allclose(np.roll(level.samples[0], 7000), rolled.samples[0], atol=2e-3)
