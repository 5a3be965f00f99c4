"""Training of the stages from tokens of the corpus.

Half of the time a stage is conditioned on the MuLan embedding of a caption, otherwise on that of the audio itself, so
that text at inference is nothing new to it (MusicLM trains on audio embeddings alone, having no captions). Clips that
were written as notes alone have only captions, and only the semantic stage learns from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.musiclm.acoustic import AcousticConfig, AcousticStage
from backend.musiclm.events import FIELDS, PAD, PLAYER, SETTING, Events, Piece, Setting, pad_events
from backend.musiclm.guide import Notes
from backend.musiclm.stages import Stage, StageConfig

if TYPE_CHECKING:
    from backend.musiclm.package_stages import PackageConfig

DROP_CONDITION = 0.12
EMBED_NOISE = 0.02
CLIP_S = 30
EMBED_STEP_S = 10  # a window of the audio embedding every ten seconds
LEAST_BARS = 2  # a training window starts at least so many bars before the end of its clip

Indices = npt.NDArray[Any]


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths in one array: row ``i`` is ``values[starts[i]:starts[i + 1]]``."""

    values: npt.NDArray[Any]
    starts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        return self.values[self.starts[row] : self.starts[row + 1]]

    @classmethod
    def of(cls, rows: list[npt.NDArray[Any]]) -> Ragged:
        """Join rows."""
        return cls(np.concatenate(rows), np.concatenate([[0], np.cumsum([len(row) for row in rows])]))


class TokenCorpus:
    """Everything the stages learn from, in memory. Clips with sound come first, then those of notes alone.

    Attributes:
        acoustic: ``[sounding clips, 1500, 8]``.
        codebooks: ``[8, 1024, latent_dim]``, what each code adds to the codec's latent.
        audio_embed: ``[sounding clips, windows, 128]`` MuLan embeddings of ten-second windows, end to end.
        text_embed: ``[clips, captions, 128]``.
        notes: the notes of every sounding clip, dtype `backend.musiclm.events.NOTE`.
        settings: ``[clips, 4]`` tempo, key, beats a bar, sound.
        players, ticks, codes: of each clip's `backend.musiclm.events.Piece`.
        train, held_out: rows of sounding clips.
        silent: rows of the clips of notes alone, all for training.
    """

    def __init__(self, folder: Path) -> None:
        arrays = {p.stem: np.load(p) for p in folder.glob("*.npy")}
        self.acoustic: npt.NDArray[np.int16] = arrays["acoustic"]
        self.audio_embed: npt.NDArray[np.float16] = arrays["audio_embed"]
        texts = [arrays[name] for name in ("text_embed", "silent_text_embed") if name in arrays]
        self.text_embed: npt.NDArray[np.float16] = np.concatenate(texts)
        self.codebooks: npt.NDArray[np.float32] = arrays["codebooks"]
        with np.load(folder / "notes.npz") as stored:
            self.settings = stored["settings"]
            self.notes, self.players, self.ticks, self.codes = (
                Ragged(stored[name], stored[f"{name}_starts"]) for name in ("notes", "players", "ticks", "codes")
            )
            self.lead_in_s = stored["lead_in_s"]
        split = arrays["split"]
        self.train = np.flatnonzero(split == 0)
        self.held_out = np.flatnonzero(split == 1)
        self.silent = np.arange(len(split), len(self.settings))

    def piece(self, row: int) -> Piece:
        """The clip's notes on the grid."""
        setting = Setting(*(int(x) for x in self.settings[row]))
        return Piece(setting, self.players[row], self.ticks[row], self.codes[row], float(self.lead_in_s[row]))

    def embeds(self, clips: Indices, start_s: Indices, length_s: float, generator: torch.Generator) -> Tensor:
        """An embedding of each clip, as often of a caption as of its sound, a little noisy: ``[clips, 128]``, norm 1.

        Args:
            clips: ``[clips]``; those of notes alone always get a caption.
            start_s: ``[clips]`` where the windows start.
            length_s: how long they are; the sound's embedding is of a moment in it.
            generator: of all that is random here.
        """
        by_text, position, moment = torch.rand((3, len(clips)), generator=generator).numpy()
        sounding = len(self.audio_embed)
        row = np.round((start_s + (length_s - 10.0) * moment) / EMBED_STEP_S).clip(0, self.audio_embed.shape[1] - 1)
        of_sound = self.audio_embed[clips.clip(0, sounding - 1), row.astype(np.int64)]
        captions = self.text_embed.shape[1]
        of_text = self.text_embed[clips, (position * captions).astype(np.int64).clip(0, captions - 1)]
        text = (by_text < 0.5) | (clips >= sounding)
        vectors = torch.from_numpy(np.where(text[:, None], of_text, of_sound).astype(np.float32))
        return functional.normalize(vectors + EMBED_NOISE * torch.randn(vectors.shape, generator=generator), dim=-1)


class StageObjective(nn.Module):
    """The semantic stage with its loss: ``{"codes", "embed", "drop"}`` → ``(loss, figures)``."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.stage = Stage(config)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy in nats a code: mean over the notes plus mean over the head, padding left out.

        The head is a few events of hundreds, but it is what a prompt speaks of: in one mean it would hardly count.
        """
        codes = batch["codes"]
        logits = self.stage(codes, batch["embed"], batch["drop"])
        head = (codes[..., 0] == SETTING) | (codes[..., 0] == PLAYER)
        notes = ~head & (codes[..., 0] != PAD)
        parts = torch.stack(
            [
                functional.cross_entropy(x.float().transpose(1, 2), codes[..., i], reduction="none")
                for i, x in enumerate(logits)
            ]
        )
        of_notes, of_head = (parts[:, mask].mean(1) for mask in (notes, head))
        figures = {f"nll_{name}": value for name, value in zip(FIELDS, of_notes.detach(), strict=True)}
        return of_notes.mean() + of_head.mean(), figures | {"nll_head": of_head.mean().detach()}


class AcousticObjective(nn.Module):
    """The acoustic stage with its loss: ``{"codes", "embed", "drop", "when", "what", "sound"}`` → ``(loss, figures)``.

    Args:
        config: of the stage.
        codebooks: ``[n_quantizers, codebook_size, latent_dim]``, what each code adds to the codec's latent.
    """

    codebooks: Tensor

    def __init__(self, config: AcousticConfig, codebooks: Tensor) -> None:
        super().__init__()
        self.stage = AcousticStage(config)
        self.register_buffer("codebooks", codebooks.float(), persistent=False)

    def latents(self, codes: Tensor) -> Tensor:
        """``[batch, frames, n_quantizers]`` → ``[batch, frames, latent_dim]``."""
        return torch.stack([table[codes[..., i]] for i, table in enumerate(self.codebooks)]).sum(0)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Absolute plus squared error of the latents, in standard deviations."""
        target, notes = self.latents(batch["codes"]), Notes(batch["when"], batch["what"], batch["sound"])
        embed = batch["embed"] * ~batch["drop"][:, None]
        error = (self.stage(notes, target.shape[1], embed) - target) / self.stage.deviation
        absolute, squared = error.abs().mean(), error.square().mean()
        return absolute + 0.5 * squared, {"absolute": absolute.detach(), "squared": squared.detach()}


class PackageObjective(nn.Module):
    """A stage of audiolm-pytorch with its loss, on the same windows and conditions as ours.

    The null condition is a zero vector (`package_stages.drop_condition`), the only one all three of its stages obey.
    """

    def __init__(self, kind: Any, config: PackageConfig, seed: int) -> None:
        from backend.musiclm.package_stages import build_stage  # needs the package, which our stages do not

        super().__init__()
        self.kind, self.config = kind, config
        self.stage = build_stage(kind, config, seed)
        if kind == "semantic":
            self.window = config.semantic_frames(config.semantic_window_s)
        else:
            seconds = config.coarse_window_s if kind == "coarse" else config.fine_window_s
            self.window = round(seconds * config.frame_rate)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean cross-entropy of all codes the stage writes, in nats; padding events do not count."""
        from backend.musiclm.package_stages import TokenBatch, package_loss

        codes, guide = batch["codes"], batch.get("guide")
        if self.kind == "semantic":
            guide, codes = codes, codes.new_zeros(len(codes), 0, self.config.n_quantizers)
        elif guide is None:
            guide = codes.new_zeros(len(codes), 1, self.config.semantic_quantizers)
        cond = (batch["embed"] * ~batch["drop"][:, None])[:, None]
        loss = package_loss(self.kind, self.stage, TokenBatch(guide, codes, cond))
        return loss, {}


class StageTask:
    """Windows of tokens with their condition, for ``semantic``, ``acoustic``, ``coarse`` or ``fine``.

    Args:
        corpus: tokens.
        kind: of the stage.
        config: of the stage; an acoustic stage reads all codes.
        batch: windows a batch.
        window: length of a window: events for ``semantic``, frames of the codec otherwise.
        guide_events: also give the window's notes as so many events (for stages that read tokens).
        held_out: windows to validate on, at most.
    """

    def __init__(
        self,
        corpus: TokenCorpus,
        kind: str,
        config: Any,
        batch: int,
        window: int,
        guide_events: int = 0,
        held_out: int = 128,
    ) -> None:
        self.corpus, self.kind, self.config, self.batch, self.window = corpus, kind, config, batch, window
        self.guide_events = guide_events
        self._n_codes: int | None = getattr(config, "n_coarse", None) if kind == "coarse" else None
        self._rows = np.concatenate([corpus.train, corpus.silent]) if kind == "semantic" else corpus.train
        generator = torch.Generator().manual_seed(17)
        self._valid = [
            {**self._draw(part, generator), "drop": torch.zeros(len(part), dtype=torch.bool)}
            for part in np.array_split(corpus.held_out[:held_out], 8)
            if len(part)
        ]

    def _draw(self, clips: Indices, generator: torch.Generator) -> dict[str, Tensor]:
        """A random window of each clip, drawn for all of them at once: a GPU asks for thousands a second."""
        moments = torch.rand(len(clips), generator=generator).numpy()
        if self.kind == "semantic":
            return self._draw_events(clips, moments, generator)
        rate = self.corpus.acoustic.shape[1] / CLIP_S
        starts = (moments * (self.corpus.acoustic.shape[1] - self.window + 1)).astype(np.int64)
        length_s = self.window / rate
        batch = {"embed": self.corpus.embeds(clips, starts / rate, length_s, generator)}
        codes = self.corpus.acoustic[clips[:, None], starts[:, None] + np.arange(self.window)]
        if self.kind == "fine":
            return batch | {"codes": _long(codes)}
        batch["codes"] = _long(codes[..., : self._n_codes])
        if self.guide_events:
            events = [
                self._window_events(int(clip), start / rate, length_s)
                for clip, start in zip(clips, starts, strict=True)
            ]
            return batch | {"guide": _long(np.stack(events))}
        pieces, sounds = [self.corpus.notes[clip] for clip in clips], self.corpus.settings[clips, 3].tolist()
        notes = Notes.of(pieces, sounds, (starts / rate).tolist(), length_s)
        return batch | {"when": notes.when, "what": notes.what, "sound": notes.sound}

    def _draw_events(self, clips: Indices, moments: Indices, generator: torch.Generator) -> dict[str, Tensor]:
        rows, starts = [], []
        for clip, moment in zip(clips, moments, strict=True):
            piece = self.corpus.piece(int(clip))
            first = int(moment * max(1, piece.n_bars - LEAST_BARS))
            rows.append(pad_events(piece.events(first, self.window), self.window))
            starts.append(first * piece.setting.bar * 60 / piece.setting.bpm)
        embed = self.corpus.embeds(clips, np.array(starts), 10.0, generator)
        return {"embed": embed, "codes": _long(np.stack(rows))}

    def _window_events(self, clip: int, start_s: float, length_s: float) -> Events:
        """The notes of a window of the codec as events."""
        piece = self.corpus.piece(clip).window(start_s, length_s)
        return pad_events(piece.events(0, self.guide_events), self.guide_events)

    def batches(self, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """Endless batches from random training clips."""
        while True:
            picks = torch.randint(len(self._rows), (self.batch,), generator=generator).numpy()
            batch = self._draw(self._rows[picks], generator)
            batch["drop"] = torch.rand(self.batch, generator=generator) < DROP_CONDITION
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
                if self.kind != "fine":  # which hardly listens to it
                    without = module({**moved, "drop": torch.ones_like(moved["drop"])})[0]
                    totals.setdefault("unconditioned", []).append(float(without))
        return {name: float(np.mean(values)) for name, values in totals.items()}


def _long(codes: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(codes.astype(np.int64))
