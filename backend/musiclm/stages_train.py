"""Training of the stages from tokens of the corpus.

Half of the time a stage is conditioned on the MuLan embedding of a caption, otherwise on that of the audio itself, so
that text at inference is nothing new to it (MusicLM trains on audio embeddings alone, having no captions).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.musiclm.stages import FineConfig, FineStage, Stage, StageConfig

if TYPE_CHECKING:
    from backend.musiclm.package_stages import PackageConfig

DROP_CONDITION = 0.12
EMBED_NOISE = 0.02
CLIP_S = 30

Indices = npt.NDArray[Any]
EMBED_STEP_S = 10  # a window of the audio embedding every ten seconds


class TokenCorpus:
    """Everything the stages learn from, in memory.

    Attributes:
        semantic: ``[clips, 375, 3]``.
        acoustic: ``[clips, 1500, 8]``.
        audio_embed: ``[clips, windows, 128]`` MuLan embeddings of ten-second windows, end to end.
        text_embed: ``[clips, captions, 128]``.
    """

    def __init__(self, folder: Path) -> None:
        arrays = {p.stem: np.load(p) for p in folder.glob("*.npy")}
        self.semantic: npt.NDArray[np.int16] = arrays["semantic"]
        self.acoustic: npt.NDArray[np.int16] = arrays["acoustic"]
        self.audio_embed: npt.NDArray[np.float16] = arrays["audio_embed"]
        self.text_embed: npt.NDArray[np.float16] = arrays["text_embed"]
        split = arrays["split"]
        self.train = np.flatnonzero(split == 0)
        self.held_out = np.flatnonzero(split == 1)

    def embeds(self, clips: Indices, start_s: Indices, length_s: float, generator: torch.Generator) -> Tensor:
        """An embedding of each clip, as often of a caption as of its sound, a little noisy: ``[clips, 128]``, norm 1.

        Args:
            clips: ``[clips]``.
            start_s: ``[clips]`` where the windows start.
            length_s: how long they are; the sound's embedding is of a moment in it.
            generator: of all that is random here.
        """
        by_text, position, moment = torch.rand((3, len(clips)), generator=generator).numpy()
        row = np.round((start_s + (length_s - 10.0) * moment) / EMBED_STEP_S).clip(0, self.audio_embed.shape[1] - 1)
        of_sound = self.audio_embed[clips, row.astype(np.int64)]
        captions = self.text_embed.shape[1]
        of_text = self.text_embed[clips, (position * captions).astype(np.int64).clip(0, captions - 1)]
        vectors = torch.from_numpy(np.where(by_text[:, None] < 0.5, of_text, of_sound).astype(np.float32))
        return functional.normalize(vectors + EMBED_NOISE * torch.randn(vectors.shape, generator=generator), dim=-1)


class StageObjective(nn.Module):
    """A stage with its loss: ``{"codes", "embed", "drop"[, "guide"]}`` → ``(loss, figures)``."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.stage = Stage(config)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross-entropy of all codes, in nats."""
        logits = self.stage(batch["codes"], batch["embed"], batch.get("guide"), batch["drop"])
        parts = [
            functional.cross_entropy(x.float().flatten(0, 1), batch["codes"][..., i].flatten())
            for i, x in enumerate(logits)
        ]
        return torch.stack(parts).mean(), {f"nll_{i}": part.detach() for i, part in enumerate(parts)}


class FineObjective(nn.Module):
    """The fine stage with its loss at one random level a batch."""

    def __init__(self, config: FineConfig) -> None:
        super().__init__()
        self.stage = FineStage(config)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross-entropy of the batch's level, in nats."""
        level = int(batch["level"])
        logits = self.stage(batch["codes"], batch["embed"], level)
        target = batch["codes"][..., self.stage.config.n_coarse + level]
        loss = functional.cross_entropy(logits.float().flatten(0, 1), target.flatten())
        return loss, {f"nll_{level}": loss.detach()}


class PackageObjective(nn.Module):
    """A stage of audiolm-pytorch with its loss, on the same windows and conditions as ours.

    The null condition is a zero vector (`package_stages.drop_condition`), the only one all three of its stages obey.
    """

    def __init__(self, kind: Any, config: PackageConfig, seed: int) -> None:
        from backend.musiclm.package_stages import build_stage  # needs the package, which our stages do not

        super().__init__()
        self.kind, self.config = kind, config
        self.stage = build_stage(kind, config, seed)
        seconds = {"semantic": config.semantic_window_s, "coarse": config.coarse_window_s, "fine": config.fine_window_s}
        rate = config.semantic_frame_rate if kind == "semantic" else config.frame_rate
        self.window = round(seconds[kind] * rate)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross-entropy of all codes the stage writes, in nats."""
        from backend.musiclm.package_stages import TokenBatch, package_loss

        codes, guide = batch["codes"], batch.get("guide")
        if self.kind == "semantic":
            guide, codes = codes, codes.new_zeros(len(codes), 4 * codes.shape[1], self.config.n_quantizers)
        elif guide is None:
            guide = codes.new_zeros(len(codes), 1, self.config.semantic_quantizers)
        cond = (batch["embed"] * ~batch["drop"][:, None])[:, None]
        loss = package_loss(self.kind, self.stage, TokenBatch(guide, codes, cond))
        return loss, {}


class StageTask:
    """Windows of tokens with their condition, for ``semantic``, ``coarse`` or ``fine``."""

    def __init__(self, corpus: TokenCorpus, kind: str, config: Any, batch: int, window: int) -> None:
        self.corpus, self.kind, self.config, self.batch, self.window = corpus, kind, config, batch, window
        self._n_coarse = config.n_codes if isinstance(config, StageConfig) else config.n_coarse
        self._n_fine = config.n_fine if isinstance(config, FineConfig) else 1
        generator = torch.Generator().manual_seed(17)
        self._valid = [
            {**self._draw(part, generator), "drop": torch.zeros(len(part), dtype=torch.bool)}
            for part in np.array_split(corpus.held_out[:128], 8)
            if len(part)
        ]
        for i, batch_ in enumerate(self._valid):
            batch_["level"] = torch.tensor(i % self._n_fine)

    def _draw(self, clips: Indices, generator: torch.Generator) -> dict[str, Tensor]:
        """A random window of each clip, drawn for all of them at once: a GPU asks for thousands a second."""
        semantic, acoustic = self.corpus.semantic, self.corpus.acoustic
        stride = acoustic.shape[1] // semantic.shape[1]
        frames = self.window // (1 if self.kind == "semantic" else stride)  # of the semantic grid
        last = semantic.shape[1] - frames
        starts = torch.randint(0, last + 1, (len(clips),), generator=generator).numpy()
        seconds = CLIP_S / semantic.shape[1]
        batch = {"embed": self.corpus.embeds(clips, starts * seconds, frames * seconds, generator)}
        coarse_grid = starts[:, None] + np.arange(frames)
        if self.kind == "semantic":
            return batch | {"codes": _long(semantic[clips[:, None], coarse_grid])}
        fine_grid = stride * starts[:, None] + np.arange(frames * stride)
        codes = acoustic[clips[:, None], fine_grid]
        if self.kind == "fine":
            return batch | {"codes": _long(codes)}
        return batch | {
            "codes": _long(codes[..., : self._n_coarse]),
            "guide": _long(semantic[clips[:, None], coarse_grid]),
        }

    def batches(self, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """Endless batches from random training clips."""
        train = self.corpus.train
        while True:
            picks = torch.randint(len(train), (self.batch,), generator=generator).numpy()
            batch = self._draw(train[picks], generator)
            batch["drop"] = torch.rand(self.batch, generator=generator) < DROP_CONDITION
            if self.kind == "fine":
                batch["level"] = torch.randint(self._n_fine, (), generator=generator)
            yield batch

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """Held-out cross-entropy in nats a code: conditioned (the loss), without condition, and by code."""
        device = next(module.parameters()).device
        totals: dict[str, list[float]] = {}
        for batch in self._valid:
            moved = {k: v.to(device) for k, v in batch.items()}
            with torch.autocast(device.type, torch.bfloat16):
                loss, parts = module(moved)
                totals.setdefault("loss", []).append(float(loss))
                for name, value in parts.items():
                    totals.setdefault(name, []).append(float(value))
                if self.kind != "fine":
                    without = module({**moved, "drop": torch.ones_like(moved["drop"])})[0]
                    totals.setdefault("unconditioned", []).append(float(without))
        return {name: float(np.mean(values)) for name, values in totals.items()}


def _long(codes: npt.NDArray[np.int16]) -> Tensor:
    return torch.from_numpy(codes.astype(np.int64))
