"""How well the optimiser excites what it is asked to: gain, robustness and specificity over random targets.

A target is one channel of a random layer. Its gain is the rise of its mean activation over the start, in deviations
over the validation set; robust is what is left of that when start and result are both moved in time and pitch by
amounts the optimiser never drew, as sound, not as scalogram; specific is a target that rose more than the other
channels of its layer.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.signal import resample
from torch import Tensor

from backend.audio.waveform import Waveform
from backend.instruments.neurons.loops import LOOPS, Meter, make_loop
from backend.instruments.neurons.networks import OpenNetwork
from backend.instruments.neurons.objective import layer_sizes
from backend.instruments.neurons.optimise import Optimiser
from backend.instruments.neurons.settings import Settings, Target

logger = logging.getLogger(__name__)

SEMITONES = (-1.5, -0.75, 0.75, 1.5)
"""Unseen shifts of pitch; the defaults draw whole bins within one semitone of the scalogram."""

UNREGULARISED: Mapping[str, Any] = {
    "momentum": 0.0, "time_shift": 0.0, "pitch_shift": 0.0, "mask_time": 0.0, "mask_pitch": 0.0,
    "gradient_noise": 0.0, "denoise": 0.0, "pull": 0.0, "activation_penalty": 0.0, "noise_penalty": 0.0, "batch": 1,
}  # fmt: skip
"""Plain gradient ascent with the same learning rate and parameterisation."""


@dataclass(frozen=True)
class Excited:
    """One target after optimisation.

    Attributes:
        layer: of the target.
        gain: rise in deviations.
        robust: share of the gain that is left under unseen shifts, averaged over them.
        rank: share of the layer's other channels that rose less.
        change: root mean square distance from the start over the start's own.
    """

    layer: str
    gain: float
    robust: float
    rank: float
    change: float


def random_targets(network: OpenNetwork, n: int, rng: np.random.Generator) -> list[Target]:
    """``n`` channels, the layers in turn so that all are among them; the scalogram is heard, not a layer to excite."""
    silence = torch.zeros(1, network.sample_rate)
    sizes = layer_sizes(network, network.scalogram(silence))
    layers = [name for name in network.layers if name != "scalogram"]
    order = [layers[i % len(layers)] for i in range(n)]
    return [Target(layer=layer, channel=int(rng.integers(sizes[layer].channels))) for layer in order]


def excite(
    network: OpenNetwork, targets: Sequence[Target], updates: int, changes: Mapping[str, Any] | None = None
) -> list[Excited]:
    """Optimise for each target alone, starting from the bundled loops in turn (two bars at 120 bpm).

    Args:
        network: who listens.
        targets: what is to rise.
        updates: of each; 25 are a pass of a live session on one thread.
        changes: of the default settings.
    """
    names, done = list(LOOPS), []
    for number, target in enumerate(targets):
        start = make_loop(names[number % len(names)], Meter(), network.sample_rate)
        settings = dataclasses.replace(Settings(targets=(target,)), **(changes or {}))
        optimiser = Optimiser(network, start, settings, number, normaliser=network.normaliser)
        for _ in range(updates):
            optimiser.step()
        done.append(_judged(network, target, start, optimiser, np.random.default_rng([7, number])))
        logger.info("%s %d: %s", target.layer, target.channel or 0, done[-1])
    return done


def summary(excited: Sequence[Excited]) -> dict[str, float]:
    """Medians over the targets; robustness only of those that rose at all."""
    rose = [one for one in excited if one.gain > 0]
    return {
        "gain_median": float(np.median([one.gain for one in excited])),
        "gain_lower_quartile": float(np.quantile([one.gain for one in excited], 0.25)),
        "robust_share": float(np.median([one.robust for one in rose])) if rose else 0.0,
        "specificity": float(np.mean([one.rank for one in excited])),
        "specificity_first": float(np.mean([one.rank == 1 for one in excited])),
        "change_median": float(np.median([one.change for one in excited])),
    }


def _judged(
    network: OpenNetwork, target: Target, start: Waveform, optimiser: Optimiser, rng: np.random.Generator
) -> Excited:
    before = torch.from_numpy(start.samples[0])
    after = torch.from_numpy(optimiser.audio().samples[0])  # what is played: levelled and limited
    channel = int(target.channel or 0)
    rises = _channels(network, target.layer, after) - _channels(network, target.layer, before)
    gain = float(rises[channel])
    left = []
    for semitones in SEMITONES:
        shift = int(rng.integers(len(before)))
        found = [_channels(network, target.layer, _moved(x, shift, semitones))[channel] for x in (after, before)]
        left.append(float(found[0] - found[1]))
    others = torch.cat([rises[:channel], rises[channel + 1 :]])
    rank = float((others < rises[channel]).float().mean()) if len(others) else 1.0
    change = optimiser.change_rms() / max(float(before.square().mean().sqrt()), 1e-9)
    return Excited(target.layer, gain, float(np.mean(left)) / max(gain, 1e-9), rank, change)


@torch.no_grad()
def _channels(network: OpenNetwork, layer: str, loop: Tensor) -> Tensor:
    """Mean normalised activation of every channel, ``[channels]``."""
    found = network.respond(network.scalogram(loop[None]), (layer,))[layer]
    out: Tensor = network.normaliser.apply(layer, found.float())[0].mean((1, 2))
    return out


def _moved(loop: Tensor, shift: int, semitones: float) -> Tensor:
    """A loop played from elsewhere, and faster or slower as a tape: pitch and tempo move together."""
    length = round(len(loop) / 2 ** (semitones / 12))
    return torch.from_numpy(resample(np.roll(loop.numpy(), shift), length).astype(np.float32))
