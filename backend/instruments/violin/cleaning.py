"""Recordings made at home, made fit to learn from: rumble, noise, silence at the ends, loudness.

Noise is estimated from the sound itself, as minimum statistics do (Martin, "Noise power spectral density estimation
based on optimal smoothing and minimum statistics", 2001): in each band the tenth percentile over time, so no pause is
needed. Only where it lies less than `NOISY_BELOW_DB` under the music is it reduced, by spectral gating (noisereduce;
Sainburg et al., "Finding, visualizing, and quantifying latent structure across diverse animal vocal repertoires",
2020): a clean recording is better left alone.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter
from scipy.signal import butter, sosfiltfilt, stft

from backend.audio.loudness import fade, integrated_lufs, normalise_loudness
from backend.audio.waveform import FloatArray, Waveform

Array = npt.NDArray[Any]

TARGET_LUFS, CEILING_DB = -20.0, -1.0
RUMBLE_HZ = 50.0
RUMBLE_SHARE = 0.02
"""Share of the power below `RUMBLE_HZ`, the constant part included, from which on its removal is mentioned."""

NOISY_BELOW_DB = 24.0
REDUCTION = 0.9
"""How far noise is turned down, as a share of full gating; the rest keeps a room a room."""

WINDOW = 2048
QUANTILE = 0.1
MEAN_OVER_QUANTILE = 1.0 / -np.log(1.0 - QUANTILE)
"""Of the power of noise in one band, which is distributed exponentially."""

EDGE_DB = 40.0  # below the loud parts, what counts as silence at the ends
KEPT_BEFORE_S, KEPT_AFTER_S = 0.1, 0.3
WORTH_SAYING_S = 0.5


def clean(waveform: Waveform) -> tuple[Waveform, tuple[str, ...]]:
    """The recording without rumble, constant noise and silent ends, at -20 LUFS, and what was done, in sentences.

    Args:
        waveform: mixed to mono, any rate; nothing but silence is returned as it is.
    """
    mono = waveform.mono()
    if mono.n_samples < WINDOW or integrated_lufs(mono) == -np.inf:
        return mono, ()
    notes = list[str]()
    filtered = high_passed(mono)
    before, after = (float(np.mean(w.samples.astype(np.float64) ** 2)) for w in (mono, filtered))
    if before - after > RUMBLE_SHARE * before:
        notes.append(f"Rumble and constant offset below {RUMBLE_HZ:.0f} Hz were removed.")
    distance = signal_to_noise_db(filtered)
    if distance < NOISY_BELOW_DB:
        filtered = _reduced(filtered)
        notes.append(f"Background noise {distance:.0f} dB below the music was reduced.")
    start, stop = sounding_part(filtered)
    cut_s = filtered.duration_s - (stop - start)
    if cut_s > WORTH_SAYING_S:
        notes.append(f"{cut_s:.1f} s of silence at the ends were cut off.")
    trimmed = fade(filtered.slice(start, stop), 0.01, 0.03)
    return normalise_loudness(trimmed, TARGET_LUFS, CEILING_DB), tuple(notes)


def high_passed(waveform: Waveform, hz: float = RUMBLE_HZ) -> Waveform:
    """Without what lies below ``hz``: fourth-order Butterworth, forwards and backwards, so nothing is delayed."""
    sections = butter(2, hz, "highpass", fs=waveform.sample_rate, output="sos")
    samples = sosfiltfilt(sections, waveform.samples.astype(np.float64), axis=1)
    return Waveform(np.clip(samples, -1.0, 1.0).astype(np.float32), waveform.sample_rate)


def noise_spectrum(waveform: Waveform) -> Array:
    """Power spectral density of the constant noise, ``[bands]``, in units of squared full scale a band.

    The tenth percentile over the frames that are not digital silence, raised to the mean of an exponential
    distribution, then the median over 33 neighbouring bands (about 400 Hz), which drops notes held throughout.
    """
    power = _power(waveform)
    loudest = float(power.sum(0).max(initial=0.0))
    sounding = power[:, power.sum(0) > max(1e-12, 1e-9 * loudest)]
    if sounding.shape[1] == 0:
        return np.zeros(power.shape[0])
    floor = np.quantile(sounding, QUANTILE, axis=1) * MEAN_OVER_QUANTILE
    return cast("Array", median_filter(floor, 33, mode="nearest"))


def signal_to_noise_db(waveform: Waveform) -> float:
    """How far the constant noise lies below the mean power of the music, in dB; 120 without noise."""
    power = float(_power(waveform).sum(0).mean())
    noise = float(noise_spectrum(waveform).sum())
    if power <= 0:
        return 0.0
    return 120.0 if noise <= 1e-12 * power else min(120.0, 10.0 * float(np.log10(power / noise)))


def sounding_part(waveform: Waveform) -> tuple[float, float]:
    """Where the sound begins and ends, in seconds, with a breath of room on both sides."""
    hop = round(0.02 * waveform.sample_rate)
    frames = waveform.n_samples // hop
    if frames == 0:
        return 0.0, waveform.duration_s
    blocks = waveform.samples[0, : frames * hop].astype(np.float64).reshape(frames, hop)
    level = 10.0 * np.log10(np.maximum((blocks**2).mean(1), 1e-12))
    # never so low that the noise in the pauses counts as sound
    threshold = max(float(np.quantile(level, 0.9)) - EDGE_DB, min(float(np.quantile(level, 0.02)) + 6.0, -20.0))
    loud = np.flatnonzero(level > min(threshold, float(level.max()) - 10.0))
    start = max(0.0, float(loud[0]) * 0.02 - KEPT_BEFORE_S)
    return start, min(waveform.duration_s, float(loud[-1] + 1) * 0.02 + KEPT_AFTER_S)


def _power(waveform: Waveform) -> Array:
    """Power in each band and frame, ``[bands, frames]``."""
    samples = waveform.samples[0].astype(np.float64)
    _, _, spectrum = stft(samples, waveform.sample_rate, nperseg=WINDOW, boundary=None, padded=False)
    return cast("Array", np.abs(spectrum) ** 2)


def _reduced(waveform: Waveform) -> Waveform:
    """Gate what the noise alone would reach, told by a second of noise made with its spectrum."""
    import noisereduce

    noise = _noise_like(noise_spectrum(waveform), 2 * waveform.sample_rate, waveform.sample_rate)
    samples = noisereduce.reduce_noise(
        y=waveform.samples[0],
        sr=waveform.sample_rate,
        y_noise=noise,
        stationary=True,
        prop_decrease=REDUCTION,
        n_fft=WINDOW,
        freq_mask_smooth_hz=None,  # smoothing costs 2 dB: partials are narrower than what is smoothed over
        time_mask_smooth_ms=None,
        n_std_thresh_stationary=1.5,
        n_jobs=1,
    )
    return Waveform(np.clip(samples, -1.0, 1.0).astype(np.float32)[None], waveform.sample_rate)


def _noise_like(spectrum: Array, n: int, sample_rate: int) -> FloatArray:
    """Noise of a given spectrum, ``[n]``, the same each time."""
    rng = np.random.default_rng(0)
    bands = np.fft.rfft(rng.normal(size=n))
    shape = np.interp(np.linspace(0, 1, len(bands)), np.linspace(0, 1, len(spectrum)), spectrum)
    # a periodic Hann window of 2048 lets 1.5 bins through: power a band of white noise of unit variance
    noise = np.fft.irfft(bands * np.sqrt(shape * WINDOW / 1.5), n)
    return cast("FloatArray", noise.astype(np.float32))
