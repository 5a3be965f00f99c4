"""How well the optimiser excites what it is asked to: gain, robustness and specificity over random targets.

Targets are what a click on the map or the console can name: a channel, a range of its pitches, or a single neuron, over
the whole loop or in a part of it, the layers in turn. A target's activation in a sound is one number, the mean of its
neurons over its region. Gain is its rise over the start, in its own deviations over held-out sounds; beside it stands
the mean of the single neurons' rises, in theirs. Robust is the share of the gain that is left when start and result are
both moved in time and pitch by amounts that were not drawn in the ascent, as sound and not as scalogram. Specific is a
target that rose more than the same region of its layer's other channels.
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
from backend.instruments.neurons.objective import coverage, layer_sizes
from backend.instruments.neurons.optimise import Optimiser
from backend.instruments.neurons.settings import Settings, Target

logger = logging.getLogger(__name__)

SEMITONES = (-1.0, -0.35, 0.35, 1.0)
"""Unseen shifts of pitch; the ascent draws whole bins of the scalogram."""

KINDS = ("channel", "pitches", "neuron")
PITCHES = 1 / 4
"""Share of the pitch axis, and, in a part of the loop, of the loop."""

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
        gain: rise in deviations of the target's activation over held-out sounds.
        neurons: mean rise of its neurons, in deviations of each, as the console shows it.
        robust: share of the gain that is left under unseen shifts, averaged over them.
        rank: share of the layer's other channels that rose less.
        change: root mean square distance from the start over the start's own.
    """

    layer: str
    gain: float
    neurons: float
    robust: float
    rank: float
    change: float


def random_targets(network: OpenNetwork, n: int, rng: np.random.Generator) -> list[Target]:
    """``n`` regions, layers and kinds in turn so that all are among them, every other one in a part of the loop.

    The scalogram is what is heard, not a layer to excite.
    """
    sizes = layer_sizes(network, network.scalogram(torch.zeros(1, network.sample_rate)))
    layers = [name for name in network.layers if name != "scalogram"]
    chosen = []
    for number in range(n):
        layer = layers[number % len(layers)]
        size, kind = sizes[layer], KINDS[(number + number // len(layers)) % len(KINDS)]
        height = {"channel": size.pitch, "pitches": max(1, round(size.pitch * PITCHES)), "neuron": 1}[kind]
        low = int(rng.integers(size.pitch - height + 1))
        begin = float(rng.uniform())
        chosen.append(
            Target(
                layer=layer,
                channel=int(rng.integers(size.channels)),
                pitch=None if height == size.pitch else (low, low + height),
                time=(begin, (begin + PITCHES) % 1.0) if number % 2 else None,
            )
        )
    return chosen


@torch.no_grad()
def spread(network: OpenNetwork, targets: Sequence[Target], sounds: Tensor) -> list[float]:
    """Deviation of each target's activation over sounds ``[n, samples]`` of the length of a loop."""
    rows = []
    for sound in sounds:
        found = network.respond(network.scalogram(sound[None]))
        scaled = {name: network.normaliser.apply(name, value.float())[0] for name, value in found.items()}
        rows.append([float(_region(scaled[t.layer], t, 0.0)[int(t.channel or 0)]) for t in targets])
    return [float(value) for value in np.std(rows, 0)]


def excite(
    network: OpenNetwork,
    targets: Sequence[Target],
    spreads: Sequence[float],
    updates: int,
    changes: Mapping[str, Any] | None = None,
) -> list[Excited]:
    """Optimise for each target alone, starting from the bundled loops in turn (two bars at 120 bpm).

    Args:
        network: who listens.
        targets: what is to rise.
        spreads: of each, from `spread`.
        updates: of each; 25 are a pass of a live session on one thread.
        changes: of the default settings.
    """
    names, done = list(LOOPS), []
    for number, (target, deviation) in enumerate(zip(targets, spreads, strict=True)):
        start = make_loop(names[number % len(names)], Meter(), network.sample_rate)
        settings = dataclasses.replace(Settings(targets=(target,)), **(changes or {}))
        optimiser = Optimiser(network, start, settings, number, normaliser=network.normaliser)
        for _ in range(updates):
            optimiser.step()
        done.append(_judged(network, target, deviation, start, optimiser, np.random.default_rng([7, number])))
        logger.info("%s: %s", target, done[-1])
    return done


def summary(excited: Sequence[Excited]) -> dict[str, float]:
    """Medians over the targets; robustness only of those that rose at all."""
    rose = [one for one in excited if one.gain > 0]
    return {
        "gain_median": float(np.median([one.gain for one in excited])),
        "gain_median_single_neurons": float(np.median([one.neurons for one in excited])),
        "gain_lower_quartile": float(np.quantile([one.gain for one in excited], 0.25)),
        "robust_share": float(np.median([one.robust for one in rose])) if rose else 0.0,
        "specificity": float(np.mean([one.rank for one in excited])),
        "specificity_first": float(np.mean([one.rank == 1 for one in excited])),
        "change_median": float(np.median([one.change for one in excited])),
    }


def _judged(
    network: OpenNetwork,
    target: Target,
    deviation: float,
    start: Waveform,
    optimiser: Optimiser,
    rng: np.random.Generator,
) -> Excited:
    before = torch.from_numpy(start.samples[0])
    after = torch.from_numpy(optimiser.audio().samples[0])  # what is played: levelled and limited
    channel = int(target.channel or 0)
    rises = _channels(network, target, after) - _channels(network, target, before)
    rise = float(rises[channel])
    left = []
    for semitones in SEMITONES:
        share = float(rng.uniform())
        moved = [_channels(network, target, _moved(sound, share, semitones), share) for sound in (after, before)]
        left.append(float((moved[0] - moved[1])[channel]))
    others = torch.cat([rises[:channel], rises[channel + 1 :]])
    rank = float((others < rises[channel]).float().mean()) if len(others) else 1.0
    change = optimiser.change_rms() / max(float(before.square().mean().sqrt()), 1e-9)
    robust = float(np.mean(left)) / rise if rise > 0 else 0.0
    return Excited(target.layer, rise / max(deviation, 1e-9), rise, robust, rank, change)


@torch.no_grad()
def _channels(network: OpenNetwork, target: Target, loop: Tensor, shift: float = 0.0) -> Tensor:
    """Every channel's mean activation in the target's region, ``[channels]``; the loop begins ``shift`` late."""
    found = network.respond(network.scalogram(loop[None]), (target.layer,))[target.layer]
    return _region(network.normaliser.apply(target.layer, found.float())[0], target, shift)


def _region(scaled: Tensor, target: Target, shift: float) -> Tensor:
    """The mean over a region of normalised activations ``[channels, pitch, time]``: ``[channels]``."""
    low, high = target.pitch or (0, scaled.shape[1])
    over_time = scaled[:, low:high].mean(1)
    if target.time is None:
        return over_time.mean(1)
    region = coverage(*target.time, [shift], scaled.shape[2])[0].to(scaled)
    out: Tensor = (over_time * region).sum(1) / region.sum()
    return out


def _moved(loop: Tensor, share: float, semitones: float) -> Tensor:
    """A loop that begins later, and is played faster or slower as a tape: pitch and tempo move together."""
    length = round(len(loop) / 2 ** (semitones / 12))
    rolled = np.roll(loop.numpy(), round(share * len(loop)))
    return torch.from_numpy(resample(rolled, length).astype(np.float32))
