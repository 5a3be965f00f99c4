"""Position biases of the package's three stages, computed once for all positions a session will see.

Each function returns a `Bias`: ``bias(start, length)`` is what the package adds to the attention scores of those
queries, ``[length, heads, start + length]``, with -inf where a key lies in the future.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from backend.musiclm.package_static import Bias


def _by_distance(net: Any, n: int) -> Tensor:
    """The relative-position network at distances ``n - 1 … 0``, ``[heads, n]``: a query's row is the end of it."""
    x = torch.arange(n - 1, -1, -1.0, device=net[-1].weight.device)[:, None]
    for layer in net:
        x = layer(x)
    return x.t().contiguous()


def _rows(table: Tensor, start: int, length: int) -> Tensor:
    """Causal rows ``[length, heads, start + length]`` out of `_by_distance`."""
    n, end = table.shape[1], start + length
    if length == 1:
        return table[None, :, n - end :]
    distance = torch.arange(start, end, device=table.device)[:, None] - torch.arange(end, device=table.device)
    rows = table[:, (n - 1 - distance).clamp_(max=n - 1)]
    return rows.masked_fill_(distance < 0, -torch.inf).transpose(0, 1)


@torch.no_grad()
def semantic_bias(module: Any, n_tokens: int) -> Bias:
    """Of the semantic stage, for ``n_tokens`` tokens: a function of distance alone."""
    table = _by_distance(module.transformer.rel_pos_bias.net, n_tokens + 1)
    return lambda start, length: _rows(table, start, length)


@torch.no_grad()
def coarse_bias(module: Any, n_semantic: int, n_tokens: int) -> Bias:
    """Of the coarse stage: by distance, but one learned number a head between semantic and coarse positions."""
    first = n_semantic + 1  # position of the coarse start token
    table = _by_distance(module.transformer.rel_pos_bias.net, max(first + n_tokens + 1, 2))
    across = module.cross_attn_bias[:, 0].detach()
    far = across.expand(-1, first)[None].contiguous()

    def bias(start: int, length: int) -> Tensor:
        if start >= first and length == 1:
            return torch.cat((far, table[None, :, table.shape[1] - 1 - (start - first) :]), 2)
        rows = _rows(table, start, length).clone()
        rows[max(0, first - start) :, :, :first] = across
        return rows

    return bias


@torch.no_grad()
def fine_bias(module: Any, n_frames: int) -> Bias:
    """Of the fine stage: a network of the differences in frame and codebook, one number a head at start tokens."""
    n_coarse, n_fine = module.num_coarse_quantizers, module.num_fine_quantizers
    device = module.null_pos_bias.device
    n_codebooks = n_coarse + n_fine
    positions = []
    for first, quantizers in ((0, n_coarse), (n_coarse, n_fine)):
        frame = torch.arange(n_frames, device=device).repeat_interleave(quantizers)
        codebook = torch.arange(first, first + quantizers, device=device).repeat(n_frames)
        positions.append(torch.stack((frame, codebook), 1))
    start_token = torch.tensor([[-1, 0]], device=device)
    position = torch.cat((start_token, positions[0], start_token, positions[1]))
    spans = 2 * n_frames - 1, 2 * n_codebooks - 1
    grid = torch.cartesian_prod(*(torch.arange(span, device=device) for span in spans)).float()
    by_difference = module.pos_bias_mlp(grid)
    difference = position.clamp(min=0)[:, None] - position.clamp(min=0)[None]
    index = (difference[..., 0] + n_frames - 1) * spans[1] + difference[..., 1] + n_codebooks - 1
    table = by_difference[index].transpose(1, 2)  # [query, heads, key]
    is_start = position[:, 0] < 0
    table = torch.where((is_start[:, None] | is_start)[:, None], module.null_pos_bias[:, 0], table)
    future = torch.ones(table.shape[0], table.shape[0], dtype=torch.bool, device=device).triu(1)
    table = table.masked_fill(future[:, None], -torch.inf)
    return lambda start, length: table[start : start + length, :, : start + length]
