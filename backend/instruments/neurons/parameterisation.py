"""What an update moves: the samples of a loop, or its spectrum.

A loop ``x = J p`` that is written in parameters p climbs along ``J Jᵀ g``, g being the gradient at the samples. So a
parameterisation is no other loop, only another direction (Olah et al., Distill 2017, "preconditioning"), and it needs
no place in the graph.

An ear reads the logarithm of power, so that its gradient is largest where there is next to nothing, and steepest ascent
in samples fills every pause with hiss that the network reads and nobody hears. In the spectral parameterisation every
cell of the short-time spectrum moves in proportion to a power of its own magnitude: what sounds changes, what is silent
grows slowly.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from backend.instruments.neurons.frames import LoopFrames
from backend.instruments.neurons.transforms import noisy

EXPONENT = 0.75
"""Between 0, all cells alike, and 1, steps in decibels."""

FLOOR = 0.003
"""Magnitude below which cells count as equally silent, relative to the loop's root mean square."""


class Parameterisation(Protocol):
    """From a gradient to a direction."""

    def direction(self, loop: Tensor, ascent: Tensor, noise_share: float, generator: torch.Generator) -> Tensor:
        """The direction in which a loop ``[samples]`` moves.

        Args:
            loop: as it is.
            ascent: where the objective rises fastest in samples.
            noise_share: noise in the parameters' gradient, relative to it, both as root mean squares.
            generator: draws the noise, on the CPU.
        """


class WaveformParameterisation:
    """The samples themselves."""

    def direction(self, loop: Tensor, ascent: Tensor, noise_share: float, generator: torch.Generator) -> Tensor:
        """The gradient."""
        if noise_share <= 0:
            return ascent
        return noisy(ascent, torch.randn(ascent.shape, generator=generator).to(ascent.device), noise_share)


class SpectralParameterisation:
    """Short-time spectra, divided by a power of the loop's own magnitudes."""

    def __init__(self, frames: LoopFrames) -> None:
        self._frames = frames

    def direction(self, loop: Tensor, ascent: Tensor, noise_share: float, generator: torch.Generator) -> Tensor:
        """Each cell's gradient times its weight squared, once for Jᵀ and once for J."""
        magnitude = self._frames.split(loop).abs()
        size = magnitude.square().mean().sqrt().clamp(min=1e-12)
        weights = (magnitude / size).clamp(min=FLOOR).pow(EXPONENT)
        moved = self._frames.split(ascent) * weights
        if noise_share > 0:
            noise = torch.randn(moved.shape, dtype=moved.dtype, generator=generator).to(moved.device)
            moved = noisy(moved, noise, noise_share)
        return self._frames.join(moved * weights)


def parameterisation(name: str, frames: LoopFrames) -> Parameterisation:
    """``waveform`` or ``spectral``, for loops that are split into these frames."""
    return WaveformParameterisation() if name == "waveform" else SpectralParameterisation(frames)
