"""Weights in eight bits: each row of a matrix as int8 times one float16 scale.

Rounding moves a weight by at most 1/254 of the largest in its row, some 48 dB below it; vectors and small tensors stay
float16, so norms, biases and codebook statistics keep their precision.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

SCALE = "@scale"
SMALLEST = 4096
"""Tensors with fewer values than this are not worth the rounding."""


def is_packed(tensor: torch.Tensor) -> bool:
    """Whether `pack` stores this tensor as rows of int8."""
    return tensor.is_floating_point() and tensor.ndim >= 2 and tensor.numel() >= SMALLEST


def pack(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict with its matrices as ``key`` (int8) and ``key@scale`` (float16, ``[rows]``), the rest float16."""
    out: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        value = tensor.detach().cpu()
        if not is_packed(value):
            out[key] = value.half() if value.is_floating_point() else value
            continue
        rows = value.float().flatten(1)
        scale = (rows.abs().amax(1) / 127).clamp_min(6e-8).half()
        out[key] = (rows / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8).view(value.shape)
        out[key + SCALE] = scale
    return out


def unpack(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict `pack` was given, in float32."""
    out: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        if key.endswith(SCALE):
            continue
        scale = tensors.get(key + SCALE)
        if scale is None:
            out[key] = tensor.float() if tensor.is_floating_point() else tensor
        else:
            out[key] = tensor.float() * scale.float().view(-1, *[1] * (tensor.ndim - 1))
    return out
