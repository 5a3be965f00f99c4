"""The map of a network's neurons: drawn once, stored as a small checkpoint, read by the page.

``python -m backend.instruments.neurons.chart --network ear:score --out DIR`` draws one and ends stdout with one JSON
object. The order of neurons is that of `activity.activity`: layer, channel, pitch.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backend.errors import CheckpointError, NeuromuseError
from backend.instruments.neurons.graph import IntArray, LayerShape, build, n_edges, vertices

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore
    from backend.instruments.neurons.layout import LayoutConfig
    from backend.manifest import CheckpointEntry

STEPS = 32_767  # of a coordinate from the middle to the edge, as stored and sent
CARD = "neurons/README.md"


@dataclass(frozen=True, eq=False)
class NeuronMap:
    """Where every neuron lies.

    Attributes:
        network: as in requests, such as ``ear:score``.
        layers: name, channels and pitch of each; links are not kept.
        positions: ``[neurons, 2]`` float32 in [-1, 1], y upwards.
        weight: ``[neurons]`` float32, mean 1: the deviation of each activation over the validation data.
    """

    network: str
    layers: tuple[LayerShape, ...]
    positions: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]

    @property
    def layer(self) -> IntArray:
        """``[neurons]`` number of the layer."""
        return np.repeat(np.arange(len(self.layers)), [shape.neurons for shape in self.layers])

    @property
    def channel(self) -> IntArray:
        """``[neurons]`` channel within the layer."""
        return np.concatenate([np.repeat(np.arange(s.channels), s.pitch) for s in self.layers])

    @property
    def pitch(self) -> IntArray:
        """``[neurons]`` pitch within the layer, from low to high."""
        return np.concatenate([np.tile(np.arange(s.pitch), s.channels) for s in self.layers])

    def page(self) -> dict[str, Any]:
        """What `neuron_map.js` reads: positions as base64 of little-endian int16, sizes as base64 of bytes."""
        size = np.clip(np.sqrt(self.weight) * 100, 40, 255)
        return {
            "network": self.network,
            "layers": [{"name": s.name, "channels": s.channels, "pitch": s.pitch} for s in self.layers],
            "positions": base64.b64encode(_stepped(self.positions).astype("<i2").tobytes()).decode(),
            "sizes": base64.b64encode(size.astype(np.uint8).tobytes()).decode(),
        }

    def save(self, store: CheckpointStore, metrics: Mapping[str, Any], *, force: bool = False) -> CheckpointEntry:
        """Write it into the store's root, six bytes a neuron.

        Raises:
            CheckpointError: a map of this network is there with shorter edges, and ``force`` is not set.
        """
        import torch

        return store.save(
            map_name(self.network),
            {
                "positions": torch.from_numpy(_stepped(self.positions)),
                "weight": torch.from_numpy(self.weight).half(),
            },
            {
                "network": self.network,
                "layers": [{"name": s.name, "channels": s.channels, "pitch": s.pitch} for s in self.layers],
            },
            metrics,
            card=CARD,
            better="lower edge_length",
            force=force,
        )

    @classmethod
    def from_store(cls, store: CheckpointStore, network: str) -> NeuronMap:
        """The stored map of a network.

        Raises:
            CheckpointError: there is none, or it contradicts itself.
        """
        name = map_name(network)
        config, tensors = store.config(name), store.load(name)
        try:
            layers = tuple(LayerShape(s["name"], int(s["channels"]), int(s["pitch"])) for s in config["layers"])
            positions = (tensors["positions"].float() / STEPS).numpy()
            weight = tensors["weight"].float().numpy()
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{name} is not a map of neurons: {error}.") from error
        n_neurons = sum(shape.neurons for shape in layers)
        if positions.shape != (n_neurons, 2) or weight.shape != (n_neurons,):
            raise CheckpointError(f"{name} has {len(positions)} positions for {n_neurons} neurons.")
        return cls(str(config["network"]), layers, positions, weight)


def map_name(network: str) -> str:
    """Name of the checkpoint: ``ear:score`` → ``neurons.map_ear_score``."""
    return "neurons.map_" + re.sub(r"[^a-z0-9]+", "_", network.lower()).strip("_")


def draw(
    network: str,
    shapes: Sequence[LayerShape],
    deviation: Mapping[str, npt.NDArray[np.floating]] | None,
    rng: np.random.Generator,
    config: LayoutConfig | None = None,
) -> tuple[NeuronMap, dict[str, Any]]:
    """Lay the neurons of a network out.

    Args:
        network: its name.
        shapes: its layers, from the input on.
        deviation: of every activation over the validation data, ``[channels, pitch]`` a layer; all alike when None. A
            layer weighs as much as it has neurons, whatever the scale of its activations.
        rng: the same state draws the same map.
        config: of the layout; `layout.BASE` when None.

    Returns:
        The map, and figures: neurons, edges, seconds, and `layout.edge_length`.

    Raises:
        NeuromuseError: the shapes contradict themselves, or the deviations do not fit them.
    """
    from backend.instruments.neurons import layout  # compiles; whoever only reads maps does not wait for that

    order = _rows(shapes)
    weight = _weight(shapes, deviation)
    graph = build(shapes, weight[order])
    began = time.perf_counter()
    laid = layout.lay_out(graph, rng, config or layout.BASE)
    figures = {
        "neurons": graph.n_vertices,
        "edges": n_edges(shapes),
        "layout_s": round(time.perf_counter() - began, 2),
        "edge_length": layout.edge_length(graph, laid),
    }
    positions = np.empty((len(order), 2), np.float32)
    positions[order] = laid
    kept = tuple(LayerShape(s.name, s.channels, s.pitch) for s in shapes)
    return NeuronMap(network, kept, positions, weight.astype(np.float32)), figures


def _rows(shapes: Sequence[LayerShape]) -> IntArray:
    """Row in the map of every vertex of the graph, which goes through the channels of each pitch."""
    layer, pitch, channel = vertices(shapes)
    first = np.cumsum([0, *(shape.neurons for shape in shapes)])
    pitches = np.array([shape.pitch for shape in shapes])
    return np.asarray(first[layer] + channel * pitches[layer] + pitch)


def _weight(
    shapes: Sequence[LayerShape], deviation: Mapping[str, npt.NDArray[np.floating]] | None
) -> npt.NDArray[np.float64]:
    """``[neurons]``, mean 1 in every layer."""
    rows = []
    for shape in shapes:
        values = np.ones(shape.neurons)
        if deviation is not None and shape.name in deviation:
            given = np.asarray(deviation[shape.name], np.float64)
            if given.shape != (shape.channels, shape.pitch) or not np.isfinite(given).all() or given.min() < 0:
                raise NeuromuseError(
                    f"The deviations of {shape.name} must be finite, not negative and of shape "
                    f"{shape.channels} × {shape.pitch}, not {given.shape}."
                )
            mean = float(given.mean())
            values = given.reshape(-1) / mean if mean > 0 else values
        rows.append(values)
    return np.concatenate(rows)


def _stepped(positions: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    return np.round(np.clip(positions, -1, 1) * STEPS).astype(np.int16)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True, help="ear:score, ear:beats, vgg16, resnet18")
    parser.add_argument("--out", type=Path, required=True, help="folder of a manifest.toml to write into")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--force", action="store_true", help="replace a map whatever it measured")
    options = parser.parse_args(arguments)
    import torch

    from backend.checkpoints import CheckpointStore
    from backend.instruments.neurons.networks import open_network
    from backend.settings import Settings

    known = CheckpointStore(extra=(options.out, *Settings.from_env().checkpoint_dirs))
    network = open_network(options.network, known, torch.device("cpu"))
    deviation = {name: value.cpu().numpy() for name, value in network.normaliser.deviation.items()}
    drawn, figures = draw(options.network, network.shapes, deviation, np.random.default_rng(options.seed))
    drawn.save(CheckpointStore(options.out), figures, force=options.force)
    sys.stdout.write(json.dumps({"map": map_name(options.network), **figures}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
