"""Training of the judge `backend.metrics.listener` on rendered clips whose notes say who plays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.corpus.catalogue import Clip, note_families, read_catalogue
from backend.corpus.instruments import FAMILIES
from backend.metrics.listener import Listener, ListenerConfig
from backend.musiclm.codec_train import read_excerpt

WINDOW_S = 10


class ListenerObjective(nn.Module):
    """The judge with its loss: ``{"audio", "families", "lead"}`` → ``(loss, figures)``."""

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__()
        self.listener = Listener(config)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross-entropy of the families plus half the cross-entropy of the lead."""
        families, lead = self.listener(batch["audio"])
        who = functional.binary_cross_entropy_with_logits(families.float(), batch["families"])
        first = functional.cross_entropy(lead.float(), batch["lead"])
        return who + 0.5 * first, {"families": who.detach(), "lead": first.detach()}


class ListenerTask:
    """Random ten-second windows with the families that sound in them."""

    def __init__(self, corpus: Path, config: ListenerConfig, batch: int) -> None:
        self.rate, self.batch, self.config = config.sample_rate, batch, config
        clips = read_catalogue(corpus)
        self.train = [c for c in clips if c.split == "train"]
        self._spans: dict[str, list[tuple[float, float, int]]] = {}
        generator = torch.Generator().manual_seed(3)
        self._valid = [self._draw(c, generator) for c in clips if c.split == "valid"][:160]

    def _draw(self, clip: Clip, generator: torch.Generator) -> dict[str, Tensor]:
        if clip.id not in self._spans:
            notes = clip.notes()
            who = note_families(notes)
            self._spans[clip.id] = list(
                zip(notes["onset_s"].tolist(), notes["duration_s"].tolist(), who.tolist(), strict=True)
            )
        start = float(torch.rand((), generator=generator)) * (30 - WINDOW_S)
        target = torch.zeros(self.config.n_families)
        for onset, duration, family in self._spans[clip.id]:
            if onset < start + WINDOW_S and onset + duration > start:
                target[family] = 1
        gain = 0.2 + float(torch.rand((), generator=generator))
        audio = gain * read_excerpt(clip.audio_path, int(start * self.rate), WINDOW_S * self.rate)
        return {"audio": audio, "families": target, "lead": torch.tensor(FAMILIES.index(clip.meta["lead_family"]))}

    def batches(self, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """Endless batches from random training clips."""
        while True:
            picks = torch.randint(len(self.train), (self.batch,), generator=generator).tolist()
            yield _stack([self._draw(self.train[i], generator) for i in picks])

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """Held-out loss, accuracy of the lead, mean share of the true families among the strongest heard."""
        device = next(module.parameters()).device
        losses, lead, share = [], [], []
        for start in range(0, len(self._valid), 32):
            batch = {k: v.to(device) for k, v in _stack(self._valid[start : start + 32]).items()}
            losses.append(float(module(batch)[0]))
            families, first = module.listener(batch["audio"])  # type: ignore[operator]
            lead += (first.argmax(-1) == batch["lead"]).float().tolist()
            for row, target in zip(families, batch["families"], strict=True):
                count = int(target.sum())
                if count:
                    share.append(float(target[row.topk(count).indices].mean()))
        return {"loss": float(np.mean(losses)), "lead_accuracy": float(np.mean(lead)), "share": float(np.mean(share))}


def _stack(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
