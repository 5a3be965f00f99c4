"""The oscillator bank: constant controls give a pure tone of the semitone, and phases run on without a seam."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from backend.audio.spectral import C1_HZ
from backend.musiclm.oscillators import MAX_DEVIATION, OscillatorBank

RATE, HOP, COUNT = 24_000, 480, 60


def bank_of(index: int, amplitude: float, bend: float = 0.0) -> OscillatorBank:
    """A bank that holds one tone whatever the features are."""
    bank = OscillatorBank(1, COUNT, HOP, RATE)
    with torch.no_grad():
        bank.controls.weight.zero_()
        bank.controls.bias[:COUNT] = -20.0
        bank.controls.bias[index] = math.log(amplitude)
        bank.controls.bias[COUNT + index] = bend
    return bank


def loudest_hz(audio: torch.Tensor) -> float:
    """Frequency of the largest peak, by parabolic interpolation of the windowed spectrum's logarithm."""
    spectrum = np.log(np.abs(np.fft.rfft(audio.numpy() * np.hanning(len(audio)))) + 1e-12)
    k = int(spectrum.argmax())
    a, b, c = spectrum[k - 1 : k + 2]
    return float((k + 0.5 * (a - c) / (a - 2 * b + c)) * RATE / len(audio))


@pytest.mark.parametrize("index", [9, 33, 57])
@torch.no_grad()
def test_equal_frames_sound_as_a_steady_tone_of_the_semitone(index: int) -> None:
    audio = bank_of(index, 0.3)(torch.zeros(1, 100, 1))[0]
    assert audio.shape == (100 * HOP,)
    middle = audio[HOP:-HOP]
    hertz = C1_HZ * 2 ** (index / 12)  # some of these are far from any multiple of the frame rate
    assert abs(1200 * math.log2(loudest_hz(middle) / hertz)) < 1.0
    t = torch.arange(len(middle)) / RATE * 2 * math.pi * hertz
    basis = torch.stack([t.cos(), t.sin()], 1)
    weights = torch.linalg.lstsq(basis, middle[:, None]).solution
    assert abs(float(weights.norm()) - 0.3) < 0.003
    assert float((middle - (basis @ weights)[:, 0]).square().mean().sqrt()) < 0.002  # one tone and nothing else


@torch.no_grad()
def test_a_deviation_bends_the_tone_by_at_most_forty_cents() -> None:
    audio = bank_of(45, 0.3, bend=20.0)(torch.zeros(1, 100, 1))[0]
    hertz = C1_HZ * 2 ** (45 / 12) * (1 + MAX_DEVIATION)
    assert abs(1200 * math.log2(loudest_hz(audio[HOP:-HOP]) / hertz)) < 2.0


@torch.no_grad()
def test_amplitude_follows_the_features_without_a_click() -> None:
    bank = bank_of(33, 0.2)
    bank.controls.weight[33] = 1.0
    features = torch.zeros(1, 60, 1)
    features[:, 30:] = -20.0
    audio = bank(features)[0]
    assert audio[: 29 * HOP].abs().max() > 0.15 and audio[32 * HOP :].abs().max() < 1e-4
    step = audio.diff().abs().max()
    assert step < 1.1 * 0.2 * 2 * math.pi * C1_HZ * 2 ** (33 / 12) / RATE


def test_loudness_and_pitch_can_be_learned() -> None:
    bank = bank_of(33, 0.2)
    bank(torch.zeros(2, 10, 1)).square().mean().backward()
    gradient = bank.controls.bias.grad
    assert gradient is not None and gradient.isfinite().all() and gradient[33].abs() > 0
