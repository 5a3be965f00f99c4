"""Steps shared by what samples: a static cache over the semantic stage, drawing with guidance, codes to sound.

Keys and values live in one preallocated buffer; guidance and variations are rows of one batch; the logits are those of
`Stage.forward` (a test holds them together).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from backend.musiclm.codec import AudioCodec
from backend.musiclm.stages import Stage, rotate

StepCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class Sampling:
    """How codes are drawn.

    ``guidance_scale`` 1 is off and costs nothing; ``top_p`` is of nucleus sampling. With ``min_p`` guidance chooses
    among codes whose conditioned probability is that share of the likeliest one's (arXiv 2407.01082): where the two
    branches differ much, it would otherwise raise what both find all but impossible.
    """

    temperature: float = 1.0
    top_k: int = 100
    guidance_scale: float = 3.0
    top_p: float = 1.0
    min_p: float = 0.0


def draw(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """One code a row from ``logits [rows, codebook_size]``: top-k, temperature, nucleus (arXiv 1904.09751), Gumbel."""
    values, indices = logits.float().topk(min(sampling.top_k, logits.shape[-1]), dim=-1)
    values = values / max(sampling.temperature, 1e-4)
    if sampling.top_p < 1.0:
        shares = values.softmax(-1)
        values = values.masked_fill(shares.cumsum(-1) - shares > sampling.top_p, -torch.inf)  # never the first
    uniform = torch.rand(values.shape, generator=generator).to(values.device).clamp_(1e-20, 1 - 1e-7)
    noisy = values - torch.log(-torch.log(uniform))
    return indices.gather(-1, noisy.argmax(-1, keepdim=True))[:, 0]


def guide_logits(logits: Tensor, guidance_scale: float, min_p: float = 0.0) -> Tensor:
    """Classifier-free guidance (arXiv 2207.12598) on rows ``[conditioned; unconditioned]``; halves the batch."""
    if guidance_scale == 1.0:
        return logits
    conditioned, unconditioned = logits.chunk(2, 0)
    guided = unconditioned + guidance_scale * (conditioned - unconditioned)
    if min_p <= 0.0:
        return guided
    return guided.masked_fill(conditioned < conditioned.amax(-1, keepdim=True) + math.log(min_p), -torch.inf)


class StageDecoder:
    """A stage unrolled step by step over a static cache.

    Args:
        stage: in evaluation mode.
        condition: ``[rows, embed_dim]`` from `Stage.condition`; with guidance, conditioned rows then the others.
    """

    def __init__(self, stage: Stage, condition: Tensor) -> None:
        config = stage.config
        self.stage = stage
        self.capacity = config.prefix + config.window
        rows, head_dim = condition.shape[0], config.dim // config.heads
        shape = (config.depth, 2, rows, config.heads, self.capacity, head_dim)
        self.cache = torch.zeros(shape, device=condition.device, dtype=condition.dtype)
        self.filled = 0
        self.tint = stage.tint(condition)
        self.first = stage.start + self.tint
        self._prefix = stage.prefix(condition)
        self.extend(self._prefix)

    def extend(self, x: Tensor) -> Tensor:
        """Append positions ``x [rows, n, dim]``; returns their normalised states, equal to the full forward's."""
        n, stop = x.shape[1], self.filled + x.shape[1]
        cos, sin = self.stage.cos[self.filled : stop], self.stage.sin[self.filled : stop]
        for block, (keys, values) in zip(self.stage.blocks, self.cache, strict=True):
            q, k, v = block.qkv(x)  # type: ignore[operator]
            keys[:, :, self.filled : stop], values[:, :, self.filled : stop] = rotate(k, cos, sin), v
            past_k, past_v, q = keys[:, :, :stop], values[:, :, :stop], rotate(q, cos, sin)
            if n == 1:  # one query: two small products beat the fused kernel's set-up
                scores = (q @ past_k.transpose(-1, -2)) * q.shape[-1] ** -0.5
                h = scores.softmax(-1) @ past_v
            else:
                mask = torch.ones(n, stop, dtype=torch.bool, device=x.device).tril(stop - n)
                h = functional.scaled_dot_product_attention(q, past_k, past_v, attn_mask=mask)
            x = block.feedforward(x + block.to_out(h.transpose(1, 2).flatten(2)))  # type: ignore[operator]
        self.filled = stop
        out: Tensor = self.stage.norm(x)
        return out

    def embed(self, codes: Tensor) -> Tensor:
        """Input positions ``[rows, n, dim]`` of the frames after ``codes [rows, n, n_codes]``."""
        past = torch.stack([table(codes[..., i]) for i, table in enumerate(self.stage.codes)]).sum(0)
        x: Tensor = past + self.tint[:, None]
        return x

    def begin(self) -> Tensor:
        """State of the first frame of a window, ``[rows, dim]``."""
        return self.extend(self.first[:, None])[:, 0]

    def reset(self) -> None:
        """Forget all frames; keep the prefix."""
        self.filled = self.stage.config.prefix


def conditions(stage: Stage, embed: Tensor, negative: Tensor | None, guidance_scale: float) -> tuple[Tensor, bool]:
    """Conditions of all rows, those to steer away from after those to follow, and whether there are such."""
    condition = stage.condition(embed)
    if guidance_scale == 1.0:
        return condition, False
    nothing = torch.ones(len(embed), dtype=torch.bool, device=embed.device)
    other = stage.condition(embed, nothing) if negative is None else stage.condition(negative)
    return torch.cat([condition, other]), True


@torch.inference_mode()
def decode_audio(codec: AudioCodec, codes: Tensor) -> Tensor:
    """Codes ``[batch, frames, n_quantizers]`` → audio ``[batch, samples]``, float32."""
    return codec.decode(codes).float()
