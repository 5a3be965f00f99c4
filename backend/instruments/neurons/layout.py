"""Multilevel force layout of a graph of neurons in the plane.

Vertices repel each other and edges pull like rubber bands (seed of Immersions, section 2.2); levels as in Walshaw
(JGAA 7:253, 2006) and Hu (Mathematica Journal 10:37, 2005). With weights w of sum 1 and strengths s, a layout is a
minimum of

    E(x) = 1/2 sum_edges w_u w_v s_uv |x_u - x_v|^2 - sum_pairs w_u w_v log |x_u - x_v|,

and a vertex moves along ``-grad E / w``, which depends on the weights of the others only: vertices on one place act as
their sum, so a merged vertex stands exactly for its two. Springs are linear (Hu's grow with length) because a complete
bundle of linear springs is one spring to the centroid. Another balance of pull and push would only change the scale of
the picture. What shapes it is a linear pull to the middle: alone, it would spread the weight evenly over a disc of area
``pi / gravity`` (log-repulsion is two-dimensional electrostatics), of which the springs leave parts empty.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from backend.errors import NeuromuseError
from backend.instruments.neurons.graph import FloatArray, Graph, IntArray, coarsen
from backend.instruments.neurons.quadtree import repulsion


@dataclass(frozen=True)
class LayoutConfig:
    """How a layout is relaxed.

    Attributes:
        steps: per level.
        step_length: share of the force by which a vertex moves; springs alone are stable below 1.
        momentum: share of the last move that goes on.
        gravity: pull to the middle; the springs of a vertex together pull with about 1.
        theta: opening of the quadtree; at 0.9 forces are within 0.1 % of the exact sum.
        threads: for the repulsion; the layout does not depend on it.
    """

    steps: int = 100
    step_length: float = 0.4
    momentum: float = 0.8
    gravity: float = 0.4
    theta: float = 0.9
    threads: int = 2


BASE = LayoutConfig()
TINY = LayoutConfig(steps=40, threads=1)


def attraction(graph: Graph, positions: FloatArray) -> FloatArray:
    """Pull of the edges on every vertex, ``sum_u w_u s_uv (x_u - x_v)``: ``[vertices, 2]``.

    Complete bundles are pulls to the weighted sums of groups, so the cost is that of the groups' edges.
    """
    weighted = graph.weight[:, None] * positions
    group = graph.group
    pull = (graph.complete @ np.add.reduceat(weighted, graph.start))[group]
    load = (graph.complete @ graph.group_weight)[group]
    if graph.single.nnz:
        pull += graph.single @ weighted
        load += graph.single @ graph.weight
    return np.asarray(pull - load[:, None] * positions)


def forces(graph: Graph, positions: FloatArray, config: LayoutConfig, pool: Executor | None = None) -> FloatArray:
    """Force on every vertex by its weight, ``[vertices, 2]``: springs, repulsion and gravity."""
    # A tenth of the distance of neighbours in an even layout; nearer ones push no harder.
    softening = 0.1 / np.sqrt(graph.n_vertices)
    push = repulsion(positions, graph.weight, config.theta, softening, pool, config.threads)
    return attraction(graph, positions) + push - config.gravity * positions


def relax(graph: Graph, positions: FloatArray, config: LayoutConfig, pool: Executor | None = None) -> FloatArray:
    """Follow the forces with momentum; no vertex moves further in a step than the layout is coarse."""
    velocity, positions = np.zeros_like(positions), positions.copy()
    limit = 1 / np.sqrt(graph.n_vertices)
    for _ in range(config.steps):
        velocity = config.momentum * velocity + config.step_length * forces(graph, positions, config, pool)
        length = np.linalg.norm(velocity, axis=1, keepdims=True)
        velocity *= np.minimum(1, limit / np.maximum(length, 1e-12))
        positions += velocity
    return positions


def lay_out(
    graph: Graph,
    rng: np.random.Generator,
    config: LayoutConfig = BASE,
    report: Callable[[int, int, Graph, FloatArray], None] | None = None,
) -> FloatArray:
    """Positions ``[vertices, 2]`` in [-1, 1], the first layer on the left; the same for the same generator's state.

    Args:
        graph: of any size.
        rng: places the two halves of a vertex when it is split.
        config: steps and accuracy.
        report: called after each level with its number, the number of levels, its graph and positions; may raise to
            stop.

    Raises:
        NeuromuseError: the layout did not stay finite.
    """
    levels: list[Graph] = [graph]
    parents: list[IntArray] = []
    while (coarser := coarsen(levels[-1])) is not None:
        levels.append(coarser[0])
        parents.append(coarser[1])
    positions = unfolded(levels[-1], rng)
    with ThreadPoolExecutor(max(1, config.threads)) as pool:
        for number, level in enumerate(reversed(levels)):
            if number:
                parent = parents[-number]
                # Two halves of equal weight cover as much as the whole when about this far apart.
                apart = 0.5 * np.sqrt(levels[-number].weight)[parent]
                positions = positions[parent] + apart[:, None] * rng.normal(size=(level.n_vertices, 2))
            positions = relax(level, positions, config, pool)
            if report is not None:
                report(number + 1, len(levels), level, positions)
    if not np.isfinite(positions).all():
        raise NeuromuseError("The layout of the neuron map did not stay finite.")
    return framed(graph, positions)


def edge_length(graph: Graph, positions: FloatArray) -> float:
    """Root mean square length of the edges over that of all pairs, both weighted: 1 for a random layout."""
    weighted = graph.weight[:, None] * positions
    # sum_edges w_u w_v s_uv |x_u - x_v|^2 = -sum_v w_v x_v . attraction_v, and likewise with all pairs joined
    edges = -float((weighted * attraction(graph, positions)).sum())
    strength = float(graph.group_weight @ (graph.complete @ graph.group_weight)) / 2
    strength += float(graph.weight @ (graph.single @ graph.weight)) / 2
    centred = positions - weighted.sum(0)
    pairs = 2 * float((graph.weight[:, None] * centred**2).sum())
    return float(np.sqrt(edges / max(strength, 1e-12) / max(pairs, 1e-12)))


def unfolded(graph: Graph, rng: np.random.Generator) -> FloatArray:
    """A start without tangles: the two slowest modes of the springs (Hall, Management Science 17:219, 1970)."""
    strength = sparse.csr_array(graph.single)
    strength = strength + sparse.csr_array(graph.complete) if len(graph.size) == graph.n_vertices else strength
    matrix = strength.toarray() * np.sqrt(np.outer(graph.weight, graph.weight))
    root = np.sqrt(np.maximum(matrix.sum(1), 1e-12))
    _, modes = np.linalg.eigh(np.eye(len(root)) - matrix / np.outer(root, root))
    flat = np.zeros((graph.n_vertices, 2))
    kept = modes[:, 1:3] / root[:, None]
    flat[:, : kept.shape[1]] = kept / np.maximum(np.abs(kept).max(0), 1e-12)
    return flat + 0.05 * rng.normal(size=flat.shape)


def framed(graph: Graph, positions: FloatArray) -> FloatArray:
    """Centred, the longest extent along x, the first layer on the left, the largest coordinate 1."""
    centred = positions - graph.weight @ positions
    _, axes = np.linalg.eigh((graph.weight[:, None] * centred).T @ centred)
    turned = centred @ axes[:, ::-1]
    first = graph.group < np.searchsorted(graph.layer, 1)
    for axis in range(2):
        if turned[first, axis].mean() > 0:
            turned[:, axis] *= -1
    low, high = turned.min(0), turned.max(0)
    return np.asarray((turned - (low + high) / 2) / max(float((high - low).max()) / 2, 1e-12))
