"""Tones of the codec's decoder: a bank of oscillators, one a semitone, whose phases run on by themselves.

A decoder of convolutions over frames gives equal frames for equal latents, so what it can hold is periodic in the hop:
a steady tone is drawn to multiples of the frame rate (50 Hz here), which below a few hundred hertz is many semitones.
Integrated phase removes that: the network says only how loud a partial is and how far from its semitone, as in the
harmonic synthesiser of DDSP (arXiv 2001.04643), but for chords of any instruments instead of one fundamental.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.audio.spectral import C1_HZ

STEPS = 4
"""Control points a frame, interpolated: a deviation turns the phase little from one to the next."""

MAX_DEVIATION = 2 ** (40 / 1200) - 1  # 40 cents: with the neighbours' every frequency is within reach but a few cents
QUIET = -6.0  # nat, amplitude before training
LOUDEST = 1.0  # nat


class OscillatorBank(nn.Module):
    """Features ``[batch, frames, dim]`` → tones ``[batch, frames × hop]``, from C1 (32.7 Hz) upwards.

    Args:
        dim: width of the features.
        count: oscillators, one a semitone.
        hop: samples a frame; a multiple of `STEPS`.
        sample_rate: Hz.
    """

    basis: Tensor

    def __init__(self, dim: int, count: int, hop: int, sample_rate: int) -> None:
        super().__init__()
        self.hop = hop // STEPS
        self.controls = nn.Linear(dim, 2 * count)
        nn.init.normal_(self.controls.weight, std=1e-3)
        nn.init.zeros_(self.controls.bias)
        with torch.no_grad():
            self.controls.bias[:count] = QUIET
        omega = 2 * math.pi / sample_rate * C1_HZ * 2 ** (torch.arange(count, dtype=torch.float64) / 12)
        place = torch.arange(-self.hop, self.hop, dtype=torch.float64) + 0.5
        window = 0.5 + 0.5 * torch.cos(math.pi * place / self.hop)
        angle = omega[:, None] * place
        basis = torch.cat([angle.cos(), -angle.sin()]) * window
        self.register_buffer("basis", basis.float(), persistent=False)
        self.omega = omega  # float64, which some devices lack: kept off them

    def forward(self, features: Tensor) -> Tensor:
        """The sum of all oscillators."""
        controls = self.controls(features).float().transpose(1, 2)
        with torch.autocast(features.device.type, enabled=False):
            controls = functional.interpolate(controls, scale_factor=STEPS, mode="linear")
            log_amplitude, deviation = controls.transpose(1, 2).chunk(2, -1)
            amplitude = log_amplitude.clamp(max=LOUDEST).exp()
            bend = (MAX_DEVIATION * self.hop * self.omega).float().to(features.device) * deviation.tanh()
            centres = (torch.arange(amplitude.shape[1], dtype=torch.float64) + 0.5) * self.hop
            start = 2 * math.pi * 0.618 * torch.arange(len(self.omega))  # else all would begin as one pulse
            steady = ((centres[:, None] * self.omega + start) % (2 * math.pi)).float().to(features.device)
            phase = steady + bend.cumsum(1)
            frames = torch.cat([amplitude * phase.cos(), amplitude * phase.sin()], -1) @ self.basis
            first, second = frames.split(self.hop, -1)
            total = functional.pad(first, (0, 0, 0, 1)) + functional.pad(second, (0, 0, 1, 0))
            half = self.hop // 2
            return total.flatten(1)[:, half : half + first.shape[1] * self.hop]
