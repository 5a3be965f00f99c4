"""Training of the semantic tokens from audio and the notes it was rendered from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.corpus.catalogue import Clip, note_families, read_catalogue
from backend.musiclm.codec_train import read_excerpt
from backend.musiclm.quantize import perplexity
from backend.musiclm.semantic import DRUMS, LOWEST_PITCH, N_PITCHES, SemanticCodec, SemanticConfig

POSITIVE_WEIGHT = {
    "active": 3.0, "onset": 5.0, "top": 3.0, "family": 1.0, "drum_fine": 4.0, "onset_fine": 2.0, "beat_fine": 6.0,
}  # fmt: skip
LOSS_WEIGHT = {
    "active": 10.0, "onset": 10.0, "top": 5.0, "family": 0.5, "drum_fine": 1.5, "onset_fine": 0.5, "beat_fine": 0.7,
}  # fmt: skip
COMMITMENT = 0.2
UNQUANTISED_SHARE = 0.2
PRIOR = {
    "active": -2.2, "onset": -3.3, "top": -3.4, "family": -1.6, "drum_fine": -2.9, "onset_fine": -1.3,
    "beat_fine": -2.0,
}  # fmt: skip
"""Logits of the corpus's base rates under `POSITIVE_WEIGHT`: starting there saves the first thousand steps."""
_DRUM_OF_KEY = {
    **dict.fromkeys((35, 36), 0), **dict.fromkeys((37, 38, 39, 40), 1), **dict.fromkeys((42, 44, 46, 22, 26), 2),
    **dict.fromkeys((49, 51, 52, 53, 55, 57, 59), 3), **dict.fromkeys((41, 43, 45, 47, 48, 50, 58), 4),
}  # fmt: skip


@dataclass(frozen=True)
class Targets:
    """What is played in one clip, on the grid of the codes; uint8 arrays ``[frames, size]`` by target name."""

    grids: dict[str, npt.NDArray[np.uint8]]

    @classmethod
    def of(
        cls, notes: Mapping[str, npt.NDArray[Any]], families: npt.NDArray[np.uint8], config: SemanticConfig
    ) -> Targets:
        """Targets of a clip from its note arrays and the family index of each note.

        Args:
            notes: ``onset_s, duration_s, pitch, is_drum, role_lead, beats_s, downbeats_s``.
            families: ``[notes]``.
        """
        rate, stride = config.frame_rate, config.stride
        frames = int(30 * rate)
        grids = {name: np.zeros((frames, size), np.uint8) for name, size in config.targets.items()}
        fine_onset = grids["onset_fine"].reshape(-1)
        fine_drum = grids["drum_fine"].reshape(frames * stride, len(DRUMS))
        fine_beat = grids["beat_fine"].reshape(frames * stride, 2)
        top = np.full(frames, -1)
        for onset, duration, pitch, drum, family in zip(
            notes["onset_s"], notes["duration_s"], notes["pitch"], notes["is_drum"], families, strict=True
        ):
            first, fine = int(onset * rate), int(onset * rate * stride)
            if not 0 <= first < frames:
                continue
            last = min(frames, max(first + 1, round((onset + duration) * rate)))
            grids["family"][first:last, family] = 1
            fine_onset[fine] = 1
            if drum:
                fine_drum[fine, _DRUM_OF_KEY.get(int(pitch), 2)] = 1
                continue
            row = int(pitch) - LOWEST_PITCH
            if 0 <= row < N_PITCHES:
                grids["active"][first:last, row] = 1
                grids["onset"][first, row] = 1
                top[first:last] = np.maximum(top[first:last], row)
        sounding = np.flatnonzero(top >= 0)
        grids["top"][sounding, top[sounding]] = 1
        for column, times in enumerate((notes["beats_s"], notes["downbeats_s"])):
            index = (np.asarray(times) * rate * stride).astype(int)
            fine_beat[index[(index >= 0) & (index < len(fine_beat))], column] = 1
        return cls(grids)

    def window(self, start: int, length: int) -> dict[str, Tensor]:
        """``length`` frames from ``start`` as tensors."""
        return {name: torch.from_numpy(grid[start : start + length]) for name, grid in self.grids.items()}


class SemanticObjective(nn.Module):
    """Encoder with its loss: ``{"audio", target…}`` → ``(loss, figures)``."""

    def __init__(self, config: SemanticConfig) -> None:
        super().__init__()
        self.codec = SemanticCodec(config)
        self.quantise = False
        with torch.no_grad():
            self.codec.heads.bias.copy_(torch.cat([torch.full((n,), PRIOR[k]) for k, n in config.targets.items()]))

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Weighted binary cross-entropies of all heads plus commitment."""
        logits, _, commitment = self.codec(batch["audio"], self.quantise)
        loss, figures = COMMITMENT * commitment, {}
        for name, value in logits.items():
            weight = value.new_tensor(POSITIVE_WEIGHT[name]).float()
            part = functional.binary_cross_entropy_with_logits(value.float(), batch[name].float(), pos_weight=weight)
            loss, figures[name] = loss + LOSS_WEIGHT[name] * part, part.detach()
        return loss, figures


class SemanticTask:
    """Random windows of the corpus with their targets."""

    def __init__(self, corpus: Path, config: SemanticConfig, batch: int, seconds: float = 8.0) -> None:
        self.config, self.batch, self.frames = config, batch, round(seconds * config.frame_rate)
        clips = read_catalogue(corpus)
        self.train = [c for c in clips if c.split == "train"]
        self.held_out = [c for c in clips if c.split == "valid"][:96]
        self._targets: dict[str, Targets] = {}
        generator = torch.Generator().manual_seed(5)
        self._valid = [self._draw(c, generator) for c in self.held_out]

    def _draw(self, clip: Clip, generator: torch.Generator) -> dict[str, Tensor]:
        if clip.id not in self._targets:
            notes = clip.notes()
            self._targets[clip.id] = Targets.of(notes, note_families(notes), self.config)
        total = int(30 * self.config.frame_rate)
        start = int(torch.randint(0, total - self.frames + 1, (), generator=generator))
        samples = self.config.hop * self.config.stride
        window = self._targets[clip.id].window(start, self.frames)
        gain = 0.35 + 0.85 * float(torch.rand((), generator=generator))
        return {"audio": gain * read_excerpt(clip.audio_path, start * samples, self.frames * samples), **window}

    def batches(self, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """Endless batches of windows from random training clips."""
        while True:
            picks = torch.randint(len(self.train), (self.batch,), generator=generator).tolist()
            yield _stack([self._draw(self.train[i], generator) for i in picks])

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """Held-out loss, F1 of frames, onsets, top voice, drums and beats read from the codes, codebook perplexity."""
        device = next(module.parameters()).device
        losses, codes = [], []
        counts = {name: np.zeros(3) for name in self.config.targets}
        for start in range(0, len(self._valid), 16):
            batch = {k: v.to(device) for k, v in _stack(self._valid[start : start + 16]).items()}
            losses.append(float(module(batch)[0]))
            logits, indices, _ = module.codec(batch["audio"], bool(module.quantise))  # type: ignore[operator]
            if indices is not None:
                codes.append(indices.cpu())
            for name, value in logits.items():
                counts[name] += _counts(value > np.log(POSITIVE_WEIGHT[name]), batch[name] > 0)
        figures = {f"f1_{name}": 2 * c[0] / max(1.0, 2 * c[0] + c[1] + c[2]) for name, c in counts.items()}
        figures["loss"] = float(np.mean(losses)) + (0 if module.quantise else 10)
        if codes:
            figures["perplexity_min"] = min(perplexity(torch.cat(codes), self.config.codebook_size))
        return figures

    def start_quantiser(self, module: Any, step: int, progress: float) -> None:
        """Switch the quantiser of a `SemanticObjective` on when its time has come (hook of ``fit``)."""
        if module.quantise or progress < UNQUANTISED_SHARE:
            return
        if module.codec.quantizer.untouched():  # a resumed run has its codebooks already
            device = next(module.parameters()).device
            source = self.batches(torch.Generator().manual_seed(step))
            with torch.no_grad():
                latents = [module.codec.latents(next(source)["audio"].to(device)).flatten(0, 1) for _ in range(8)]
                module.codec.quantizer.initialise(torch.cat(latents))
        module.quantise = True


def _counts(predicted: Tensor, actual: Tensor) -> npt.NDArray[np.float64]:
    """True positives, false positives, false negatives."""
    return np.array(
        [float((p & a).sum()) for p, a in ((predicted, actual), (predicted, ~actual), (~predicted, actual))]
    )


def _stack(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
