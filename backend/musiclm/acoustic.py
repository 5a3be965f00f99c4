"""The acoustic stage: notes in, the codec's codes out, all frames at once.

MusicLM samples thousands of acoustic tokens one after another because its semantic tokens leave most of the sound open.
Here they are notes: who plays what, when, how loud, in which room. What is left open is little, so the stage predicts
the codec's latents of all frames in one pass and quantises them to codes, as non-autoregressive speech synthesis does
with phonemes and durations (FastSpeech, arXiv 1905.09263) and neural synthesisers with notes (arXiv 2206.05408, there
by diffusion). It learns in minutes what an autoregressive stage of the same size does not in an hour, and it plays ten
seconds in a fraction of one; the model card has the table.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backend.musiclm.codec import ConvNeXtBlock
from backend.musiclm.guide import NoteGuide, Notes


@dataclass(frozen=True)
class AcousticConfig:
    """Sizes of the acoustic stage.

    Attributes:
        frame_rate: of the codec, frames a second.
        latent_dim: of the codec.
        dim: width.
        blocks: convolutional blocks.
        longest: their dilations double from 1 to this and begin again.
        embed_dim: MuLan embedding.
    """

    frame_rate: float = 50.0
    latent_dim: int = 128
    dim: int = 320
    blocks: int = 10
    longest: int = 16
    embed_dim: int = 128


BASE = AcousticConfig()
TINY = AcousticConfig(latent_dim=16, dim=16, blocks=2, longest=2, embed_dim=8)


class AcousticStage(nn.Module):
    """Notes and a MuLan embedding → latents of the codec ``[batch, frames, latent_dim]``."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: AcousticConfig = BASE) -> None:
        super().__init__()
        self.config = config
        dim, cycle = config.dim, config.longest.bit_length()
        self.guide = NoteGuide(dim, config.frame_rate, blocks=0)
        self.tint = nn.Linear(config.embed_dim, dim)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(dim, dilation=2 ** (i % cycle)) for i in range(config.blocks)])
        self.norm, self.out = nn.LayerNorm(dim), nn.Linear(dim, config.latent_dim)
        self.register_buffer("mean", torch.zeros(config.latent_dim))
        self.register_buffer("deviation", torch.ones(()))
        nn.init.normal_(self.tint.weight, std=0.02)

    def forward(self, notes: Notes, frames: int, embed: Tensor) -> Tensor:
        """Latents in the codec's units.

        Args:
            notes: of ``batch`` windows.
            frames: length of the windows.
            embed: ``[batch, embed_dim]`` unit-norm MuLan embeddings; zeros where there is none.
        """
        x = self.guide(notes, frames) + self.tint(embed * embed.shape[-1] ** 0.5)[:, None]
        out: Tensor = self.out(self.norm(self.blocks(x))).float() * self.deviation + self.mean
        return out

    @torch.no_grad()
    def calibrate(self, latents: Tensor) -> None:
        """Set the units from latents ``[..., latent_dim]`` of training clips."""
        flat = latents.float().flatten(0, -2)
        self.mean.copy_(flat.mean(0))
        self.deviation.copy_(flat.std(0).square().mean().sqrt())


def config_of(values: dict[str, Any]) -> AcousticConfig:
    """The configuration stored beside a checkpoint."""
    return AcousticConfig(**{k: v for k, v in values.items() if k in asdict(BASE)})
