"""Residual codes of MuLan's embedding: MusicLM's conditioning tokens (arXiv 2301.11325, section 3.2).

Fitted once by the package's ``MuLaNEmbedQuantizer`` on vectors of *both* modalities, far more of them than codes. Only
its codebooks are kept: its ``cond_embeddings`` stay random and unsaved in the package, so every stage learns its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.musiclm.package import MuLaN, MuLaNEmbedQuantizer

VECTORS_PER_CODE = 16


class EmbeddingQuantizer(nn.Module):
    """``n_quantizers`` codebooks, each coding what the earlier left; looks up as the package's residual quantiser."""

    codebooks: Tensor

    def __init__(self, dim: int, n_quantizers: int, codebook_size: int) -> None:
        super().__init__()
        self.register_buffer("codebooks", torch.zeros(n_quantizers, codebook_size, dim))

    @torch.no_grad()
    def quantize(self, vectors: Tensor) -> Tensor:
        """Vectors ``[batch, dim]`` → codes ``[batch, n_quantizers]``, int64."""
        residual, codes = vectors.float(), []
        for book in self.codebooks:
            nearest = (book.pow(2).sum(-1) - 2 * residual @ book.T).argmin(-1)
            codes.append(nearest)
            residual = residual - book[nearest]
        return torch.stack(codes, -1)

    @torch.no_grad()
    def dequantize(self, codes: Tensor) -> Tensor:
        """Codes ``[batch, ≤ n_quantizers]`` → unit vectors ``[batch, dim]``; fewer levels give a coarser one."""
        parts = [self.codebooks[level][codes[:, level]] for level in range(codes.shape[1])]
        return functional.normalize(torch.stack(parts).sum(0), dim=-1)


def fit_codebooks(mulan: MuLaN, vectors: Tensor, n_quantizers: int, codebook_size: int, seed: int) -> Tensor:
    """Codebooks ``[n_quantizers, codebook_size, dim]``: k-means level by level, as the package initialises them.

    Args:
        mulan: the model the vectors come from; only its latent width is used.
        vectors: ``[n, dim]`` unit vectors of sounds and of captions.
        n_quantizers: levels.
        codebook_size: codes a level.
        seed: the package draws from torch's global generator, whose state is put back afterwards.

    Raises:
        ValueError: fewer than 16 vectors a code, with which k-means memorises instead of covering the space.
    """
    if len(vectors) < VECTORS_PER_CODE * codebook_size:
        raise ValueError(f"{len(vectors)} vectors for {codebook_size} codes are too few: give {VECTORS_PER_CODE} each")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fitted = MuLaNEmbedQuantizer(mulan, (1,), n_quantizers, codebook_size=codebook_size, namespaces=("semantic",))
        fitted.rq.train()
        with torch.no_grad():
            fitted.rq(vectors[None].float().cpu())
    books: Tensor = fitted.rq.codebooks.detach().clone()
    return books
