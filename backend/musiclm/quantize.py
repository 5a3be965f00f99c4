"""Residual vector quantisation with low-dimensional codes.

Factorised codes (each level looks at a projection to a few dimensions) follow the Descript Audio Codec (arXiv
2306.06546, section 3.2), where a high-dimensional code space is what leaves codebooks unused. Departures, each
because a short training needs it: a level starts from the principal axes, whitened, and from the least-squares way
back, so that it quantises well from its first step; running statistics keep the axes centred while the encoder still
drifts; the codebooks follow an exponential average and a code that stays empty is replaced (Jukebox, arXiv
2005.00341, "random restarts").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class Codebook(nn.Module):
    """One level: ``[n, dim]`` vectors to codes in ``[0, size)`` and back, through ``code_dim`` dimensions."""

    embed: Tensor
    usage: Tensor
    total: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, dim: int, size: int, code_dim: int, decay: float = 0.97, restart_below: float = 0.1) -> None:
        super().__init__()
        self.project_in = nn.Linear(dim, code_dim, bias=False)
        self.project_out = nn.Linear(code_dim, dim)
        self.decay, self.restart_below = decay, restart_below
        self.register_buffer("embed", torch.randn(size, code_dim))
        self.register_buffer("mean", torch.zeros(code_dim))
        self.register_buffer("deviation", torch.ones(code_dim))
        self.register_buffer("usage", torch.ones(size))
        self.register_buffer("total", self.embed.clone())

    def coordinates(self, x: Tensor) -> Tensor:
        """``[..., dim]`` → ``[..., code_dim]``, centred and scaled by running statistics."""
        out: Tensor = (self.project_in(x).float() - self.mean) / self.deviation
        return out

    def lookup(self, z: Tensor) -> Tensor:
        """Nearest code by Euclidean distance; ``[..., code_dim]`` → ``[...]``. In float32 also under autocast."""
        with torch.autocast(z.device.type, enabled=False):
            return (2 * z.float() @ self.embed.T - self.embed.pow(2).sum(-1)).argmax(-1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[...]`` → ``[..., dim]``."""
        out: Tensor = self.project_out(functional.embedding(codes, self.embed))
        return out

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``x [..., dim]`` → quantised (straight-through), codes, commitment loss in code space."""
        if self.training:
            self._measure(x, 0.02)
        z = self.coordinates(x)
        codes = self.lookup(z)
        nearest = functional.embedding(codes, self.embed)
        commitment = (z - nearest).pow(2).mean()
        if self.training:
            self._follow(z.detach().reshape(-1, z.shape[-1]), codes.reshape(-1))
        return self.project_out(z + (nearest - z).detach()), codes, commitment

    @torch.no_grad()
    def _measure(self, x: Tensor, weight: float) -> None:
        z = self.project_in(x).float().reshape(-1, len(self.mean))
        self.mean.lerp_(z.mean(0), weight)
        self.deviation.lerp_(z.std(0).clamp_min(1e-3), weight)

    @torch.no_grad()
    def _follow(self, z: Tensor, codes: Tensor) -> None:
        hits = torch.bincount(codes, minlength=len(self.usage)).float()
        sums = torch.zeros_like(self.total).index_add_(0, codes, z)
        self.usage.lerp_(hits, 1 - self.decay)
        self.total.lerp_(sums, 1 - self.decay)
        fair_share = hits.sum() / len(self.usage)
        dead = self.usage < self.restart_below * fair_share
        if dead.any():
            picked = z[torch.randint(len(z), (int(dead.sum()),), device=z.device)]
            self.total[dead] = picked * fair_share
            self.usage[dead] = fair_share
        self.embed.copy_(self.total / self.usage.clamp_min(1e-6)[:, None])

    @torch.no_grad()
    def initialise(self, x: Tensor, iterations: int = 10) -> None:
        """Principal axes, k-means and the least-squares way back from ``x [n, dim]``; n well above the size."""
        centred = x.float() - x.float().mean(0)
        _, values, axes = torch.linalg.svd(centred[:20_000], full_matrices=False)
        scale = values / min(len(x), 20_000) ** 0.5
        k = len(self.mean)
        self.project_in.weight.copy_(axes[:k] / scale[:k, None].clamp_min(1e-4))
        self._measure(x, 1.0)
        z = self.coordinates(x)
        self.embed.copy_(z[torch.randperm(len(z), device=z.device)[: len(self.embed)]])
        for _ in range(iterations):
            codes = self.lookup(z)
            hits = torch.bincount(codes, minlength=len(self.usage)).float()
            sums = torch.zeros_like(self.total).index_add_(0, codes, z)
            empty = hits == 0
            sums[empty] = z[torch.randint(len(z), (int(empty.sum()),), device=z.device)]
            self.embed.copy_(sums / hits.clamp_min(1.0)[:, None])
        fair_share = 600 / len(self.usage)  # the size of a usual batch, so that averages start where they will settle
        self.usage.copy_(hits / hits.sum() * fair_share * len(self.usage)).clamp_(min=0.3 * fair_share)
        self.total.copy_(self.embed * self.usage[:, None])
        design = functional.pad(functional.embedding(self.lookup(z), self.embed), (0, 1), value=1.0)
        solution = torch.linalg.lstsq(design, x.float()).solution
        self.project_out.weight.copy_(solution[:k].T)
        self.project_out.bias.copy_(solution[k])


class ResidualQuantizer(nn.Module):
    """A chain of codebooks, each coding what the earlier ones left (SoundStream, arXiv 2107.03312, algorithm 1)."""

    def __init__(self, dim: int, n_quantizers: int, codebook_size: int, code_dim: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(Codebook(dim, codebook_size, code_dim) for _ in range(n_quantizers))
        self.n_quantizers, self.codebook_size = n_quantizers, codebook_size

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``x [batch, frames, dim]`` → quantised, codes ``[batch, frames, n_quantizers]``, loss.

        The loss is the relative error in latent space after each level, which teaches the way back (and, a quarter as
        strong, the encoder), plus the commitment in code space.
        """
        residual, total, codes, loss = x, torch.zeros_like(x), [], x.new_zeros(())
        power = x.detach().float().var(dim=(0, 1)).sum() + 1e-6
        for level in self.levels:
            quantised, indices, commitment = level(residual)
            known = (residual.detach() - quantised).float().pow(2).sum(-1).mean() / power
            pulled = (residual - quantised.detach()).float().pow(2).sum(-1).mean() / power
            loss = loss + known + 0.25 * pulled + 0.05 * commitment
            residual, total = residual - quantised, total + quantised
            codes.append(indices)
        return total, torch.stack(codes, -1), loss / len(self.levels)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[batch, frames, ≤ n_quantizers]`` → ``[batch, frames, dim]``; fewer levels give a coarser vector."""
        levels = cast("Sequence[Codebook]", self.levels)
        return torch.stack([levels[i].decode(codes[..., i]) for i in range(codes.shape[-1])]).sum(0)

    def untouched(self) -> bool:
        """Whether the codebooks are still as constructed."""
        return all(bool((level.usage == 1).all()) for level in cast("Sequence[Codebook]", self.levels))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Fit every level in turn on ``x [n, dim]``."""
        residual = x.float()
        for level in cast("Sequence[Codebook]", self.levels):
            level.initialise(residual)
            residual = residual - level.decode(level.lookup(level.coordinates(residual)))


def perplexity(codes: Tensor, codebook_size: int) -> list[float]:
    """Exponential of the entropy of the codes' use, one figure a level; ``codes [..., levels]``."""
    figures = []
    for level in codes.reshape(-1, codes.shape[-1]).T:
        p = torch.bincount(level, minlength=codebook_size).float()
        p = p[p > 0] / p.sum()
        figures.append(float(torch.exp(-(p * p.log()).sum())))
    return figures
