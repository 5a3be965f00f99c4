"""What makes the ascent harder, and its results robust (Herrmann 2019, section 2.3): pure functions, each with a knob.

Time is shifted in the loop itself, to the sample; pitch is shifted and regions are hidden in the scalogram, where both
are exact and cost next to nothing. Silence fills what is hidden or shifted in.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from backend.instruments.neurons.frames import LoopFrames

GATE_BANDS = 5
EPSILON = 1e-12


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """One number between ``low`` and ``high`` from a CPU generator, so that a seed means the same on every device."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def time_shifts(batch: int, largest: float, n_samples: int, generator: torch.Generator) -> list[int]:
    """Circular shift in samples of each item, up to ``largest`` of the loop either way round; 0 for the first."""
    half = largest / 2
    return [0] + [round(uniform(-half, half, generator) * n_samples) for _ in range(batch - 1)]


def shifted(loop: Tensor, shifts: list[int]) -> Tensor:
    """The loop ``[samples]`` begun at other places: ``[batch, samples]``; a positive shift plays it later."""
    return torch.stack([loop.roll(shift) if shift else loop for shift in shifts])


def pitch_shift(scalogram: Tensor, bins: int, silence: Tensor) -> Tensor:
    """A scalogram ``[2, bins, frames]`` moved up by whole bins (down if negative); ``silence`` has its shape."""
    if bins == 0:
        return scalogram
    if bins > 0:
        return torch.cat([silence[:, :bins], scalogram[:, :-bins]], 1)
    return torch.cat([scalogram[:, -bins:], silence[:, bins:]], 1)


def mask_regions(scalogram: Tensor, silence: Tensor, time: float, pitch: float, generator: torch.Generator) -> Tensor:
    """Hide a random stretch of time and a random range of pitch.

    Args:
        scalogram: ``[2, bins, frames]``.
        silence: what a silent loop looks like, of the same shape.
        time: largest share of the frames that is hidden; the stretch may reach over the loop's seam.
        pitch: largest share of the bins that is hidden.
        generator: draws width and place.
    """
    _, bins, frames = scalogram.shape
    hidden = torch.zeros(bins, frames, dtype=torch.bool)
    width = round(uniform(0, time, generator) * frames)
    first = int(uniform(0, frames, generator))
    hidden[:, (torch.arange(first, first + width)) % frames] = True
    height = round(uniform(0, pitch, generator) * bins)
    lowest = round(uniform(0, bins - height, generator))
    hidden[lowest : lowest + height] = True
    return torch.where(hidden.to(scalogram.device), silence, scalogram)


def unit(direction: Tensor) -> Tensor:
    """Scaled to a root mean square of 1; a zero stays zero."""
    return direction / direction.abs().square().mean().sqrt().clamp(min=EPSILON)


def noisy(direction: Tensor, noise: Tensor, share: float) -> Tensor:
    """A unit direction, real or complex, with ``share`` times as much noise in it. ``noise`` has its shape."""
    return unit(unit(direction) + share * unit(noise))


def denoise(loop: Tensor, strength: float, frames: LoopFrames) -> Tensor:
    """Spectral gate on a loop ``[samples]``: what is no stronger than its neighbourhood's floor is taken away.

    Magnitudes of the short-time spectrum are shrunk by ``strength`` times the median magnitude of their band (soft
    threshold, Donoho 1995), in five bands from low to high. Tones and beats stand far above a median over time and
    pitch; hiss is the median. Once half of a band is silent its median is 0 and nothing more is taken.
    """
    if strength <= 0:
        return loop
    spectrum = frames.split(loop)
    magnitude = spectrum.abs()
    lines = len(magnitude)
    corners = [0, *(round(lines ** ((band + 1) / GATE_BANDS)) for band in range(GATE_BANDS))]
    widths = [high - low for low, high in pairwise(corners)]
    floor = torch.cat([band.median().expand(len(band)) for band in magnitude.split(widths)])[:, None]
    gain = (1 - strength * floor / magnitude.clamp(min=EPSILON)).clamp(min=0)
    return frames.join(spectrum * gain)
