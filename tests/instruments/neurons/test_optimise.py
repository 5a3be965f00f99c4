"""The ascent: it rises, it is safe whatever comes in, and every knob does what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from backend.audio.loudness import integrated_lufs, true_peak_db
from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.neurons.optimise import Optimiser, curve
from backend.instruments.neurons.penalties import band_levels
from backend.instruments.neurons.settings import Settings, Target
from tests.instruments.neurons.listening import RATE, Plain, Spoiled, StandIn, noise, optimiser, plain, tone

TARGET = Target(layer="second", channel=3)
SETTINGS = Settings(targets=(TARGET,), learning_rate=0.005)


def run(settings: Settings, steps: int = 15, start: Waveform | None = None, seed: int = 0) -> Optimiser:
    made = optimiser(settings, start, seed)
    for _ in range(steps):
        made.step()
    return made


def rise(made: Optimiser, settings: Settings, start: Waveform | None = None) -> float:
    return made.measure()[0] - optimiser(settings, start).measure()[0]


@pytest.mark.parametrize("parameterisation", ["waveform", "spectral"])
@pytest.mark.parametrize("layer", ["first", "second", "third"])
def test_the_activation_of_the_target_rises(layer: str, parameterisation: str) -> None:
    settings = plain(Target(layer=layer, channel=2), parameterisation=parameterisation, learning_rate=0.001)
    made = optimiser(settings)
    figures = [made.step() for _ in range(15)]
    values = curve(figures)[:, 0]
    assert values[-5:].mean() > values[:5].mean() + 0.1
    assert figures[0].targets == (figures[0].activation,)


def test_a_negative_weight_silences() -> None:
    settings = plain(Target(layer="second", channel=3, weight=-1.0))
    made = run(settings, start=noise())
    before, after = optimiser(settings, noise()).measure()[1][0], made.measure()[1][0]
    assert after < before


def test_the_same_seed_gives_the_same_loop_and_another_seed_another() -> None:
    first, again, other = (run(SETTINGS, 3, seed=seed).loop for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_one_update_changes_the_loop_by_the_learning_rate() -> None:
    made = optimiser(plain(learning_rate=0.002), tone(amplitude=0.05))  # far below the ceiling of its level
    before = made.loop.clone()
    made.step()
    assert float((made.loop - before).square().mean().sqrt()) == pytest.approx(0.002, rel=0.02)


@pytest.mark.parametrize("settings", [plain(learning_rate=1e9), Settings(targets=(TARGET,), learning_rate=math.inf)])
def test_an_absurd_learning_rate_is_absorbed(settings: Settings) -> None:
    made = run(settings, 8)
    assert float(made.loop.square().mean().sqrt()) <= 0.3 / 2**0.5 + 1e-4  # no louder than the start
    sound = made.audio()
    assert np.isfinite(sound.samples).all() and true_peak_db(sound) <= -0.99 and integrated_lufs(sound) <= -17.9


def test_a_gradient_that_is_not_a_number_leaves_the_loop_and_what_follows_intact() -> None:
    made = optimiser(SETTINGS, network=Spoiled())
    before = made.loop.clone()
    figures = [made.step() for _ in range(3)]
    assert all(one.skipped and one.activation == 0 for one in figures) and torch.equal(made.loop, before)
    made.change(plain(Target(layer="first", channel=2)))  # a layer that answers
    assert not made.step().skipped and not torch.equal(made.loop, before)


@pytest.mark.parametrize(
    "start",
    [
        Waveform(np.zeros(RATE, np.float32), RATE),
        Waveform(np.ones(RATE, np.float32), RATE),
        Waveform(np.sign(noise().samples), RATE),
        Waveform(np.stack([tone().samples[0]] * 8), RATE),
        tone(rate=48_000),
    ],
    ids=["silence", "offset", "full-scale noise", "eight channels", "another rate"],
)
def test_any_start_becomes_a_safe_loop_of_the_same_length(start: Waveform) -> None:
    made = run(SETTINGS, 5, start)
    sound = made.audio()
    assert sound.samples.shape == (1, RATE) and sound.sample_rate == RATE
    assert true_peak_db(sound) <= -0.99 and integrated_lufs(sound) <= -17.5
    assert made.change_rms() > 0


def test_a_loop_too_short_to_hear_is_refused() -> None:
    with pytest.raises(RequestError, match="start"):
        optimiser(SETTINGS, tone(seconds=0.1))


def test_a_change_takes_effect_on_the_next_step_and_a_refused_one_changes_nothing() -> None:
    made = optimiser(plain(learning_rate=0.01))
    made.step()
    made.change(plain(learning_rate=0.0))
    before = made.loop.clone()
    made.step()
    assert torch.equal(made.loop, before)
    with pytest.raises(RequestError, match="channel"):
        made.change(plain(Target(layer="second", channel=99)))
    assert made.settings.learning_rate == 0 and made.settings.targets == (TARGET,)
    made.change(plain(Target(layer="third", channel=1), parameterisation="spectral"))
    assert len(made.step().targets) == 1 and not torch.equal(made.loop, before)


def test_mix_plays_between_start_and_loop() -> None:
    made = run(plain(learning_rate=0.02, mix=0.0), 5)
    still, start = made.audio().samples[0], tone().samples[0]
    assert np.corrcoef(still, start)[0, 1] > 0.9999
    made.change(plain(mix=1.0))
    moved = np.corrcoef(made.audio().samples[0], start)[0, 1]
    made.change(plain(mix=0.5))
    assert moved < np.corrcoef(made.audio().samples[0], start)[0, 1] < 0.9999


def test_pull_keeps_the_loop_nearer_to_its_start() -> None:
    assert run(plain(pull=0.2)).change_rms() < 0.6 * run(plain()).change_rms()


def test_denoising_leaves_less_hiss() -> None:
    free, gated = (
        run(plain(denoise=knob, gradient_noise=2.0, parameterisation="waveform")).loop for knob in (0.0, 1.0)
    )
    floors = [float(torch.fft.rfft(loop).abs()[2000:].median()) for loop in (free, gated)]
    assert floors[1] < 0.7 * floors[0]


def test_equaliser_knobs_move_the_loops_bands() -> None:
    cut, boosted = (band_levels(run(plain(eq_low=knob), start=noise()).loop, RATE) for knob in (-1.0, 1.0))
    assert float(cut[0] / cut[1]) < 0.5 * float(boosted[0] / boosted[1])


def test_momentum_keeps_the_direction() -> None:
    def agreement(momentum: float) -> float:
        made = optimiser(plain(momentum=momentum, gradient_noise=2.0))
        moves = []
        for _ in range(6):
            before = made.loop.clone()
            made.step()
            moves.append(made.loop - before)
        return float(torch.nn.functional.cosine_similarity(moves[-1], moves[-2], dim=0))

    assert agreement(0.9) > agreement(0.0) + 0.2


def test_the_activation_penalty_keeps_the_other_neurons_quieter() -> None:
    def others(knob: float) -> float:
        made = run(plain(activation_penalty=knob), 20)
        network = StandIn()
        found = network.respond(network.scalogram(made.loop[None]))["second"][0]
        return float(torch.cat([found[:3], found[4:]]).relu().mean())

    assert others(5.0) < 0.8 * others(0.0)


def test_the_noise_penalty_makes_the_scalogram_smoother() -> None:
    def variation(knob: float) -> float:
        power = StandIn().scalogram(run(plain(noise_penalty=knob), 20).loop[None])[0, 0]
        return float(power.diff(dim=0).abs().mean() + power.diff(dim=1).abs().mean())

    assert variation(10.0) < 0.9 * variation(0.0)


@pytest.mark.parametrize("knob", [{"time_shift": 1.0}, {"pitch_shift": 4.0}, {"mask_time": 0.5}, {"mask_pitch": 0.5}])
def test_transforms_touch_all_versions_but_the_first(knob: dict[str, float]) -> None:
    alone, both = (optimiser(plain(batch=batch, **knob)) for batch in (1, 2))
    untouched = optimiser(plain())
    for made in (alone, both, untouched):
        made.step()
    assert torch.equal(alone.loop, untouched.loop) and not torch.equal(both.loop, untouched.loop)


def test_time_shifts_make_the_result_robust_to_the_place_of_the_seam() -> None:
    """Where a time region is targeted, the region moves along: the loop rises there and not elsewhere."""
    target = Target(layer="first", channel=2, time=(0.5, 0.75))
    made = run(plain(target, time_shift=1.0, batch=2), 25, noise())
    network = StandIn()
    change = (
        network.respond(network.scalogram(made.loop[None]), ["first"])["first"][0, 2]
        - network.respond(network.scalogram(torch.from_numpy(noise().samples)), ["first"])["first"][0, 2]
    ).mean(0)
    assert float(change[52:73].mean()) > 3 * max(0.0, float(change[:45].mean()))


def test_silence_is_woken() -> None:
    silence = Waveform(np.zeros(RATE, np.float32), RATE)
    assert rise(run(SETTINGS, 15, silence), SETTINGS, silence) > 0.1


def test_the_normaliser_sets_the_scale_of_what_is_reported() -> None:
    class Halved(Plain):
        def apply(self, name: str, activation: torch.Tensor) -> torch.Tensor:
            return (activation - 1) / 2

    halved = Optimiser(StandIn(), tone(), plain(), 0, normaliser=Halved())
    assert halved.measure()[0] == pytest.approx((optimiser(plain()).measure()[0] - 1) / 2, rel=1e-4)
