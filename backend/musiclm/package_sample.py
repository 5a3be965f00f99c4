"""Sampling one of the package's stages: its own logits, position by position, at a fraction of its cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backend.musiclm.package_bias import coarse_bias, fine_bias, semantic_bias
from backend.musiclm.package_stages import PackageConfig, Stage, flatten_semantic
from backend.musiclm.package_static import Session, StaticTransformer

MOST_AT_ONCE = 256  # positions of a prefix; bounds the memory of their attention scores
SMALLEST = torch.finfo(torch.float32).tiny  # a draw of 0 would put a forbidden code, at -inf, first
Choose = Callable[[int, Tensor], Tensor]
"""``choose(token index, logits [rows, codebook size])`` → the next code of each row, ``[rows]``."""


@dataclass(frozen=True)
class StageSampling:
    """How one stage is sampled.

    Attributes:
        temperature: divides the logits; above 0.
        top_k: codes kept, 0 for all.
        guidance_scale: classifier-free guidance (arXiv 2207.12598); 1 is off and halves the work.
        top_p: share of the probability kept, of nucleus sampling (arXiv 1904.09751); 1 for all.
    """

    temperature: float = 1.0
    top_k: int = 0
    guidance_scale: float = 3.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature <= 0 or self.top_k < 0 or self.top_p <= 0:
            raise ValueError("temperature and top_p must be above 0 and top_k at least 0")

    @property
    def guided(self) -> bool:
        """Whether the null condition is decoded too."""
        return self.guidance_scale != 1.0


# temperatures of MusicLM; top_k keeps a tenth of the codes, as the package's generate does, of events the grammar does
DEFAULT_SAMPLING: dict[Stage, StageSampling] = {
    "semantic": StageSampling(1.0),
    "coarse": StageSampling(0.95, 102),
    "fine": StageSampling(0.4, 102),
}


def sample(
    logits: Tensor, sampling: StageSampling, generator: torch.Generator, allowed: Tensor | None = None
) -> Tensor:
    """One code a row from ``logits [rows, codes]``, guided when the rows are conditioned ones followed by null ones.

    Args:
        logits: of the conditioned rows, then, when guided, of the null rows.
        sampling: how.
        generator: on the logits' device.
        allowed: ``[conditioned rows, codes]``, at least one true a row; None for all codes.

    Returns:
        Codes ``[rows]``; with guidance the second half repeats the first.
    """
    if sampling.guided:
        conditioned, null = logits.chunk(2)
        logits = torch.lerp(null, conditioned, sampling.guidance_scale)
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    kept: Tensor | None = None
    n_kept, nucleus = sampling.top_k or logits.shape[1], sampling.top_p < 1
    if n_kept < logits.shape[1] or nucleus:
        logits, kept = torch.topk(logits, min(n_kept, logits.shape[1]), sorted=nucleus)
    if nucleus:
        shares = (logits / sampling.temperature).softmax(1)
        logits = logits.masked_fill(shares.cumsum(1) - shares > sampling.top_p, -torch.inf)  # never the first
    # exponential race: the arg max of p / Exp(1) is distributed as p
    race = torch.empty_like(logits).exponential_(generator=generator).clamp_min_(SMALLEST).log_()
    codes = torch.sub(logits, race, alpha=sampling.temperature).argmax(1)
    if kept is not None:
        codes = kept.gather(1, codes[:, None])[:, 0]
    return codes.repeat(2) if sampling.guided else codes


class StageDecoder:
    """One package stage, prepared for decoding.

    Args:
        stage: which stage.
        module: from `package_stages`; later changes to its weights are not seen.
        config: its sizes.
    """

    def __init__(self, stage: Stage, module: nn.Module, config: PackageConfig) -> None:
        self.stage, self.config = stage, config
        self._module: Any = module
        with torch.no_grad():
            self.static = StaticTransformer(self._module.transformer)
            self._tables, self._heads, self._head_bias = self._codebooks(self._module)
        self.n_codebooks, self.codebook_size, self.width = self._tables.shape

    def _codebooks(self, module: Any) -> tuple[Tensor, Tensor, Tensor]:
        """By codebook: embeddings ``[q, codes, d]``, logit matrices ``[q, d, codes]``, logit offsets ``[q, codes]``."""
        if self.stage == "semantic":
            shape = (self.config.semantic_quantizers, self.config.semantic_codebook_size)
            tables = module.semantic_embedding.weight[:-1].unflatten(0, shape).clone()
            heads = module.to_logits.weight[:-1].unflatten(0, shape)
            return tables, heads.transpose(1, 2).contiguous(), module.to_logits.bias[:-1].view(shape).clone()
        size = self.config.codebook_size
        embedding = getattr(module, f"{self.stage}_embedding").weight
        quantizer = getattr(module, f"{self.stage}_quantize_embedding").weight
        heads = getattr(module, f"{self.stage}_logit_weights")[:, :size]
        tables = embedding[: len(quantizer) * size].unflatten(0, (len(quantizer), size)) + quantizer[:, None]
        return tables, heads.transpose(1, 2).contiguous(), heads.new_zeros(heads.shape[:2])

    def open(self, cond: Tensor, n_frames: int, given: Tensor | None = None) -> tuple[Session, Tensor]:
        """Start sequences of ``n_frames`` frames of this stage.

        Args:
            cond: ``[rows, n_cond, cond_dim]``; zeros for the null condition.
            n_frames: frames to be decoded, primed ones included.
            given: tokens of the stage before, ``[rows, frames, codebooks]``; None in the semantic stage.

        Returns:
            The session, and the embeddings ``[rows, positions, d]`` to extend it with first.
        """
        module, rows = self._module, cond.shape[0]
        n_tokens = n_frames * self.n_codebooks

        def start(token: Tensor) -> Tensor:
            return token.expand(rows, 1, -1)

        mask = None
        if self.stage == "semantic":
            prefix = start(module.start_token)
            bias = semantic_bias(module, n_tokens)
        elif given is None:
            raise ValueError(f"the {self.stage} stage needs the tokens of the stage before it")
        elif self.stage == "coarse":
            ids = flatten_semantic(given, self.config.semantic_codebook_size)
            semantic = module.semantic_embedding(ids)
            prefix = torch.cat((start(module.semantic_start_token), semantic, start(module.coarse_start_token)), 1)
            mask = (cond != 0).any(-1)  # the package hides zero vectors in this stage only
            bias = coarse_bias(module, ids.shape[1], n_tokens)
        else:
            quantizers = given.shape[2]
            offsets = torch.arange(quantizers, device=given.device) * self.config.codebook_size
            coarse = module.coarse_embedding(given + offsets) + module.coarse_quantize_embedding.weight
            prefix = torch.cat(
                (start(module.coarse_start_token), coarse.flatten(1, 2), start(module.fine_start_token)), 1
            )
            bias = fine_bias(module, n_frames)
        capacity = prefix.shape[1] + n_tokens - 1
        return self.static.open(module.proj_text_embed(cond), mask, capacity, bias), prefix

    @torch.inference_mode()
    def run(
        self,
        cond: Tensor,
        n_frames: int,
        choose: Choose,
        *,
        primed: Tensor | None = None,
        given: Tensor | None = None,
        enough: Callable[[], bool] | None = None,
    ) -> Tensor:
        """Decode frames after ``primed`` until there are ``n_frames`` or ``enough``.

        Args:
            cond: as `open`.
            n_frames: frames in all.
            choose: see `Choose`; the index counts tokens from the first one decoded here.
            primed: codes the sequence begins with, ``[rows, frames, codebooks]``.
            given: as `open`.
            enough: asked after every frame; true ends the sequence there.

        Returns:
            Codes ``[rows, frames, codebooks]``.
        """
        session, prefix = self.open(cond, n_frames, given)
        out = torch.empty((cond.shape[0], n_frames, self.n_codebooks), dtype=torch.long, device=cond.device)
        first, last = 0, n_frames * self.n_codebooks - 1
        if primed is not None:
            first = primed.shape[1] * self.n_codebooks
            out[:, : primed.shape[1]] = primed
            codebooks = torch.arange(self.n_codebooks, device=cond.device)
            prefix = torch.cat((prefix, self._tables[codebooks, primed].flatten(1, 2)), 1)
        for part in prefix.split(MOST_AT_ONCE, 1):
            hidden = session.extend(part)[:, -1]
        flat = out.flatten(1)
        for index in range(first, last + 1):
            codebook = index % self.n_codebooks
            logits = torch.addmm(self._head_bias[codebook], hidden, self._heads[codebook])
            codes = flat[:, index] = choose(index - first, logits)
            if enough is not None and codebook + 1 == self.n_codebooks and enough():
                return out[:, : (index + 1) // self.n_codebooks]
            if index < last:
                hidden = session.extend(self._tables[codebook][codes][:, None])[:, 0]
        return out
