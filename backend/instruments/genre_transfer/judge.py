"""The judge: a second classifier that no transfer is ever optimised for, to say whether a result reached its genre.

It differs from Lil Data in what it sees (64 log-mel bands, each largely centred over the clip, so that neither level
nor a steady equaliser tells it much), in how it listens (one-dimensional, dilated over time, pooling statistics as
x-vectors do, Snyder et al., ICASSP 2018), in its seed and in what its training did to the sound. Its probabilities are
calibrated on held-out tracks by one temperature (Guo et al., arXiv 1706.04599).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from backend.audio.spectral import mel_filterbank
from backend.checkpoints import CheckpointStore
from backend.instruments.genre_transfer.genres import GENRES
from backend.instruments.genre_transfer.spectrogram import N_FFT, SAMPLE_RATE, complex_stft

CHECKPOINT = "genre_transfer.judge"
FLOOR = 1e-3
"""Smallest mel magnitude: -110 dB below full scale."""


@dataclass(frozen=True)
class JudgeConfig:
    """Sizes."""

    n_mels: int = 64
    width: int = 128
    blocks: int = 5
    genres: tuple[str, ...] = GENRES


BASE = JudgeConfig()
TINY = JudgeConfig(n_mels=8, width=8, blocks=2)


class Block(nn.Module):
    """A dilated depthwise convolution over time and two dense layers beside a shortcut (ConvNeXt, arXiv 2201.03545)."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(width, width, 7, padding=3 * dilation, dilation=dilation, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide, self.back = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """``[n, width, frames]``."""
        y = self.norm(self.mix(x).transpose(1, 2))
        return cast("Tensor", x + self.back(nn.functional.gelu(self.wide(y))).transpose(1, 2))


class Judge(nn.Module):
    """Log-mel ``[n, n_mels, frames]`` → logits ``[n, genres]``."""

    filters: Tensor
    temperature: Tensor

    def __init__(self, config: JudgeConfig = BASE) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("filters", mel_filterbank(SAMPLE_RATE, N_FFT, config.n_mels, 30.0), persistent=False)
        self.register_buffer("temperature", torch.ones(()))
        self.stem = nn.Conv1d(config.n_mels, config.width, 5, stride=2, padding=2)
        self.blocks = nn.Sequential(*(Block(config.width, 2**k) for k in range(config.blocks)))
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(2 * config.width, len(config.genres))

    @property
    def genres(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.config.genres

    def log_mel(self, magnitude: Tensor) -> Tensor:
        """Magnitudes ``[n, 631, frames]`` → log-mel ``[n, n_mels, frames // 2]``, two frames pooled."""
        with torch.autocast(magnitude.device.type, enabled=False):
            power = self.filters @ magnitude.float() ** 2
            power = nn.functional.avg_pool1d(power, 2)
            return 0.5 * torch.log(power + FLOOR**2)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Logits, divided by the temperature when not in training."""
        x = (log_mel - 0.7 * log_mel.mean(-1, keepdim=True) - 0.3 * log_mel.mean((-2, -1), keepdim=True)) / 1.5
        x = self.blocks(self.stem(x))
        pooled = torch.cat([x.mean(-1), x.std(-1)], -1)
        logits = cast("Tensor", self.out(self.drop(pooled)))
        return logits if self.training else logits / self.temperature

    @torch.no_grad()
    def probabilities(self, samples: Tensor) -> Tensor:
        """``[n, samples]`` at 22,050 Hz → ``[n, genres]``."""
        return torch.softmax(self(self.log_mel(complex_stft(samples.float()).abs())), -1)

    def as_config(self) -> dict[str, Any]:
        """Everything `from_config` needs, as JSON values."""
        return asdict(self.config) | {"genres": list(self.config.genres)}

    @classmethod
    def from_config(cls, values: dict[str, Any]) -> Judge:
        """The judge a checkpoint's config describes, untrained."""
        return cls(JudgeConfig(**(dict(values) | {"genres": tuple(values["genres"])})))


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature that makes held-out probabilities most likely: the best of a fine grid from .3 to 5.

    Args:
        logits: ``[n, genres]``.
        labels: ``[n]``.
    """
    grid = torch.logspace(-0.52, 0.7, 120)
    losses = [float(nn.functional.cross_entropy(logits / t, labels)) for t in grid]
    return float(grid[min(range(len(losses)), key=losses.__getitem__)])


def load_judge(store: CheckpointStore, name: str = CHECKPOINT) -> Judge:
    """The trained judge.

    Raises:
        CheckpointError: there is none, or it does not fit.
    """
    judge = Judge.from_config(store.config(name))
    judge.load_state_dict(store.load(name))
    return judge.eval().requires_grad_(False)
