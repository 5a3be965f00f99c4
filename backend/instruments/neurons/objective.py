"""What is to rise: activations of chosen regions of a network, in deviations over its validation data.

The objective is the weighted mean over all targets of a region's mean normalised activation (Erhan et al. 2009; Olah et
al., Distill 2017). Beside it stands the activation of everything else in the targets' layers, which a penalty can keep
quiet so that the loop excites the chosen neurons and not the whole layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from backend.errors import RequestError
from backend.instruments.neurons.settings import Target

__all__ = ["LayerSize", "Network", "Normaliser", "Objective", "Response", "Target", "coverage", "layer_sizes"]


class Network(Protocol):
    """An ear: a scalogram and the layers that look at it. All time axes span the whole loop."""

    @property
    def label(self) -> str:
        """What a page calls it."""

    @property
    def sample_rate(self) -> int:
        """Hz of what it hears."""

    @property
    def bins_per_octave(self) -> int:
        """Resolution of its scalogram."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names, from the input to the output."""

    def scalogram(self, audio: Tensor) -> Tensor:
        """``[batch, samples]`` → ``[batch, 2, bins, frames]``: log power and phase difference of a loop."""

    def respond(self, scalogram: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Activations ``[batch, channels, pitch, time]`` of the named layers, before the last rectifier of each.

        A rectified neuron that is silent has no gradient and could never be woken.
        """


class Normaliser(Protocol):
    """Puts every neuron on one scale."""

    def apply(self, name: str, activation: Tensor) -> Tensor:
        """``(activation - mean at silence) / deviation over data``, ``[batch, channels, pitch, time]``."""


@dataclass(frozen=True)
class LayerSize:
    """Channels, rows of the pitch axis and steps a loop."""

    channels: int
    pitch: int
    steps: int


@dataclass(frozen=True)
class Response:
    """What a batch of loops did to the targets.

    Attributes:
        total: weighted mean over the targets, ``[batch]``.
        targets: mean normalised activation of each, ``[batch, targets]``.
        others: mean rectified activation of the channels that no target names, over the targets' layers, ``[batch]``.
    """

    total: Tensor
    targets: Tensor
    others: Tensor


@torch.no_grad()
def layer_sizes(network: Network, silence: Tensor) -> dict[str, LayerSize]:
    """The size of every layer, from one look at the scalogram of silence ``[1, 2, bins, frames]``."""
    found = network.respond(silence)
    return {name: LayerSize(*(int(n) for n in found[name].shape[1:])) for name in network.layers}


def coverage(start: float, stop: float, shifts: Sequence[float], steps: int) -> Tensor:
    """How much of each time step of a loop lies in a region of it, after the loop was shifted.

    Args:
        start: of the region, in shares of the loop.
        stop: of the region; below ``start`` the region reaches over the seam.
        shifts: circular shift of each item to the right, in shares of the loop.
        steps: of the layer.

    Returns:
        ``[items, steps]``, 0 to 1; each row sums to ``steps`` times the region's length.
    """
    length = stop - start if stop > start else stop - start + 1.0
    edges = torch.arange(steps, dtype=torch.float64) / steps
    begin = ((start + torch.tensor(list(shifts), dtype=torch.float64)) % 1.0)[:, None]
    covered = torch.zeros(len(shifts), steps, dtype=torch.float64)
    for turn in (0.0, -1.0):  # the second: what reaches over the seam
        low, high = begin + turn, begin + turn + length
        covered += (torch.minimum(edges + 1 / steps, high) - torch.maximum(edges, low)).clamp(min=0)
    return (covered * steps).float()


class Objective:
    """Several weighted targets in one network.

    Args:
        network: who listens.
        normaliser: its scale.
        targets: what is to rise.
        sizes: of its layers, from `layer_sizes`.

    Raises:
        RequestError: the network has no such layer, channel or pitch.
    """

    def __init__(
        self,
        network: Network,
        normaliser: Normaliser,
        targets: Sequence[Target],
        sizes: Mapping[str, LayerSize],
    ) -> None:
        self._network, self._normaliser = network, normaliser
        self.targets = tuple(targets)
        for target in self.targets:
            _check(target, sizes)
        self.layers = tuple(dict.fromkeys(target.layer for target in self.targets))
        self._sizes = {name: sizes[name] for name in self.layers}
        self._bystanders = {name: self._unnamed(name) for name in self.layers}
        self._weights = torch.tensor([target.weight for target in self.targets])
        self._scale = max(float(self._weights.abs().sum()), 1e-6)

    def __call__(self, audio: Tensor) -> Response:
        """The response to loops ``[batch, samples]``."""
        return self.respond(self._network.scalogram(audio))

    def respond(self, scalogram: Tensor, shifts: Sequence[float] | None = None, penalise: bool = True) -> Response:
        """The response to scalograms of loops that may have been shifted.

        Args:
            scalogram: ``[batch, 2, bins, frames]``.
            shifts: circular shift of each item in shares of the loop, so that time regions move along; None for none.
            penalise: also measure the other channels; skipping them saves a look at every neuron of the layer.
        """
        found = self._network.respond(scalogram, self.layers)
        scaled = {name: self._normaliser.apply(name, found[name].float()) for name in self.layers}
        shifts = [0.0] * scalogram.shape[0] if shifts is None else shifts
        values = torch.stack([self._mean(scaled[target.layer], target, shifts) for target in self.targets], 1)
        total = (values * self._weights.to(values)).sum(1) / self._scale
        others = self._others(scaled) if penalise else torch.zeros_like(total)
        return Response(total, values, others)

    def _mean(self, activation: Tensor, target: Target, shifts: Sequence[float]) -> Tensor:
        """Mean activation of the region, ``[batch]``."""
        low, high = target.pitch or (0, activation.shape[2])
        channels = slice(None) if target.channel is None else slice(target.channel, target.channel + 1)
        over_time = activation[:, channels, low:high].mean((1, 2))
        if target.time is None:
            return over_time.mean(1)
        region = coverage(*target.time, shifts, activation.shape[3]).to(activation)
        return (over_time * region).sum(1) / region.sum(1)

    def _others(self, scaled: Mapping[str, Tensor]) -> Tensor:
        means = [
            (scaled[name].relu().mean((2, 3)) * unnamed.to(scaled[name])).sum(1) / unnamed.sum().clamp(min=1)
            for name, unnamed in self._bystanders.items()
        ]
        return torch.stack(means).mean(0)

    def _unnamed(self, name: str) -> Tensor:
        """1 for the layer's channels that no target names, ``[channels]``."""
        unnamed = torch.ones(self._sizes[name].channels)
        for target in self.targets:
            if target.layer == name:
                unnamed[slice(None) if target.channel is None else target.channel] = 0
        return unnamed


def _check(target: Target, sizes: Mapping[str, LayerSize]) -> None:
    if target.layer not in sizes:
        raise RequestError("layer", target.layer, f"one of {', '.join(sizes)}")
    size = sizes[target.layer]
    if target.channel is not None and target.channel >= size.channels:
        raise RequestError("channel", target.channel, f"a whole number from 0 to {size.channels - 1}")
    if target.pitch is not None and target.pitch[1] > size.pitch:
        raise RequestError("pitch", target.pitch, f"a region within 0 to {size.pitch}")
