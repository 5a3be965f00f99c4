"""Speed of neurons: ``python -m tests.benchmarks.neurons`` ends with one JSON object.

Updates while a loop of four seconds plays, with every regulariser on, beside the layers they reach; the constant-Q
transform beside nnAudio's (`neurons_cqt`); the layout of a graph of the paper's size beside a plain PyTorch step
(`neurons_layout`); and the pictures a second of the map in a browser (`neurons_map`).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from backend.checkpoints import CheckpointStore
from backend.engine.devices import set_threads
from backend.instruments.neurons import layout
from backend.instruments.neurons.cqt import BASE, LIGHT
from backend.instruments.neurons.loops import Meter, make_loop
from backend.instruments.neurons.networks import EARS, OpenNetwork, open_network
from backend.instruments.neurons.optimise import Optimiser
from backend.instruments.neurons.settings import KNOBS, Settings, Target
from backend.settings import Settings as HouseSettings
from tests.benchmarks import neurons_cqt, neurons_layout, neurons_map

LOOP_S = 4.0


def all_regularisers(target: Target) -> Settings:
    """The default settings with no regulariser at zero."""
    settings = Settings(targets=(target,))
    off: dict[str, Any] = {name: 0.1 for name in KNOBS if getattr(settings, name) == 0}
    return dataclasses.replace(settings, **off)


def updates(network: OpenNetwork, layer: str, n: int) -> float:
    """Median number of updates in the time a loop of four seconds plays, the first ones left out."""
    start = make_loop("drums_and_bass", Meter(), network.sample_rate)
    optimiser = Optimiser(
        network, start, all_regularisers(Target(layer=layer, channel=0)), 0, normaliser=network.normaliser
    )
    seconds = []
    for _ in range(n + 2):
        began = time.perf_counter()
        optimiser.step()
        seconds.append(time.perf_counter() - began)
    return LOOP_S / statistics.median(seconds[2:])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=20, help="timed, of each layer")
    parser.add_argument("--repeats", type=int, default=15, help="of the transforms")
    options = parser.parse_args(arguments)
    threads = set_threads()
    store = CheckpointStore(extra=HouseSettings.from_env().checkpoint_dirs)
    network = open_network(next(iter(EARS)), store, torch.device("cpu"))
    by_layer = {}
    for layer in (network.layers[1], network.layers[len(network.layers) // 2], network.layers[-1]):
        by_layer[layer] = round(updates(network, layer, options.updates), 1)
        sys.stderr.write(f"{layer}: {by_layer[layer]} updates\n")
    memory = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    transforms = {name: neurons_cqt.measure(c, options.repeats) for name, c in (("base", BASE), ("light", LIGHT))}
    speedups = [figures.get("speedup_vs_CQT1992v2") for figures in transforms.values()]
    laid = neurons_layout.measure(dataclasses.replace(layout.BASE, threads=threads))
    figures: dict[str, Any] = {
        "threads": threads,
        "updates_per_4s_loop": min(by_layer.values()),  # the deepest layer asks for the whole ear
        "updates_per_4s_loop_by_layer": by_layer,
        "peak_rss_gb": memory,
        "cqt_speedup_vs_nnaudio": None if None in speedups else min(s for s in speedups if s is not None),
        "cqt": transforms,
        "layout_seconds": laid["layout_seconds"],
        "speedup_vs_reference_step": laid["speedup_vs_reference_step"],
        "layout": laid,
        **neurons_map.measure(),
    }
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
