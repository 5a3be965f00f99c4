"""What training does to spectrograms so that a net learns genres, not tracks: equalisers, noise, masks, speed."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from backend.instruments.genre_transfer.spectrogram import BINS

Rng = np.random.Generator


def equalised(decibels: Tensor, rng: Rng, spread_db: float) -> Tensor:
    """Each clip through a smooth random equaliser: five bands on a logarithmic frequency axis."""
    place = torch.log2(torch.arange(BINS) / (BINS - 1) * 255 + 1) / 8 * 4
    low = place.floor().clamp(max=3).long()
    gains = torch.from_numpy(rng.normal(0, spread_db, (len(decibels), 5)).astype(np.float32))
    share = place - low
    return decibels + (gains[:, low] * (1 - share) + gains[:, low + 1] * share)[:, :, None]


def noisy(decibels: Tensor, rng: Rng, lowest_db: float, highest_db: float) -> Tensor:
    """A steady floor so far below each clip's peak: hiss covers what is fainter."""
    below = torch.from_numpy(rng.uniform(lowest_db, highest_db, len(decibels)).astype(np.float32))[:, None, None]
    slope = torch.from_numpy(rng.uniform(-20, 5, len(decibels)).astype(np.float32))[:, None, None]
    floor = decibels.amax((1, 2), keepdim=True) + below + slope * torch.linspace(0, 1, BINS)[None, :, None]
    return torch.logaddexp(decibels * (math.log(10) / 10), floor * (math.log(10) / 10)) / (math.log(10) / 10)


def low_passed(decibels: Tensor, rng: Rng, share: float) -> Tensor:
    """Some clips lose everything above a frequency, as through a small loudspeaker or a filter sweep."""
    out = decibels.clone()
    for k in np.flatnonzero(rng.random(len(decibels)) < share):
        cut = int(BINS * rng.uniform(0.15, 0.9))
        fall = torch.arange(BINS - cut) * float(rng.uniform(0.05, 0.6))
        out[k, cut:] -= fall[:, None]
    return out


def masked(picture: Tensor, rng: Rng, bands: int, frames: int, value: float) -> Tensor:
    """One band and one stretch of time of every picture set to a value (SpecAugment, arXiv 1904.08779)."""
    out = picture.clone()
    for row in out:
        high, wide = int(rng.integers(0, bands + 1)), int(rng.integers(0, frames + 1))
        low, start = int(rng.integers(0, row.shape[-2] - high + 1)), int(rng.integers(0, row.shape[-1] - wide + 1))
        row[..., low : low + high, :] = value
        row[..., start : start + wide] = value
    return out


def resped(pictures: Tensor, rng: Rng, share: float) -> Tensor:
    """The batch ``[n, bands, frames]`` a little faster or slower, the pitch unchanged; cut or mirrored to fit."""
    ratio = float(rng.uniform(1 - share, 1 + share))
    frames = pictures.shape[-1]
    out = torch.nn.functional.interpolate(pictures, size=max(8, round(frames * ratio)), mode="linear")
    if out.shape[-1] < frames:
        out = torch.nn.functional.pad(out, (0, frames - out.shape[-1]), mode="reflect")
    return out[..., :frames]
