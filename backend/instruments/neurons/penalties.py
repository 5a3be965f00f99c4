"""What a loop should not become: hissy, far from its start, too dark or too bright.

The noise penalty is read off the scalogram and needs the graph. Pull and equaliser are closed forms on the loop, so
they cost one line each and work on every network with the same strength.
"""

from __future__ import annotations

import torch
from torch import Tensor

CROSSOVERS_HZ = (250.0, 2_500.0)
QUIET_RMS = 0.01
"""A band below -40 dBFS is moved in proportion to its level, so that a cut comes to rest at silence."""


def noise_penalty(scalogram: Tensor) -> Tensor:
    """Total variation of log power over time and pitch, per cell, ``[batch, 2, bins, frames]`` → ``[batch]``.

    Tones are smooth in time, beats in pitch, noise in neither (Rudin et al. 1992; Mahendran and Vedaldi,
    arXiv 1412.0035, eq. 6, with an exponent of 1). Time is circular.
    """
    power = scalogram[:, 0]
    over_time = (power.roll(1, 2) - power).abs().mean((1, 2))
    return over_time + (power[:, 1:] - power[:, :-1]).abs().mean((1, 2))


def pulled(loop: Tensor, start: Tensor, share: float) -> Tensor:
    """``share`` of the way from the loop back to its start: a step on half the squared distance."""
    return loop + share * (start - loop)


def band_edges(n_samples: int, sample_rate: int) -> tuple[int, int]:
    """Indices of the real FFT at which the middle and the high band begin."""
    low, high = (min(round(edge * n_samples / sample_rate), n_samples // 2) for edge in CROSSOVERS_HZ)
    return low, high


def band_levels(loop: Tensor, sample_rate: int) -> Tensor:
    """Root mean square of the low, middle and high band of a loop ``[samples]``: ``[3]``."""
    return _levels(torch.fft.rfft(loop, norm="ortho"), loop.shape[0], sample_rate)


def equaliser(loop: Tensor, low: float, mid: float, high: float, sample_rate: int) -> Tensor:
    """Direction in which each band's level rises (knob above 0) or falls, ``[samples]``.

    The gradient of ``low * rms(low band) + mid * rms(middle band) + high * rms(high band)``, each band's share scaled
    to a root mean square of its knob, and to less where the band is nearly silent.
    """
    n_samples = loop.shape[0]
    if low == mid == high == 0:
        return torch.zeros_like(loop)
    spectrum = torch.fft.rfft(loop, norm="ortho")
    levels = _levels(spectrum, n_samples, sample_rate).clamp(min=QUIET_RMS)
    gains = torch.tensor([low, mid, high], device=loop.device) / levels
    first, second = band_edges(n_samples, sample_rate)
    bands = torch.tensor([first, second - first, len(spectrum) - second], device=loop.device)
    direction: Tensor = torch.fft.irfft(spectrum * gains.repeat_interleave(bands), n_samples, norm="ortho")
    return direction


def _levels(spectrum: Tensor, n_samples: int, sample_rate: int) -> Tensor:
    first, second = band_edges(n_samples, sample_rate)
    power = spectrum.abs().square()
    power = torch.cat([power[:1], 2 * power[1:]])  # the real FFT leaves the mirrored half out
    if n_samples % 2 == 0:
        power[-1] = power[-1] / 2
    sums = torch.stack([band.sum() for band in (power[:first], power[first:second], power[second:])])
    return (sums / n_samples).sqrt()
