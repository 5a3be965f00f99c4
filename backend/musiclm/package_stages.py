"""The three transformers of audiolm-pytorch as this project trains them: sizes, construction, loss, weights.

AudioLM (arXiv 2209.03143) models semantic tokens, then the coarse codebooks given them, then the fine codebooks given
the coarse ones; MusicLM (arXiv 2301.11325) conditions each stage on MuLan. The modules are the package's. Departures:

- Semantic tokens are note events (`backend.musiclm.events`), whose five codes are flattened event by event into the
  package's single stream, code ``q`` shifted by ``256 q``; loss and sampling look only at the 256 logits a position may
  take. Sequences have so many event slots a second; those left over hold padding, which is never learned.
- The null condition is a block of zeros, in training (`drop_condition`) and in decoding. The package's own dropout acts
  in its coarse stage only, so its guidance does nothing in the other two.
- End-of-sequence is neither trained nor sampled: lengths are fixed, and in the coarse stage its embedding row is that
  of the next codebook's code 0.
"""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.errors import CheckpointError
from backend.musiclm.events import FIELDS, PAD, SIZE
from backend.musiclm.package import CoarseTransformer, FineTransformer, SemanticTransformer

Stage = Literal["semantic", "coarse", "fine"]
IGNORED = -100  # label that is not learned
STAGES: tuple[Stage, ...] = ("semantic", "coarse", "fine")


@dataclass(frozen=True, kw_only=True)
class PackageConfig:
    """Sizes shared by the three stages.

    Attributes:
        dim, depth, heads, dim_head: of each transformer; one key/value head serves all query heads.
        cond_dim: width of the conditioning vectors ``[batch, n_cond, cond_dim]``.
        semantic_codebook_size, semantic_quantizers: of the note events, their values a code and codes.
        events_per_s: event slots for each second of a window.
        codebook_size, n_quantizers, n_coarse, frame_rate: of the codec; the first ``n_coarse`` codebooks are coarse.
        semantic_window_s, coarse_window_s, fine_window_s: seconds a sequence of the stage spans, trained and decoded.
        overlap_s: seconds of its own past a coarse window is primed with when a clip needs several.
    """

    dim: int = 320
    depth: int = 6
    heads: int = 6
    dim_head: int = 64
    cond_dim: int = 128
    semantic_codebook_size: int = SIZE
    semantic_quantizers: int = len(FIELDS)
    events_per_s: float = 25.6
    codebook_size: int = 1024
    n_quantizers: int = 8
    n_coarse: int = 3
    frame_rate: float = 50.0
    semantic_window_s: float = 10.0
    coarse_window_s: float = 10.0
    fine_window_s: float = 2.0
    overlap_s: float = 4.0

    @property
    def n_fine(self) -> int:
        """Codebooks the fine stage predicts."""
        return self.n_quantizers - self.n_coarse

    def semantic_frames(self, seconds: float) -> int:
        """Event slots of a window of ``seconds``."""
        return math.ceil(seconds * self.events_per_s - 1e-6)

    def codec_frames(self, seconds: float) -> int:
        """Codec frames that cover ``seconds``."""
        return math.ceil(seconds * self.frame_rate - 1e-6)


BASE = PackageConfig()
TINY = PackageConfig(
    dim=32, depth=2, heads=2, dim_head=16, cond_dim=12, codebook_size=24, n_quantizers=5, n_coarse=2,
    semantic_window_s=0.8, coarse_window_s=0.8, fine_window_s=0.2, overlap_s=0.4,
)  # fmt: skip


@dataclass(frozen=True)
class TokenBatch:
    """Aligned tokens of some clips.

    Attributes:
        semantic: ``[batch, event slots, semantic_quantizers]``.
        codes: ``[batch, codec frames, n_quantizers]``, from where ``semantic`` starts; unused in the semantic stage.
        cond: ``[batch, n_cond, cond_dim]``; a block of zeros is the null condition.
    """

    semantic: Tensor
    codes: Tensor
    cond: Tensor


def build_stage(stage: Stage, config: PackageConfig, seed: int = 0) -> nn.Module:
    """The package's transformer of one stage with random weights, in evaluation mode.

    The package draws from torch's and Python's global generators; both are left as they were.
    """
    common = {
        "dim": config.dim, "depth": config.depth, "heads": config.heads, "dim_head": config.dim_head,
        "cond_dim": config.cond_dim, "has_condition": True, "cond_drop_prob": 0.0,
    }  # fmt: skip
    n_semantic = config.semantic_codebook_size * config.semantic_quantizers
    python_state = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            random.seed(seed)
            module: nn.Module
            if stage == "semantic":
                module = SemanticTransformer(num_semantic_tokens=n_semantic, **common)
            elif stage == "coarse":
                module = CoarseTransformer(
                    num_semantic_tokens=n_semantic, codebook_size=config.codebook_size,
                    num_coarse_quantizers=config.n_coarse, project_semantic_logits=False, **common,
                )  # fmt: skip
            else:
                module = FineTransformer(
                    codebook_size=config.codebook_size, num_coarse_quantizers=config.n_coarse,
                    num_fine_quantizers=config.n_fine, project_coarse_logits=False, **common,
                )  # fmt: skip
    finally:
        random.setstate(python_state)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            if name.endswith("_logit_weights"):
                weights.mul_(
                    config.dim**-0.5
                )  # drawn with unit variance, which starts training at over 100 nats a token
    return module.eval()


def load_stage(stage: Stage, config: PackageConfig, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The stage with the weights ``tensors``, as ``module.state_dict()`` named them, in evaluation mode.

    Weights trained by the package's own trainer with its auxiliary heads load too: those heads are left out.

    Raises:
        CheckpointError: a weight is missing, unknown or of another size.
    """
    module = build_stage(stage, config)
    auxiliary = {"coarse": ("to_semantic_logits.",), "fine": ("coarse_logit_weights",)}.get(stage, ())
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(auxiliary or ("\0",))}
    wanted = {name: tensor.shape for name, tensor in module.state_dict().items()}
    for name in sorted(wanted.keys() | kept.keys()):
        found = kept[name].shape if name in kept else None
        if wanted.get(name) != found:
            raise CheckpointError(
                f"The {stage} stage's weight '{name}' is {_shape(found)} in the file, "
                f"{_shape(wanted.get(name))} in the model."
            )
    module.load_state_dict(kept)
    return module


def _shape(shape: torch.Size | None) -> str:
    return "absent" if shape is None else "x".join(map(str, shape)) or "a scalar"


def flatten_semantic(semantic: Tensor, codebook_size: int) -> Tensor:
    """``[batch, events, quantizers]`` → the package's ids ``[batch, tokens]``, codes shifted by codebook."""
    shift = torch.arange(semantic.shape[2], device=semantic.device) * codebook_size
    return (semantic + shift).flatten(1)


def drop_condition(batch: TokenBatch, probability: float, generator: torch.Generator) -> TokenBatch:
    """Replace the condition of a random share of the clips by the null condition (arXiv 2207.12598)."""
    keep = torch.rand(batch.cond.shape[0], 1, 1, generator=generator) >= probability
    return dataclasses.replace(batch, cond=batch.cond * keep.to(batch.cond))


def package_loss(
    stage: Stage,
    module: nn.Module,
    batch: TokenBatch,
    *,
    forget: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean cross-entropy in nats a token, teacher-forced, of what the stage will be asked to sample.

    Padding events do not count. The package's wrappers add the loss of the prefix tokens (semantic in coarse, coarse in
    fine); nothing samples those here, so their logits are not computed.

    Args:
        stage: which stage ``module`` is.
        module: from `build_stage` or `load_stage`.
        batch: tokens of one window of the stage, see `TokenBatch`.
        forget: share of earlier positions hidden from attention (the package's ``mask_prob``).
        generator: for ``forget``.
    """
    logits, labels = stage_logits(stage, module, batch, forget=forget, generator=generator)
    if stage == "semantic":
        padding = (batch.semantic[..., :1] == PAD).expand_as(batch.semantic)
        labels = labels.masked_fill(padding.flatten(1), IGNORED)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)


def stage_logits(
    stage: Stage,
    module: nn.Module,
    batch: TokenBatch,
    *,
    forget: float = 0.0,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """The package's own teacher-forced forward. Arguments as `package_loss`.

    Returns:
        Logits ``[batch, tokens, codebook size]`` over the codes a position may take; the codes ``[batch, tokens]``.
    """
    model: Any = module  # the package is untyped

    def mask(length: int) -> Tensor | None:
        if forget <= 0:
            return None
        keep = torch.rand(batch.cond.shape[0], length, generator=generator) >= forget
        keep[:, 0] = True  # a row with nothing to attend to would be uniform over the future too
        return keep.to(batch.cond.device)

    common = {"text_embeds": batch.cond, "cond_drop_prob": 0.0}
    quantizers = batch.semantic.shape[2]
    if stage == "semantic":
        size = model.num_semantic_tokens // quantizers
        ids = flatten_semantic(batch.semantic, size)
        logits = model(ids=ids[:, :-1], self_attn_mask=mask(ids.shape[1] - 1), **common)
        blocks = logits[..., :-1].unflatten(2, (quantizers, size))
        codebook = (torch.arange(ids.shape[1], device=ids.device) % quantizers).view(1, -1, 1, 1)
        return blocks.take_along_dim(codebook, 2).squeeze(2), batch.semantic.flatten(1)

    coarse = batch.codes[..., : model.num_coarse_quantizers].flatten(1)
    if stage == "coarse":
        semantic = flatten_semantic(batch.semantic, model.num_semantic_tokens // quantizers)
        _, logits = model(
            semantic_token_ids=semantic,
            coarse_token_ids=coarse[:, :-1],
            self_attn_mask=mask(semantic.shape[1] + coarse.shape[1] + 1),
            return_only_coarse_logits=True,
            **common,
        )
        return logits[..., : model.codebook_size], coarse

    fine = batch.codes[..., model.num_coarse_quantizers :].flatten(1)
    _, logits = model(
        coarse_token_ids=coarse,
        fine_token_ids=fine[:, :-1],
        self_attn_mask=mask(coarse.shape[1] + fine.shape[1] + 1),
        return_only_fine_logits=True,
        **common,
    )
    return logits, fine
