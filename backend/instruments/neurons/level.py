"""The level of a loop: one loudness, a true-peak ceiling, and no step at the seam."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from backend.audio.loudness import integrated_lufs, limit, true_peak_db
from backend.audio.waveform import Waveform

LOUDNESS_LUFS = -18.0
CEILING_DB = -1.0
LOWEST_HZ = 20.0
MAX_GAIN_DB = 12.0
"""A nearly silent loop stays quiet: it is not raised by more than this."""


def level_loop(samples: npt.NDArray[Any], sample_rate: int) -> Waveform:
    """A loop that is safe to play round and round.

    Values that are not numbers become silence, what lies below 20 Hz goes, loudness is brought to -18 LUFS and true
    peaks below -1 dBTP. The limiter hears the loop three times and the middle one is kept: its gain is the same at both
    ends.

    Args:
        samples: mono ``[samples]`` of any level.
        sample_rate: Hz.
    """
    clean = np.nan_to_num(np.asarray(samples, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    largest = np.abs(clean).max(initial=0.0)
    if largest > 1.0:  # before squaring: a mean of huge values is not a number either
        clean = clean / largest
    loop = Waveform(_audible(clean, sample_rate).astype(np.float32), sample_rate)
    loudness = integrated_lufs(loop)
    gain = 1.0 if loudness == -np.inf else 10.0 ** (min(LOUDNESS_LUFS - loudness, MAX_GAIN_DB) / 20.0)
    n_samples = loop.n_samples
    thrice = limit(Waveform(np.tile(loop.samples * np.float32(gain), 3), sample_rate), CEILING_DB)
    once = Waveform(thrice.samples[:, n_samples : 2 * n_samples], sample_rate)
    excess_db = max(0.0, true_peak_db(once) - CEILING_DB)  # a file begins and ends, where the loop went on
    return once if excess_db == 0 else Waveform(once.samples * np.float32(10 ** (-excess_db / 20)), sample_rate)


def _audible(samples: npt.NDArray[np.float64], sample_rate: int) -> npt.NDArray[np.float64]:
    """The loop without what is below 20 Hz, fading in from 10 Hz; circular."""
    if len(samples) == 0:
        return samples
    spectrum = np.fft.rfft(samples)
    hertz = np.arange(len(spectrum)) * (sample_rate / len(samples))
    spectrum *= np.sin(0.5 * np.pi * np.clip(hertz / LOWEST_HZ * 2 - 1, 0, 1)) ** 2
    return np.fft.irfft(spectrum, len(samples))
