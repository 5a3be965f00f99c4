"""What refinement listens for: differentiable distances of a sound to the style, and to the content.

All of them look at log-mel frames of one differentiable STFT. Timbre is the mean and spread of random one-dimensional
convolutions over time at several widths (Ulyanov and Lebedev 2016 with moments in place of a Gram matrix of 4,096
filters, and Antognini et al., "Audio texture synthesis with random neural networks", ICASSP 2019, for the widths);
rhythm the autocorrelation of band envelopes; envelope the distribution of levels in each band; content when something
begins and which pitch classes sound. None of them is a measure the results are judged by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from backend.audio.spectral import LogMel, stft

N_FFT, HOP, N_MELS = 2048, 512, 64
CLAMP = 1e-4
WIDTHS, FILTERS = (1, 4, 12), 96
"""Frames that a random filter sees (12 to 140 ms), and how many filters of each width."""

RHYTHM_BANDS = 8
LONGEST_LAG_S = 2.0
QUANTILES = 12
CHROMA_FFT = 8192
NAMES = ("timbre", "rhythm", "envelope", "content")


@dataclass(frozen=True)
class Statistics:
    """What is compared of one sound."""

    timbre: tuple[Tensor, ...]
    rhythm: Tensor
    envelope: Tensor
    onsets: Tensor
    chroma: Tensor


class Listening:
    """Statistics of mono sounds ``[samples]`` at one rate.

    Args:
        sample_rate: Hz.
        generator: draws the random filters.
    """

    def __init__(self, sample_rate: int, generator: torch.Generator) -> None:
        self.rate = sample_rate
        self.mel = LogMel(
            sample_rate, N_FFT, HOP, N_MELS, f_min=30.0, f_max=min(16_000.0, sample_rate / 2), clamp=CLAMP
        )
        self._filters = [
            torch.randn(FILTERS, N_MELS, width, generator=generator) / math.sqrt(N_MELS * width) for width in WIDTHS
        ]
        self._chroma = _chroma_filters(sample_rate)

    def frames(self, samples: Tensor) -> Tensor:
        """Log-mel ``[bands, frames]``, 0 at the clamp, about 1 for loud bands."""
        level = self.mel(samples) - math.log(CLAMP)
        return cast("Tensor", level / 12.0)

    def timbre(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Mean and spread over time of the bands themselves and of every width's random filters."""
        found = [torch.cat((frames.mean(1), frames.std(1)))]
        for filters in self._filters:
            if frames.shape[1] >= filters.shape[2]:
                heard = functional.relu(functional.conv1d(frames[None], filters))[0]
                found.append(torch.cat((heard.mean(1), heard.std(1, correction=0))))
        return tuple(found)

    def rhythm(self, frames: Tensor) -> Tensor:
        """Normalised autocorrelation of band envelopes' rises, ``[bands, lags]``."""
        rises = self._rises(frames)
        centred = rises - rises.mean(1, keepdim=True)
        n = centred.shape[1]
        power = torch.fft.rfft(centred, 2 * n).abs() ** 2
        correlation = torch.fft.irfft(power)[:, : min(n, round(LONGEST_LAG_S * self.rate / HOP))]
        return cast("Tensor", correlation / (correlation[:, :1] + 1e-3))

    def _rises(self, frames: Tensor) -> Tensor:
        bands = frames.reshape(RHYTHM_BANDS, -1, frames.shape[1]).mean(1)
        return functional.relu(bands[:, 2:] - bands[:, :-2])

    def envelope(self, frames: Tensor) -> Tensor:
        """Levels of each eighth of the spectrum at evenly spaced quantiles of time, ``[bands, quantiles]``."""
        bands = frames.reshape(2 * RHYTHM_BANDS, -1, frames.shape[1]).mean(1)
        ordered = bands.sort(1).values[:, None]
        return functional.adaptive_avg_pool1d(ordered, QUANTILES)[:, 0]

    def onsets(self, frames: Tensor) -> Tensor:
        """Rise of the whole, ``[frames]``, zero mean and unit length."""
        curve = functional.relu(frames[:, 2:] - frames[:, :-2]).mean(0)
        centred = curve - curve.mean()
        return cast("Tensor", centred / (centred.norm() + 1e-6))

    def chroma(self, samples: Tensor) -> Tensor:
        """Pitch classes frame by frame, ``[12, frames]``, unit length."""
        magnitude = stft(samples, CHROMA_FFT, CHROMA_FFT // 4).abs()
        chroma = self._chroma @ torch.sqrt(magnitude + 1e-6)
        chroma = chroma - chroma.mean(0, keepdim=True)
        return cast("Tensor", chroma / (chroma.norm(dim=0, keepdim=True) + 1e-4))

    def statistics(self, samples: Tensor) -> Statistics:
        """Everything at once."""
        frames = self.frames(samples)
        return Statistics(
            self.timbre(frames), self.rhythm(frames), self.envelope(frames), self.onsets(frames), self.chroma(samples)
        )


def distances(now: Statistics, style: Statistics, rhythm: Statistics, content: Statistics) -> dict[str, Tensor]:
    """Every term of `NAMES`, a scalar each.

    Args:
        now: of the sound that is refined.
        style: gives timbre and envelope.
        rhythm: gives the rhythm: the style's drums in the content's time, or the content.
        content: gives onsets and pitch classes.
    """
    pairs = zip(now.timbre, style.timbre, strict=False)
    lags = min(now.rhythm.shape[1], rhythm.rhythm.shape[1])
    return {
        "timbre": torch.stack([((a - b) ** 2).sum() / ((b**2).sum() + 1e-6) for a, b in pairs]).mean(),
        "rhythm": ((now.rhythm[:, :lags] - rhythm.rhythm[:, :lags]) ** 2).mean(),
        "envelope": (now.envelope - style.envelope).abs().mean(),
        "content": 2.0 - (now.onsets * content.onsets).sum() - (now.chroma * content.chroma).sum(0).mean(),
    }


def _chroma_filters(sample_rate: int) -> Tensor:
    """Pitch classes of the bins from 80 Hz to 2 kHz, Gaussian over a third of a semitone, ``[12, bins]``."""
    hertz = torch.linspace(0, sample_rate / 2, CHROMA_FFT // 2 + 1)
    pitch = 69 + 12 * torch.log2(hertz.clamp(min=1.0) / 440)
    off = (pitch[None] - torch.arange(12)[:, None] + 6) % 12 - 6
    rows = torch.exp(-0.5 * (off / 0.35) ** 2)
    return rows * ((hertz > 80) & (hertz < 2000))
