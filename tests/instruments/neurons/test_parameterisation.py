"""Frames are a tight frame, and both parameterisations climb; the spectral one leaves pauses alone."""

from __future__ import annotations

import pytest
import torch

from backend.instruments.neurons.frames import LoopFrames
from backend.instruments.neurons.parameterisation import parameterisation
from backend.instruments.neurons.transforms import unit
from tests.instruments.neurons.listening import CPU, RATE, noise, tone


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [8000, 8001, 2048, 300])
def test_frames_of_a_loop_join_to_the_loop(size: int) -> None:
    loop = torch.randn(size, generator=generator())
    frames = LoopFrames(size, RATE, CPU)
    assert torch.allclose(frames.join(frames.split(loop)), loop, atol=1e-5)
    assert torch.allclose(frames.join(2 * frames.split(loop)), 2 * loop, atol=1e-5)


def test_a_frame_is_about_43_ms_at_any_rate() -> None:
    assert [LoopFrames(96_000, rate, CPU).n_fft for rate in (8_000, 24_000, 44_100, 48_000)] == [256, 1024, 2048, 2048]


def test_frames_go_on_past_the_end() -> None:
    frames = LoopFrames(RATE, RATE, CPU)
    click = torch.zeros(RATE)
    click[-1] = 1.0
    touched = frames.split(click).abs().sum(0) > 1e-3
    assert touched[: 2 * frames.n_fft // frames.hop].any()  # the frames before the loop's beginning, and those over it


@pytest.mark.parametrize("name", ["waveform", "spectral"])
def test_the_direction_rises_and_follows_the_gradients_sign(name: str) -> None:
    way = parameterisation(name, LoopFrames(RATE, RATE, CPU))
    loop = torch.from_numpy(tone().samples[0])
    for seed in range(3):
        gradient = torch.randn(RATE, generator=generator(seed))
        direction = way.direction(loop, gradient, 0.0, generator())
        assert float(direction @ gradient) > 0
        assert torch.allclose(way.direction(loop, -gradient, 0.0, generator()), -direction, atol=1e-4)


def test_the_spectral_direction_changes_what_sounds_and_spares_the_pause() -> None:
    loop = torch.from_numpy(tone().samples[0]).clone()
    loop[RATE // 2 :] = 0
    gradient = torch.from_numpy(noise().samples[0])
    directions = [
        unit(parameterisation(name, LoopFrames(RATE, RATE, CPU)).direction(loop, gradient, 0.0, generator()))
        for name in ("waveform", "spectral")
    ]
    flat, shaped = (float(one[5000:7000].square().mean() / one[1000:3000].square().mean()) for one in directions)
    assert flat == pytest.approx(1.0, abs=0.2) and shaped < 0.01
    near = torch.fft.rfft(directions[1]).abs().square()
    assert float(near[380:500].sum() / near.sum()) > 0.8  # around the tone


@pytest.mark.parametrize("name", ["waveform", "spectral"])
def test_noise_in_the_gradient_turns_the_direction_the_more_the_more_there_is(name: str) -> None:
    way = parameterisation(name, LoopFrames(RATE, RATE, CPU))
    loop, gradient = (torch.from_numpy(noise(seed=seed).samples[0]) for seed in (0, 1))
    clean = unit(way.direction(loop, gradient, 0.0, generator()))
    kept = [
        float((unit(way.direction(loop, gradient, share, generator())) * clean).mean()) for share in (0.3, 1.0, 2.0)
    ]
    assert 0.9 < kept[0] < 0.99 and kept[0] > kept[1] > kept[2] > 0
    again = way.direction(loop, gradient, 1.0, generator())
    assert torch.equal(again, way.direction(loop, gradient, 1.0, generator()))
