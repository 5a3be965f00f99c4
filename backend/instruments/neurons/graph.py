"""The neurons of a convolutional network as a graph: channel × pitch of every layer, with time collapsed.

A convolution that mixes channels joins every channel at an input pitch with every channel at an output pitch. Such a
complete bundle is one entry of a small matrix over *groups* (a layer's neurons at one pitch), because a linear spring
to every vertex of a group is one spring to its centroid times its weight. Links that keep channels apart (identity
skips, pooling, depth-wise convolutions) stay single edges.

Coarsening follows the paper (seed of Immersions, appendix B): neighbours merge into one vertex of their summed weight,
first along channels, then along pitch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import sparse

from backend.errors import NeuromuseError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MAX_LAYERS = 255  # a layer's number is one byte wherever maps are stored or drawn
LEAST_WEIGHT = 0.05
"""Share of the mean that a silent neuron weighs at least, so that it still takes room."""


@dataclass(frozen=True)
class Link:
    """What a layer reads of another along pitch: output ``p`` reads ``p * stride - padding`` and ``kernel - 1`` more.

    Attributes:
        source: name of the layer that is read.
        kernel: pitches read by one output.
        stride: pitches between the windows of two outputs.
        padding: pitches before the first that the window of output 0 begins at; what lies outside is not read.
        channelwise: channel i reads channel i only; otherwise every channel reads every channel.
    """

    source: str
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    channelwise: bool = False

    def then(self, kernel: int, stride: int = 1, padding: int = 0) -> Link:
        """This link followed by pooling or by another convolution without a layer of its own in between."""
        return replace(
            self,
            kernel=self.kernel + (kernel - 1) * self.stride,
            stride=self.stride * stride,
            padding=self.padding + padding * self.stride,
        )


@dataclass(frozen=True)
class LayerShape:
    """A layer for the map: its neurons and where they read.

    Attributes:
        name: as in the network's activations.
        channels: number of channels.
        pitch: length of the pitch axis; 1 where there is none.
        links: what it reads; empty for the input.
    """

    name: str
    channels: int
    pitch: int = 1
    links: tuple[Link, ...] = ()

    @property
    def neurons(self) -> int:
        """Channels × pitch."""
        return self.channels * self.pitch


@dataclass(frozen=True)
class Graph:
    """Vertices ordered by layer, pitch and channel; a group is the run of vertices of one layer and pitch.

    Attributes:
        layer: ``[groups]`` number of the group's layer.
        size: ``[groups]`` vertices in each.
        weight: ``[vertices]``, sum 1.
        complete: ``[groups, groups]`` symmetric; strength of the edge between any vertex of one and any of the other.
        single: ``[vertices, vertices]`` symmetric; strength of the edges that are not part of a complete bundle.
    """

    layer: IntArray
    size: IntArray
    weight: FloatArray
    complete: sparse.csr_array
    single: sparse.csr_array

    @property
    def n_vertices(self) -> int:
        """Number of vertices."""
        return len(self.weight)

    @property
    def group(self) -> IntArray:
        """``[vertices]`` number of the vertex's group."""
        return np.repeat(np.arange(len(self.size)), self.size)

    @property
    def start(self) -> IntArray:
        """``[groups]`` first vertex of each."""
        return np.cumsum(self.size) - self.size

    @property
    def group_weight(self) -> FloatArray:
        """``[groups]`` summed weight."""
        return np.add.reduceat(self.weight, self.start)


def vertices(layers: Sequence[LayerShape]) -> tuple[IntArray, IntArray, IntArray]:
    """Layer number, pitch and channel of every vertex, in the order of the graph."""
    numbers = [np.full(shape.neurons, number) for number, shape in enumerate(layers)]
    pitches = [np.repeat(np.arange(shape.pitch), shape.channels) for shape in layers]
    channels = [np.tile(np.arange(shape.channels), shape.pitch) for shape in layers]
    return np.concatenate(numbers), np.concatenate(pitches), np.concatenate(channels)


def windows(link: Link, shape: LayerShape, source: LayerShape) -> tuple[IntArray, IntArray]:
    """Pairs of (output pitch, input pitch) that a link joins.

    Raises:
        NeuromuseError: an output reads nothing, or a channelwise link joins different numbers of channels.
    """
    if link.channelwise and shape.channels != source.channels:
        raise NeuromuseError(
            f"{shape.name} reads {source.name} channel by channel, but they have {shape.channels} and "
            f"{source.channels} channels."
        )
    first = np.arange(shape.pitch) * link.stride - link.padding
    low, high = np.maximum(first, 0), np.minimum(first + link.kernel, source.pitch)
    count = high - low
    if (count < 1).any():
        raise NeuromuseError(
            f"{shape.name}: pitch {int(np.argmax(count < 1))} of {shape.pitch} reads none of the {source.pitch} "
            f"pitches of {source.name}."
        )
    outputs = np.repeat(np.arange(shape.pitch), count)
    inputs = np.arange(len(outputs)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
    return outputs, inputs


def n_edges(layers: Sequence[LayerShape]) -> int:
    """Edges between neurons, every one of a complete bundle counted."""
    named, total = {shape.name: shape for shape in layers}, 0
    for shape in layers:
        for link in shape.links:
            source = named[link.source]
            pairs = len(windows(link, shape, source)[0])
            total += pairs * shape.channels * (1 if link.channelwise else source.channels)
    return total


def build(layers: Sequence[LayerShape], weight: npt.NDArray[np.floating] | None = None) -> Graph:
    """The graph of a network.

    Every edge has the strength ``1 / sqrt(D_u D_v)``, where D is the weight of all neighbours: the Laplacian is the
    normalised one, so a neuron with three thousand inputs is pulled as firmly as one with eighteen, and one step length
    suits all of them.

    Args:
        layers: in order; a link names an earlier one.
        weight: ``[vertices]``, not negative, such as the deviation of each activation; all the same when None.

    Raises:
        NeuromuseError: a description that contradicts itself, or a weight of another shape, negative or not finite.
    """
    _check(layers)
    size = np.concatenate([np.full(shape.pitch, shape.channels) for shape in layers])
    layer = np.concatenate([np.full(shape.pitch, number) for number, shape in enumerate(layers)])
    mass = _weights(weight, int(size.sum()))
    start = np.cumsum(size) - size
    total = np.add.reduceat(mass, start)
    complete, single = _links(layers, size)
    channelwise = _symmetric(single[0], single[1], len(size))
    complete_count = _symmetric(complete[0], complete[1], len(size))
    # A group's mean over its channels stands for the one neighbour that a single edge leads to.
    degree = complete_count @ total + channelwise @ (total / size)
    root = 1 / np.sqrt(np.maximum(degree, np.finfo(float).tiny))
    ends = _expanded(single, start, size)
    return Graph(
        layer=layer,
        size=size,
        weight=mass,
        complete=_scaled(complete_count, root),
        single=_scaled(_symmetric(ends[0], ends[1], len(mass)), np.repeat(root, size)),
    )


def coarsen(graph: Graph) -> tuple[Graph, IntArray] | None:
    """Half as many channels or, when every group has one, half as many pitches.

    The attraction's energy of merged vertices equals that of the finer ones lying in pairs on one place.

    Returns:
        The coarser graph and ``[vertices]`` the vertex that each one went into, or None when every layer is one vertex.
    """
    if graph.size.max() > 1:
        size = (graph.size + 1) // 2
        within = np.arange(graph.n_vertices) - graph.start[graph.group]
        parent = (np.cumsum(size) - size)[graph.group] + within // 2
        weight: FloatArray = np.bincount(parent, graph.weight).astype(np.float64)
        single = _merged(graph.single, graph.weight, parent, weight)
        return replace(graph, size=size, weight=weight, single=single), parent
    n_layers = int(graph.layer[-1]) + 1
    if graph.n_vertices == n_layers:
        return None
    first = np.searchsorted(graph.layer, np.arange(n_layers))
    pitch = np.arange(graph.n_vertices) - first[graph.layer]
    heads = (pitch % 2 == 0).astype(np.int64)
    parent = np.cumsum(heads) - 1
    weight = np.bincount(parent, graph.weight).astype(np.float64)
    coarser = Graph(
        layer=graph.layer[heads == 1],
        size=np.ones(len(weight), np.int64),
        weight=weight,
        complete=_merged(graph.complete, graph.weight, parent, weight),
        single=_merged(graph.single, graph.weight, parent, weight),
    )
    return coarser, parent


def _check(layers: Sequence[LayerShape]) -> None:
    if not 1 <= len(layers) <= MAX_LAYERS:
        raise NeuromuseError(f"A map has 1 to {MAX_LAYERS} layers, not {len(layers)}.")
    known: set[str] = set()
    for shape in layers:
        if shape.channels < 1 or shape.pitch < 1:
            raise NeuromuseError(
                f"{shape.name} has {shape.channels} channels × {shape.pitch} pitches; both must be ≥ 1."
            )
        for link in shape.links:
            if link.source not in known:
                raise NeuromuseError(f"{shape.name} reads {link.source!r}, which is no layer before it.")
        if shape.name in known:
            raise NeuromuseError(f"Two layers are named {shape.name!r}.")
        known.add(shape.name)


def _weights(weight: npt.NDArray[np.floating] | None, n_vertices: int) -> FloatArray:
    """Sum 1, each at least `LEAST_WEIGHT` of the mean."""
    if weight is None:
        return np.full(n_vertices, 1 / n_vertices)
    given = np.asarray(weight, np.float64)
    if given.shape != (n_vertices,) or not np.isfinite(given).all() or given.min() < 0:
        raise NeuromuseError(f"The weights must be {n_vertices} finite numbers ≥ 0, one for every neuron.")
    mean = float(given.mean())
    floored = np.maximum(given, LEAST_WEIGHT * mean) if mean > 0 else np.ones(n_vertices)
    return np.asarray(floored / floored.sum())


def _links(layers: Sequence[LayerShape], size: IntArray) -> tuple[tuple[IntArray, IntArray], tuple[IntArray, IntArray]]:
    """Pairs of groups that are joined: completely, and channel by channel."""
    named = {shape.name: shape for shape in layers}
    first = dict(zip(named, np.cumsum([0, *(shape.pitch for shape in layers)]), strict=False))
    pairs: dict[bool, list[tuple[IntArray, IntArray]]] = {False: [], True: []}
    none = np.empty(0, np.int64)
    for shape in layers:
        for link in shape.links:
            outputs, inputs = windows(link, shape, named[link.source])
            pairs[link.channelwise].append((outputs + first[shape.name], inputs + first[link.source]))
    columns = [
        (np.concatenate([none, *(a for a, _ in pairs[kind])]), np.concatenate([none, *(b for _, b in pairs[kind])]))
        for kind in (False, True)
    ]
    return columns[0], columns[1]


def _expanded(pairs: tuple[IntArray, IntArray], start: IntArray, size: IntArray) -> tuple[IntArray, IntArray]:
    """Pairs of groups joined channel by channel → pairs of vertices."""
    count = size[pairs[0]]
    channel = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(start[pairs[0]], count) + channel, np.repeat(start[pairs[1]], count) + channel


def _symmetric(a: IntArray, b: IntArray, n: int) -> sparse.csr_array:
    """Number of edges between each two, both ways."""
    ones = np.ones(2 * len(a))
    ends = (np.concatenate([a, b]), np.concatenate([b, a]))
    return sparse.csr_array((ones, ends), shape=(n, n))


def _scaled(matrix: sparse.csr_array, factor: FloatArray) -> sparse.csr_array:
    """``factor[i] * matrix[i, j] * factor[j]``."""
    entries = matrix.tocoo()
    return sparse.csr_array((entries.data * factor[entries.row] * factor[entries.col], entries.coords), matrix.shape)


def _merged(matrix: sparse.csr_array, weight: FloatArray, parent: IntArray, merged: FloatArray) -> sparse.csr_array:
    """Strengths between merged vertices: means over the pairs, by the product of their weights."""
    entries = _scaled(matrix, weight).tocoo()
    ends = (parent[entries.row], parent[entries.col])
    return _scaled(sparse.csr_array((entries.data, ends), shape=(len(merged), len(merged))), 1 / merged)
