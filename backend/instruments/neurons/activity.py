"""Every neuron over the loop, as the map shows it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backend.instruments.neurons.objective import LayerSize, Network, Normaliser

BRIGHTEST = 4.0
"""Deviations above silence at which a neuron is fully lit."""


@torch.no_grad()
def activity(network: Network, normaliser: Normaliser, loop: Tensor, frames: int) -> npt.NDArray[np.uint8]:
    """Rectified, normalised activation of all neurons while the loop plays.

    Args:
        network: the ear.
        normaliser: its scale.
        loop: ``[samples]``.
        frames: over the loop, evenly spaced; a layer's step lasts until its next one.

    Returns:
        ``[neurons, frames]``, 0 dark to 255 at `BRIGHTEST` deviations and above. Layers from input to output, in each
        channel after channel, in each of these pitch from low to high; see `index`.
    """
    found = network.respond(network.scalogram(loop[None]), network.layers)
    rows = []
    for name in network.layers:
        scaled = torch.nan_to_num(normaliser.apply(name, found[name].float()))[0]  # [channels, pitch, steps]
        steps = scaled.shape[2]
        at = (torch.arange(frames, device=scaled.device) * steps) // frames
        lit = (scaled[:, :, at] * (255.0 / BRIGHTEST)).clamp(0, 255).to(torch.uint8)
        rows.append(lit.reshape(-1, frames))
    whole: npt.NDArray[np.uint8] = torch.cat(rows).cpu().numpy()
    return whole


def index(sizes: Mapping[str, LayerSize], layer: str, channel: int, pitch: int) -> int:
    """The row of one neuron in `activity`."""
    first = 0
    for name, size in sizes.items():
        if name == layer:
            return first + channel * size.pitch + pitch
        first += size.channels * size.pitch
    raise KeyError(layer)
