"""The other way round: from the embedding of what was heard to each voxel; its held-out correlation is the map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from backend.instruments.brain.ridge import Groups, Ridge

FloatArray = npt.NDArray[np.float32]

FALSE_DISCOVERY_RATE = 0.05


@dataclass(frozen=True, eq=False)
class EncodingMap:
    """How well music predicts each voxel.

    Attributes:
        correlation: of predicted and measured responses over the test clips ``[voxels]``.
        significant: voxels that are predicted, at a false discovery rate of 5 % ``[voxels]``.
    """

    correlation: FloatArray
    significant: npt.NDArray[np.bool_]


def encode(
    embeddings: FloatArray, voxels: FloatArray, test_embeddings: FloatArray, test_voxels: FloatArray, folds: Groups
) -> EncodingMap:
    """Fit on training clips, correlate on test clips.

    One-sided t-test of each correlation and Benjamini and Hochberg's control over voxels.

    Args:
        embeddings: ``[samples, 128]``.
        voxels: ``[samples, voxels]``.
        test_embeddings: ``[clips, 128]``.
        test_voxels: ``[clips, voxels]``.
        folds: of the samples, for the penalties.
    """
    # embeddings are unit vectors, so five penalties of one scale do for all recordings
    alphas = [len(embeddings) / embeddings.shape[1] * 10.0**power for power in (-1, 0, 1, 2, 3)]
    predicted = Ridge(alphas).fit(embeddings, voxels, folds).predict(test_embeddings)
    correlation = columnwise_correlation(predicted, test_voxels)
    freedom = len(test_voxels) - 2
    t = correlation * np.sqrt(freedom / np.maximum(1 - correlation.astype(np.float64) ** 2, 1e-12))
    adjusted = stats.false_discovery_control(stats.t.sf(t, freedom))
    return EncodingMap(correlation, np.asarray(adjusted < FALSE_DISCOVERY_RATE))


def columnwise_correlation(a: FloatArray, b: FloatArray) -> FloatArray:
    """Pearson's correlation of each column of ``a`` with that of ``b``; 0 where one is constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    size = np.sqrt((a.astype(np.float64) ** 2).sum(0) * (b.astype(np.float64) ** 2).sum(0))
    return np.asarray(np.where(size > 1e-12, (a * b).sum(0) / np.maximum(size, 1e-12), 0.0), np.float32)
