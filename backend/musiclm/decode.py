"""From an embedding to sound: sample the stages with a static cache, then decode.

Every stage runs one position a frame. Keys and values live in one preallocated buffer a layer; guidance and
variations are rows of one batch; the logits are those of `Stage.forward` (a test holds them together). When the
window is full, the last half of it becomes the past of a new window, as MusicLM continues beyond its training length
(arXiv 2301.11325, section 4.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from backend.musiclm.codec import AudioCodec
from backend.musiclm.stages import FineStage, Stage, rotate

StepCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class Sampling:
    """How codes are drawn. ``guidance_scale`` 1 is off and costs nothing."""

    temperature: float = 1.0
    top_k: int = 100
    guidance_scale: float = 3.0


def draw(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """One code a row from ``logits [rows, codebook_size]``: temperature, top-k, Gumbel maximum."""
    values, indices = logits.float().topk(min(sampling.top_k, logits.shape[-1]), dim=-1)
    uniform = torch.rand(values.shape, generator=generator).to(values.device).clamp_(1e-20, 1 - 1e-7)
    noisy = values / max(sampling.temperature, 1e-4) - torch.log(-torch.log(uniform))
    return indices.gather(-1, noisy.argmax(-1, keepdim=True))[:, 0]


def guide_logits(logits: Tensor, guidance_scale: float) -> Tensor:
    """Classifier-free guidance (arXiv 2207.12598) on rows ``[conditioned; unconditioned]``; halves the batch."""
    if guidance_scale == 1.0:
        return logits
    conditioned, unconditioned = logits.chunk(2, 0)
    return unconditioned + guidance_scale * (conditioned - unconditioned)


class StageDecoder:
    """A stage unrolled step by step over a static cache.

    Args:
        stage: in evaluation mode.
        condition: ``[rows, embed_dim]`` from `Stage.condition`; with guidance, conditioned rows then the others.
        guide: embedded guide ``[rows, frames, dim]`` or None.
    """

    def __init__(self, stage: Stage, condition: Tensor, guide: Tensor | None) -> None:
        config = stage.config
        self.stage, self.guide = stage, guide
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

    def embed(self, codes: Tensor, frame: int) -> Tensor:
        """Input positions ``[rows, n, dim]`` of frames ``frame … frame + n``, whose *previous* frames are ``codes``."""
        past = torch.stack([table(codes[..., i]) for i, table in enumerate(self.stage.codes)]).sum(0)
        x: Tensor = past + self.tint[:, None]
        return x if self.guide is None else x + self.guide[:, frame : frame + x.shape[1]]

    def begin(self, frame: int) -> Tensor:
        """State of the first frame of a window, ``[rows, dim]``."""
        x = self.first[:, None]
        x = x if self.guide is None else x + self.guide[:, frame : frame + 1]
        return self.extend(x)[:, 0]

    def reset(self) -> None:
        """Forget all frames; keep the prefix."""
        self.filled = self.stage.config.prefix


@torch.inference_mode()
def sample_stage(
    stage: Stage,
    embed: Tensor,
    frames: int,
    sampling: Sampling,
    generator: torch.Generator,
    *,
    negative: Tensor | None = None,
    guide: Tensor | None = None,
    on_step: StepCallback | None = None,
) -> Tensor:
    """Draw ``frames`` frames of codes.

    Args:
        embed: ``[batch, embed_dim]`` unit-norm MuLan embeddings.
        negative: ``[batch, embed_dim]`` to steer away from; the learned null condition when None.
        guide: ``[batch, guide_frames, guide_codes]``.
        on_step: called with (frames done, frames); may raise to stop.

    Returns:
        ``[batch, frames, n_codes]``.
    """
    batch, window = embed.shape[0], stage.config.window
    condition = stage.condition(embed)
    guided = sampling.guidance_scale != 1.0
    if guided:
        nothing = torch.ones(batch, dtype=torch.bool, device=embed.device)
        other = stage.condition(embed, nothing) if negative is None else stage.condition(negative)
        condition = torch.cat([condition, other])
    embedded = None
    if stage.guide is not None and guide is not None:
        embedded = stage.guide(guide)
        embedded = torch.cat([embedded, embedded]) if guided else embedded
    decoder = StageDecoder(stage, condition, embedded)
    codes = torch.zeros(batch, frames, stage.config.n_codes, dtype=torch.long, device=embed.device)
    for frame in range(frames):
        if on_step is not None:
            on_step(frame, frames)
        if frame and decoder.filled < decoder.capacity:
            state = decoder.extend(decoder.embed(_rows(codes[:, frame - 1 : frame], guided), frame))[:, 0]
        else:
            state = _begin_window(decoder, codes, frame, window // 2, guided)
        codes[:, frame] = _draw_frame(stage, state, sampling, generator, guided)
    return codes


def _begin_window(decoder: StageDecoder, codes: Tensor, frame: int, keep: int, guided: bool) -> Tensor:
    """State of ``frame`` after starting a new window that remembers the last ``keep`` frames."""
    decoder.reset()
    start = max(0, frame - keep)
    state = decoder.begin(start)
    if frame > start:
        state = decoder.extend(decoder.embed(_rows(codes[:, start:frame], guided), start + 1))[:, -1]
    return state


def _rows(codes: Tensor, guided: bool) -> Tensor:
    return torch.cat([codes, codes]) if guided else codes


def _draw_frame(stage: Stage, state: Tensor, sampling: Sampling, generator: torch.Generator, guided: bool) -> Tensor:
    """All codes of one frame, ``[batch, n_codes]``, from its state ``[rows, dim]``."""
    drawn = []
    for i, head in enumerate(stage.heads):
        code = draw(guide_logits(head(state), sampling.guidance_scale), sampling, generator)
        drawn.append(code)
        if i < len(stage.chain):
            state = state + stage.chain[i](_rows(code, guided))
    return torch.stack(drawn, -1)


@torch.inference_mode()
def fill_fine(
    fine: FineStage, coarse: Tensor, embed: Tensor, temperature: float, generator: torch.Generator,
    on_step: StepCallback | None = None,
) -> Tensor:  # fmt: skip
    """All codebooks from the coarse ones: ``[batch, frames, n_coarse]`` → ``[batch, frames, n_coarse + n_fine]``."""
    codes = coarse
    sampling = Sampling(temperature=temperature, top_k=50, guidance_scale=1.0)
    for level in range(fine.config.n_fine):
        if on_step is not None:
            on_step(level, fine.config.n_fine)
        logits = fine(codes, embed, level)
        chosen = draw(logits.flatten(0, 1), sampling, generator).view(codes.shape[:2])
        codes = torch.cat([codes, chosen[..., None]], -1)
    return codes


@torch.inference_mode()
def decode_audio(codec: AudioCodec, codes: Tensor) -> Tensor:
    """Codes ``[batch, frames, n_quantizers]`` → audio ``[batch, samples]``, float32."""
    return codec.decode(codes).float()
