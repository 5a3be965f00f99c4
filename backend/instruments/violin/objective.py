"""What is minimised: the losses of the base's own training, on the products alone, with some replay of the base."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.instruments.violin.examples import Example
from backend.instruments.violin.lora import LoraSettings, inject
from backend.musiclm.events import PAD, pad_events
from backend.musiclm.generator import MusicGenerator
from backend.musiclm.guide import Notes
from backend.musiclm.stages_train import EMBED_NOISE, LEAST_BARS, AcousticObjective, StageObjective
from backend.musiclm.tokenise import codebook_table

REPLAY_SHARE = 0.25
DROP_REPLAY = 0.5
"""How often a replayed row loses its condition; the violinist's never do. What is played without a condition then stays
the base's, so that guidance leads away from it and to the violin. Dropped from all alike, both branches become
violinists, their difference is anything but, and guidance took back what the adapter had learned: at guidance 1, 2 and
3, .91, .75 and .69 of held-out prompts became a violin alone."""
RECORDED_SHARE = 0.35  # of what is no replay, where there are both recordings and clips of notes alone
FRAMES = 200  # of the codec: 4 s
KEPT = 16  # pieces of the base that validation hears without a condition
Batch = dict[str, Any]


class AdapterObjective(nn.Module):
    """The stages with products, and their losses; its state is the products' alone.

    Args:
        models: of the base; its stages are changed in place.
        settings: of the adapter.
    """

    def __init__(self, models: MusicGenerator, settings: LoraSettings) -> None:
        super().__init__()
        self.settings = settings
        self.stages = nn.ModuleDict({"semantic": models.semantic, "acoustic": models.acoustic})
        inject(self.stages, settings)
        codebooks = codebook_table(models.codec)
        self.semantic = StageObjective(models.semantic.config)
        self.acoustic = AcousticObjective(models.acoustic.config, codebooks)
        self.semantic.stage, self.acoustic.stage = models.semantic, models.acoustic

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum of the stages' losses, and their figures; a stage that the batch has nothing for is left out."""
        loss, figures = torch.zeros(()), dict[str, Tensor]()
        for name, objective in (("semantic", self.semantic), ("acoustic", self.acoustic)):
            if name in batch:
                part, found = objective(batch[name])
                loss = loss.to(part.device) + part
                figures |= {f"{name}_loss": part.detach()} | {f"{name}_{key}": value for key, value in found.items()}
        return loss, figures

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The trained products by their parameters' names; the base is kept elsewhere."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Put the products back."""
        own = {name: p for name, p in self.named_parameters() if p.requires_grad}
        with torch.no_grad():
            for name, value in state_dict.items():
                own[name].copy_(value)


@dataclass(frozen=True)
class TrainingData:
    """Examples by what they are for.

    Attributes:
        train: of the violinist.
        valid: of other recordings or pieces; never trained on.
        replay: of the base.
    """

    train: Sequence[Example]
    valid: Sequence[Example]
    replay: Sequence[Example]


class AdapterTask:
    """Windows of examples for `backend.musiclm.fit.fit`.

    Args:
        data: at least one example to train on and one to validate on.
        batch: windows of each stage in a batch.
        events: length of a window of the semantic stage.
        frame_rate: of the codec, frames a second.
    """

    def __init__(self, data: TrainingData, batch: int, events: int, frame_rate: float) -> None:
        self.data, self.batch, self.events, self.frame_rate = data, batch, events, frame_rate
        self._recorded = [e for e in data.train if e.codes is not None]
        self._written = [e for e in data.train if e.codes is None]
        self._replayed = {id(example) for example in data.replay}
        generator = torch.Generator().manual_seed(17)
        held_out = list(data.valid)
        self._valid = []
        for start in range(0, min(len(held_out), 64), batch):
            part = held_out[start : start + batch]
            one: Batch = {"semantic": self._semantic(part, generator, drop=False)}
            sounding = [e for e in part if e.codes is not None]
            if sounding:
                one["acoustic"] = self._acoustic(sounding, generator, drop=False)
            self._valid.append(one)
        self._kept = None
        if data.replay:
            kept = self._semantic(list(data.replay[:KEPT]), generator, drop=False)
            self._kept = kept | {"drop": torch.ones_like(kept["drop"])}

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """Endless batches, a quarter of each the base's own."""
        while True:
            semantic = [self._pick(generator, sounding=False) for _ in range(self.batch)]
            batch: Batch = {"semantic": self._semantic(semantic, generator)}
            if self._recorded:
                acoustic = [self._pick(generator, sounding=True) for _ in range(self.batch)]
                batch["acoustic"] = self._acoustic(acoustic, generator)
            yield batch

    def _pick(self, generator: torch.Generator, *, sounding: bool) -> Example:
        replayed, recorded, place = torch.rand(3, generator=generator).tolist()
        if self.data.replay and replayed < REPLAY_SHARE:
            pool: Sequence[Example] = self.data.replay
        elif sounding or (self._recorded and (not self._written or recorded < RECORDED_SHARE)):
            pool = self._recorded
        else:
            pool = self._written
        return pool[int(place * len(pool))]

    def _embed(self, examples: Sequence[Example], generator: torch.Generator) -> Tensor:
        rows = []
        for example, (by_text, place) in zip(
            examples, torch.rand((len(examples), 2), generator=generator).tolist(), strict=True
        ):
            table = example.texts if by_text < 0.5 else example.sounds
            rows.append(table[int(place * len(table))])
        vectors = torch.from_numpy(np.stack(rows))
        return functional.normalize(vectors + EMBED_NOISE * torch.randn(vectors.shape, generator=generator), dim=-1)

    def _condition(self, examples: Sequence[Example], generator: torch.Generator, drop: bool) -> Batch:
        replayed = torch.tensor([drop and id(example) in self._replayed for example in examples])
        dropped = replayed & (torch.rand(len(examples), generator=generator) < DROP_REPLAY)
        return {"embed": self._embed(examples, generator), "drop": dropped}

    def _semantic(self, examples: Sequence[Example], generator: torch.Generator, drop: bool = True) -> Batch:
        rows = []
        for example, moment in zip(examples, torch.rand(len(examples), generator=generator).tolist(), strict=True):
            first = int(moment * max(1, example.piece.n_bars - LEAST_BARS))
            rows.append(pad_events(example.piece.events(first, self.events), self.events))
        longest = max(int((row[:, 0] != PAD).sum()) for row in rows)  # short clips need no long windows
        codes = torch.from_numpy(np.stack(rows)[:, : max(longest, 2)].astype(np.int64))
        return {"codes": codes} | self._condition(examples, generator, drop)

    def _acoustic(self, examples: Sequence[Example], generator: torch.Generator, drop: bool = True) -> Batch:
        sounding = [(example, example.codes) for example in examples if example.codes is not None]
        window = min(FRAMES, *(len(codes) for _, codes in sounding))
        starts = [
            int(moment * (len(codes) - window + 1))
            for moment, (_, codes) in zip(
                torch.rand(len(sounding), generator=generator).tolist(), sounding, strict=True
            )
        ]
        rate = self.frame_rate
        notes = Notes.of(
            [e.notes for e, _ in sounding], [e.piece.setting.sound for e, _ in sounding],
            [start / rate for start in starts], window / rate,
        )  # fmt: skip
        codes = np.stack([codes[s : s + window] for s, (_, codes) in zip(starts, sounding, strict=True)])
        batch: Batch = {"codes": torch.from_numpy(codes.astype(np.int64))}
        batch |= {"when": notes.when, "what": notes.what, "sound": notes.sound}
        return batch | self._condition(examples, generator, drop)

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """Held-out losses, and how well the base is kept where there is no condition; ``loss`` is their sum."""
        device, totals = next(module.parameters()).device, dict[str, list[float]]()
        for batch in self._valid:
            moved = {stage: {k: v.to(device) for k, v in part.items()} for stage, part in batch.items()}
            with torch.autocast(device.type, torch.bfloat16):
                _, figures = module(moved)
            for name in ("semantic_loss", "acoustic_loss", "semantic_nll_head", "acoustic_absolute"):
                if name in figures:
                    totals.setdefault(name, []).append(float(figures[name]))
        if self._kept is not None:
            with torch.autocast(device.type, torch.bfloat16):
                loss, _ = module({"semantic": {k: v.to(device) for k, v in self._kept.items()}})
            totals["kept_loss"] = [float(loss)]
        means = {name: float(np.mean(values)) for name, values in totals.items()}
        return {"loss": sum(value for name, value in means.items() if name.endswith("_loss")), **means}


def recipe(settings: LoraSettings, **more: Any) -> dict[str, Any]:
    """What an adapter's file says of its training."""
    return {**asdict(settings), "replay_share": REPLAY_SHARE, "drop_replay": DROP_REPLAY, **more}
