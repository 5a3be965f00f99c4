"""Distances between two sets of embeddings: Fréchet distance and Kernel Audio Distance.

Conventions: embeddings are ``[clips, dimensions]``, computed in float64. Both say how far a generated set is from a
reference *set*, never how good one clip is. Print the distance of two halves of the reference beside them: that is the
floor at this number of clips (the Fréchet distance is biased upwards for few clips, the kernel distance is not). On
our own embeddings the Fréchet distance is not the published FAD and must not be compared with it.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt

Embeddings = npt.NDArray[np.floating]
KAD_SCALE = 100.0
"""The published toolkit multiplies the squared discrepancy by this; kept so that figures compare."""


def validate(reference: npt.ArrayLike, other: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Both sets as float64 ``[clips, dimensions]``.

    Raises:
        ValueError: fewer than two clips, different dimensions, or values that are not finite.
    """
    a, b = (np.asarray(embeddings, dtype=np.float64) for embeddings in (reference, other))
    for name, array in (("reference", a), ("other", b)):
        if array.ndim != 2 or array.shape[0] < 2:
            raise ValueError(f"{name}: expected [clips >= 2, dimensions], got shape {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: embeddings must be finite")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"dimensions differ: {a.shape[1]} and {b.shape[1]}")
    return a, b


def frechet_distance(reference: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Squared 2-Wasserstein distance of the Gaussians fitted to both sets.

    ``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1^½ S2 S1^½)^½)`` (Dowson and Landau 1982; arXiv 1812.08466 for audio). The trace
    of the root comes from eigenvalues of a symmetric matrix, which stays real and stable when there are fewer clips
    than dimensions, where ``scipy.linalg.sqrtm`` does not.

    Raises:
        ValueError: see `validate`.
    """
    a, b = validate(reference, other)
    difference = a.mean(0) - b.mean(0)
    cov_a, cov_b = (np.atleast_2d(np.cov(array, rowvar=False)) for array in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    mixed = np.linalg.eigvalsh(root @ cov_b @ root)
    distance = difference @ difference + np.trace(cov_a) + np.trace(cov_b) - 2.0 * np.sqrt(np.maximum(mixed, 0)).sum()
    return max(float(distance), 0.0)


def kernel_distance(reference: npt.ArrayLike, other: npt.ArrayLike, bandwidth: float | None = None) -> float:
    """Kernel Audio Distance (arXiv 2502.15602, eq. 6): 100 × unbiased squared MMD with a Gaussian kernel.

    ``k(x, y) = exp(-|x - y|^2 / 2 bandwidth^2)``. Unbiased, so a perfect set scores 0 on average and may score below.

    Args:
        reference: ``[clips, dimensions]``.
        other: ``[clips, dimensions]``.
        bandwidth: the median distance between two clips of the reference when None.

    Raises:
        ValueError: see `validate`.
    """
    a, b = validate(reference, other)
    within_a, within_b, across = _squared_distances(a, a), _squared_distances(b, b), _squared_distances(a, b)
    if bandwidth is None:
        bandwidth = float(np.sqrt(np.median(within_a[np.triu_indices(len(a), 1)])))
    scale = 0.5 / max(bandwidth**2, 1e-12)

    def mean_off_diagonal(squared: npt.NDArray[np.float64]) -> float:
        kernel = np.exp(-scale * squared)
        return float((kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1)))

    discrepancy = mean_off_diagonal(within_a) + mean_off_diagonal(within_b) - 2 * float(np.exp(-scale * across).mean())
    return KAD_SCALE * discrepancy


def _squared_distances(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return cast("npt.NDArray[np.float64]", np.maximum(squared, 0.0))
