"""What genre does it sound like? A linear probe on embeddings or voxels: the seed's open question."""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

FloatArray = npt.NDArray[np.float32]


class GenreProbe:
    """Multinomial logistic regression on standardised features (scikit-learn's), kept as a matrix.

    Args:
        inverse_penalty: scikit-learn's ``C``.
    """

    def __init__(self, inverse_penalty: float = 0.03) -> None:
        self.inverse_penalty = inverse_penalty
        self.weight: FloatArray = np.zeros((0, 0), np.float32)
        self.bias: FloatArray = np.zeros(0, np.float32)

    def fit(self, x: FloatArray, genre: npt.NDArray[np.int64]) -> Self:
        """Learn from ``[clips, features]`` and the number of each clip's genre; numbers are 0 to genres - 1."""
        from sklearn.linear_model import LogisticRegression

        mean, scale = x.mean(0), x.std(0) + 1e-6
        model = LogisticRegression(C=self.inverse_penalty, max_iter=300).fit((x - mean) / scale, genre)
        self.weight = np.asarray(model.coef_.T / scale[:, None], np.float32)
        self.bias = np.asarray(model.intercept_ - mean @ self.weight, np.float32)
        return self

    def probabilities(self, x: FloatArray) -> FloatArray:
        """``[clips, features]`` → ``[clips, genres]``."""
        return np.asarray(softmax(x @ self.weight + self.bias, axis=1), np.float32)

    def accuracy(self, x: FloatArray, genre: npt.NDArray[np.int64]) -> float:
        """Share of clips whose most probable genre is theirs."""
        return float((self.probabilities(x).argmax(1) == genre).mean())
