from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from backend.instruments.neurons.cqt import TINY
from backend.instruments.neurons.scalogram import FLOOR, SCALE, Scalogram


def sine(frequency: float, seconds: float = 2.0, amplitude: float = 0.5) -> torch.Tensor:
    t = np.arange(round(seconds * TINY.sample_rate)) / TINY.sample_rate
    return torch.from_numpy(amplitude * np.sin(2 * np.pi * frequency * t)).float()[None]


def test_the_level_is_the_log_of_the_power() -> None:
    level = Scalogram(TINY)(sine(440.0), True)[0, 0, 24]
    assert torch.allclose(level, torch.tensor(math.log1p(0.25 / FLOOR) * SCALE), atol=5e-3)


@pytest.mark.parametrize("cents", [0, 30, -30])
def test_the_phase_difference_says_how_far_a_sine_is_from_its_bin(cents: int) -> None:
    frequency = round(440.0 * 2 ** (cents / 1200) * 2) / 2  # a whole number of turns in two seconds
    turns = (frequency - 440.0) * TINY.hop / TINY.sample_rate
    phase = Scalogram(TINY)(sine(frequency), True)[0, 1, 24]
    assert torch.allclose(phase, torch.tensor(2 * turns), atol=1e-3)


def test_silence_is_zero_and_has_a_finite_gradient() -> None:
    silence = torch.zeros(1, 4_000, requires_grad=True)
    seen = Scalogram(TINY)(silence, True)
    assert seen.abs().max() == 0
    seen.sum().backward()
    assert silence.grad is not None and silence.grad.isfinite().all()


@pytest.mark.parametrize("level", [1e-30, 1e-12, 1e-6, 1.0, 100.0])
def test_gradients_stay_finite_from_silence_to_overload(level: float) -> None:
    sound = (torch.randn(1, 4_000, generator=torch.Generator().manual_seed(0)) * level).requires_grad_()
    seen = Scalogram(TINY)(sound, True)
    seen.square().sum().backward()
    assert seen.isfinite().all()
    assert sound.grad is not None and sound.grad.isfinite().all()


def test_a_sound_that_ends_abruptly_has_a_bounded_gradient() -> None:
    sound = sine(440.0)
    sound[:, 8_000:] = 0
    sound.requires_grad_()
    Scalogram(TINY)(sound, True)[:, 1].sum().backward()
    assert sound.grad is not None and float(sound.grad.abs().max()) < 1e4


def test_frames_of_a_loop_divide_it_evenly_and_are_a_multiple() -> None:
    scalogram = Scalogram(TINY, multiple=8)
    assert scalogram.frames(2 * TINY.sample_rate) == 200
    assert scalogram(sine(440.0, 1.03), True).shape[-1] == 104
    assert scalogram(torch.zeros(1, 5), True).shape[-1] == 8


def test_the_first_frame_of_a_sound_has_no_phase_difference() -> None:
    assert Scalogram(TINY)(sine(450.0))[0, 1, :, 0].abs().max() == 0
