"""Pull, equaliser and noise penalty do what their names say, by their own definitions."""

from __future__ import annotations

import pytest
import torch

from backend.instruments.neurons.penalties import band_levels, equaliser, noise_penalty, pulled
from tests.instruments.neurons.listening import RATE, StandIn, noise, tone

NETWORK = StandIn()


def loop(*hertz: float) -> torch.Tensor:
    return sum((torch.from_numpy(tone(one, amplitude=0.2).samples[0]) for one in hertz), torch.zeros(RATE))


def test_pull_goes_its_share_of_the_way() -> None:
    start, now = loop(440), loop(300)
    assert torch.allclose(pulled(now, start, 0.25) - start, 0.75 * (now - start), atol=1e-6)
    assert torch.equal(pulled(now, start, 0.0), now) and torch.allclose(pulled(now, start, 1.0), start)


def test_levels_of_the_three_bands_are_those_of_their_tones() -> None:
    levels = band_levels(loop(100) + 0.5 * loop(1000) + 0.25 * loop(3000), RATE)
    rms = 0.2 / 2**0.5
    assert levels.tolist() == pytest.approx([rms, rms / 2, rms / 4], rel=1e-3)


@pytest.mark.parametrize(("knobs", "hertz"), [((1, 0, 0), 100), ((0, 1, 0), 1000), ((0, 0, 1), 3000)])
def test_each_equaliser_knob_moves_its_own_band_only(knobs: tuple[int, int, int], hertz: int) -> None:
    sound = loop(100, 1000, 3000)
    direction = equaliser(sound, *knobs, RATE)
    assert torch.allclose(direction, loop(hertz) / loop(hertz).square().mean().sqrt(), atol=1e-3)
    louder = band_levels(sound + 0.01 * direction, RATE) - band_levels(sound, RATE)
    assert louder.tolist() == pytest.approx([0.01 * knob for knob in knobs], abs=1e-4)


def test_the_equaliser_is_the_gradient_of_the_band_levels() -> None:
    sound = torch.from_numpy(noise().samples[0]).requires_grad_(True)
    knobs = torch.tensor([0.7, -0.4, 0.2])
    (gradient,) = torch.autograd.grad((knobs * band_levels(sound, RATE)).sum(), sound)
    assert torch.allclose(equaliser(sound.detach(), *knobs.tolist(), RATE), gradient * len(sound), atol=1e-3)


def test_a_cut_comes_to_rest_at_silence() -> None:
    sound = loop(100, 1000)
    for _ in range(300):
        sound = sound + 0.005 * equaliser(sound, -1.0, 0.0, 0.0, RATE)
    low, mid, _ = band_levels(sound, RATE).tolist()
    assert low < 1e-4 and mid == pytest.approx(0.2 / 2**0.5, rel=1e-3)


def test_noise_costs_more_than_tone_beat_or_silence_of_the_same_power() -> None:
    beat = torch.zeros(RATE)
    beat[::2000] = 1.0
    sounds = [noise(rms=0.14).samples[0], tone(440, amplitude=0.2).samples[0], beat.numpy(), 0 * beat.numpy()]
    hiss, steady, struck, silent = (
        float(noise_penalty(NETWORK.scalogram(torch.from_numpy(sound)[None]))) for sound in sounds
    )
    assert hiss > 2 * steady and hiss > 1.2 * struck and silent == 0
