"""Our own stages: one causal transformer step a frame, the frame's codes chained by small heads.

The package's stages flatten a frame's codes into the sequence, so a second of four 50 Hz codebooks costs 200
positions. Here a frame is one position; its codes are drawn one after another by depth heads, a one-layer form of the
RQ-Transformer (arXiv 2203.01941): head ``q`` sees the frame's state and the codes drawn before it. The same class is
the semantic stage (12.5 Hz, three codes, from a MuLan embedding) and the acoustic stage (50 Hz, the coarse codes,
from a MuLan embedding and the semantic codes of the same moment and a little of the future). `FineStage` fills in the
remaining codebooks for all frames at once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.musiclm.codec import ConvNeXtBlock


@dataclass(frozen=True)
class StageConfig:
    """One autoregressive stage.

    Attributes:
        frame_rate: frames a second of the codes it writes.
        n_codes: codes a frame.
        codebook_size: values a code.
        window: frames of past it attends to; also the training length.
        guide_codes: codes a frame of the aligned guide it reads (semantic codes), 0 for none.
        guide_size: values a guide code.
        guide_stride: own frames for each guide frame.
        embed_dim: MuLan embedding.
        prefix: positions the embedding is unfolded into.
    """

    frame_rate: float = 12.5
    n_codes: int = 3
    codebook_size: int = 512
    dim: int = 288
    depth: int = 6
    heads: int = 6
    window: int = 250
    guide_codes: int = 0
    guide_size: int = 512
    guide_stride: int = 4
    embed_dim: int = 128
    prefix: int = 4
    dropout: float = 0.1


SEMANTIC = StageConfig()
ACOUSTIC = StageConfig(
    frame_rate=50.0, n_codes=4, codebook_size=1024, dim=320, depth=6, heads=5, window=500, guide_codes=3, dropout=0.0
)
TINY_SEMANTIC = StageConfig(codebook_size=32, dim=32, depth=2, heads=2, window=12, embed_dim=8, prefix=2, dropout=0.0)
TINY_ACOUSTIC = StageConfig(
    frame_rate=50.0, n_codes=2, codebook_size=32, dim=32, depth=2, heads=2, window=24, guide_codes=3, guide_size=32,
    embed_dim=8, prefix=2, dropout=0.0,
)  # fmt: skip


def rotary_table(positions: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines ``[positions, head_dim / 2]`` of rotary position embedding (arXiv 2104.09864)."""
    rates = 10_000.0 ** (-torch.arange(0, head_dim, 2).float() / head_dim)
    angles = torch.arange(positions).float()[:, None] * rates
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate halves of ``x [..., positions, head_dim]``."""
    a, b = x.chunk(2, -1)
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Block(nn.Module):
    """Pre-norm attention and feed-forward, no biases in the projections."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads, self.dropout = config.heads, config.dropout
        self.norm_attention, self.norm_feedforward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_qkv, self.to_out = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.expand, self.contract = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def qkv(self, x: Tensor) -> Tensor:
        """``[batch, positions, dim]`` → ``[3, batch, heads, positions, head_dim]``."""
        batch, positions, _ = x.shape
        out: Tensor = self.to_qkv(self.norm_attention(x)).view(batch, positions, 3, self.heads, -1)
        return out.permute(2, 0, 3, 1, 4)

    def feedforward(self, x: Tensor) -> Tensor:
        """The second half of the block, residual included."""
        h = self.contract(functional.gelu(self.expand(self.norm_feedforward(x))))
        return x + functional.dropout(h, self.dropout, self.training)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Causal self-attention over all positions."""
        q, k, v = self.qkv(x)
        h = functional.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True)
        h = self.to_out(h.transpose(1, 2).flatten(2))
        return self.feedforward(x + functional.dropout(h, self.dropout, self.training))


class DepthHead(nn.Module):
    """Logits of one code of a frame from the frame's state and the codes before it."""

    def __init__(self, dim: int, codebook_size: int) -> None:
        super().__init__()
        self.norm_in, self.norm_out = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.expand, self.contract = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.logits = nn.Linear(dim, codebook_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., dim]`` → ``[..., codebook_size]``."""
        x = x + self.contract(functional.gelu(self.expand(self.norm_in(x))))
        out: Tensor = self.logits(self.norm_out(x))
        return out


class Guide(nn.Module):
    """Reads the guide codes around a moment, past and future, at the stage's own rate."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.stride = config.guide_stride
        self.embeds = nn.ModuleList(nn.Embedding(config.guide_size, config.dim) for _ in range(config.guide_codes))
        self.blocks = nn.Sequential(ConvNeXtBlock(config.dim), ConvNeXtBlock(config.dim))
        self.unfold = nn.Linear(config.dim, config.guide_stride * config.dim)

    def forward(self, guide: Tensor) -> Tensor:
        """Codes ``[batch, guide_frames, guide_codes]`` → ``[batch, guide_frames × stride, dim]``."""
        x = torch.stack([embed(guide[..., i]) for i, embed in enumerate(self.embeds)]).sum(0)
        unfolded: Tensor = self.unfold(self.blocks(x))
        return unfolded.reshape(x.shape[0], -1, x.shape[-1])


class Stage(nn.Module):
    """Codes of a stream given a MuLan embedding and, for the acoustic stage, the semantic codes."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.dim
        self.start = nn.Parameter(torch.randn(dim) * 0.02)
        self.null = nn.Parameter(torch.zeros(config.embed_dim))
        self.codes = nn.ModuleList(nn.Embedding(config.codebook_size, dim) for _ in range(config.n_codes))
        self.unfold = nn.Linear(config.embed_dim, config.prefix * dim)
        self.tint = nn.Linear(config.embed_dim, dim)
        self.guide = Guide(config) if config.guide_codes else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim)
        self.chain = nn.ModuleList(nn.Embedding(config.codebook_size, dim) for _ in range(config.n_codes - 1))
        self.heads = nn.ModuleList(DepthHead(dim, config.codebook_size) for _ in range(config.n_codes))
        for table in (*self.codes, *self.chain):
            nn.init.normal_(table.weight, std=0.5)  # as loud as the condition: pre-norm hides what is quieter
        nn.init.normal_(self.tint.weight, std=0.02)
        cos, sin = rotary_table(config.prefix + 8 * config.window, dim // config.heads)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def condition(self, embed: Tensor, drop: Tensor | None = None) -> Tensor:
        """The MuLan embedding ``[batch, embed_dim]``, replaced by the learned null where ``drop [batch]`` is true."""
        scaled = embed * embed.shape[-1] ** 0.5  # unit norm → unit variance
        return scaled if drop is None else torch.where(drop[:, None], self.null.to(scaled.dtype), scaled)

    def prefix(self, condition: Tensor) -> Tensor:
        """Positions before the first frame: ``[batch, embed_dim]`` → ``[batch, prefix, dim]``."""
        out: Tensor = self.unfold(condition).view(condition.shape[0], self.config.prefix, -1)
        return out

    def inputs(self, codes: Tensor, condition: Tensor, guide: Tensor | None) -> Tensor:
        """Input of every frame: the codes of the frame before, the guide of this moment, the tint of the condition."""
        past = torch.stack([embed(codes[:, :-1, i]) for i, embed in enumerate(self.codes)]).sum(0)
        start = self.start.to(past.dtype).expand(codes.shape[0], 1, -1)
        x: Tensor = torch.cat([start, past], 1) + self.tint(condition)[:, None]
        if self.guide is not None and guide is not None:
            x = x + self.guide(guide)[:, : x.shape[1]]
        return x

    def forward(
        self, codes: Tensor, embed: Tensor, guide: Tensor | None = None, drop: Tensor | None = None
    ) -> list[Tensor]:
        """Teacher-forced logits.

        Args:
            codes: ``[batch, frames, n_codes]``; frame ``t`` is predicted from frames before it.
            embed: ``[batch, embed_dim]`` unit-norm MuLan embeddings.
            guide: ``[batch, ≥ frames / guide_stride, guide_codes]``.
            drop: ``[batch]`` true where the embedding is replaced by the null condition.

        Returns:
            ``n_codes`` logits ``[batch, frames, codebook_size]``.
        """
        condition = self.condition(embed, drop)
        x = torch.cat([self.prefix(condition), self.inputs(codes, condition, guide)], 1)
        cos, sin = self.cos[: x.shape[1]], self.sin[: x.shape[1]]
        for block in self.blocks:
            x = block(x, cos, sin)
        x, logits = self.norm(x[:, self.config.prefix :]), []
        for i, head in enumerate(self.heads):
            logits.append(head(x))
            if i < len(self.chain):
                x = x + self.chain[i](codes[..., i])
        return logits


@dataclass(frozen=True)
class FineConfig:
    """The stage that fills in the codebooks the acoustic stage leaves out, for all frames at once."""

    n_coarse: int = 4
    n_fine: int = 4
    codebook_size: int = 1024
    dim: int = 256
    blocks: int = 6
    embed_dim: int = 128


FINE = FineConfig()
TINY_FINE = FineConfig(n_coarse=2, n_fine=1, codebook_size=32, dim=16, blocks=1, embed_dim=8)


class FineStage(nn.Module):
    """Codebook ``n_coarse + l`` of every frame from all lower codebooks around it, one level after another.

    The order of levels and the parallel frames are SoundStorm's (arXiv 2305.09636) for the levels above the first; the
    network is convolutional, since what a fine code needs lies within a few frames.
    """

    def __init__(self, config: FineConfig = FINE) -> None:
        super().__init__()
        self.config = config
        levels = config.n_coarse + config.n_fine - 1
        self.codes = nn.ModuleList(nn.Embedding(config.codebook_size, config.dim) for _ in range(levels))
        self.level = nn.Embedding(config.n_fine, config.dim)
        self.tint = nn.Linear(config.embed_dim, config.dim)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(config.dim) for _ in range(config.blocks)])
        self.norm = nn.LayerNorm(config.dim)
        self.logits = nn.ModuleList(nn.Linear(config.dim, config.codebook_size) for _ in range(config.n_fine))
        for table in (*self.codes, self.level):
            nn.init.normal_(table.weight, std=0.5)
        nn.init.normal_(self.tint.weight, std=0.02)

    def forward(self, codes: Tensor, embed: Tensor, level: int) -> Tensor:
        """Logits ``[batch, frames, codebook_size]`` of fine level ``level`` from ``codes [batch, frames, ≥ lower]``."""
        lower = self.config.n_coarse + level
        x = torch.stack([self.codes[i](codes[..., i]) for i in range(lower)]).sum(0)
        x = x + self.level.weight[level] + self.tint(embed * embed.shape[-1] ** 0.5)[:, None]
        out: Tensor = self.logits[level](self.norm(self.blocks(x)))
        return out


def stage_config_of(values: dict[str, Any]) -> StageConfig:
    """The configuration stored beside a checkpoint."""
    return StageConfig(**{f.name: values[f.name] for f in fields(StageConfig) if f.name in values})


def fine_config_of(values: dict[str, Any]) -> FineConfig:
    """The configuration stored beside a checkpoint."""
    return FineConfig(**{k: v for k, v in values.items() if k in asdict(FINE)})
