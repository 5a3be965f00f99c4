"""Buzz: how stationary is what a change added to a sound.

Style transfer on spectrograms tends to add a constant hum or hiss under everything (seed 002 calls it "a uniform
buzzing frequency"). Music that is added comes and goes. So: the magnitude that the new sound has beyond the old one, in
mel bands and frames of 46 ms, the old one set to the level at which it is still heard in the new one; of that, the
share that is there at practically all times, measured by the twentieth percentile of each band. 1 for a steady tone or
hiss under unchanged music, near 0 for notes and hits, 0 where nothing was added.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import uniform_filter1d

from backend.audio.spectral import LogMel
from backend.audio.waveform import Waveform

N_FFT, N_MELS = 2048, 40
PERCENTILE = 20.0
SMOOTHED_S = 0.15
"""Noise fluctuates from frame to frame; over so much it is steady, and music is not."""

NOTHING = 0.01
"""Additions 40 dB below the sound are none: that is where rounding and limiting lie."""

SILENCE = 1e-3  # sum over the bands; a tone at -110 dB is louder


def buzz(before: Waveform, after: Waveform, style: Waveform | None = None) -> float:
    """Stationary share of the added magnitude, 0 to 1.

    Args:
        before: the sound as it was.
        after: the changed sound, at the same rate; the longer one is cut.
        style: another sound that was to be added. What is as steady in it, at the level of ``after``, is its own and
            not counted: the sub bass or the vinyl crackle of a style is no fault of a transfer. Without it those count.
    """
    old, new = mel_magnitude(before), mel_magnitude(after)
    n = min(old.shape[1], new.shape[1])
    old, new = old[:, :n], new[:, :n]
    old = _level(old, new) * old
    added = np.maximum(new - old, 0.0)
    total = float(added.mean(1).sum())
    if total <= max(NOTHING * float(new.mean(1).sum()), SILENCE):
        return 0.0
    steady = np.percentile(added, PERCENTILE, axis=1)
    if style is not None:
        theirs = mel_magnitude(style)
        theirs = theirs * float(new.mean() / max(theirs.mean(), 1e-9))
        own = np.maximum(*(np.percentile(one, PERCENTILE, axis=1) for one in (old, theirs)))
        steady = np.minimum(steady, np.maximum(np.percentile(new, PERCENTILE, axis=1) - own, 0.0))
    return float(steady.sum()) / total


def _level(old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> float:
    """Median of the ratio of new to old, each cell counted by its old magnitude."""
    ratio = (new / np.maximum(old, 1e-9)).reshape(-1)
    order = np.argsort(ratio)
    weight = np.cumsum(old.reshape(-1)[order])
    return float(ratio[order][np.searchsorted(weight, weight[-1] / 2)]) if weight[-1] > 0 else 0.0


def mel_magnitude(waveform: Waveform) -> npt.NDArray[np.float64]:
    """Smoothed magnitude in mel bands, ``[bands, frames]``."""
    hop = N_FFT // 4
    highest = min(16_000.0, waveform.sample_rate / 2)
    mel = LogMel(waveform.sample_rate, N_FFT, hop, N_MELS, f_min=40.0, f_max=highest, clamp=1e-7)
    with torch.no_grad():
        magnitude = np.exp(mel(torch.from_numpy(waveform.mono().samples[0])).numpy().astype(np.float64))
    width = max(1, round(SMOOTHED_S * waveform.sample_rate / hop))
    smooth: npt.NDArray[np.float64] = uniform_filter1d(magnitude, width, axis=1, mode="nearest")
    return smooth
