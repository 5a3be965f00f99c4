"""Decoders: a listener's voxels → MuLan's music embedding.

``fit`` and ``predict`` as in scikit-learn, weights as tensors.
All are linear but the seed's second baseline, so what is kept of one is a matrix and a vector; one decoder fits one
brain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from backend.instruments.brain.ridge import Groups, Ridge, folds

FloatArray = npt.NDArray[np.float32]
StepCallback = Callable[[int, int], None]


class Decoder(Protocol):
    """What every decoder does.

    Attributes:
        name: what requests call it.
        held_out: predictions of the training rows, each made while its fold was left out; None if there are none.
    """

    name: ClassVar[str]
    held_out: FloatArray | None

    def fit(self, x: FloatArray, y: FloatArray, groups: Groups | None = None) -> Self:
        """Learn from voxels ``[samples, voxels]`` and embeddings ``[samples, 128]``; groups stay together."""
        ...

    def predict(self, x: FloatArray) -> FloatArray:
        """Voxels ``[samples, voxels]`` → embeddings ``[samples, 128]``."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What to keep."""
        ...


class LinearDecoder:
    """``Y = X W + b``, however it was learnt."""

    name: ClassVar[str] = "linear"

    def __init__(self) -> None:
        self.weight: FloatArray = np.zeros((0, 0), np.float32)
        self.bias: FloatArray = np.zeros(0, np.float32)
        self.held_out: FloatArray | None = None

    def predict(self, x: FloatArray) -> FloatArray:
        """Voxels ``[samples, voxels]`` → embeddings ``[samples, 128]``."""
        return np.asarray(x @ self.weight + self.bias, np.float32)

    def state(self) -> dict[str, Tensor]:
        """``weight [voxels, 128]`` and ``bias [128]``."""
        return {"weight": torch.from_numpy(self.weight), "bias": torch.from_numpy(self.bias)}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """The decoder of a `state`."""
        self.weight, self.bias = (np.asarray(state[key].float().numpy()) for key in ("weight", "bias"))
        return self


class RidgeDecoder(LinearDecoder):
    """The paper's: ridge regression, one penalty per dimension by grouped cross-validation."""

    name: ClassVar[str] = "ridge"

    def fit(self, x: FloatArray, y: FloatArray, groups: Groups | None = None) -> Self:
        """See `Ridge.fit`; groups are dealt to five folds."""
        ridge = Ridge(keep_held_out=True).fit(x, y, five_folds(len(x), groups))
        self.weight, self.bias, self.held_out = ridge.coef, ridge.intercept, ridge.held_out
        return self


class ContrastiveDecoder(LinearDecoder):
    """Linear weights that tell clips apart: InfoNCE between predicted and true embeddings (after arXiv 2606.19081).

    Ridge spends itself on what most clips share. Here a prediction must correlate with its own clip's embedding more
    than with the others'. With 480 clips and thousands of voxels contrast alone learns noise, so it learns a linear
    map of ridge's predictions, from those made for clips while they were left out; the product of the two maps is one
    linear decoder. The number of steps comes from five folds.

    Args:
        steps: at most so many.
        learning_rate: of Adam.
        pull: weight of the squared distance to ridge's own predictions.
    """

    name: ClassVar[str] = "contrastive"

    def __init__(self, steps: int = 60, learning_rate: float = 0.003, pull: float = 0.1) -> None:
        super().__init__()
        self.steps, self.learning_rate, self.pull = steps, learning_rate, pull

    def fit(self, x: FloatArray, y: FloatArray, groups: Groups | None = None) -> Self:
        """Fit ridge, then the map of its held-out predictions."""
        fold = five_folds(len(x), groups)
        ridge = Ridge(keep_held_out=True).fit(x, y, fold)
        centre = ridge.held_out.mean(0)
        start = flattening(ridge.held_out - centre)
        z, target = torch.from_numpy((ridge.held_out - centre) @ start), torch.from_numpy(y)
        curves = []
        for k in np.unique(fold):
            inside = torch.from_numpy(fold != k)
            curves.append(self._learn(z[inside], target[inside], self.steps, (z[~inside], target[~inside]))[2])
        step = int(np.mean(curves, 0).argmin())
        learnt, offset, _ = self._learn(z, target, step)
        matrix = start @ learnt.numpy()
        self.held_out = np.asarray((ridge.held_out - centre) @ matrix + offset.numpy(), np.float32)
        self.weight = np.asarray(ridge.coef @ matrix, np.float32)
        self.bias = np.asarray((ridge.intercept - centre) @ matrix + offset.numpy(), np.float32)
        return self

    def _learn(
        self, z: Tensor, target: Tensor, steps: int, held_out: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, list[float]]:
        """Matrix ``[128, 128]`` and offset ``[128]`` after ``steps``, and the held-out loss before each and at last."""
        with torch.enable_grad():
            start = torch.eye(z.shape[1])
            matrix, offset = start.clone().requires_grad_(True), target.mean(0).clone().requires_grad_(True)
            heat = torch.tensor(2.0, requires_grad=True)
            rates = ((matrix, self.learning_rate), (offset, self.learning_rate), (heat, 0.05))
            optimiser = torch.optim.Adam([{"params": [parameter], "lr": rate} for parameter, rate in rates])
            losses = []
            for _ in range(steps):
                losses += [] if held_out is None else [self._loss(held_out, matrix, offset, heat)]
                loss = info_nce(z @ matrix + offset, target, heat.exp())
                loss = loss + self.pull * (matrix - start).square().sum() / z.shape[1]
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            losses += [] if held_out is None else [self._loss(held_out, matrix, offset, heat)]
        return matrix.detach(), offset.detach(), losses

    def _loss(self, pairs: tuple[Tensor, Tensor], matrix: Tensor, offset: Tensor, heat: Tensor) -> float:
        with torch.no_grad():
            return float(info_nce(pairs[0] @ matrix + offset, pairs[1], heat.exp()))


def info_nce(predicted: Tensor, target: Tensor, scale: Tensor | float) -> Tensor:
    """Cross-entropy of telling which target each prediction belongs to and the reverse, by correlation × ``scale``."""
    a, b = (functional.normalize(rows - rows.mean(1, keepdim=True), dim=-1) for rows in (predicted, target))
    logits = scale * a @ b.T
    own = torch.arange(len(logits))
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def flattening(predictions: FloatArray, gain: float = 3.0) -> FloatArray:
    """Symmetric ``[128, 128]`` that lifts what ridge shrank: ``gain × C^(-1/4)`` of the predictions' covariance ``C``.

    Half-way to whitening, at ``gain`` times the deviation. Where contrastive learning begins.
    """
    values, vectors = np.linalg.eigh(predictions.T.astype(np.float64) @ predictions / len(predictions))
    values = np.maximum(values, 0) + 0.01 * max(values.mean(), 1e-12)
    root = (vectors * (values / values.mean()) ** -0.25) @ vectors.T
    size = np.sqrt(np.square(predictions).sum() / max(float(np.square(predictions @ root).sum()), 1e-12))
    return np.asarray(gain * size * root, np.float32)


def five_folds(n: int, groups: Groups | None) -> Groups:
    """Groups dealt to five folds at random, always the same way; single samples are groups where none are given."""
    groups = np.arange(n) if groups is None else groups
    names, place = np.unique(groups, return_inverse=True)
    dealt = np.random.default_rng(5).permutation(folds(len(names), 5))
    return np.asarray(dealt[place], np.int64)
