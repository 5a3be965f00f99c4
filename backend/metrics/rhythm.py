"""Tempo: how fast a listener would tap, and its class.

Conventions: beats a minute of the felt beat, 45 to 200; ``slow`` < 88 ≤ ``medium`` ≤ 122 < ``fast``. Metrical levels
are ambiguous for people too, so judges are read beside the hit rate on real clips of known tempo and beside chance,
never alone. This judge is signal processing only: it was trained on nothing.

Method: onset curves (spectral flux of log-mel magnitudes, all bands and the bass alone, the latter two compressed),
their autocorrelations, and for every tempo the sum of the autocorrelation at half, one, two, three and four beats,
under the log-normal tapping prior of Ellis ("Beat tracking by dynamic programming", 2007). Looking at several
multiples is what tells a slow beat with busy subdivisions from a fast one: half a beat counts little, a whole bar
much.
"""

from __future__ import annotations

from typing import Literal, cast

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.spectral import LogMel
from backend.audio.waveform import Waveform

TempoClass = Literal["slow", "medium", "fast", "none"]
SLOW_BELOW, FAST_ABOVE = 88.0, 122.0
LOWEST_BPM, HIGHEST_BPM = 45.0, 200.0
CURVE_RATE = 100.0
"""Onset curve frames a second."""

PRIOR_BPM, PRIOR_OCTAVES = 120.0, 0.85
MULTIPLES = ((0.5, 0.25), (1.0, 1.0), (2.0, 0.5), (3.0, 0.3), (4.0, 0.5))
"""Beats and the weight of the autocorrelation there."""

N_MELS, BASS_MELS = 80, 12
Curve = npt.NDArray[np.float64]


def tempo_class(tempo_bpm: float) -> TempoClass:
    """``slow``, ``medium`` or ``fast``; ``none`` for the 0 that `estimate_tempo` gives to what has no beat."""
    if tempo_bpm <= 0:
        return "none"
    return "slow" if tempo_bpm < SLOW_BELOW else "fast" if tempo_bpm > FAST_ABOVE else "medium"


def estimate_tempo(waveform: Waveform) -> float:
    """Tempo of the felt beat in beats a minute; 0 for silence and for sound without two onsets.

    Args:
        waveform: mixed to mono; four seconds at least, ten are better.
    """
    tempi, salience = tempo_salience(waveform)
    return float(tempi[salience.argmax()]) if salience.max() > 0 else 0.0


def tempo_salience(waveform: Waveform) -> tuple[Curve, Curve]:
    """How strongly each tempo is felt.

    Returns:
        Tempi in beats a minute, evenly spaced in pitch of the beat (0.75 % apart), and their salience ≥ 0, all 0 when
        there is nothing to tap to.
    """
    tempi = np.geomspace(LOWEST_BPM, HIGHEST_BPM, 200)
    total = np.zeros_like(tempi)
    for curve in onset_curves(waveform):
        correlation = _autocorrelation(curve)
        lags = np.arange(len(correlation)) / CURVE_RATE
        for beats, weight in MULTIPLES:
            total += weight * np.interp(60.0 / tempi * beats, lags, correlation, right=0.0)
    prior = np.exp(-0.5 * (np.log2(tempi / PRIOR_BPM) / PRIOR_OCTAVES) ** 2)
    return tempi, np.maximum(total, 0.0) * prior


def onset_curves(waveform: Waveform) -> tuple[Curve, Curve, Curve]:
    """Three onset curves at 100 frames a second: all bands, all bands compressed, bass (below 600 Hz) compressed.

    The flux compares each band with the maximum of its neighbours 20 ms before, so that vibrato makes no onsets
    (Böck and Widmer, "Maximum filter vibrato suppression for onset detection", 2013).
    """
    samples = waveform.mono().samples[0]
    peak = float(np.abs(samples).max(initial=0.0))
    hop = round(waveform.sample_rate / CURVE_RATE)
    if peak < 1e-4 or len(samples) < 10 * hop:
        return (np.zeros(1), np.zeros(1), np.zeros(1))
    mel = LogMel(waveform.sample_rate, 1024, hop, N_MELS, f_max=min(10_000.0, waveform.sample_rate / 2))
    with torch.no_grad():
        log_mel = mel(torch.from_numpy(samples / peak)).numpy().astype(np.float64)
    level = np.log1p(20.0 * np.exp(log_mel))
    padded = np.pad(level, ((1, 1), (0, 0)), mode="edge")
    before = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    rise = np.maximum(level[:, 2:] - before[:, :-2], 0.0)
    everything, bass = rise.mean(0), rise[:BASS_MELS].mean(0)
    smooth = np.hanning(9)
    curves = (np.convolve(curve, smooth, "same") for curve in (everything, np.sqrt(everything), np.sqrt(bass)))
    return cast("tuple[Curve, Curve, Curve]", tuple(curves))


def _autocorrelation(curve: Curve) -> Curve:
    """Unbiased autocorrelation of the centred curve, 1 at lag 0, up to 0.9 of its length; 0 for a flat curve."""
    centred = curve - curve.mean()
    n = len(centred)
    power = np.abs(np.fft.rfft(centred, 2 * n)) ** 2
    correlation = np.fft.irfft(power)[: max(1, int(0.9 * n))]
    if correlation[0] < 1e-9:
        return np.zeros(1)
    unbiased = correlation / correlation[0] * n / (n - np.arange(len(correlation)))
    return cast("Curve", unbiased)
