"""Buzz: how loud a change made what is there all the time.

Style transfer on spectrograms tends to add a constant hum or hiss under everything (seed 002 calls it "a uniform
buzzing frequency"). Music comes and goes. `buzz` compares noise floors, as minimum statistics do (Martin, "Noise power
spectral density estimation based on optimal smoothing and minimum statistics", IEEE TSAP 2001): what each mel band
never falls below, in the changed sound, over what it never falls below in the sound before and in the style, as a share
of the sound. 0 where nothing steady came in; hiss 20 dB below the sound reads 0.20, 30 dB below 0.06.

`steady_share_of_added` is an earlier reading, kept so that both can be printed. It takes the positive difference of the
two spectrograms for what was added and asks which share of it is steady. Known sounds show what is wrong with that
(`tests/metrics/test_buzz.py` has them): bass and chords that fill their bands read 0.5 without any buzz; one loud hit
at the end takes a hum from 0.54 to 0.02; the same hum reads 0.54 under music that stays and 0.05 under music that is
exchanged; and hiss under drums is mostly taken for fluctuation.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import uniform_filter1d

from backend.audio.spectral import LogMel
from backend.audio.waveform import Waveform

N_FFT, N_MELS = 2048, 40
FLOOR_PERCENTILE = 5.0
"""Of the frames of a band: a little above the minimum, which one click of silence would take to nothing."""

SMOOTHED_S = 0.15
"""Noise fluctuates from frame to frame; over so much it is steady, and music is not."""

SHARE_PERCENTILE = 20.0
NOTHING = 0.01
"""Additions 40 dB below the sound are none: that is where rounding and limiting lie."""

SILENCE = 1e-3  # sum over the bands; a tone at -110 dB is louder

Magnitudes = npt.NDArray[np.float64]


def buzz(before: Waveform, after: Waveform, style: Waveform | None = None) -> float:
    """Floor that came in, summed over mel bands, over the level of the sound, 0 to 1.

    All are compared at one level, the median over time of the bands' sum, which neither a hit nor a pause moves.

    Args:
        before: the sound as it was.
        after: the changed sound, at the same rate; the longer one is cut.
        style: another sound that was to be added, at the same rate. What it holds as steadily is its own: the drone or
            the vinyl crackle of a style is no fault of a transfer. Without it those count.
    """
    old, new = mel_magnitude(before), mel_magnitude(after)
    n = min(old.shape[1], new.shape[1])
    old, new = old[:, :n], new[:, :n]
    level = _median_level(new)
    if level <= SILENCE:
        return 0.0
    sources = [old] if style is None else [old, mel_magnitude(style)]
    own = np.zeros(N_MELS)
    for source in sources:
        if (theirs := _median_level(source)) > SILENCE:
            own = np.maximum(own, _floor(source) * level / theirs)
    return min(1.0, float(np.maximum(_floor(new) - own, 0.0).sum()) / level)


def steady_share_of_added(before: Waveform, after: Waveform) -> float:
    """The earlier reading: share of the added magnitude that is there in four fifths of all frames, 0 to 1."""
    old, new = mel_magnitude(before), mel_magnitude(after)
    n = min(old.shape[1], new.shape[1])
    old, new = old[:, :n], new[:, :n]
    added = np.maximum(new - _usual_ratio(old, new) * old, 0.0)
    total = float(added.mean(1).sum())
    if total <= max(NOTHING * float(new.mean(1).sum()), SILENCE):
        return 0.0
    return float(np.percentile(added, SHARE_PERCENTILE, axis=1).sum()) / total


def _median_level(magnitudes: Magnitudes) -> float:
    return float(np.median(magnitudes.sum(0)))


def _floor(magnitudes: Magnitudes) -> Magnitudes:
    """What each band hardly ever falls below, ``[bands]``."""
    return np.asarray(np.percentile(magnitudes, FLOOR_PERCENTILE, axis=1))


def _usual_ratio(old: Magnitudes, new: Magnitudes) -> float:
    """Median of the ratio of new to old, each cell counted by its old magnitude."""
    ratio = (new / np.maximum(old, 1e-9)).reshape(-1)
    order = np.argsort(ratio)
    weight = np.cumsum(old.reshape(-1)[order])
    return float(ratio[order][np.searchsorted(weight, weight[-1] / 2)]) if weight[-1] > 0 else 0.0


def mel_magnitude(waveform: Waveform) -> Magnitudes:
    """Smoothed magnitude in mel bands, ``[bands, frames]``."""
    hop = N_FFT // 4
    highest = min(16_000.0, waveform.sample_rate / 2)
    mel = LogMel(waveform.sample_rate, N_FFT, hop, N_MELS, f_min=40.0, f_max=highest, clamp=1e-7)
    with torch.no_grad():
        magnitude = np.exp(mel(torch.from_numpy(waveform.mono().samples[0])).numpy().astype(np.float64))
    width = max(1, round(SMOOTHED_S * waveform.sample_rate / hop))
    smooth: Magnitudes = uniform_filter1d(magnitude, width, axis=1, mode="nearest")
    return smooth
