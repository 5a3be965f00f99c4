"""Ridge regression in closed form with one penalty per target, chosen by exact grouped cross-validation.

One eigendecomposition serves every penalty and every fold. A ridge fit is a linear smoother ``Ŷ = H Y``, and the
residual of a group that is left out is ``(I - H_gg)^-1 (Y - Ŷ)_g``, also with an unpenalised intercept (Cook and
Weisberg 1982, the leave-one-out case; Hastie et al., Elements of Statistical Learning, eq. 7.64). So nothing is fitted
twice, and clips that share sound can be one group. Only numpy's BLAS is called: SciPy brings one of its own, and the
waiting threads of one would hold the cores that the other needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Groups = npt.NDArray[np.int64]
Decomposition = tuple[
    npt.NDArray[np.floating], npt.NDArray[np.floating], Callable[[npt.NDArray[np.floating]], FloatArray]
]
"""Eigenvalues, left vectors ``[samples, components]``, and what turns coefficients in that basis into weights."""

LARGE = 2000  # samples; from here on the decomposition is done in single precision, twice as fast
AT_ONCE = 8_000_000  # numbers in the largest array that several penalties share
N_ALPHAS = 13


class Ridge:
    """``Y ≈ X W + b`` with a penalty per target; scikit-learn's `fit` and `predict`.

    Args:
        alphas: penalties to choose from, on ``|w|²`` beside the sum of squared errors; None takes 13 that span six
            decades around the mean eigenvalue of the centred Gram matrix.
        keep_held_out: also keep `held_out`.

    Attributes:
        coef: ``[voxels, targets]``.
        intercept: ``[targets]``.
        best_alphas: ``[targets]``.
        cv_score: cross-validated R² of each target at its penalty.
        held_out: prediction for each training sample while its group was left out ``[samples, targets]``.
    """

    def __init__(self, alphas: Sequence[float] | None = None, keep_held_out: bool = False) -> None:
        self.alphas, self.keep_held_out = alphas, keep_held_out
        self.coef: FloatArray = np.zeros((0, 0), np.float32)
        self.intercept: FloatArray = np.zeros(0, np.float32)
        self.best_alphas = np.zeros(0)
        self.cv_score = np.zeros(0)
        self.held_out: FloatArray = np.zeros((0, 0), np.float32)

    def fit(self, x: FloatArray, y: FloatArray, groups: Groups | None = None) -> Self:
        """Choose penalties and fit.

        Args:
            x: ``[samples, voxels]``.
            y: ``[samples, targets]``.
            groups: ``[samples]``; a group is left out as a whole. Five folds in order if None.

        Raises:
            ValueError: fewer than two groups, or shapes that do not fit.
        """
        if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
            raise ValueError(f"expected x [samples, voxels] and y [samples, targets], got {x.shape} and {y.shape}")
        groups = folds(len(x), 5) if groups is None else np.asarray(groups)
        if len(np.unique(groups)) < 2:
            raise ValueError("cross-validation needs at least two groups")
        mean_x, mean_y = x.mean(0, dtype=np.float64).astype(np.float32), y.mean(0, dtype=np.float64)
        if x.shape[0] <= x.shape[1]:
            values, vectors, rotate = _dual(x)
        else:
            values, vectors, rotate = _primal(x, mean_x)
        centred = (y - mean_y).astype(vectors.dtype)
        projected = vectors.T @ centred  # [components, targets]
        alphas = np.asarray(default_alphas(values, len(x)) if self.alphas is None else self.alphas, np.float64)
        errors = _held_out_errors(values, vectors, projected, centred, alphas, groups)
        best = errors.argmin(0)
        if self.keep_held_out:
            self.held_out = y.astype(np.float32, copy=True)
            for i in np.unique(best):
                own = best == i
                part = (values, vectors, projected[:, own], centred[:, own])
                for rows, residual in _held_out_residuals(*part, alphas[i : i + 1], groups):
                    self.held_out[np.ix_(rows, own)] -= residual[0]
        self.best_alphas = alphas[best]
        self.cv_score = 1 - errors.min(0) / np.maximum((centred.astype(np.float64) ** 2).sum(0), 1e-12)
        scaled = projected / (values[:, None] + self.best_alphas[None]).astype(vectors.dtype)
        self.coef = rotate(scaled)
        self.intercept = (mean_y - mean_x.astype(np.float64) @ self.coef).astype(np.float32)
        return self

    def predict(self, x: FloatArray) -> FloatArray:
        """``[samples, voxels]`` → ``[samples, targets]``."""
        return np.asarray(x @ self.coef + self.intercept, np.float32)


def folds(n: int, k: int) -> Groups:
    """``k`` contiguous folds of ``n`` samples."""
    return np.asarray(np.arange(n) * min(k, n) // n, np.int64)


def default_alphas(values: npt.NDArray[np.floating], n: int) -> npt.NDArray[np.float64]:
    """Thirteen penalties, three decades to either side of the mean eigenvalue."""
    return np.asarray(max(float(values.sum()) / n, 1e-9) * np.logspace(-3, 3, N_ALPHAS))


def _dual(x: FloatArray) -> Decomposition:
    """Eigenvectors of the centred Gram matrix; no copy of ``x`` is made."""
    exact: type[np.float32] | type[np.float64] = np.float32 if len(x) >= LARGE else np.float64
    # numpy multiplies half of it: it sees that both are one array
    gram: npt.NDArray[Any] = (x @ x.T).astype(exact, copy=False)
    rows = gram.mean(0)
    gram -= rows[None]
    gram -= rows[:, None]
    gram += rows.mean()
    values, vectors = np.linalg.eigh(gram)

    def rotate(scaled: npt.NDArray[np.floating]) -> FloatArray:
        # the dual weights sum to zero, as the centred targets do, so the means of x drop out
        return np.asarray(x.T @ (vectors @ scaled).astype(np.float32), np.float32)

    return np.maximum(values, 0), vectors, rotate


def _primal(x: FloatArray, mean: FloatArray) -> Decomposition:
    """Singular vectors through the covariance: for more samples than voxels."""
    centred = (x - mean).astype(np.float64)
    values, right = np.linalg.eigh(centred.T @ centred)
    keep = values > max(values[-1], 1e-12) * 1e-10
    values, right = values[keep], right[:, keep]
    left = centred @ right / np.sqrt(values)

    def rotate(scaled: npt.NDArray[np.floating]) -> FloatArray:
        # coefficients in the eigenbasis of x'x: sqrt(value) · (left' y) / (value + alpha)
        return np.asarray(right @ (np.sqrt(values)[:, None] * scaled), np.float32)

    return values, left, rotate


def _held_out_errors(
    values: npt.NDArray[np.floating],
    vectors: npt.NDArray[np.floating],
    projected: npt.NDArray[np.floating],
    centred: npt.NDArray[np.floating],
    alphas: npt.NDArray[np.float64],
    groups: Groups,
) -> npt.NDArray[np.float64]:
    """Sum of squared held-out errors ``[penalties, targets]``."""
    errors = np.zeros((len(alphas), centred.shape[1]))
    together = max(1, AT_ONCE // vectors.size)
    for start in range(0, len(alphas), together):
        some = slice(start, start + together)
        for _, residual in _held_out_residuals(values, vectors, projected, centred, alphas[some], groups):
            errors[some] += np.einsum("aij,aij->aj", residual, residual, dtype=np.float64)
    return errors


def _held_out_residuals(
    values: npt.NDArray[np.floating],
    vectors: npt.NDArray[np.floating],
    projected: npt.NDArray[np.floating],
    centred: npt.NDArray[np.floating],
    alphas: npt.NDArray[np.float64],
    groups: Groups,
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]]]:
    """For each group its rows and their errors while it is left out, ``[penalties, rows, targets]``.

    All penalties go through one product.
    """
    exact = vectors.dtype
    shrink = (values / (values + alphas[:, None])).astype(exact)  # [penalties, components]
    fitted = vectors @ (shrink.T[:, :, None] * projected[:, None, :]).reshape(len(values), -1)
    residual = centred[:, None, :] - fitted.reshape(len(centred), len(alphas), -1)  # [samples, penalties, targets]
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        part = vectors[rows]
        smoother = (shrink[:, None, :] * part).reshape(-1, len(values)) @ part.T
        inside = np.eye(len(rows)) - smoother.reshape(len(alphas), len(rows), -1).astype(np.float64) - 1 / len(centred)
        # few rows, many targets: the inverse once, then a product in the targets' own precision
        yield rows, np.linalg.inv(inside).astype(exact) @ residual[rows].transpose(1, 0, 2)
