"""Spectra: STFT, log-mel, the multi-resolution log-mel distance, constant-Q chroma.

One definition of each for models, judges and plots. Torch modules work on ``[..., samples]`` float tensors; functions
on `Waveform` return numpy.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from backend.audio.waveform import FloatArray, Waveform

DISTANCE_WINDOWS = ((512, 32), (1024, 64), (2048, 128), (4096, 128))
"""``(n_fft, n_mels)`` of the multi-resolution distance; the hop is a quarter of the window."""

PITCH_FFT = 8192
"""Window of `LogPitch` in samples."""

C1_HZ = 440.0 * 2 ** ((24 - 69) / 12)

DISTANCE_CLAMP = 1e-5
"""Mel magnitudes below this (-100 dB) count as silence in the distance."""


def stft(samples: Tensor, n_fft: int, hop: int, window: Tensor | None = None) -> Tensor:
    """Centred STFT with a periodic Hann window, zero-padded on the right to at least one window.

    Args:
        samples: ``[..., samples]``.
        n_fft: window and transform length in samples.
        hop: samples between frames.
        window: ``[n_fft]``; a Hann window when None.

    Returns:
        Complex ``[..., n_fft // 2 + 1, samples // hop + 1]``, frame ``t`` centred on sample ``t * hop``.
    """
    lead, length = samples.shape[:-1], samples.shape[-1]
    flat = samples.reshape(-1, length)
    if length < n_fft:  # reflection needs more samples than half a window
        flat = nn.functional.pad(flat, (0, n_fft - length))
    if window is None:
        window = torch.hann_window(n_fft, device=samples.device, dtype=samples.dtype)
    spectrum = torch.stft(flat, n_fft, hop, n_fft, window, center=True, return_complex=True)
    spectrum = spectrum[..., : max(length, 1) // hop + 1]
    return spectrum.reshape(*lead, *spectrum.shape[-2:])


def istft(spectrum: Tensor, n_fft: int, hop: int, length: int | None = None) -> Tensor:
    """Inverse of `stft`: complex ``[..., n_fft // 2 + 1, frames]`` → ``[..., length]`` (least squares overlap-add)."""
    lead = spectrum.shape[:-2]
    window = torch.hann_window(n_fft, device=spectrum.device, dtype=spectrum.real.dtype)
    samples = torch.istft(spectrum.reshape(-1, *spectrum.shape[-2:]), n_fft, hop, n_fft, window, length=length)
    return samples.reshape(*lead, -1)


def mel_filterbank(sample_rate: int, n_fft: int, n_mels: int, f_min: float = 0.0, f_max: float | None = None) -> Tensor:
    """Triangular filters on the HTK mel scale, peak height 1 (no area normalisation).

    ``mel(f) = 2595 log10(1 + f / 700)``; identical to ``torchaudio`` with ``norm=None, mel_scale="htk"``, computed here
    because importing torchaudio costs every process about a second.

    Returns:
        ``[n_mels, n_fft // 2 + 1]``.
    """
    f_max = sample_rate / 2 if f_max is None else f_max
    low, high = (2595.0 * math.log10(1.0 + f / 700.0) for f in (f_min, f_max))
    corners = 700.0 * (10.0 ** (torch.linspace(low, high, n_mels + 2, dtype=torch.float64) / 2595.0) - 1.0)
    bins = torch.linspace(0, sample_rate // 2, n_fft // 2 + 1, dtype=torch.float64)
    rising = (bins[None] - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - bins[None]) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


class LogMel(nn.Module):
    """Natural-log mel spectrogram, ``[..., samples]`` → ``[..., n_mels, samples // hop + 1]``.

    Computed in float32 even under autocast (a half-precision STFT loses quiet partials). Buffers are not saved.

    Args:
        sample_rate: Hz.
        n_fft: window length in samples (Hann).
        hop: samples between frames.
        n_mels: bands.
        f_min: lowest band edge in Hz.
        f_max: highest band edge in Hz; half the sample rate when None.
        power: 1 for magnitudes, 2 for energies.
        clamp: smallest mel value before the logarithm.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 24_000,
        n_fft: int = 2048,
        hop: int = 480,
        n_mels: int = 128,
        f_min: float = 0.0,
        f_max: float | None = None,
        power: float = 1.0,
        clamp: float = 1e-5,
    ) -> None:
        super().__init__()
        self.sample_rate, self.n_fft, self.hop, self.n_mels = sample_rate, n_fft, hop, n_mels
        self.power, self.clamp = power, clamp
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filters", mel_filterbank(sample_rate, n_fft, n_mels, f_min, f_max), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """The log-mel spectrogram of ``samples``."""
        with torch.autocast(samples.device.type, enabled=False):
            magnitude = stft(samples.float(), self.n_fft, self.hop, self.window).abs()
            if self.power != 1.0:
                magnitude = magnitude**self.power
            return torch.log(torch.clamp(self.filters @ magnitude, min=self.clamp))


class LogPitch(nn.Module):
    """Natural-log magnitudes in bands half a semitone apart: ``[..., samples]`` → ``[..., bands, samples // hop + 1]``.

    Triangular bands from 55 Hz on, over a transform of 8,192 samples (2.9 Hz a bin at 24 kHz), which parts neighbouring
    semitones from about 100 Hz on. Below, an octave's worth of overtones tells them apart. Computed in float32.

    Args:
        sample_rate: Hz.
        hop: samples between frames.
        bands: how many; 128 reach 2.2 kHz.
        clamp: smallest magnitude before the logarithm.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, sample_rate: int = 24_000, hop: int = 480, bands: int = 128, clamp: float = 1e-4) -> None:
        super().__init__()
        self.hop, self.clamp = hop, clamp
        centres = 55.0 * 2 ** (torch.arange(bands, dtype=torch.float64) / 24)
        bins = torch.linspace(0, sample_rate / 2, PITCH_FFT // 2 + 1, dtype=torch.float64)
        # never narrower than a bin to either side, or the lowest bands would fall between two
        width = (centres * (2 ** (1 / 24) - 1)).clamp(min=sample_rate / PITCH_FFT)
        filters = (1 - (bins - centres[:, None]).abs() / width[:, None]).clamp(min=0)
        self.register_buffer("window", torch.hann_window(PITCH_FFT), persistent=False)
        self.register_buffer("filters", (filters / filters.sum(1, keepdim=True)).float(), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """The log-pitch spectrogram of ``samples``."""
        with torch.autocast(samples.device.type, enabled=False):
            magnitude = stft(samples.float(), PITCH_FFT, self.hop, self.window).abs()
            return torch.log(torch.clamp(self.filters @ magnitude / 16, min=self.clamp))


class MultiResolutionLogMel(nn.Module):
    """Mean over four windows of the L1 distance between natural-log mel magnitudes; differentiable.

    Windows 512/1024/2048/4096, hop a quarter, 32/64/128/128 HTK mel bands, magnitudes clamped at 1e-5. In the manner of
    the multi-scale spectral loss of DDSP (arXiv 2001.04643) and the mel loss of DAC (arXiv 2306.06546), whose base-10
    logarithm we replace by the natural one.
    """

    def __init__(self, sample_rate: int = 24_000) -> None:
        super().__init__()
        self.mels = nn.ModuleList(
            LogMel(sample_rate, n_fft, n_fft // 4, n_mels, clamp=DISTANCE_CLAMP) for n_fft, n_mels in DISTANCE_WINDOWS
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Scalar distance of ``a`` and ``b``, both ``[..., samples]`` of equal shape, in nats."""
        distances = [nn.functional.l1_loss(mel(a), mel(b)) for mel in self.mels]
        return torch.stack(distances).mean()


def multi_resolution_log_mel_l1(a: npt.ArrayLike, b: npt.ArrayLike, sample_rate: int = 24_000) -> float:
    """`MultiResolutionLogMel` of two signals ``[..., samples]``, cut to the shorter, in nats."""
    x, y = (torch.as_tensor(np.asarray(signal, dtype=np.float32)) for signal in (a, b))
    length = min(x.shape[-1], y.shape[-1])
    with torch.no_grad():
        return float(MultiResolutionLogMel(sample_rate)(x[..., :length], y[..., :length]))


def cqt_magnitude(waveform: Waveform, hop: int = 512, tuning: float = 0.0) -> FloatArray:
    """Constant-Q magnitudes of the mono mix, three bins a semitone over seven octaves from C1 (fewer at low rates).

    Args:
        waveform: mixed to mono.
        hop: samples between frames; a multiple of 64.
        tuning: deviation from A4 = 440 Hz in fractions of a semitone.

    Returns:
        ``[36 * octaves, samples // hop + 1]``; bins ``3 p``, ``3 p + 1`` and ``3 p + 2`` belong to the semitone ``p``
        above C1, the middle one exactly.
    """
    import librosa

    octaves = min(7, int(math.log2(waveform.sample_rate * 0.475 / C1_HZ)))
    samples = waveform.mono().samples[0]
    frames = len(samples) // hop + 1
    samples = np.pad(samples, (0, max(0, (1024 << octaves) - len(samples))))  # the lowest octave needs a whole window
    magnitude = librosa.cqt(
        samples,
        sr=waveform.sample_rate,
        hop_length=hop,
        fmin=C1_HZ * 2 ** (-1 / 36),  # so that each semitone is the middle of its three bins
        n_bins=36 * octaves,
        bins_per_octave=36,
        tuning=tuning * 3,  # librosa counts in bins
    )
    return cast("FloatArray", np.abs(magnitude[:, :frames]).astype(np.float32))


def cqt_chroma(waveform: Waveform, hop: int = 512, tuning: float = 0.0) -> FloatArray:
    """Constant-Q chroma, ``[12, frames]`` from C, not normalised: `cqt_magnitude` summed over octaves."""
    magnitude = cqt_magnitude(waveform, hop, tuning)
    return cast("FloatArray", magnitude.reshape(-1, 12, 3, magnitude.shape[1]).sum((0, 2)))


def chroma_cosine(reference: FloatArray, other: FloatArray, floor_db: float = -60.0) -> npt.NDArray[np.float64]:
    """Cosine of two chromagrams frame by frame, where the reference sounds.

    Args:
        reference: ``[12, frames]``.
        other: ``[12, frames]``; the longer one is cut. A silent frame here scores 0.
        floor_db: reference frames this far below its loudest frame are left out.

    Returns:
        ``[sounding frames]``, empty when the reference is silent.
    """
    frames = min(reference.shape[1], other.shape[1])
    a, b = reference[:, :frames].astype(np.float64), other[:, :frames].astype(np.float64)
    norm_a, norm_b = np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0)
    sounding = norm_a > max(norm_a.max(initial=0.0) * 10 ** (floor_db / 20), 1e-9)
    products = (a * b).sum(0)[sounding] / (norm_a * np.maximum(norm_b, 1e-12))[sounding]
    return cast("npt.NDArray[np.float64]", products)
