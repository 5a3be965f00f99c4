"""Harmonic, percussive and residual parts of a mix, which add up to it.

Two median-filter separations in a row (Driedger, Müller and Disch, "Extending harmonic-percussive separation of audio
signals", ISMIR 2014): a long window first, in which tones are narrow lines, then a short one on what is left, in which
hits are thin columns. A bin belongs to a part when it exceeds the other one's median by a factor; what neither wins
(breath, crackle, reverberation) is the residual. Masks are soft and shared by the channels, so
that the stereo image stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import median_filter

from backend.audio.spectral import istft, stft
from backend.audio.waveform import FloatArray, Waveform

Spectrum = npt.NDArray[np.complex64]

LONG_FFT, SHORT_FFT = 4096, 1024
TIME_MEDIAN_S, FREQUENCY_MEDIAN_HZ = 0.25, 500.0
HARMONIC_FACTOR, PERCUSSIVE_FACTOR = 1.6, 1.2
"""How far one median must exceed the other. The harmonic part is the stricter: a drum left in it would be resynthesised
as a smear, while a bit of tone among the drums is masked by them."""

SHARPNESS = 4


@dataclass(frozen=True)
class Parts:
    """``harmonic + percussive + residual`` is the mix; each ``[channels, samples]``."""

    harmonic: FloatArray
    percussive: FloatArray
    residual: FloatArray


def spectrum_of(samples: FloatArray, n_fft: int, hop: int) -> Spectrum:
    """STFT of ``[channels, samples]`` as numpy, ``[channels, n_fft // 2 + 1, samples // hop + 1]``.

    What is shorter than a window is padded to one, frames included.
    """
    samples = np.pad(samples, ((0, 0), (0, max(0, n_fft - samples.shape[1]))))
    return cast("Spectrum", stft(torch.from_numpy(np.ascontiguousarray(samples)), n_fft, hop).numpy())


def samples_of(spectrum: Spectrum, n_fft: int, hop: int, length: int) -> FloatArray:
    """Inverse of `spectrum_of`, ``[channels, length]``."""
    samples: FloatArray = istft(
        torch.from_numpy(np.ascontiguousarray(spectrum)), n_fft, hop, max(length, n_fft)
    ).numpy()
    return samples[:, :length]


def separate(waveform: Waveform) -> Parts:
    """Take the sound apart; any length and number of channels."""
    rate, length = waveform.sample_rate, waveform.n_samples
    spectrum = spectrum_of(waveform.samples, LONG_FFT, LONG_FFT // 4)
    tones, hits = _medians(np.abs(spectrum).mean(0), rate, LONG_FFT)
    harmonic = samples_of(spectrum * _mask(tones, HARMONIC_FACTOR * hits), LONG_FFT, LONG_FFT // 4, length)
    rest = waveform.samples - harmonic
    spectrum = spectrum_of(rest, SHORT_FFT, SHORT_FFT // 4)
    tones, hits = _medians(np.abs(spectrum).mean(0), rate, SHORT_FFT)
    percussive = samples_of(spectrum * _mask(hits, PERCUSSIVE_FACTOR * tones), SHORT_FFT, SHORT_FFT // 4, length)
    return Parts(harmonic, percussive, rest - percussive)


def _medians(magnitude: FloatArray, sample_rate: int, n_fft: int) -> tuple[FloatArray, FloatArray]:
    """Medians along time, which keep tones, and along frequency, which keep hits, of ``[bins, frames]``."""
    frames = max(3, round(TIME_MEDIAN_S * sample_rate / (n_fft // 4)) | 1)
    bins = max(3, round(FREQUENCY_MEDIAN_HZ * n_fft / sample_rate) | 1)
    return _running_median(magnitude, frames), _running_median(magnitude.T, bins).T


def _running_median(rows: FloatArray, width: int) -> FloatArray:
    """Median over ``width`` neighbours in each row, mirrored at the ends.

    All rows are filtered as one long line, for which scipy has an algorithm whose cost does not grow with the width.
    """
    half = min(width // 2, rows.shape[1] - 1)
    padded = np.pad(rows, ((0, 0), (half, half)), mode="reflect") if half else rows
    line = median_filter(np.ascontiguousarray(padded).reshape(-1), 2 * half + 1)
    return cast("FloatArray", line.reshape(padded.shape)[:, half : half + rows.shape[1]])


def _mask(wanted: FloatArray, other: FloatArray) -> FloatArray:
    """Share of the squared power, 0 where there is nothing.

    The fourth power of the magnitude, where Wiener's ratio has the second: the hiss of a cymbal, in which both medians
    are alike, would otherwise leave a quarter of itself among the tones.
    """
    a, b = (one.astype(np.float64) ** SHARPNESS for one in (wanted, other))
    return cast("FloatArray", (a / np.maximum(a + b, 1e-30)).astype(np.float32))
