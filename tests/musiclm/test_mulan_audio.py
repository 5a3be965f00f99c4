"""The audio tower's front end, checked with tones and clicks whose pitch and tempo are known."""

import math

import pytest
import torch
from torch import Tensor

from backend.musiclm.mulan_audio import (
    FRAME_RATE,
    LAGS,
    LOUDEST_LOG,
    LOWEST_HZ,
    N_BANDS,
    SAMPLE_RATE,
    AudioTower,
    KeyFreeChroma,
    SemitoneSpectrogram,
    chroma_profiles,
    tempogram,
)

FRONTEND = SemitoneSpectrogram()


def tones(frequencies: list[float], seconds: float = 2.0) -> Tensor:
    """Sum of sines ``[1, samples]``."""
    time = torch.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return sum((0.2 * torch.sin(2 * math.pi * f * time) for f in frequencies), torch.zeros_like(time))[None]


def clicks(bpm: float, seconds: float = 10.0) -> Tensor:
    """Decaying noise bursts, one a beat."""
    noise = torch.randn(int(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(1))
    phase = (torch.arange(len(noise)) / SAMPLE_RATE * bpm / 60) % 1
    return (0.3 * noise * torch.exp(-30 * phase))[None]


@pytest.mark.parametrize("semitone", [24, 36, 47, 48, 60, 84])
def test_a_tone_peaks_in_the_band_of_its_semitone(semitone: int) -> None:
    spectrogram = FRONTEND(tones([LOWEST_HZ * 2 ** (semitone / 12)]))
    assert spectrogram.shape == (1, N_BANDS, 2 * FRAME_RATE)
    assert int(spectrogram[0].mean(-1).argmax()) == semitone


def test_a_tenth_of_the_amplitude_lies_a_natural_log_of_ten_lower() -> None:
    tone = tones([LOWEST_HZ * 8])
    difference = FRONTEND(tone)[0, 36, 50] - FRONTEND(tone / 10)[0, 36, 50]
    assert float(difference) * LOUDEST_LOG == pytest.approx(math.log(10), rel=0.01)


def test_silence_is_finite_and_flat() -> None:
    spectrogram = FRONTEND(torch.zeros(1, SAMPLE_RATE))
    assert torch.isfinite(tempogram(spectrogram)).all() and torch.isfinite(chroma_profiles(spectrogram)).all()
    assert float(spectrogram.std()) < 1e-5


@pytest.mark.parametrize("bpm", [60, 96, 120, 150])
def test_the_tempograms_highest_lag_is_the_beat(bpm: int) -> None:
    profile = tempogram(FRONTEND(clicks(bpm))).mean((0, 1))
    lag = LAGS[0] + int(profile.argmax())
    beats = lag / (60 / bpm * FRAME_RATE)
    assert abs(beats - round(beats)) < 0.06 and round(beats) >= 1
    beat = round(60 / bpm * FRAME_RATE) - LAGS[0]
    assert float(profile[beat]) > 0.6 * float(profile.max())


def test_chroma_of_a_transposed_chord_is_the_chord_rolled() -> None:
    c_major, d_major = ([261.63 * 2 ** ((i + shift) / 12) for i in (0, 4, 7)] for shift in (0, 2))
    a, b = (chroma_profiles(FRONTEND(tones(chord)))[0, 1] for chord in (c_major, d_major))
    assert torch.nn.functional.cosine_similarity(a.roll(2), b, dim=0) > 0.97
    assert sorted(((a.topk(3).indices + 4) % 12).tolist()) == [0, 4, 7]  # the first class is E


def test_harmony_features_are_the_same_in_every_key() -> None:
    module = KeyFreeChroma(16, 8)
    profile = torch.randn(3, 2, 12, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(module(profile), module(profile.roll(5, -1)), atol=1e-5)
    assert not torch.allclose(module(profile), module(profile.flip(-1)), atol=1e-3)


def test_tower_hears_the_same_through_samples_and_through_the_cached_spectrogram() -> None:
    tower = AudioTower(64, 2).eval()
    sound = clicks(100, 4.0)
    with torch.no_grad():
        out, layers = tower(sound, return_all_layers=True)
        assert out.shape == (1, 64) and layers.shape == (1, 1, 10, 64)
        assert torch.allclose(out, tower(FRONTEND(sound)), atol=1e-5)


def test_the_spectrogram_stays_exact_under_autocast() -> None:
    sound = clicks(100, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(FRONTEND(sound), FRONTEND(sound.double().float()))
        assert FRONTEND(sound).dtype == torch.float32
