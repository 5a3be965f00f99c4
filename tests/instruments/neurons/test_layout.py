from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import sparse

from backend.instruments.neurons.graph import Graph, build, coarsen
from backend.instruments.neurons.layout import TINY, attraction, edge_length, forces, lay_out
from backend.instruments.neurons.quadtree import repulsion
from tests.instruments.neurons.test_graph import SMALL, edges


def all_pairs(positions, weight, softening):
    difference = positions[:, None] - positions
    return ((weight / ((difference**2).sum(-1) + softening**2))[..., None] * difference).sum(1)


def clouds(n: int, seed: int = 0):
    """Points of very different density, with doubles, and their weights."""
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.normal(size=(n // 2, 2)), 3 + 0.01 * rng.normal(size=(n - n // 2, 2))])
    points[1] = points[0]
    return points, rng.uniform(0.1, 1, n)


def cliques(sizes: tuple[int, ...], bridge: float = 0.0) -> Graph:
    """Complete graphs; ``bridge`` joins the first vertices of neighbours."""
    size = np.array(sizes)
    n, start = int(size.sum()), np.cumsum(size) - size
    joins = np.stack([start[:-1], start[1:]])
    single = sparse.csr_array((np.full(joins.shape[1], bridge), joins), shape=(n, n))
    return Graph(
        layer=np.arange(len(sizes)),
        size=size,
        weight=np.full(n, 1 / n),
        complete=sparse.csr_array(np.diag(n / size.astype(float))),
        single=sparse.csr_array(single + single.T),
    )


def test_without_opening_the_tree_sums_all_pairs():
    points, weight = clouds(300)
    np.testing.assert_allclose(repulsion(points, weight, 0.0, 0.01), all_pairs(points, weight, 0.01), rtol=1e-9)


@pytest.mark.parametrize(("theta", "error"), [(0.5, 3e-4), (0.9, 2e-3)])
def test_the_tree_comes_close_to_the_sum_of_all_pairs(theta, error):
    points, weight = clouds(3000)
    exact = all_pairs(points, weight, 0.001)
    found = repulsion(points, weight, theta, 0.001)
    assert np.sqrt(((found - exact) ** 2).sum() / (exact**2).sum()) < error


def test_repulsion_does_not_depend_on_the_number_of_threads():
    points, weight = clouds(1000)
    with ThreadPoolExecutor(3) as pool:
        shared = repulsion(points, weight, 0.7, 0.01, pool, 3)
    np.testing.assert_array_equal(shared, repulsion(points, weight, 0.7, 0.01))


def test_points_on_one_place_or_line_give_finite_forces():
    for points in (np.zeros((50, 2)), np.stack([np.arange(50.0), np.zeros(50)], 1)):
        assert np.isfinite(repulsion(points, np.ones(50), 0.5, 0.01)).all()


def test_collapsed_edges_pull_like_all_edges_one_by_one():
    rng = np.random.default_rng(1)
    graph = build(SMALL, rng.uniform(0.5, 2, sum(shape.neurons for shape in SMALL)))
    positions = rng.normal(size=(graph.n_vertices, 2))
    group, mean = graph.group, graph.group_weight / graph.size
    degree = np.zeros(len(graph.size))
    for u, v in edges(SMALL):
        for a, b in ((group[u], group[v]), (group[v], group[u])):
            degree[a] += mean[b] / graph.size[a]
    pull = np.zeros_like(positions)
    for u, v in edges(SMALL):
        strength = 1 / np.sqrt(degree[group[u]] * degree[group[v]])
        pull[u] += graph.weight[v] * strength * (positions[v] - positions[u])
        pull[v] += graph.weight[u] * strength * (positions[u] - positions[v])
    np.testing.assert_allclose(attraction(graph, positions), pull, rtol=1e-9, atol=1e-12)


def test_merged_vertices_feel_what_their_halves_feel_together():
    rng = np.random.default_rng(2)
    graph = build(SMALL, rng.uniform(0.5, 2, sum(shape.neurons for shape in SMALL)))
    while (coarser := coarsen(graph)) is not None:
        finer, (graph, parent) = graph, coarser
        positions = rng.normal(size=(graph.n_vertices, 2))
        fine = finer.weight[:, None] * attraction(finer, positions[parent])
        together = np.stack([np.bincount(parent, fine[:, axis]) for axis in range(2)], 1)
        np.testing.assert_allclose(graph.weight[:, None] * attraction(graph, positions), together, atol=1e-12)


def test_forces_are_the_slope_of_the_energy():
    graph = cliques((3, 4), bridge=2.0)
    config = dataclasses.replace(TINY, theta=0.0)
    softening = 0.1 / np.sqrt(graph.n_vertices)
    strength = graph.complete.toarray()[np.ix_(graph.group, graph.group)] + graph.single.toarray()

    def energy(flat):
        x = flat.reshape(-1, 2)
        square = ((x[:, None] - x) ** 2).sum(-1)
        pairs = np.outer(graph.weight, graph.weight)
        springs = (pairs * strength * square).sum() / 4
        charges = -(pairs * np.log(square + softening**2)).sum() / 4
        return springs + charges + config.gravity / 2 * (graph.weight[:, None] * x**2).sum()

    x = np.random.default_rng(3).normal(size=(7, 2))
    shifts = 1e-6 * np.eye(14)
    slope = [(energy(x.ravel() + shift) - energy(x.ravel() - shift)) / 2e-6 for shift in shifts]
    found = -graph.weight[:, None] * forces(graph, x, config)
    np.testing.assert_allclose(found.ravel(), slope, atol=1e-7)


def test_two_cliques_lie_apart_and_each_keeps_together():
    graph = cliques((40, 40), bridge=1.0)
    laid = lay_out(graph, np.random.default_rng(0), TINY)
    first, second = laid[:40], laid[40:]
    radius = max(np.linalg.norm(part - part.mean(0), axis=1).max() for part in (first, second))
    assert np.linalg.norm(first.mean(0) - second.mean(0)) > 2 * radius


def test_charges_without_springs_fill_a_disc_of_the_area_that_gravity_leaves_them():
    graph = dataclasses.replace(cliques((600,)), complete=sparse.csr_array((1, 1)))
    rng, config = np.random.default_rng(0), dataclasses.replace(TINY, steps=200)
    last = []
    lay_out(graph, rng, config, lambda number, total, level, positions: last.append(positions))
    radii = np.sort(np.linalg.norm(last[-1] - last[-1].mean(0), axis=1))
    radius = 1 / np.sqrt(config.gravity)
    # An even disc holds the share (r / radius)^2 within r.
    np.testing.assert_allclose(radii[[149, 299, 449]] / radius, np.sqrt([0.25, 0.5, 0.75]), rtol=0.05)


def test_the_same_generator_draws_the_same_layout_whatever_the_threads():
    graph = build(SMALL)
    one = lay_out(graph, np.random.default_rng(5), TINY)
    two = lay_out(graph, np.random.default_rng(5), dataclasses.replace(TINY, threads=2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, lay_out(graph, np.random.default_rng(6), TINY))


def test_a_layout_fills_its_frame_begins_on_the_left_and_shortens_edges():
    graph = build(SMALL)
    laid = lay_out(graph, np.random.default_rng(0), TINY)
    assert np.abs(laid).max() == pytest.approx(1)
    np.testing.assert_allclose(laid.min(0), -laid.max(0))
    assert laid[:24, 0].mean() < laid[24:, 0].mean()
    random = np.random.default_rng(1).normal(size=laid.shape)
    assert edge_length(graph, laid) < 0.6 * edge_length(graph, random)


def test_random_positions_have_edges_as_long_as_pairs():
    graph = cliques((500, 500))
    lengths = [edge_length(graph, np.random.default_rng(seed).normal(size=(1000, 2))) for seed in range(3)]
    assert np.mean(lengths) == pytest.approx(1, abs=0.02)


def test_whoever_listens_can_stop_a_layout():
    def stop(number, total, level, positions):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        lay_out(build(SMALL), np.random.default_rng(0), TINY, stop)
