from __future__ import annotations

import numpy as np
import pytest

from backend.audio.waveform import Waveform
from backend.instruments.genre_transfer.separation import samples_of, separate, spectrum_of
from tests.instruments.genre_transfer.sounds import RATE, clicks, notes, stereo


def test_the_parts_add_up_to_the_mix() -> None:
    sound = stereo(notes([220, 330], 1.0) + clicks([0.5, 1.0, 1.5], 2.0))
    parts = separate(sound)
    np.testing.assert_allclose(parts.harmonic + parts.percussive + parts.residual, sound.samples, atol=1e-6)


def test_tones_go_to_the_harmonic_and_clicks_to_the_percussive_part() -> None:
    tones, hits = notes([330], 3.0), clicks([0.4, 1.0, 1.6, 2.2], 3.0)
    parts = separate(stereo(tones + hits))
    inner = slice(RATE // 4, -RATE // 4)

    def share(part: np.ndarray, source: np.ndarray) -> float:
        return float((part[0, inner] * source[inner]).sum() / (source[inner] ** 2).sum())

    assert share(parts.harmonic, tones) > 0.9
    assert share(parts.percussive, hits) > 0.6
    assert abs(share(parts.percussive, tones)) < 0.05
    assert abs(share(parts.harmonic, hits)) < 0.1


@pytest.mark.parametrize("samples", [1, 700, 5000])
def test_any_length_and_one_channel(samples: int) -> None:
    sound = Waveform(np.random.default_rng(0).uniform(-0.1, 0.1, (1, samples)).astype(np.float32), RATE)
    parts = separate(sound)
    assert parts.percussive.shape == (1, samples)
    np.testing.assert_allclose(parts.harmonic + parts.percussive + parts.residual, sound.samples, atol=1e-6)


@pytest.mark.parametrize("length", [100, 4096, 10_001])
def test_a_spectrum_becomes_its_sound_again(length: int) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, (2, length)).astype(np.float32)
    np.testing.assert_allclose(samples_of(spectrum_of(samples, 2048, 512), 2048, 512, length), samples, atol=1e-5)
