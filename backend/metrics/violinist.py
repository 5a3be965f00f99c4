"""A judge of one question: is what one hears a violin alone?

A small convolutional net that takes no part in generation: nothing is trained on it and nothing is ranked by it. It
hears log-mel frames without their mean level, so that loudness says nothing; vibrato, bow noise and the body's
resonances are what is left. Attention over time lets a few clear seconds speak for a clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.audio.spectral import LogMel
from backend.audio.waveform import Waveform
from backend.errors import AudioError

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore

CHECKPOINT = "judges.violinist"
SHORTEST_S = 0.5


@dataclass(frozen=True)
class ViolinistConfig:
    """Sizes of the net.

    Attributes:
        width: channels of the first layer.
        embed_dim: of the embedding.
        sample_rate: Hz.
        temperature: divides the logit; fitted on held-out clips.
    """

    width: int = 24
    embed_dim: int = 128
    sample_rate: int = 24_000
    temperature: float = 1.0


TINY = ViolinistConfig(width=4, embed_dim=8)


class Block(nn.Module):
    """Two convolutions with a shortcut, halving frequency (and time, where asked)."""

    def __init__(self, before: int, after: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.shortcut = nn.Conv2d(before, after, 1, bias=False)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, before, bands, frames]`` → ``[batch, after, bands / 2, …]``."""
        h = functional.relu(self.first_norm(self.first(x)))
        pooled = functional.avg_pool2d(x, self.stride, ceil_mode=True)
        return functional.relu(self.second_norm(self.second(h)) + self.shortcut(pooled))


class Violinist(nn.Module):
    """Audio → logit of a solo violin, and an embedding."""

    def __init__(self, config: ViolinistConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ViolinistConfig()
        self.mel = LogMel(config.sample_rate, n_fft=1536, hop=480, n_mels=96, f_min=120.0, f_max=11_000.0, clamp=1e-4)
        w = config.width
        self.stem = nn.Sequential(
            nn.Conv2d(1, w, 5, (2, 2), padding=2, bias=False), nn.BatchNorm2d(w), nn.ReLU()
        )  # 48 bands, 25 frames a second
        self.blocks = nn.Sequential(
            Block(w, 2 * w, (2, 2)),
            Block(2 * w, 3 * w, (2, 1)),
            Block(3 * w, 4 * w, (2, 2)),
            Block(4 * w, 4 * w, (2, 1)),
        )  # 3 bands, 6 frames a second
        self.look = nn.Conv1d(3 * 4 * w, 1, 1)
        self.embed = nn.Linear(3 * 3 * 4 * w, config.embed_dim)
        self.drop = nn.Dropout(0.2)
        self.violin = nn.Linear(config.embed_dim, 1)

    def embedding(self, audio: Tensor) -> Tensor:
        """``[batch, samples]`` → ``[batch, embed_dim]``, whatever the level."""
        mel = self.mel(audio / audio.abs().amax(-1, keepdim=True).clamp(min=1e-6) * 0.5)
        mel = (mel - mel.mean((1, 2), keepdim=True)) / 2.5
        h = self.blocks(self.stem(mel[:, None])).flatten(1, 2)
        weight = self.look(h).softmax(-1)
        return functional.relu(self.embed(torch.cat([(h * weight).sum(-1), h.mean(-1), h.amax(-1)], 1)))

    def forward(self, audio: Tensor) -> Tensor:
        """``[batch, samples]`` → calibrated logits ``[batch]``."""
        out: Tensor = self.violin(self.drop(self.embedding(audio)))[:, 0] / self.config.temperature
        return out

    @classmethod
    def from_store(cls, store: CheckpointStore) -> Violinist:
        """The bundled judge.

        Raises:
            CheckpointError: its file is missing or altered.
        """
        net = cls(ViolinistConfig(**store.config(CHECKPOINT)))
        net.load_state_dict(store.load(CHECKPOINT))
        return net.eval()

    @torch.inference_mode()
    def hear(self, clips: Sequence[Waveform]) -> dict[str, npt.NDArray[Any]]:
        """Probability ``violin [clips]`` that a violin plays alone, and ``embedding [clips, embed_dim]``; 24 kHz.

        Raises:
            AudioError: another sample rate, or less than half a second.
        """
        probabilities, embeddings = [], []
        for clip in clips:
            if clip.sample_rate != self.config.sample_rate or clip.n_samples < SHORTEST_S * clip.sample_rate:
                raise AudioError(
                    f"The judge hears at least {SHORTEST_S:g} s at {self.config.sample_rate} Hz, "
                    f"not {clip.n_samples / clip.sample_rate:.2f} s at {clip.sample_rate} Hz."
                )
            h = self.embedding(torch.from_numpy(clip.mono().samples))
            logit = self.violin(h)[:, 0] / self.config.temperature
            probabilities.append(float(logit.sigmoid()))
            embeddings.append(h.numpy()[0])
        empty = np.zeros((0, self.config.embed_dim), np.float32)
        return {
            "violin": np.array(probabilities, np.float64),
            "embedding": np.stack(embeddings) if embeddings else empty,
        }
