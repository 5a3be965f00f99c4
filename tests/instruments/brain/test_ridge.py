"""Ridge against scikit-learn: the same coefficients, the same held-out predictions, the same penalties."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge as Reference

from backend.instruments.brain.ridge import Ridge, default_alphas, folds


def problem(samples: int, voxels: int, targets: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([samples, voxels])
    x = (rng.standard_normal((samples, voxels)) + 2).astype(np.float32)
    y = x[:, :3] @ rng.standard_normal((3, targets)) + rng.standard_normal((samples, targets)) - 5
    return x, y.astype(np.float32)


SHAPES = [(30, 80), (60, 12)]


@pytest.mark.parametrize(("samples", "voxels"), SHAPES)
def test_coefficients_and_intercept_equal_scikit_learns(samples: int, voxels: int) -> None:
    x, y = problem(samples, voxels)
    ours, theirs = Ridge([7.0]).fit(x, y), Reference(alpha=7.0).fit(x.astype(np.float64), y)
    assert np.allclose(ours.coef, theirs.coef_.T, atol=2e-4)
    assert np.allclose(ours.predict(x), theirs.predict(x), atol=2e-3)


@pytest.mark.parametrize(("samples", "voxels"), SHAPES)
def test_held_out_predictions_equal_refitting_without_each_group(samples: int, voxels: int) -> None:
    x, y = problem(samples, voxels)
    groups = np.random.default_rng(0).integers(0, 5, samples)
    ours = Ridge([3.0], keep_held_out=True).fit(x, y, groups)
    for group in range(5):
        inside, outside = groups != group, groups == group
        expected = Reference(alpha=3.0).fit(x[inside].astype(np.float64), y[inside]).predict(x[outside])
        assert np.allclose(ours.held_out[outside], expected, atol=5e-3)


def test_each_target_gets_the_penalty_that_predicts_it_best() -> None:
    x, y = problem(60, 100, 2)
    y[:, 1] = np.random.default_rng(1).standard_normal(60)  # nothing to be found: the largest penalty
    alphas = [0.1, 10.0, 1e6]
    fitted = Ridge(alphas).fit(x, y, folds(60, 5))
    alone = [Ridge([alpha], keep_held_out=True).fit(x, y, folds(60, 5)).held_out for alpha in alphas]
    errors = np.array([((held_out - y) ** 2).sum(0) for held_out in alone])
    assert fitted.best_alphas.tolist() == [alphas[i] for i in errors.argmin(0)]
    assert fitted.best_alphas[0] < fitted.best_alphas[1] == 1e6


def test_default_penalties_follow_the_scale_of_the_voxels() -> None:
    values = np.array([1.0, 3.0])
    assert np.allclose(default_alphas(100 * values, 2), 100 * default_alphas(values, 2))


def test_one_group_cannot_be_left_out() -> None:
    x, y = problem(8, 4)
    with pytest.raises(ValueError, match="two groups"):
        Ridge().fit(x, y, np.zeros(8, np.int64))
