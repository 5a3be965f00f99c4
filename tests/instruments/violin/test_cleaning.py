"""Noise is reduced where there is noise, and a clean recording is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from backend.audio.loudness import integrated_lufs, true_peak_db
from backend.audio.spectral import multi_resolution_log_mel_l1
from backend.audio.waveform import Waveform
from backend.instruments.violin.cleaning import clean, high_passed, signal_to_noise_db
from tests.instruments.violin.bowed import RATE, bowed


@pytest.fixture(scope="module")
def dry() -> np.ndarray:
    return bowed(3, 5.0)[0].samples[0].astype(np.float64)


def noisy(dry: np.ndarray, snr_db: float) -> Waveform:
    noise = np.random.default_rng(0).normal(size=dry.size) * np.sqrt(np.mean(dry**2)) * 10 ** (-snr_db / 20)
    return Waveform((dry + noise).astype(np.float32), RATE)


def ratio_db(found: np.ndarray, dry: np.ndarray) -> float:
    """Signal to error at the best gain, over the length that both have."""
    shift = (
        max(range(0, 4000, 1), key=lambda s: float(found[:RATE] @ dry[s : s + RATE])) if len(found) != len(dry) else 0
    )
    dry = dry[shift : shift + len(found)]
    found = found[: len(dry)]
    gain = found @ dry / (dry @ dry)
    return float(10 * np.log10(np.sum((gain * dry) ** 2) / np.sum((found - gain * dry) ** 2)))


@pytest.mark.parametrize(("snr_db", "gain_db"), [(10.0, 4.0), (15.0, 3.0)])
def test_noise_is_reduced(dry: np.ndarray, snr_db: float, gain_db: float) -> None:
    cleaned, notes = clean(noisy(dry, snr_db))
    assert ratio_db(cleaned.samples[0].astype(np.float64), dry) > snr_db + gain_db
    assert any("Background noise" in note for note in notes)


def test_a_clean_recording_is_only_levelled(dry: np.ndarray) -> None:
    quiet = noisy(dry, 50.0)
    cleaned, notes = clean(quiet)
    assert notes == ()
    start = max(range(4000), key=lambda s: float(cleaned.samples[0, :RATE] @ quiet.samples[0, s : s + RATE]))
    reference = quiet.samples[0, start : start + cleaned.n_samples]
    found = cleaned.samples[0, : len(reference)] * np.sqrt(np.mean(reference**2) / np.mean(cleaned.samples[0] ** 2))
    middle = slice(RATE // 2, -RATE)
    assert multi_resolution_log_mel_l1(found[middle], reference[middle]) < 0.05


def test_loudness_and_headroom_are_set(dry: np.ndarray) -> None:
    for level in (0.05, 1.0):
        cleaned, _ = clean(Waveform((level * dry).astype(np.float32), RATE))
        assert integrated_lufs(cleaned) == pytest.approx(-20.0, abs=0.3)
        assert true_peak_db(cleaned) <= -0.9


def test_rumble_and_offset_go_and_the_lowest_string_stays() -> None:
    t = np.arange(2 * RATE) / RATE
    tone = 0.2 * np.sin(2 * np.pi * 196 * t)
    filtered = high_passed(Waveform((tone + 0.1 + 0.2 * np.sin(2 * np.pi * 15 * t)).astype(np.float32), RATE)).samples[
        0
    ]
    inner = slice(RATE // 2, -RATE // 2)
    assert np.abs(filtered[inner] - tone[inner]).max() < 0.01


def test_silence_at_the_ends_is_cut_off(dry: np.ndarray) -> None:
    padded = np.concatenate([np.zeros(2 * RATE), dry, np.zeros(3 * RATE)])
    cleaned, notes = clean(
        Waveform((padded + 1e-4 * np.random.default_rng(1).normal(size=padded.size)).astype(np.float32), RATE)
    )
    assert cleaned.duration_s == pytest.approx(dry.size / RATE, abs=0.7)
    assert any("silence at the ends" in note for note in notes)


@pytest.mark.parametrize("snr_db", [10.0, 20.0])
def test_the_noise_floor_is_measured_under_music(dry: np.ndarray, snr_db: float) -> None:
    assert signal_to_noise_db(noisy(dry, snr_db)) == pytest.approx(snr_db, abs=2.0)


def test_nothing_is_made_of_silence() -> None:
    silent = Waveform(np.zeros(RATE, np.float32), RATE)
    assert clean(silent) == (silent, ())
