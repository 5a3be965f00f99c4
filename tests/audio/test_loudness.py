"""Loudness against the standard's reference tone; the limiter against an oversampled peak."""

import numpy as np
import pytest
from scipy.signal import resample_poly

from backend.audio.loudness import fade, integrated_lufs, limit, normalise_loudness, true_peak_db
from backend.audio.waveform import Waveform

RATE = 24_000
T = np.arange(2 * RATE) / RATE


def wave(samples: np.ndarray, rate: int = RATE) -> Waveform:
    return Waveform(np.asarray(samples, np.float32), rate)


def loud_sounds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "noise": rng.normal(size=(2, 2 * RATE)),
        "square": 1.5 * np.sign(np.sin(2 * np.pi * 440 * T)),
        "between samples": 1.2 * np.sin(2 * np.pi * 6000 * T + np.pi / 4),
        "click": 5.0 * (np.arange(2 * RATE) == 1000),
        "overflowing": 1e20 * rng.normal(size=RATE),
        "one sample": np.array([3.0]),
    }


@pytest.mark.parametrize("name", loud_sounds())
def test_limited_sound_stays_below_the_ceiling_between_samples_too(name: str) -> None:
    limited = limit(wave(loud_sounds()[name]), -1.0)
    dense = np.abs(resample_poly(limited.samples.astype(np.float64), 16, 1, axis=1)).max()
    assert 20 * np.log10(dense) < -0.7  # four times oversampling may miss half a decibel at the top of the band
    assert np.isfinite(limited.samples).all()


def test_sound_below_the_ceiling_is_untouched() -> None:
    quiet = wave(0.5 * np.sin(2 * np.pi * 440 * T))
    assert limit(quiet) is quiet


def test_silence_and_nothing_pass_the_limiter() -> None:
    for samples in (np.zeros(RATE), np.zeros((2, 0))):
        assert not limit(wave(samples)).samples.any()


def test_the_limiter_turns_down_only_around_the_peak() -> None:
    samples = 0.2 * np.sin(2 * np.pi * 440 * T)
    samples[RATE] = 4.0
    limited = limit(wave(samples)).samples[0]
    far = np.abs(np.arange(len(samples)) - RATE) > RATE // 3
    loud = np.abs(samples) > 0.1
    assert np.allclose(limited[far & loud], samples[far & loud], rtol=1e-5)


def test_one_gain_serves_all_channels() -> None:
    left = 2.0 * np.sin(2 * np.pi * 440 * T)
    limited = limit(wave(np.stack([left, 0.25 * left]))).samples
    assert np.allclose(limited[1], 0.25 * limited[0], atol=1e-6)


def test_true_peak_sees_the_peak_between_samples() -> None:
    """A tone at a quarter of the rate, 45 degrees off, samples at 0.707 of its peak."""
    samples = np.sin(2 * np.pi * 6000 * T + np.pi / 4) * np.hanning(len(T))
    assert np.abs(samples).max() < 0.71
    assert true_peak_db(wave(samples)) == pytest.approx(0.0, abs=0.1)
    assert true_peak_db(wave(np.zeros(100))) == -np.inf


def test_a_full_scale_997_hz_sine_measures_minus_3_01_lufs() -> None:
    samples = np.sin(2 * np.pi * 997 * np.arange(5 * 48_000) / 48_000)
    assert integrated_lufs(wave(samples, 48_000)) == pytest.approx(-3.01, abs=0.06)
    assert integrated_lufs(wave(samples[:4800], 48_000)) == pytest.approx(-3.01, abs=0.1)  # a tenth of a second


def test_silence_has_no_loudness_and_is_not_raised() -> None:
    silent, faint = wave(np.zeros(RATE)), wave(1e-6 * np.sin(2 * np.pi * 440 * T))
    assert integrated_lufs(silent) == integrated_lufs(faint) == integrated_lufs(wave(np.zeros(0))) == -np.inf
    assert normalise_loudness(silent) is silent


@pytest.mark.parametrize("level", [0.01, 0.3, 1.0])
def test_normalising_reaches_the_target(level: float) -> None:
    sound = normalise_loudness(wave(level * np.sin(2 * np.pi * 440 * T)), -18.0)
    assert integrated_lufs(sound) == pytest.approx(-18.0, abs=0.05)


def test_near_silence_is_raised_by_30_db_at_most() -> None:
    faint = wave(1e-3 * np.sin(2 * np.pi * 997 * T))
    assert integrated_lufs(normalise_loudness(faint)) == pytest.approx(integrated_lufs(faint) + 30, abs=0.1)


def test_fades_reach_zero_at_both_ends_and_leave_the_middle() -> None:
    faded = fade(wave(np.ones((2, RATE))), 0.1, 0.2).samples
    assert (faded[:, [0, -1]] == 0).all() and (np.diff(faded[0, :2400]) >= 0).all()
    assert (faded[:, 2400 : -RATE // 5] == 1).all()
    assert fade(wave(np.ones(1))).n_samples == 1 and fade(wave(np.zeros(0))).n_samples == 0
