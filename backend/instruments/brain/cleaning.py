"""What is done to a run before it is decoded: spikes bridged, drift removed, voxels standardised."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]

DRIFT_CUTOFF_S = 240.0  # Denk et al. remove what is slower (with a median filter)
SPIKE_Z = 6.0


@dataclass(frozen=True)
class Quality:
    """What a run looked like before it was cleaned.

    Attributes:
        spikes: volumes whose change stands out by six robust deviations; the head moved or the scanner jumped.
        drift_percent: median over voxels of the slow part's range, in percent of the mean.
        nan_share: share of values that are not numbers.
        constant_share: share of voxels that never change.
    """

    spikes: tuple[int, ...]
    drift_percent: float
    nan_share: float
    constant_share: float


def find_spikes(volumes: FloatArray) -> npt.NDArray[np.int64]:
    """Numbers of the volumes between two sudden changes, or at one.

    The change is the root mean square over voxels of the difference of neighbouring volumes (DVARS; Power et al. 2012).
    """
    if len(volumes) < 8:
        return np.zeros(0, np.int64)
    change = np.sqrt(np.array([np.square(b - a).mean() for a, b in pairwise(volumes)]))
    centre = np.median(change)
    spread = 1.4826 * np.median(np.abs(change - centre)) + 1e-3 * centre + 1e-12
    high = change > centre + SPIKE_Z * spread
    before, after = np.append(high, False), np.insert(high, 0, False)
    both = before & after
    alone = after & ~np.roll(both, 1) & ~both & ~np.roll(both, -1)
    return np.asarray(np.flatnonzero(both | alone), np.int64)


def clean(volumes: FloatArray, tr_s: float) -> tuple[FloatArray, Quality]:
    """Bridge spikes, remove drift, standardise each voxel over the run.

    Drift is a straight line and the cosines slower than 240 s, fitted by least squares (as nilearn's and SPM's
    high-pass filter do; one matrix product instead of a filter a voxel).

    Args:
        volumes: ``[volumes, voxels]``; changed in place.
        tr_s: repetition time in seconds.

    Returns:
        Standardised ``[volumes, voxels]``, 0 where a voxel is constant or not a number, and what was found.
    """
    bad = ~np.isfinite(volumes)
    nan_share = float(bad.mean())
    if nan_share:
        volumes[:, bad.any(0)] = 0.0
    spikes = find_spikes(volumes)
    bridge(volumes, spikes)
    level = np.abs(volumes.mean(0, dtype=np.float64))
    basis = drift_basis(len(volumes), tr_s)
    slow = (basis @ (basis.T @ volumes)).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        percent = np.ptp(slow, axis=0) / level * 100
    volumes -= slow
    deviation = volumes.std(0)
    constant = deviation <= 1e-6 * np.maximum(level, 1.0)
    volumes /= np.where(constant, 1.0, deviation).astype(np.float32)
    volumes[:, constant] = 0.0
    finite = np.isfinite(percent) & ~constant
    drift = float(np.median(percent[finite])) if finite.any() else 0.0
    return volumes, Quality(tuple(int(i) for i in spikes), drift, nan_share, float(constant.mean()))


def bridge(volumes: FloatArray, spikes: npt.NDArray[np.int64]) -> None:
    """Replace volumes by the line between their nearest sound neighbours, in place."""
    good = np.setdiff1d(np.arange(len(volumes)), spikes)
    for spike in spikes if len(good) else ():
        after = int(np.searchsorted(good, spike))
        left, right = good[max(after - 1, 0)], good[min(after, len(good) - 1)]
        share = 0.5 if right == left else (spike - left) / (right - left)
        volumes[spike] = (1 - share) * volumes[left] + share * volumes[right]


def drift_basis(n: int, tr_s: float, cutoff_s: float = DRIFT_CUTOFF_S) -> FloatArray:
    """Orthonormal ``[volumes, regressors]``: constant, line, and cosines of periods above ``cutoff_s``."""
    time = (np.arange(n) + 0.5) / n
    order = int(2 * n * tr_s / cutoff_s)
    columns = [np.ones(n), time - 0.5, *(np.cos(np.pi * k * time) for k in range(1, order + 1))]
    return np.asarray(np.linalg.qr(np.stack(columns, 1))[0], np.float32)
