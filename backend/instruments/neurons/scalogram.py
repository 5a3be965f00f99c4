"""What an ear looks at: log power and phase difference of the constant-Q transform, as one picture of two channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from backend.instruments.neurons.cqt import ConstantQ, CqtConfig

FLOOR = 1e-8
"""Power (-80 dB of a full-scale sine) around which log power bends to 0."""

SCALE = 0.2
"""Log power is multiplied by it: a full-scale sine reads 3.7, music has a deviation around 1."""


class Scalogram(nn.Module):
    """Audio ``[batch, samples]`` → ``[batch, 2, bins, frames]``; silence is exactly 0 in both channels.

    Channel 0 is ``log(1 + power / FLOOR)`` times `SCALE`. Channel 1 is how far the phase moved since the frame before,
    less what the bin's centre frequency would move it, in half turns: -1 to 1, 0 for a sine at the centre. It is
    weighted by ``power / (power + FLOOR)`` of both frames, because the phase of silence is arbitrary and its derivative
    has no bound; so weighted, neither channel's gradient exceeds the order of ``FLOOR ** -0.5``.

    Args:
        config: of the transform.
        multiple: frames of a loop are a multiple of it, so that whatever pools them afterwards stays circular.
    """

    turn: Tensor

    def __init__(self, config: CqtConfig, multiple: int = 1) -> None:
        super().__init__()
        self.cqt = ConstantQ(config)
        self.multiple = multiple
        centres = torch.from_numpy(config.frequencies * (2 * math.pi / config.sample_rate))
        self.register_buffer("turn", centres, persistent=False)  # radians a sample, float64: it is multiplied by hops

    def frames(self, samples: int) -> int:
        """Frames of a loop of so many samples."""
        return self.multiple * max(1, round(samples / (self.cqt.config.hop * self.multiple)))

    def forward(self, audio: Tensor, circular: bool = False) -> Tensor:
        """The scalogram of a sound, or of a loop."""
        samples = audio.shape[-1]
        frames = self.frames(samples) if circular else None
        bands: Tensor = self.cqt(audio, circular, frames)
        hop = samples / frames if frames else float(self.cqt.config.hop)
        real, imaginary = torch.view_as_real(bands).unbind(-1)
        power = real.square() + imaginary.square()
        level = torch.log1p(power / FLOOR) * SCALE
        return torch.stack([level, self._phase_difference(real, imaginary, power, hop, circular)], 1)

    def _phase_difference(self, real: Tensor, imaginary: Tensor, power: Tensor, hop: float, circular: bool) -> Tensor:
        """Half turns ``[batch, bins, frames]``; the first frame of a sound has no frame before it and reads 0."""
        expected = (self.turn * hop).unsqueeze(-1)
        before_real, before_imaginary = real.roll(1, -1), imaginary.roll(1, -1)
        # c[n] · conj(c[n-1]) · exp(-i expected), written out in reals
        along = real * before_real + imaginary * before_imaginary
        across = imaginary * before_real - real * before_imaginary
        cosine, sine = expected.cos().float(), expected.sin().float()
        along, across = along * cosine + across * sine, across * cosine - along * sine
        silent = along.square() + across.square() < FLOOR**2 * 1e-8  # where atan2 has no derivative
        angle = torch.atan2(across.masked_fill(silent, 0.0), along.masked_fill(silent, 1.0)) / math.pi
        certain = power / (power + FLOOR)
        difference = angle * (certain * certain.roll(1, -1))
        if circular:
            return difference
        return torch.cat([torch.zeros_like(difference[..., :1]), difference[..., 1:]], -1)
