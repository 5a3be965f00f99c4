"""The peer: Ulyanov and Lebedev, "Audio texture synthesis and style transfer", 2016.

A spectrogram is an image one pixel high whose channels are the frequencies. One layer of 4,096 random filters, eleven
frames wide, sees ``log(1 + |STFT|)``; the Gram matrix of its rectified output is the style, its output the content, and
L-BFGS changes the spectrogram, which Griffin-Lim turns into sound. Their window and rate (2,048 samples at 22,050 Hz),
filters and weights; the start is the content.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from backend.audio.io import resample
from backend.audio.spectral import istft, stft
from backend.audio.waveform import FloatArray, Waveform

SAMPLE_RATE, N_FFT, HOP = 22_050, 2048, 512
FILTERS, WIDTH = 4096, 11
CONTENT_WEIGHT = 1e-2
LARGEST_STYLE = 431
"""Frames of the style that are used: ten seconds."""


@dataclass(frozen=True)
class RandomConv:
    """The filters ``[FILTERS, bins, WIDTH]``."""

    filters: Tensor

    @classmethod
    def draw(cls, seed: int, n_filters: int = FILTERS) -> RandomConv:
        """He-normal filters as the authors draw them."""
        bins = N_FFT // 2 + 1
        scale = math.sqrt(2.0) * math.sqrt(2.0 / ((bins + n_filters) * WIDTH))
        generator = torch.Generator().manual_seed(seed)
        return cls(torch.randn(n_filters, bins, WIDTH, generator=generator) * scale)

    def features(self, frames: Tensor) -> Tensor:
        """``[bins, frames]`` → ``[filters, frames − 10]``."""
        return functional.relu(functional.conv1d(frames[None], self.filters))[0]

    def gram(self, features: Tensor) -> Tensor:
        """``[filters, filters]`` over the number of frames."""
        return features @ features.T / features.shape[1]


def log_magnitude(waveform: Waveform) -> Tensor:
    """``log(1 + |STFT|)``, ``[bins, frames]``."""
    samples = resample(waveform.mono(), SAMPLE_RATE).samples[0]
    return torch.log1p(stft(torch.from_numpy(samples.copy()), N_FFT, HOP).abs()).contiguous()


def transfer(
    content: Waveform, style: Waveform, seed: int, iterations: int, step: Callable[[int, Tensor], None] | None = None
) -> FloatArray:
    """Mono samples ``[1, samples]`` at `SAMPLE_RATE`.

    Args:
        content: what is kept, and begun with.
        style: whose Gram matrix is wanted.
        seed: of the filters.
        iterations: of L-BFGS.
        step: called after every evaluation with its number and the spectrogram.
    """
    model = RandomConv.draw(seed)
    start = log_magnitude(content)
    with torch.no_grad():
        wanted = model.features(start)
        style_gram = model.gram(model.features(log_magnitude(style)[:, :LARGEST_STYLE]))
    frames = start.clone().requires_grad_(True)
    optimiser = torch.optim.LBFGS([frames], max_iter=iterations, max_eval=iterations)
    evaluations = 0

    def closure() -> Tensor:
        nonlocal evaluations
        optimiser.zero_grad()
        total = loss(model, frames, wanted, style_gram)
        total.backward()
        evaluations += 1
        if step is not None:
            step(evaluations, frames.detach())
        return total

    optimiser.step(closure)
    magnitude = torch.expm1(frames.detach().clamp(0.0, 12.0))
    length = round(content.duration_s * SAMPLE_RATE)
    samples: FloatArray = griffin_lim(magnitude, max(1, length), seed)[None].numpy()
    return samples


def loss(model: RandomConv, frames: Tensor, content: Tensor, style_gram: Tensor) -> Tensor:
    """Squared distance of the Gram matrices plus a little of that of the features."""
    features = model.features(frames)
    style: Tensor = ((model.gram(features) - style_gram) ** 2).sum()
    return style + CONTENT_WEIGHT * 0.5 * ((features - content) ** 2).sum() / content.shape[1]


def griffin_lim(magnitude: Tensor, length: int, seed: int, iterations: int = 60, momentum: float = 0.99) -> Tensor:
    """Samples whose STFT magnitudes come near (fast Griffin-Lim, Perraudin et al. 2013), ``[length]``."""
    generator = torch.Generator().manual_seed(seed)
    phase = 2 * math.pi * torch.rand(magnitude.shape, generator=generator)
    spectrum = torch.polar(magnitude, phase)
    before = torch.zeros_like(spectrum)
    inner = max(length, N_FFT)
    for _ in range(iterations):
        rebuilt = stft(istft(spectrum, N_FFT, HOP, inner), N_FFT, HOP)[:, : magnitude.shape[1]]
        ahead = rebuilt + momentum / (1 + momentum) * (rebuilt - before)
        before = rebuilt
        spectrum = magnitude * ahead / ahead.abs().clamp(min=1e-9)
    return istft(spectrum, N_FFT, HOP, inner)[:length]
