from __future__ import annotations

import numpy as np
import pytest

from backend.errors import NeuromuseError
from backend.instruments.neurons.graph import LayerShape, Link, build, coarsen, n_edges, vertices, windows

SMALL = (
    LayerShape("input", 2, 12),
    LayerShape("wide", 6, 6, (Link("input", 3, 1, 1).then(2, 2),)),
    LayerShape("skip", 6, 6, (Link("wide", 3, 1, 1), Link("wide", channelwise=True))),
    LayerShape("top", 5, 1, (Link("skip", 6),)),
)


def conv_output(n: int, kernel: int, stride: int, padding: int) -> list[set[int]]:
    """Inputs of each output of a convolution, one by one."""
    length = (n + 2 * padding - kernel) // stride + 1
    return [
        {i for i in range(o * stride - padding, o * stride - padding + kernel) if 0 <= i < n} for o in range(length)
    ]


def edges(layers) -> list[tuple[int, int]]:
    """Every edge by brute force, as pairs of vertices."""
    number, pitch, channel = vertices(layers)
    at = {key: row for row, key in enumerate(zip(number.tolist(), pitch.tolist(), channel.tolist(), strict=True))}
    names = {shape.name: index for index, shape in enumerate(layers)}
    found = []
    for index, shape in enumerate(layers):
        for link in shape.links:
            source = names[link.source]
            for p in range(shape.pitch):
                first = p * link.stride - link.padding
                for q in range(max(first, 0), min(first + link.kernel, layers[source].pitch)):
                    for c in range(shape.channels):
                        for d in [c] if link.channelwise else range(layers[source].channels):
                            found.append((at[index, p, c], at[source, q, d]))
    return found


def test_windows_are_those_of_a_convolution():
    for n, kernel, stride, padding in [(12, 3, 1, 1), (12, 5, 2, 0), (9, 4, 3, 2), (7, 7, 1, 0)]:
        expected = conv_output(n, kernel, stride, padding)
        out, read = windows(
            Link("x", kernel, stride, padding), LayerShape("y", 1, len(expected)), LayerShape("x", 1, n)
        )
        assert [set(read[out == o].tolist()) for o in range(len(expected))] == expected


def test_pooling_after_a_convolution_reads_the_union_of_its_windows():
    inner, outer = conv_output(13, 3, 2, 1), conv_output(7, 3, 2, 1)
    expected = [set().union(*(inner[i] for i in window)) for window in outer]
    link = Link("x", 3, 2, 1).then(3, 2, 1)
    out, read = windows(link, LayerShape("y", 1, len(expected)), LayerShape("x", 1, 13))
    assert [set(read[out == o].tolist()) for o in range(len(expected))] == expected


def test_edges_are_counted_as_they_are_without_collapsing():
    assert n_edges(SMALL) == len(edges(SMALL))


def test_an_edge_is_as_strong_as_its_ends_have_few_neighbours():
    weight = np.random.default_rng(0).uniform(0.5, 2, sum(shape.neurons for shape in SMALL[:2]))
    graph = build(SMALL[:2], weight)
    degree = np.zeros(graph.n_vertices)
    for u, v in edges(SMALL[:2]):
        degree[u] += graph.weight[v]
        degree[v] += graph.weight[u]
    dense = graph.complete.toarray()
    for u, v in edges(SMALL[:2]):
        assert dense[graph.group[u], graph.group[v]] == pytest.approx(1 / np.sqrt(degree[u] * degree[v]))


def test_coarsening_halves_channels_first_then_pitches_and_keeps_the_weight():
    graph, sizes = build(SMALL), []
    while (coarser := coarsen(graph)) is not None:
        finer, (graph, parent) = graph, coarser
        np.testing.assert_allclose(np.bincount(parent, finer.weight), graph.weight)
        assert (finer.layer[finer.group] == graph.layer[graph.group][parent]).all()
        sizes.append((graph.n_vertices, int(graph.size.max())))
    # 6 and 5 channels → 3 → 2 → 1, then 12 and 6 pitches → 6, 3 → 3, 2 → 2, 1 → 1
    assert sizes == [(12 + 18 + 18 + 3, 3), (12 + 12 + 12 + 2, 2), (25, 1), (13, 1), (8, 1), (5, 1), (4, 1)]


def test_a_silent_neuron_still_takes_room():
    weight = np.ones(24)
    weight[3] = 0
    graph = build(SMALL[:1], weight)
    assert graph.weight.sum() == pytest.approx(1)
    assert 0 < graph.weight[3] < graph.weight[4]


def test_the_papers_ear_has_the_vertices_edges_and_levels_of_the_papers_map():
    from backend.instruments.neurons.ear import BASE, Ear

    shapes = Ear(BASE).shapes
    assert sum(shape.neurons for shape in shapes) == 34_608
    assert n_edges(shapes) == pytest.approx(18.2e6, abs=0.1e6)
    graph, merges = build(shapes), 0
    while (coarser := coarsen(graph)) is not None:
        graph, merges = coarser[0], merges + 1
    assert (graph.n_vertices, merges) == (len(shapes), 17)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ((), "1 to 255 layers"),
        ((LayerShape("a", 0),), "a has 0 channels"),
        ((LayerShape("a", 1), LayerShape("a", 1)), "Two layers"),
        ((LayerShape("a", 1, 1, (Link("b"),)),), "reads 'b'"),
        ((LayerShape("a", 1, 4), LayerShape("b", 1, 4, (Link("a", 2, 2),))), "pitch 2 of 4 reads none"),
        ((LayerShape("a", 2), LayerShape("b", 3, 1, (Link("a", channelwise=True),))), "channel by channel"),
    ],
)
def test_a_description_that_contradicts_itself_is_refused(layers, said):
    with pytest.raises(NeuromuseError, match=said):
        build(layers)


@pytest.mark.parametrize("weight", [np.ones(3), np.full(24, -1.0), np.full(24, np.nan)])
def test_weights_that_fit_no_neurons_are_refused(weight):
    with pytest.raises(NeuromuseError, match="24 finite numbers"):
        build(SMALL[:1], weight)
