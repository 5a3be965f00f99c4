"""Each regulariser of the input as a pure function: what it moves, what it leaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.instruments.neurons import transforms
from backend.instruments.neurons.frames import LoopFrames
from tests.instruments.neurons.listening import CPU, RATE, StandIn, noise, tone

NETWORK = StandIn()
FRAMES = LoopFrames(RATE, RATE, CPU)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(sound: object) -> torch.Tensor:
    return torch.from_numpy(sound.samples[0])  # type: ignore[attr-defined]


def test_the_first_version_is_the_loop_itself_and_the_others_are_rotations_within_the_knob() -> None:
    loop = torch.arange(1000.0)
    shifts = transforms.time_shifts(200, 0.5, 1000, generator())
    assert shifts[0] == 0 and min(shifts) < -200 and max(shifts) > 200 and max(map(abs, shifts)) <= 250
    moved = transforms.shifted(loop, shifts)
    assert all(torch.equal(row.roll(-shift), loop) for row, shift in zip(moved, shifts, strict=True))


def test_a_pitch_shift_of_the_scalogram_is_that_of_the_tone() -> None:
    silence = torch.zeros_like(NETWORK.scalogram(samples(tone(440))[None])[0])
    low = NETWORK.scalogram(samples(tone(440))[None])[0]
    high = NETWORK.scalogram(samples(tone(880))[None])[0]
    assert torch.allclose(transforms.pitch_shift(low, 12, silence)[0], high[0], atol=0.15)
    assert not torch.allclose(low[0], high[0], atol=1.0)
    back = transforms.pitch_shift(transforms.pitch_shift(low, 3, silence), -3, silence)
    assert torch.equal(back[:, :-3], low[:, :-3]) and bool((back[:, -3:] == 0).all())


def test_masks_hide_no_more_than_their_knobs_and_one_rectangle_of_each() -> None:
    picture, silence = torch.ones(2, 40, 100), torch.zeros(2, 40, 100)
    shares = []
    for seed in range(50):
        hidden = transforms.mask_regions(picture, silence, 0.3, 0.2, generator(seed))[0] == 0
        columns, rows = hidden.all(0), hidden.all(1)
        assert columns.sum() <= 30 and rows.sum() <= 8
        assert torch.equal(hidden, columns[None] | rows[:, None])
        shares.append(float(hidden.float().mean()))
    assert max(shares) > 0.3 and min(shares) < 0.1
    assert torch.equal(transforms.mask_regions(picture, silence, 0.0, 0.0, generator()), picture)


def test_gradient_noise_turns_the_direction_by_the_angle_its_share_says() -> None:
    direction, hiss = torch.randn(2, 100_000, generator=generator())
    mixed = transforms.noisy(direction, hiss, 1.0)
    assert float(mixed.square().mean()) == pytest.approx(1.0, abs=1e-3)
    assert float((mixed * transforms.unit(direction)).mean()) == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert torch.equal(transforms.unit(torch.zeros(5)), torch.zeros(5))


def test_denoising_takes_hiss_and_leaves_tone_and_beat() -> None:
    hiss = samples(noise(rms=0.02))
    clean = samples(tone(440)).clone()
    clean[4000:4040] += 0.8
    kept = transforms.denoise(clean, 1.0, FRAMES)
    assert float((kept - clean).square().mean().sqrt()) < 0.1 * float(clean.square().mean().sqrt())
    gated = transforms.denoise(clean + hiss, 1.0, FRAMES)
    before, after = (float((sound - clean).square().mean()) for sound in (clean + hiss, gated))
    assert after < 0.6 * before
    assert torch.equal(transforms.denoise(hiss, 0.0, FRAMES), hiss)
    weak, strong = (float(transforms.denoise(hiss, strength, FRAMES).square().mean()) for strength in (0.3, 1.0))
    assert strong < weak < float(hiss.square().mean())


def test_denoising_is_circular() -> None:
    loop = samples(tone(440)) + samples(noise(rms=0.02))
    whole_hops = 10 * FRAMES.hop  # so that the frames are the same
    rolled = transforms.denoise(loop.roll(whole_hops), 0.7, FRAMES).roll(-whole_hops)
    inner = slice(2000, 5000)
    assert torch.allclose(rolled[inner], transforms.denoise(loop, 0.7, FRAMES)[inner], atol=5e-3)
    assert len(loop) == RATE
