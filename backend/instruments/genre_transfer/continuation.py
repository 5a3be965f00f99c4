"""The seed's second idea: an LSTM that is given one time step of a spectrogram and writes the next five seconds.

Two to four layers of 50 units in the seed; ours has three. It is trained on one genre (lo-fi, the sparsest) to predict
each column from those before it, and continues from its own output. Its place is history: as the seed found, it holds
the colour of a genre and loses its rhythm.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backend.audio.loudness import normalise_loudness
from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.errors import RequestError
from backend.instruments.genre_transfer.spectrogram import (
    BINS,
    HOP,
    SAMPLE_RATE,
    Analysis,
    analyse,
    griffin_lim,
    mono_clip,
)  # fmt: skip

CHECKPOINT = "genre_transfer.continuation"
LAST_S = 0.5


@dataclass(frozen=True)
class ContinuationConfig:
    """Sizes."""

    layers: int = 3
    units: int = 50
    bins: int = BINS


BASE = ContinuationConfig()
TINY = ContinuationConfig(2, 6, 12)


class Continuation(nn.Module):
    """Columns ``[n, bins, frames]`` in [0, 1] → the next of each."""

    def __init__(self, config: ContinuationConfig = BASE) -> None:
        super().__init__()
        self.config = config
        self.lstm = nn.LSTM(config.bins, config.units, config.layers, batch_first=True)
        self.out = nn.Linear(config.units, config.bins)
        self.spread = nn.Parameter(torch.full((config.bins,), -2.5))

    def predicted(self, image: Tensor) -> Tensor:
        """For every column the expected next one, ``[n, bins, frames]``."""
        hidden, _ = self.lstm(image.transpose(1, 2))
        return torch.sigmoid(self.out(hidden)).transpose(1, 2)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Negative log-likelihood of the next columns under a normal distribution, and their mean absolute error."""
        image = batch["image"]
        error = self.predicted(image[..., :-1]) - image[..., 1:]
        scale = self.spread.clamp(-4, 1)[:, None]
        return (0.5 * (error * torch.exp(-scale)) ** 2 + scale).mean(), {"l1": error.abs().mean()}

    @torch.no_grad()
    def continue_from(self, column: Tensor, frames: int, generator: torch.Generator | None = None) -> Tensor:
        """What follows one time step: image ``[n, bins, frames]`` of ``column [n, bins]``.

        Args:
            column: in [0, 1].
            frames: how many to write.
            generator: draws the spread about each expected column; None writes the expectation alone.
        """
        state, columns, scale = None, [], torch.exp(self.spread.clamp(-4, 1))
        for _ in range(frames):
            hidden, state = self.lstm(column[:, None], state)
            column = torch.sigmoid(self.out(hidden[:, 0]))
            if generator is not None:
                column = column + scale * torch.randn(column.shape, generator=generator)
            column = column.clamp(0, 1)
            columns.append(column)
        return torch.stack(columns, -1)

    def as_config(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self.config)

    @classmethod
    def from_config(cls, values: dict[str, Any]) -> Continuation:
        """The net a checkpoint's config describes, untrained."""
        return cls(ContinuationConfig(**values))


def load_continuation(store: CheckpointStore, name: str = CHECKPOINT) -> Continuation:
    """The trained net.

    Raises:
        CheckpointError: there is none, or it does not fit.
    """
    net = Continuation.from_config(store.config(name))
    net.load_state_dict(store.load(name))
    return net.eval().requires_grad_(False)


def continue_clip(model: Continuation, waveform: Waveform, seconds: float = 5.0, seed: int = 0) -> Waveform:
    """Five seconds that follow the last time step of a clip, mono, 22,050 Hz, at -18 LUFS and limited.

    Args:
        model: trained.
        waveform: what is continued; any rate and channels.
        seconds: to write, at most 30.
        seed: of what is drawn.

    Raises:
        RequestError: the length is out of range.
    """
    if not 0.5 <= seconds <= 30:
        raise RequestError("seconds", seconds, "a number from 0.5 to 30")
    heard: Analysis = analyse(mono_clip(waveform, min(5.0, max(waveform.duration_s, 0.1)))[None])
    frames = round(seconds * SAMPLE_RATE) // HOP + 1
    back = min(heard.image.shape[-1] - 1, round(LAST_S * SAMPLE_RATE / HOP))
    start = heard.image[..., -back:].mean(-1) if back else heard.image[..., -1]
    generator = torch.Generator().manual_seed(seed)
    image = model.continue_from(start, frames, generator)
    sound = griffin_lim(image, heard.reference, round(seconds * SAMPLE_RATE), generator=generator)[0]
    samples = np.nan_to_num(sound.numpy()).astype(np.float32)
    peak = max(1.0, float(np.abs(samples).max(initial=0.0)))
    return normalise_loudness(Waveform(samples / peak, SAMPLE_RATE), -18.0)
