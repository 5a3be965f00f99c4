"""SIMULATED: a listener whom no scanner ever saw. Known music in, fMRI with everything that spoils it out.

Auditory cortex follows random mixtures of mel, chroma and onset features, smooth in space; the response is Glover's
haemodynamic one, later or earlier by place; on top come autocorrelated noise, noise shared by networks, drift and
motion spikes. The features are not what decoders predict, or they would be flattered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import signal
from scipy.spatial import cKDTree

from backend.instruments.brain.layout import CLIP_S, CLIP_VOLUMES, TR_S, Design, Event
from backend.instruments.brain.space import Space, cortical_ribbon

FloatArray = npt.NDArray[np.float32]

AUDITORY_MM = ((-52.0, -22.0, 8.0), (54.0, -20.0, 8.0))  # Heschl's gyri in MNI space
PAPER_IDENTIFICATION = 0.876  # Denk et al., MuLan's music embedding


@dataclass(frozen=True)
class ListenerConfig:
    """How somebody is simulated.

    Attributes:
        voxel_mm: size of cubic voxels.
        rank: independent mixtures of features that voxels mix.
        extent_mm: deviation of the bell around each Heschl's gyrus within which voxels respond.
        smooth_mm: deviation of the kernel that smooths weights over space.
        delay_s: haemodynamic delay varies so much between places, in seconds to either side.
        ar: mean coefficient of the autoregressive noise.
        shared: share of the noise's variance that networks have in common.
        drift: deviation of the slow drift, in deviations of the noise.
        spikes: mean number of motion spikes a run.
        baseline: mean signal; the noise's deviation is 1 % of it.
    """

    voxel_mm: float = 4.0
    rank: int = 64
    extent_mm: float = 14.0
    smooth_mm: float = 3.5
    delay_s: float = 1.0
    ar: float = 0.35
    shared: float = 0.2
    drift: float = 1.0
    spikes: float = 2.0
    baseline: float = 1000.0


BASE = ListenerConfig()
TINY = ListenerConfig(voxel_mm=12.0, extent_mm=25.0, smooth_mm=12.0)


class SimulatedListener:
    """One person who does not exist; the same seed is the same person.

    Args:
        features: what the clips sound like ``[clips, volumes a clip, features]``, training clips first.
        seed: of anatomy and tuning.
        snr: ratio of the deviations of signal and noise in a volume, at the middle of auditory cortex; 0 hears nothing.
        config: sizes.
    """

    def __init__(self, features: FloatArray, seed: int, snr: float, config: ListenerConfig = BASE) -> None:
        rng = np.random.default_rng([seed, 1])
        self.seed, self.snr, self.config = seed, snr, config
        self.space: Space = cortical_ribbon(config.voxel_mm)
        flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
        self._features = ((features - flat.mean(0)) / (flat.std(0) + 1e-6)).astype(np.float32)
        self._mixing = self._smooth(rng.standard_normal((self.space.n_voxels, config.rank)))
        self._tuning = rng.standard_normal((features.shape[-1], config.rank)) / np.sqrt(features.shape[-1])
        xyz = self.space.xyz
        distance = np.min([np.linalg.norm(xyz - np.array(centre), axis=1) for centre in AUDITORY_MM], 0)
        self.strength = np.exp(-0.5 * (distance / config.extent_mm) ** 2).astype(np.float32)
        self.strength[self.strength < 0.1] = 0.0
        delays = self._smooth(rng.standard_normal((self.space.n_voxels, 1)))[:, 0]
        self.delay = np.clip(np.round(delays * 1.5), -2, 2).astype(np.int64)  # in half delays
        self._ar = np.clip(rng.normal(config.ar, 0.1, self.space.n_voxels), 0, 0.8).astype(np.float32)
        self._networks = self._smooth(rng.standard_normal((self.space.n_voxels, 6)))

    @property
    def n_clips(self) -> int:
        """How many clips the listener can be played."""
        return len(self._features)

    def _smooth(self, field: npt.NDArray[np.float64]) -> FloatArray:
        """Random fields ``[voxels, n]``, smooth in space, of unit deviation."""
        from scipy import sparse

        width, xyz = self.config.smooth_mm, self.space.xyz
        pairs = cKDTree(xyz).sparse_distance_matrix(cKDTree(xyz), 2.5 * width, output_type="coo_matrix")
        kernel = sparse.csr_matrix(
            (np.exp(-0.5 * (pairs.data / width) ** 2), (pairs.row, pairs.col)), shape=(len(xyz), len(xyz))
        ) + sparse.eye(len(xyz))
        smooth = kernel @ field
        return np.asarray((smooth - smooth.mean(0)) / smooth.std(0), np.float32)

    def run(self, clips: npt.NDArray[np.int64], number: int) -> FloatArray:
        """Volumes of one run ``[10 × clips, voxels]``.

        Args:
            clips: numbers of the clips in the order they are heard.
            number: of the run; another number is other noise.
        """
        config, rng = self.config, np.random.default_rng([self.seed, 2, number])
        n, voxels = len(clips) * CLIP_VOLUMES, self.space.n_voxels
        out = self._noise(n, rng)
        if self.snr > 0:
            heard = self._features[clips].reshape(n, -1) @ self._tuning.astype(np.float32)
            for step in range(-2, 3):
                mine = (self.delay == step) & (self.strength > 0)
                if mine.any():
                    response = convolve_hrf(heard, TR_S, step * config.delay_s / 2)
                    signals = response @ self._mixing[mine].T / np.sqrt(config.rank)
                    out[:, mine] += self.snr * self.strength[mine] * signals
        time = np.linspace(-1, 1, n, dtype=np.float32)[:, None]
        slow = [time, time**2, np.cos(np.pi * (1.5 * time + rng.uniform(0, 2)))]
        out += config.drift * np.concatenate(slow, 1) @ rng.standard_normal((3, voxels)).astype(np.float32)
        for spike in rng.choice(n, min(n, int(rng.poisson(config.spikes))), replace=False):
            tilt = self.space.xyz @ rng.standard_normal(3).astype(np.float32) / 60.0
            out[spike] += rng.uniform(5, 15) * (tilt + rng.choice([-1.0, 1.0]))
        return np.asarray(config.baseline * (1.0 + 0.01 * out), np.float32)

    def _noise(self, n: int, rng: np.random.Generator) -> FloatArray:
        """Unit-variance noise ``[n, voxels]``: autocorrelated, partly shared by networks."""
        config, burn = self.config, 20
        white = rng.standard_normal((n + burn, self.space.n_voxels), dtype=np.float32)
        white *= np.sqrt(1 - self._ar**2)
        for t in range(1, n + burn):
            white[t] += self._ar * white[t - 1]
        common = signal.lfilter([0.5], [1, -0.85], rng.standard_normal((n, self._networks.shape[1])), axis=0)
        common = (common @ self._networks.T).astype(np.float32) / np.sqrt(self._networks.shape[1])
        return np.asarray(np.sqrt(1 - config.shared) * white[burn:] + np.sqrt(config.shared) * common, np.float32)

    def runs(self, design: Design, n_train: int) -> Iterator[tuple[str, FloatArray, list[Event]]]:
        """Every run of a design: its task, its volumes and its events, first clips included."""
        number = 0
        for task, table, offset in (("Training", design.train, 0), ("Test", design.test, n_train)):
            for clips in table:
                events = [Event(i * CLIP_S, CLIP_S, f"{clip + offset}", "") for i, clip in enumerate(clips)]
                yield task, self.run(clips + offset, number), events
                number += 1


def convolve_hrf(series: FloatArray, tr_s: float, shift_s: float = 0.0) -> FloatArray:
    """Glover's response (NeuroImage 1999) to ``series [volumes, n]``, held for each volume; sampled in its middle."""
    from nilearn.glm.first_level import glover_hrf

    oversampling = 10
    fine = np.repeat(series, oversampling, axis=0)
    kernel = glover_hrf(tr_s, oversampling, time_length=32.0, onset=shift_s)
    response = signal.fftconvolve(fine, kernel[:, None].astype(np.float32), axes=0)[: len(fine)]
    return np.asarray(response[oversampling // 2 :: oversampling], np.float32)
