"""The scale of every neuron: its mean at silence and its deviation over validation sound.

Neurons of different layers differ in size by orders of magnitude; in deviations above silence one target is as hard to
raise as another, and a map's brightness means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from backend.errors import CheckpointError
from backend.instruments.neurons.objective import Network

LEAST = 0.05
"""Share of its layer's median deviation that a neuron has at least; one that never fired would be infinitely easy."""

SILENCE_S = 4.0


@dataclass(frozen=True, eq=False)
class NeuronScale:
    """Mean at silence and deviation by layer, ``[channels, pitch]`` each."""

    silence: Mapping[str, Tensor]
    deviation: Mapping[str, Tensor]

    def apply(self, name: str, activation: Tensor) -> Tensor:
        """``(activation - silence) / deviation`` of ``[batch, channels, pitch, time]``."""
        mean, deviation = (x[name].to(activation).unsqueeze(-1) for x in (self.silence, self.deviation))
        out: Tensor = (activation - mean) / deviation
        return out

    def to(self, device: torch.device) -> NeuronScale:
        """The same on a device."""
        moved = [{name: value.to(device) for name, value in x.items()} for x in (self.silence, self.deviation)]
        return NeuronScale(*moved)

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {f"scale.{kind}.{n}": v for kind in ("silence", "deviation") for n, v in getattr(self, kind).items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], layers: Iterable[str]) -> NeuronScale:
        """The inverse of `tensors`, which may be among others.

        Raises:
            CheckpointError: a layer's scale is missing.
        """
        try:
            kinds = [{n: tensors[f"scale.{kind}.{n}"] for n in layers} for kind in ("silence", "deviation")]
        except KeyError as error:
            raise CheckpointError(f"The checkpoint of the ear has no {error}.") from None
        return cls(*kinds)


@torch.no_grad()
def measure(network: Network, loops: Iterable[Tensor], device: torch.device | None = None) -> NeuronScale:
    """The scale of a network over sounds.

    Args:
        network: who listens.
        loops: batches ``[batch, samples]``, each sound treated as a loop.
        device: where the network is.
    """
    silence = network.respond(network.scalogram(torch.zeros(1, round(SILENCE_S * network.sample_rate), device=device)))
    means = {name: value[0].double().mean(-1) for name, value in silence.items()}
    total = {name: torch.zeros(2, *mean.shape, dtype=torch.float64, device=device) for name, mean in means.items()}
    count = dict.fromkeys(means, 0)
    for batch in loops:
        for name, value in network.respond(network.scalogram(batch.to(device))).items():
            above = value.double() - means[name].unsqueeze(-1)  # about silence, where float sums lose nothing
            total[name] += torch.stack([above.sum((0, 3)), above.square().sum((0, 3))])
            count[name] += value.shape[0] * value.shape[3]
    deviation = {}
    for name, (first, second) in total.items():
        spread = (second / count[name] - (first / count[name]).square()).clamp(min=0).sqrt()
        deviation[name] = spread.clamp(min=max(float(spread.median()) * LEAST, 1e-6)).float()
    return NeuronScale({name: mean.float() for name, mean in means.items()}, deviation)
