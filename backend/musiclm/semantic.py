"""Semantic tokens: what is played, twelve and a half frames a second, three codes of 512 each (337 bit/s).

MusicLM takes them from w2v-BERT, which learned from hours nobody here has. These are supervised by the scores
instead: a log-mel encoder, a residual quantiser, and heads that must read from the codes alone which pitches sound
and start, which drums are hit, where the beat is, and which instrument families play. What the heads cannot read, the
codes do not hold, so a hummed melody and a played one get similar tokens.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backend.audio.spectral import LogMel
from backend.musiclm.codec import ConvNeXtBlock
from backend.musiclm.quantize import ResidualQuantizer

LOWEST_PITCH = 21
N_PITCHES = 88
DRUMS = ("kick", "snare", "hat", "cymbal", "tom")


@dataclass(frozen=True)
class SemanticConfig:
    """Sizes of the semantic encoder. The mel runs at ``sample_rate / hop``; the codes at a ``stride``-th of it."""

    sample_rate: int = 24_000
    hop: int = 480
    n_mels: int = 160
    stride: int = 4
    dim: int = 256
    n_quantizers: int = 3
    codebook_size: int = 512
    code_dim: int = 16
    latent_dim: int = 96
    n_families: int = 12

    @property
    def frame_rate(self) -> float:
        """Frames of codes a second."""
        return self.sample_rate / self.hop / self.stride

    @property
    def targets(self) -> dict[str, int]:
        """Logits a coded frame, by what they say; ``*_fine`` are given for each of the ``stride`` mel frames in it."""
        return {
            "active": N_PITCHES,
            "onset": N_PITCHES,
            "top": N_PITCHES,
            "family": self.n_families,
            "drum_fine": len(DRUMS) * self.stride,
            "onset_fine": self.stride,
            "beat_fine": 2 * self.stride,
        }


BASE = SemanticConfig()
TINY = SemanticConfig(n_mels=40, dim=16, codebook_size=32, latent_dim=16, code_dim=8)


class SemanticCodec(nn.Module):
    """Audio → codes → what was played."""

    def __init__(self, config: SemanticConfig = BASE) -> None:
        super().__init__()
        self.config = config
        self.mel = LogMel(
            config.sample_rate, n_fft=2048, hop=config.hop, n_mels=config.n_mels, f_min=27.0, f_max=8000.0, clamp=1e-4
        )
        dim = config.dim
        self.mix = nn.Conv1d(config.n_mels, dim, 5, padding=2)
        self.fast = nn.Sequential(ConvNeXtBlock(dim), ConvNeXtBlock(dim))
        self.down = nn.Conv1d(dim, dim, config.stride, stride=config.stride)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(dim) for _ in range(4)])
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, config.latent_dim)
        self.quantizer = ResidualQuantizer(
            config.latent_dim, config.n_quantizers, config.codebook_size, config.code_dim
        )
        self.widen = nn.Conv1d(config.latent_dim, dim, 3, padding=1)
        self.read = nn.Sequential(ConvNeXtBlock(dim), ConvNeXtBlock(dim))
        self.heads = nn.Linear(dim, sum(config.targets.values()))

    def latents(self, audio: Tensor) -> Tensor:
        """Audio ``[batch, samples]`` → ``[batch, frames, latent_dim]``; incomplete last frames are dropped."""
        stride = self.config.stride
        frames = audio.shape[-1] // self.config.hop // stride
        mel = self.mel(audio)[..., : frames * stride]
        x = self.fast(self.mix(mel / 3 + 2).transpose(1, 2))
        x = self.down(x.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.out(self.norm(self.blocks(x)))
        return out

    def describe(self, quantised: Tensor) -> dict[str, Tensor]:
        """Quantised latents ``[batch, frames, latent_dim]`` → logits ``{target: [batch, frames, size]}``."""
        x = self.read(self.widen(quantised.transpose(1, 2)).transpose(1, 2))
        parts = self.heads(x).split(list(self.config.targets.values()), dim=-1)
        return dict(zip(self.config.targets, parts, strict=True))

    def forward(self, audio: Tensor, quantise: bool = True) -> tuple[dict[str, Tensor], Tensor | None, Tensor]:
        """Audio → logits, codes ``[batch, frames, n_quantizers]``, commitment loss."""
        latents = self.latents(audio)
        if not quantise:
            return self.describe(latents), None, latents.new_zeros(())
        quantised, codes, commitment = self.quantizer(latents)
        return self.describe(quantised), codes, commitment

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        """Audio ``[batch, samples]`` → codes ``[batch, frames, n_quantizers]``."""
        codes: Tensor = self.quantizer(self.latents(audio))[1]
        return codes

    @torch.no_grad()
    def read_codes(self, codes: Tensor) -> dict[str, Tensor]:
        """Codes → probabilities ``{target: [batch, frames, size]}``: the piano roll the codes stand for."""
        return {name: logits.sigmoid() for name, logits in self.describe(self.quantizer.decode(codes)).items()}


def config_of(values: dict[str, Any]) -> SemanticConfig:
    """The configuration stored beside a checkpoint."""
    return SemanticConfig(**{k: v for k, v in values.items() if k in asdict(BASE)})
