"""The image Lil Data looks at: five seconds as 631 × 631 decibels, differentiable, and the way back to sound.

22,050 Hz, Hann window of 1,260 samples (57 ms), hop 175 (7.9 ms): 631 frequencies from 0 to 11,025 Hz and, of five
seconds, 631 frames: the seed's size, which these parameters of librosa give exactly. Decibels below the clip's own
peak, cut at -80, then scaled to [0, 1], so the image does not depend on level.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backend.audio.io import resample
from backend.audio.waveform import Waveform
from backend.errors import AudioError

SAMPLE_RATE = 22_050
N_FFT, HOP = 1_260, 175
BINS = FRAMES = 631
CLIP_SAMPLES = 110_250
TOP_DB = 80.0
AMIN = 1e-5
QUIETEST = 0.1
"""Magnitude that is taken as the peak of anything quieter (a sine at -70 dB): silence is dark, not bright."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """A spectrogram and what it leaves out.

    Attributes:
        image: ``[..., 631, frames]`` in [0, 1].
        phase: radians, of the same shape.
        reference: peak magnitude ``[...]``.
    """

    image: Tensor
    phase: Tensor
    reference: Tensor


def complex_stft(samples: Tensor) -> Tensor:
    """STFT ``[..., 631, samples // 175 + 1]`` of ``[..., samples]``; centred, zeros beyond the ends, as librosa."""
    flat = samples.reshape(-1, samples.shape[-1])
    window = torch.hann_window(N_FFT, dtype=samples.dtype, device=samples.device)
    spectrum = torch.stft(flat, N_FFT, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    return spectrum.reshape(*samples.shape[:-1], *spectrum.shape[-2:])


def inverse_stft(spectrum: Tensor, length: int) -> Tensor:
    """Least-squares inverse of `complex_stft`, ``[..., length]``."""
    flat = spectrum.reshape(-1, *spectrum.shape[-2:])
    window = torch.hann_window(N_FFT, dtype=spectrum.real.dtype, device=spectrum.device)
    samples = torch.istft(flat, N_FFT, HOP, window=window, center=True, length=length)
    return samples.reshape(*spectrum.shape[:-2], length)


def image_of(magnitude: Tensor) -> tuple[Tensor, Tensor]:
    """Image ``[..., 631, frames]`` in [0, 1] and peak ``[...]`` of magnitudes.

    ``1 + (20 log10(max(m, 1e-5)) - 20 log10(peak)) / 80``, cut at 0: `librosa.amplitude_to_db` with ``ref=np.max`` and
    ``top_db=80``, except that peaks below `QUIETEST` count as that.
    """
    reference = magnitude.amax((-2, -1)).clamp(min=QUIETEST)
    decibels = 20 * torch.log10(magnitude.clamp(min=AMIN)) - 20 * torch.log10(reference)[..., None, None]
    return (1 + decibels / TOP_DB).clamp(min=0), reference


def magnitude_of(image: Tensor, reference: Tensor) -> Tensor:
    """Magnitudes of an image; what is black is silent."""
    magnitude = reference[..., None, None] * 10 ** ((image - 1) * TOP_DB / 20)
    return magnitude * (image > 0)


class Spectrogram(nn.Module):
    """``[..., samples]`` at 22,050 Hz → image ``[..., 631, samples // 175 + 1]``; differentiable, float32."""

    def forward(self, samples: Tensor) -> Tensor:
        """The image."""
        with torch.autocast(samples.device.type, enabled=False):
            spectrum = complex_stft(samples.float())
            # abs() has no gradient at 0; this is the same to 1e-10 of full scale
            magnitude = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-14)
            return image_of(magnitude)[0]


def analyse(samples: Tensor) -> Analysis:
    """Image, phase and peak of ``[..., samples]`` at 22,050 Hz."""
    spectrum = complex_stft(samples.float())
    image, reference = image_of(spectrum.abs())
    return Analysis(image, spectrum.angle(), reference)


def synthesise(image: Tensor, phase: Tensor, reference: Tensor, length: int) -> Tensor:
    """Sound ``[..., length]`` of an image with a phase, its own or another clip's."""
    return inverse_stft(torch.polar(magnitude_of(image, reference), phase), length)


def griffin_lim(
    image: Tensor, reference: Tensor, length: int, iterations: int = 32, generator: torch.Generator | None = None,
    momentum: float = 0.99,
) -> Tensor:  # fmt: skip
    """Sound ``[..., length]`` of an image alone, from a random phase: fast Griffin-Lim (Perraudin, WASPAA 2013)."""
    magnitude = magnitude_of(image, reference)
    angle = 2 * torch.pi * torch.rand(magnitude.shape, generator=generator, dtype=magnitude.dtype)
    estimate, previous = torch.polar(magnitude, angle), torch.zeros_like(magnitude, dtype=torch.complex64)
    for _ in range(iterations):
        rebuilt = complex_stft(inverse_stft(estimate, length))
        ahead = rebuilt - momentum / (1 + momentum) * previous
        estimate, previous = magnitude * ahead / ahead.abs().clamp(min=1e-9), rebuilt
    return inverse_stft(estimate, length)


def mono_clip(waveform: Waveform, seconds: float = 5.0, start_s: float = 0.0) -> Tensor:
    """A mono excerpt at 22,050 Hz ``[samples]``; shorter sound is repeated.

    Raises:
        AudioError: there is no sound at that time.
    """
    part = waveform.slice(start_s, start_s + seconds + 0.1)
    samples = torch.from_numpy(resample(part.mono(), SAMPLE_RATE).samples[0].copy())
    if len(samples) == 0:
        raise AudioError(f"There is no sound at {start_s:g} seconds.")
    length = round(seconds * SAMPLE_RATE)
    return samples.repeat(-(-length // len(samples)))[:length]
