"""Cleaning a run: drift goes, music stays, spikes are found and bridged, constants become zero."""

from __future__ import annotations

import numpy as np

from backend.instruments.brain.cleaning import clean, drift_basis, find_spikes

N, TR = 400, 1.5


def run(voxels: int = 40) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (1000 + rng.standard_normal((N, voxels))).astype(np.float32)


def test_slow_drift_is_removed_and_a_block_of_thirty_seconds_stays() -> None:
    time = np.arange(N) * TR
    music = np.sin(2 * np.pi * time / 30)
    drift = 40 * np.cos(np.pi * time / time[-1]) + 0.05 * time
    cleaned, quality = clean((1000 + 5 * music + drift)[:, None].astype(np.float32).repeat(3, 1), TR)
    assert np.corrcoef(cleaned[:, 0], music)[0, 1] > 0.99
    assert 5 < quality.drift_percent < 15


def test_voxels_are_standardised_and_constant_or_missing_ones_are_zero() -> None:
    volumes = run()
    volumes[:, 3] = 7.0
    volumes[5, 4] = np.nan
    cleaned, quality = clean(volumes, TR)
    live = np.delete(np.arange(40), [3, 4])
    assert np.allclose(cleaned[:, live].std(0), 1, atol=1e-3) and np.allclose(cleaned.mean(0), 0, atol=1e-3)
    assert not cleaned[:, [3, 4]].any() and np.isfinite(cleaned).all()
    assert quality.constant_share == 2 / 40 and quality.nan_share > 0


def test_a_motion_spike_is_found_and_bridged() -> None:
    volumes = run()
    volumes[100] += 60
    volumes[200:202] += 80  # and one of two volumes begins and ends with a jump
    assert 100 in find_spikes(volumes) and len(find_spikes(run())) == 0
    cleaned, quality = clean(volumes, TR)
    assert 100 in quality.spikes and np.abs(cleaned[100]).max() < 5


def test_the_drift_basis_is_orthonormal_and_ends_at_240_seconds() -> None:
    basis = drift_basis(N, TR)
    assert np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-5)
    assert basis.shape[1] == 2 + int(2 * N * TR / 240)
