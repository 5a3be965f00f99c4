"""A map that needs no layout: one disc, layer around layer, for networks whose map was not drawn yet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.instruments.neurons.chart import NeuronMap
from backend.instruments.neurons.graph import LayerShape

GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


def rings(network: str, shapes: Sequence[LayerShape]) -> NeuronMap:
    """Neurons evenly over a disc on a sunflower's spiral (Vogel, Mathematical Biosciences 44, 1979).

    The input is the outermost ring and each layer lies within the one before; every neuron weighs the same.

    Args:
        network: its name.
        shapes: its layers, from the input on.
    """
    count = sum(shape.neurons for shape in shapes)
    number = np.arange(count)[::-1]
    radius, turn = np.sqrt((number + 0.5) / count), GOLDEN_ANGLE * number
    positions = np.stack([radius * np.cos(turn), radius * np.sin(turn)], axis=1).astype(np.float32)
    kept = tuple(LayerShape(shape.name, shape.channels, shape.pitch) for shape in shapes)
    return NeuronMap(network, kept, positions, np.ones(count, np.float32))
