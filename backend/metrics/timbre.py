"""A judge of timbre: how far apart the sound of two clips is, whatever they play.

A small net on mel-frequency cepstral coefficients, trained with triplets: two stretches of one source (the same
instrument of the same recording, the same produced track) shall lie closer than one of another. After the timbre metric
of Cífka et al. ("Self-supervised VQ-VAE for one-shot music style transfer", ICASSP 2021), who follow Lee et al.
("Disentangled multidimensional metric learning for music similarity", ICASSP 2020): coefficients 2 to 13, so that
neither level nor spectral tilt alone settles it, and cosine distance. Nothing is optimised against it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.audio.io import resample
from backend.audio.spectral import LogMel
from backend.audio.waveform import Waveform

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore

CHECKPOINT = "judges.timbre"
WINDOW_S, HOP_S = 4.0, 2.0


@dataclass(frozen=True)
class TimbreConfig:
    """Sizes of the net."""

    width: int = 96
    embed_dim: int = 48
    first: int = 1
    last: int = 13
    sample_rate: int = 22_050


TINY = TimbreConfig(width=16, embed_dim=8)


class TimbreNet(nn.Module):
    """Cepstra ``[batch, coefficients, frames]`` → unit vectors ``[batch, embed_dim]``."""

    dct: Tensor

    def __init__(self, config: TimbreConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TimbreConfig()
        self.mel = LogMel(config.sample_rate, n_fft=2048, hop=512, n_mels=64, f_min=30.0, f_max=10_000.0, clamp=1e-3)
        order = torch.arange(config.first, config.last)[:, None]
        dct = torch.cos(math.pi / 64 * (torch.arange(64)[None] + 0.5) * order) * math.sqrt(2 / 64)
        self.register_buffer("dct", dct, persistent=False)
        n, w = config.last - config.first, config.width
        self.norm = nn.BatchNorm1d(n)
        layers: list[nn.Module] = []
        for before, after, stride in ((n, w, 1), (w, w, 2), (w, w, 2)):
            layers += [nn.Conv1d(before, after, 5, stride, padding=2), nn.BatchNorm1d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.embed = nn.Linear(2 * w, config.embed_dim)

    def cepstra(self, samples: Tensor) -> Tensor:
        """``[..., samples]`` → coefficients ``[..., coefficients, frames]`` of sound at one level.

        Without the zeroth coefficient, so gain would only matter where the log is clamped; the level is fixed first.
        """
        level = samples.square().mean(-1, keepdim=True).sqrt()
        cepstra: Tensor = self.dct @ self.mel(samples / (level + 1e-6) * 0.1)
        return cepstra

    def forward(self, cepstra: Tensor) -> Tensor:
        """Mean and spread over time of three convolutions, projected to the unit sphere."""
        h = self.layers(self.norm(cepstra))
        pooled = torch.cat((h.mean(-1), (h.var(-1, correction=0) + 1e-5).sqrt()), 1)
        return functional.normalize(self.embed(pooled), dim=1)

    @classmethod
    def from_store(cls, store: CheckpointStore) -> TimbreNet:
        """The bundled judge.

        Raises:
            CheckpointError: its file is missing or altered.
        """
        net = cls(TimbreConfig(**store.config(CHECKPOINT)))
        net.load_state_dict(store.load(CHECKPOINT))
        return net.eval()

    def as_config(self) -> dict[str, Any]:
        """Plain values that build the same net."""
        return dataclasses.asdict(self.config)

    @torch.inference_mode()
    def embedding(self, waveform: Waveform) -> Tensor:
        """Mean unit vector of windows of four seconds, ``[embed_dim]``; a shorter sound is repeated."""
        rate = self.config.sample_rate
        samples = torch.from_numpy(resample(waveform.mono(), rate).samples[0].copy())
        window, hop = round(WINDOW_S * rate), round(HOP_S * rate)
        if len(samples) < window:
            samples = samples.repeat(-(-window // max(1, len(samples))))[:window]
        windows = samples.unfold(0, window, hop)
        return functional.normalize(self(self.cepstra(windows)).mean(0), dim=0)

    def distance(self, a: Waveform, b: Waveform) -> float:
        """Cosine distance of two clips, 0 (one source) to 2; about 1 for unrelated ones."""
        return float(1.0 - self.embedding(a) @ self.embedding(b))
