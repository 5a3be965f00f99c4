"""Distances of embedding sets against scipy and closed forms."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import pdist

from backend.metrics.frechet import frechet_distance, kernel_distance


def two_sets(n: int = 300, d: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(size=(n + 50, d)) * 2 + 1


def test_frechet_distance_equals_scipy_sqrtm() -> None:
    a, b = two_sets()
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    gap = a.mean(0) - b.mean(0)
    expected = gap @ gap + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_a_shift_is_its_square_and_is_symmetric() -> None:
    a, b = two_sets()
    assert frechet_distance(a, a + 3.0) == pytest.approx(9.0 * a.shape[1], rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_frechet_distance_of_fewer_clips_than_dimensions_is_finite() -> None:
    a, b = two_sets(8, 40)
    assert np.isfinite(frechet_distance(a[:8], b[:8])) and frechet_distance(a[:8], a[:8]) < 1e-6


def test_kernel_distance_equals_the_double_sum() -> None:
    a, b = two_sets(30)
    width = np.median(pdist(a))
    k = lambda x, y: np.exp(-np.sum((x - y) ** 2) / (2 * width**2))  # noqa: E731
    n, m = len(a), len(b)
    expected = sum(k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j) / (n * (n - 1))
    expected += sum(k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j) / (m * (m - 1))
    expected -= 2 * np.mean([[k(x, y) for y in b] for x in a])
    assert kernel_distance(a, b) == pytest.approx(100 * expected, rel=1e-9)


def test_kernel_distance_of_two_draws_of_one_law_is_zero_on_average() -> None:
    rng = np.random.default_rng(1)
    scores = [kernel_distance(*rng.normal(size=(2, 40, 8))) for _ in range(60)]
    assert abs(np.mean(scores)) < 4 * np.std(scores) / np.sqrt(60)
    assert min(scores) < 0  # unbiased, so half of them fall below
    assert kernel_distance(rng.normal(size=(40, 8)), rng.normal(size=(40, 8)) + 1) > 5 * max(scores)


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        (np.zeros((1, 4)), np.zeros((5, 4)), "clips >= 2"),
        (np.zeros((5, 4)), np.zeros((5, 3)), "4 and 3"),
        (np.full((5, 4), np.nan), np.zeros((5, 4)), "finite"),
        (np.zeros(5), np.zeros((5, 4)), "shape"),
    ],
)
def test_wrong_embeddings_are_named(a: np.ndarray, b: np.ndarray, says: str) -> None:
    for distance in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match=says):
            distance(a, b)
