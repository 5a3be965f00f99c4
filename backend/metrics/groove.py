"""Rhythm of two sounds beside each other: whether they begin notes together, and whether they play the same pattern.

Conventions: mono mix; onset curves at 100 frames a second in three bands (below 200 Hz, to 2 kHz, above), each the
half-wave rectified rise of compressed mel magnitudes. Both similarities are 1 for a sound and itself, about 0 for
unrelated ones, 0 for what has no onsets. Signal processing only, trained on nothing.

`onset_similarity` asks about time: the same moments. `rhythm_similarity` asks about pattern, at whatever tempo: the
magnitude of the scale transform of a curve's autocorrelation does not change when time is stretched (Holzapfel and
Stylianou, "Scale transform in rhythmic similarity of music", IEEE TASLP 2011).
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from backend.audio.spectral import LogMel
from backend.audio.waveform import Waveform

Curve = npt.NDArray[np.float64]

FRAME_RATE = 100.0
BAND_EDGES_HZ = (0.0, 200.0, 2000.0, 11_000.0)
N_FFT, N_MELS = 1024, 60
SILENCE = 1e-4
TOLERANCE_S = 0.02
"""Standard deviation of the window that onsets are compared through: 50 ms apart is not together."""

SHORTEST_LAG_S, LONGEST_LAG_S = 0.05, 4.0
SCALES = 60
"""Coefficients of the scale transform, 1.4 apart in the exponent: from the whole pattern to a tenth of it."""


def onset_curves(waveform: Waveform) -> Curve:
    """``[3, frames]``; all 0 for silence and for less than 100 ms."""
    samples = waveform.mono().samples[0]
    peak = float(np.abs(samples).max(initial=0.0))
    hop = round(waveform.sample_rate / FRAME_RATE)
    if peak < SILENCE or len(samples) < 10 * hop:
        return np.zeros((3, max(1, len(samples) // hop)))
    highest = min(BAND_EDGES_HZ[-1], waveform.sample_rate / 2)
    mel = LogMel(waveform.sample_rate, N_FFT, hop, N_MELS, f_max=highest)
    with torch.no_grad():
        level = np.log1p(20.0 * np.exp(mel(torch.from_numpy(samples / peak)).numpy().astype(np.float64)))
    before = maximum_filter1d(level, 3, axis=0)
    rise = np.maximum(level[:, 2:] - before[:, :-2], 0.0)
    centres = 700.0 * (10 ** (np.linspace(0, 2595 * np.log10(1 + highest / 700), N_MELS + 2)[1:-1] / 2595) - 1)
    edges = np.searchsorted(centres, BAND_EDGES_HZ)
    return np.stack([rise[a : max(b, a + 1)].mean(0) for a, b in pairwise(edges)])


def onset_similarity(reference: Waveform, other: Waveform) -> float:
    """Correlation of the onset curves at the same moments, -1 to 1, averaged over bands in which either has onsets."""
    a, b = (gaussian_filter1d(onset_curves(w), TOLERANCE_S * FRAME_RATE, axis=1) for w in (reference, other))
    n = min(a.shape[1], b.shape[1])
    a, b = (curves[:, :n] - curves[:, :n].mean(1, keepdims=True) for curves in (a, b))
    own, theirs = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    weight = np.maximum(own / max(own.max(), 1e-9), theirs / max(theirs.max(), 1e-9))
    correlation = (a * b).sum(1) / np.maximum(own * theirs, 1e-9)
    return float((weight * correlation).sum() / max(float(weight.sum()), 1e-9))


def rhythm_similarity(reference: Waveform, other: Waveform) -> float:
    """Correlation of the rhythm patterns of three bands, whatever the tempi; -1 to 1."""
    a, b = rhythm_pattern(reference), rhythm_pattern(other)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum() / norms) if norms > 1e-9 else 0.0


def rhythm_pattern(waveform: Waveform) -> Curve:
    """Magnitudes of the scale transform, ``[3, SCALES]``, zero mean in each band, equal when time is stretched."""
    return np.stack([_scale_transform(_autocorrelation(curve)) for curve in onset_curves(waveform)])


def _autocorrelation(curve: Curve) -> Curve:
    """Unbiased autocorrelation of the centred curve at lags up to `LONGEST_LAG_S`, 1 at lag 0; 0 for a flat curve."""
    centred = gaussian_filter1d(curve, 1.0)
    centred = centred - centred.mean()
    n = len(centred)
    lags = min(round(LONGEST_LAG_S * FRAME_RATE), max(2, int(0.8 * n)))
    correlation = np.fft.irfft(np.abs(np.fft.rfft(centred, 2 * n)) ** 2)[:lags]
    if correlation[0] < 1e-9:
        return np.zeros(lags)
    return cast("Curve", correlation / correlation[0] * n / (n - np.arange(lags)))


def _scale_transform(correlation: Curve) -> Curve:
    """``|∫ x(t) t^(-1/2 - jc) dt|`` for ``c = 1.4 k``, as a Fourier transform over the logarithm of the lag."""
    if not correlation.any():
        return np.zeros(SCALES)
    log_lag = np.linspace(np.log(SHORTEST_LAG_S), np.log(LONGEST_LAG_S), 1024)
    sampled = np.interp(np.exp(log_lag) * FRAME_RATE, np.arange(len(correlation)), correlation, right=0.0)
    weighted = sampled * np.exp(0.5 * log_lag) * np.hanning(2 * len(log_lag))[len(log_lag) :]
    scales = 2 * np.pi / (log_lag[-1] - log_lag[0]) * np.arange(1, SCALES + 1)
    magnitude = np.abs(np.exp(-1j * scales[:, None] * log_lag[None]) @ weighted)
    return cast("Curve", magnitude - magnitude.mean())
