"""Speed of the neuron map's layout: ``python -m tests.benchmarks.neurons_layout`` ends with one JSON object.

The graph is that of the paper's own ear (Tables 1 and 2). ``layout_seconds`` is the whole of its layout, all levels,
with compiled code warm. The reference is one step at full size in plain PyTorch with the same forces: every pair of
vertices repels, every edge pulls, one by one. ``speedup_vs_reference_step`` is its time over that of our step at the
same positions on as many threads; ``force_error`` is how far the two are apart, as a share of the reference's forces.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from backend.engine.devices import set_threads
from backend.instruments.neurons import layout
from backend.instruments.neurons.ear import BASE, Ear
from backend.instruments.neurons.graph import FloatArray, Graph, build, n_edges

ROWS = 512  # of the matrix of all pairs that are in memory at once
EDGES = 2_000_000  # that are in memory at once


@dataclasses.dataclass(frozen=True)
class AllEdges:
    """The same graph with nothing collapsed: ends and strengths ``[edges]``, each edge once."""

    source: Tensor
    target: Tensor
    strength: Tensor
    weight: Tensor

    @classmethod
    def of(cls, graph: Graph) -> AllEdges:
        """Expand complete bundles."""
        bundles = sparse.triu(graph.complete).tocoo()
        sources, targets, strengths = [], [], []
        for a, b, strength in zip(bundles.row, bundles.col, bundles.data, strict=True):
            ends = (graph.start[a] + np.arange(graph.size[a]), graph.start[b] + np.arange(graph.size[b]))
            u, v = np.meshgrid(*ends)
            sources.append(u.ravel().astype(np.int32))
            targets.append(v.ravel().astype(np.int32))
            strengths.append(np.full(u.size, strength, np.float32))
        single = sparse.triu(graph.single).tocoo()
        parts = [[*sources, single.row], [*targets, single.col], [*strengths, single.data.astype(np.float32)]]
        u, v, s = (torch.from_numpy(np.concatenate(part)) for part in parts)
        return cls(u, v, s, torch.from_numpy(graph.weight).float())

    def forces(self, x: Tensor, gravity: float) -> Tensor:
        """`layout.forces` in plain PyTorch, exact: ``[vertices, 2]``."""
        w, softening2 = self.weight, 0.01 / len(x)
        out = -gravity * x
        for first in range(0, len(x), ROWS):
            rows = x[first : first + ROWS]
            dx, dy = rows[:, :1] - x[:, 0], rows[:, 1:] - x[:, 1]
            push = w / (dx.square() + dy.square() + softening2)
            # Differences, not ``sum(push) x - push @ x``: in float32 that cancels to an error of a percent.
            out[first : first + ROWS] += torch.stack([(push * dx).sum(1), (push * dy).sum(1)], 1)
        for first in range(0, len(self.source), EDGES):
            part = slice(first, first + EDGES)
            u, v = self.source[part].long(), self.target[part].long()
            pull = self.strength[part, None] * (x[v] - x[u])
            out.index_add_(0, u, w[v, None] * pull)
            out.index_add_(0, v, w[u, None] * pull, alpha=-1)
        return out


def clock(run: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median seconds, and what came out."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), result


def measure(config: layout.LayoutConfig, repeats: int = 3, seed: int = 0) -> dict[str, Any]:
    """All figures.

    Args:
        config: of the layout.
        repeats: of the two steps; medians count.
        seed: of the layout.
    """
    shapes = Ear(BASE).shapes
    graph, last = build(shapes), []

    def report(number: int, levels: int, level: Graph, positions: FloatArray) -> None:
        sys.stderr.write(f"level {number} of {levels}: {level.n_vertices} vertices\n")
        last[:] = [positions]

    layout.lay_out(build(shapes[:2]), np.random.default_rng(seed), dataclasses.replace(config, steps=1))  # compiles
    began, cpu = time.perf_counter(), time.process_time()
    laid = layout.lay_out(graph, np.random.default_rng(seed), config, report)
    figures = {
        "vertices": graph.n_vertices,
        "edges": n_edges(shapes),
        "threads": config.threads,
        "steps_per_level": config.steps,
        "layout_seconds": round(time.perf_counter() - began, 2),
        "layout_cpu_seconds": round(time.process_time() - cpu, 2),
        "edge_length": round(layout.edge_length(graph, laid), 4),
    }
    with ThreadPoolExecutor(config.threads) as pool:
        ours, found = clock(lambda: layout.forces(graph, last[0], config, pool), 5 * repeats)
    sys.stderr.write("the reference's step\n")
    everything, x = AllEdges.of(graph), torch.from_numpy(last[0]).float()
    reference, exact = clock(lambda: everything.forces(x, config.gravity).numpy(), repeats)
    return figures | {
        "step_s": round(ours, 4),
        "reference_step_s": round(reference, 3),
        "reference_edges": len(everything.source),
        "speedup_vs_reference_step": round(reference / ours, 1),
        "force_error": float(np.linalg.norm(found - exact) / np.linalg.norm(exact + config.gravity * last[0])),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=0, help="0 is one a physical core")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    threads = set_threads(options.threads)
    print(json.dumps(measure(dataclasses.replace(layout.BASE, threads=threads), options.repeats), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
