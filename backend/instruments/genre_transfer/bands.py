"""Levels in mel bands, and band gains applied to a spectrum: what equalising, resynthesis and refinement share.

Forty-eight bands are coarse enough not to see single partials above the bass, so that a gain in them moves timbre and
leaves pitch alone, and fine enough for a formant.
"""

from __future__ import annotations

from functools import cache
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.spectral import mel_filterbank
from backend.audio.waveform import FloatArray
from backend.instruments.genre_transfer.separation import Spectrum

N_BANDS = 48
LOWEST_HZ, HIGHEST_HZ = 20.0, 18_000.0
FLOOR_DB = -90.0


@cache
def filters(sample_rate: int, n_fft: int, n_bands: int = N_BANDS) -> FloatArray:
    """Triangular mel bands that add up to one in every bin, ``[bands, bins]``; the outermost reach to the ends."""
    rows = mel_filterbank(sample_rate, n_fft, n_bands, LOWEST_HZ, min(HIGHEST_HZ, sample_rate / 2)).numpy()
    centres = rows.argmax(1)
    # below the second centre two or three bins make a band: the first one answers for all of them
    rows[0, : centres[0] + 1] = 1.0
    rows[-1, centres[-1] :] = 1.0
    total = rows.sum(0)
    empty = total < 1e-6
    rows[0, empty] = 1.0
    return cast("FloatArray", (rows / np.where(empty, 1.0, total)).astype(np.float32))


def levels_db(spectrum: Spectrum, sample_rate: int, n_fft: int) -> FloatArray:
    """Mean power of each band in dB, ``[channels, bins, frames]`` → ``[bands, frames]`` over all channels."""
    power = (spectrum.real**2 + spectrum.imag**2).mean(0)
    rows = filters(sample_rate, n_fft)
    mean = (rows @ power) / np.maximum(rows.sum(1), 1e-6)[:, None]
    scale = (n_fft / 4) ** 2  # a full-scale tone is near 0 dB
    return cast("FloatArray", 10 * np.log10(np.maximum(mean / scale, 10 ** (FLOOR_DB / 10))).astype(np.float32))


def expand(gain_db: FloatArray, sample_rate: int, n_fft: int) -> FloatArray:
    """Band gains ``[bands, frames]`` in dB → factors of bins ``[bins, frames]``."""
    return cast("FloatArray", (10 ** (filters(sample_rate, n_fft).T @ gain_db / 20)).astype(np.float32))


def smoothed(gain: FloatArray, frames: int) -> FloatArray:
    """A gain averaged over neighbouring frames with a Hann window, the ends repeated."""
    if frames < 2:
        return gain
    window = np.hanning(2 * frames + 1)[1:-1].astype(np.float32)
    window /= window.sum()
    padded = np.pad(gain, ((0, 0), (len(window) // 2, len(window) // 2)), mode="edge")
    return cast(
        "FloatArray",
        torch.nn.functional.conv1d(torch.from_numpy(padded)[:, None], torch.from_numpy(window)[None, None])[
            :, 0
        ].numpy(),
    )


def matched_db(levels: FloatArray, wanted: FloatArray, share: float, most_db: float) -> FloatArray:
    """Gains that give each band the mean and spread, over the loud frames, of another sound's band.

    The affine map of levels in dB is monotone: what was loud stays loud, so no event is moved or smeared. Frames that
    are silent get the gain of the quietest ones that are not.

    Args:
        levels: ``[bands, frames]`` of what is changed, in dB.
        wanted: ``[bands, other frames]`` of what it shall resemble.
        share: 0 for no change, 1 for all of it.
        most_db: largest gain or cut.

    Returns:
        ``[bands, frames]`` in dB.
    """
    own_mean, own_spread = _statistics(levels)
    mean, spread = _statistics(wanted)
    ratio = np.clip(spread / own_spread, 0.6, 1.5)
    above = np.clip(levels - own_mean, -20.0, 20.0)
    gain = mean - own_mean + (ratio - 1.0) * above
    return cast("FloatArray", (share * np.clip(gain, -most_db, most_db)).astype(np.float32))


def _statistics(levels: FloatArray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and spread of each band over the frames within 30 dB of the loudest one, ``[bands, 1]`` each."""
    loudness = 10 * np.log10((10 ** (levels / 10)).sum(0) + 1e-12)
    loud = levels[:, loudness >= loudness.max() - 30.0]
    power = 10 * np.log10((10 ** (loud / 10)).mean(1, keepdims=True) + 1e-12)
    return power.astype(np.float32), np.maximum(loud.std(1, keepdims=True), 1.0).astype(np.float32)
