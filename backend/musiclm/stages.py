"""The semantic stage: one causal transformer step a note event, the event's codes chained by small heads.

The package's stages flatten the codes into the sequence, so that an event of five codes costs five positions. Here an
event is one position (compound words, arXiv 2101.02402); its codes are drawn one after another by depth heads, a
one-layer form of the RQ-Transformer (arXiv 2203.01941): head ``q`` sees the event's state and the codes before it.
The stage reads a MuLan embedding as a few positions before the first event and as an offset of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.musiclm.events import FIELDS, SIZE


@dataclass(frozen=True)
class StageConfig:
    """One autoregressive stage.

    Attributes:
        n_codes: codes a frame.
        codebook_size: values a code.
        window: frames of past it attends to; also the training length.
        embed_dim: MuLan embedding.
        prefix: positions the embedding is unfolded into.
    """

    n_codes: int = len(FIELDS)
    codebook_size: int = SIZE
    dim: int = 256
    depth: int = 8
    heads: int = 4
    window: int = 288
    embed_dim: int = 128
    prefix: int = 4
    dropout: float = 0.1


SEMANTIC = StageConfig()
TINY_SEMANTIC = StageConfig(dim=32, depth=2, heads=2, window=24, embed_dim=8, prefix=2, dropout=0.0)


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


class Stage(nn.Module):
    """Codes of a stream given a MuLan embedding."""

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

    def inputs(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Input of every frame: the codes of the frame before and the tint of the condition."""
        past = torch.stack([embed(codes[:, :-1, i]) for i, embed in enumerate(self.codes)]).sum(0)
        start = self.start.to(past.dtype).expand(codes.shape[0], 1, -1)
        x: Tensor = torch.cat([start, past], 1) + self.tint(condition)[:, None]
        return x

    def forward(self, codes: Tensor, embed: Tensor, drop: Tensor | None = None) -> list[Tensor]:
        """Teacher-forced logits.

        Args:
            codes: ``[batch, frames, n_codes]``; frame ``t`` is predicted from frames before it.
            embed: ``[batch, embed_dim]`` unit-norm MuLan embeddings.
            drop: ``[batch]`` true where the embedding is replaced by the null condition.

        Returns:
            ``n_codes`` logits ``[batch, frames, codebook_size]``.
        """
        condition = self.condition(embed, drop)
        x = torch.cat([self.prefix(condition), self.inputs(codes, condition)], 1)
        cos, sin = self.cos[: x.shape[1]], self.sin[: x.shape[1]]
        for block in self.blocks:
            x = block(x, cos, sin)
        x, logits = self.norm(x[:, self.config.prefix :]), []
        for i, head in enumerate(self.heads):
            logits.append(head(x))
            if i < len(self.chain):
                x = x + self.chain[i](codes[..., i])
        return logits


def stage_config_of(values: dict[str, Any]) -> StageConfig:
    """The configuration stored beside a checkpoint."""
    return StageConfig(**{f.name: values[f.name] for f in fields(StageConfig) if f.name in values})
