"""A judge of instrumentation: which instrument families play in ten seconds of sound.

A small convolutional net that takes no part in generation: nothing is trained on it and nothing is ranked by it. Its
last hidden layer is also the embedding for Fréchet distances (never to be called FAD_VGG). It only hears log-mel
frames, never tokens, and its architecture has nothing in common with the encoders of the generator.
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

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore

CHECKPOINT = "judges.listener"


@dataclass(frozen=True)
class ListenerConfig:
    """Sizes of the net."""

    n_families: int = 12
    width: int = 32
    embed_dim: int = 128
    sample_rate: int = 24_000


class Listener(nn.Module):
    """Audio → logits of families and of the leading family, and an embedding."""

    def __init__(self, config: ListenerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or ListenerConfig()
        self.mel = LogMel(config.sample_rate, n_fft=2048, hop=600, n_mels=80, f_min=40.0, f_max=11_000.0, clamp=1e-4)
        w = config.width
        layers: list[nn.Module] = []
        for before, after, stride in ((1, w, 2), (w, 2 * w, 2), (2 * w, 3 * w, 2), (3 * w, 4 * w, (2, 1))):
            layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.embed = nn.Linear(2 * 4 * w * 5, config.embed_dim)
        self.families = nn.Linear(config.embed_dim, config.n_families)
        self.lead = nn.Linear(config.embed_dim, config.n_families)

    def embedding(self, audio: Tensor) -> Tensor:
        """``[batch, samples]`` → ``[batch, embed_dim]``; level-independent (the mean log-mel is removed)."""
        mel = self.mel(audio)
        mel = (mel - mel.mean((1, 2), keepdim=True)) / 2.5
        h = self.layers(mel[:, None]).flatten(1, 2)
        return functional.relu(self.embed(torch.cat([h.mean(-1), h.amax(-1)], 1)))

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """``[batch, samples]`` → logits of families ``[batch, n]`` (independent) and of the lead ``[batch, n]``."""
        h = self.embedding(audio)
        return self.families(h), self.lead(h)

    @classmethod
    def from_store(cls, store: CheckpointStore) -> Listener:
        """The bundled judge.

        Raises:
            CheckpointError: its file is missing or altered.
        """
        net = cls(ListenerConfig(**store.config(CHECKPOINT)))
        net.load_state_dict(store.load(CHECKPOINT))
        return net.eval()

    @torch.inference_mode()
    def hear(self, clips: Sequence[Waveform]) -> dict[str, npt.NDArray[Any]]:
        """Probabilities ``families [clips, n]`` and ``lead [clips, n]``, ``embedding [clips, embed_dim]``; 24 kHz."""
        out: dict[str, list[npt.NDArray[Any]]] = {"families": [], "lead": [], "embedding": []}
        for clip in clips:
            audio = torch.from_numpy(clip.mono().samples)
            h = self.embedding(audio)
            out["families"].append(self.families(h).sigmoid().numpy()[0])
            out["lead"].append(self.lead(h).softmax(-1).numpy()[0])
            out["embedding"].append(h.numpy()[0])
        return {name: np.stack(rows) for name, rows in out.items()}


def share_heard(families: npt.NDArray[np.floating[Any]], asked: Sequence[Sequence[int]]) -> npt.NDArray[np.float64]:
    """Share of the asked families that are among the strongest heard, as many as were asked; ``[clips]``."""
    shares = []
    for row, wanted in zip(families, asked, strict=True):
        strongest = set(np.argsort(row)[::-1][: len(wanted)].tolist())
        shares.append(len(strongest & set(wanted)) / len(wanted))
    return np.array(shares)
