"""Identification accuracy: can a prediction be told from the other candidates by what it should resemble?

Conventions: ``predicted`` and ``true`` are ``[clips, dimensions]``, row for row. Similarity is Pearson's correlation
over dimensions. For each prediction, accuracy is the share of the *other* clips' true vectors that correlate less with
it than its own does (Denk et al., arXiv 2307.11078, section 3.5; ties count half). Chance is .5, perfect is 1. With 60
clips the accuracy of a guess has a standard deviation of .036 over permutations, with 10 clips .10.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Identification:
    """How well clips were identified.

    Attributes:
        accuracy: mean over clips, chance .5.
        top1: share of clips whose own vector correlates most, chance 1 / clips.
        per_clip: accuracy of each clip ``[clips]``.
        rank: place of the true clip among all ``[clips]``, 1 is first; the worse place of a tie.
        p: share of permutations (the unpermuted one counted among them) at least as accurate.
        null_sd: standard deviation of the accuracy over permutations.
    """

    accuracy: float
    top1: float
    per_clip: Matrix
    rank: npt.NDArray[np.int64]
    p: float
    null_sd: float


def correlation(predicted: npt.ArrayLike, true: npt.ArrayLike) -> Matrix:
    """Pearson's correlation of every row with every row, ``[predicted, true]``; 0 where a row is constant.

    Raises:
        ValueError: shapes do not fit, fewer than two dimensions, or values that are not finite.
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (predicted, true))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or a.shape[1] < 2:
        raise ValueError(f"expected two arrays [clips, dimensions >= 2], got shapes {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("vectors must be finite")
    return np.asarray(_unit(a) @ _unit(b).T)


def _unit(rows: Matrix) -> Matrix:
    centred = rows - rows.mean(1, keepdims=True)
    norm = np.linalg.norm(centred, axis=1, keepdims=True)
    constant = norm <= 1e-12 * (1 + np.abs(rows).max(1, keepdims=True))
    return np.asarray(np.where(constant, 0.0, centred / np.where(constant, 1.0, norm)))


def scores(similarity: Matrix, own: npt.NDArray[np.int64] | None = None) -> Matrix:
    """Accuracy of each row of ``similarity [predictions, clips]``, whose true clip is ``own`` (the diagonal if None).

    Raises:
        ValueError: fewer than two clips.
    """
    n, clips = similarity.shape
    if clips < 2:
        raise ValueError("identification needs at least two clips")
    own = np.arange(n) if own is None else own
    mine = similarity[np.arange(n), own][:, None]
    below = (similarity < mine).sum(1) + 0.5 * ((similarity == mine).sum(1) - 1)
    return np.asarray(below / (clips - 1))


def identify(
    predicted: npt.ArrayLike, true: npt.ArrayLike, permutations: int = 1000, rng: np.random.Generator | None = None
) -> Identification:
    """Identification accuracy with a permutation test.

    Permutations shuffle which clip each prediction belongs to; p is never 0 (Phipson and Smyth 2010).

    Args:
        predicted: ``[clips, dimensions]``.
        true: ``[clips, dimensions]``.
        permutations: how many.
        rng: for the permutations; seeded with 0 if None.

    Raises:
        ValueError: see `correlation`; different numbers of clips, or fewer than two.
    """
    similarity = correlation(predicted, true)
    n = len(similarity)
    if n != similarity.shape[1]:
        raise ValueError(f"{n} predictions for {similarity.shape[1]} clips")
    table = np.stack(
        [scores(similarity, np.full(n, clip)) for clip in range(n)], 1
    )  # [prediction, clip it is taken for]
    per_clip = np.diag(table)
    rng = np.random.default_rng(0) if rng is None else rng
    rows = np.arange(n)
    null = np.array([table[rows, rng.permutation(n)].mean() for _ in range(permutations)])
    own = np.diag(similarity)[:, None]
    rank = (similarity >= own).sum(1)
    return Identification(
        accuracy=float(per_clip.mean()),
        top1=float((rank == 1).mean()),
        per_clip=per_clip.copy(),
        rank=rank.astype(np.int64),
        p=float((1 + (null >= per_clip.mean() - 1e-12).sum()) / (1 + permutations)),
        null_sd=float(null.std()) if permutations else float("nan"),
    )
