"""What the acoustic stage plays from: the notes of a moment as one vector a frame.

Each note is embedded once (instrument, pitch, velocity, loudness of its player), and its vectors are laid over the
frames it sounds in: one for the attack, one while it is held, one that fades with its age, one that fades after its
end, since strings die away, rooms ring and organs do neither. A few convolutions then see what is near.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.musiclm.codec import ConvNeXtBlock
from backend.musiclm.events import CAST, N_GAINS, N_LEVELS, N_SOUNDS

DECAY_S = (0.25, 1.5)
"""Time constants of a note's fading vectors, and (the first) of what is left after its end."""
RELEASE_S = 1.5
"""How long before a window a note may have ended and still matter to it."""
SHAPES = 5


@dataclass(frozen=True)
class Notes:
    """Notes of a batch of windows.

    Attributes:
        when: ``[batch, notes, 2]`` seconds of onset and end from the start of the window; may lie outside it.
        what: ``[batch, notes, 4]`` instrument, pitch, velocity, loudness; instrument -1 is padding.
        sound: ``[batch]`` code of soundfont and room.
    """

    when: Tensor
    what: Tensor
    sound: Tensor

    @classmethod
    def of(
        cls, pieces: Sequence[npt.NDArray[np.void]], sounds: Sequence[int], start_s: Sequence[float], length_s: float
    ) -> Notes:
        """The notes (dtype `backend.musiclm.events.NOTE`) that matter to windows of ``length_s`` from ``start_s``."""
        rows = []
        for notes, start in zip(pieces, start_s, strict=True):
            end = notes["onset_s"] + notes["duration_s"]
            rows.append(notes[(notes["onset_s"] < start + length_s) & (end > start - RELEASE_S)])
        most = max(1, *(len(row) for row in rows))
        when = np.zeros((len(rows), most, 2), np.float32)
        what = np.full((len(rows), most, 4), -1, np.int64)
        for i, (row, start) in enumerate(zip(rows, start_s, strict=True)):
            n = len(row)
            when[i, :n, 0] = row["onset_s"] - start
            when[i, :n, 1] = row["onset_s"] + row["duration_s"] - start
            what[i, :n] = np.stack([row[name] for name in ("instrument", "pitch", "velocity", "gain")], 1)
        return cls(torch.from_numpy(when), torch.from_numpy(what), torch.tensor(list(sounds)))

    def to(self, device: torch.device) -> Notes:
        """The same on another device."""
        return Notes(self.when.to(device), self.what.to(device), self.sound.to(device))

    def repeat(self, times: int) -> Notes:
        """The whole batch ``times`` times over."""
        return Notes(self.when.repeat(times, 1, 1), self.what.repeat(times, 1, 1), self.sound.repeat(times))


class NoteGuide(nn.Module):
    """Notes → ``[batch, frames, dim]``.

    Args:
        dim: width of the stage.
        frame_rate: its frames a second.
        blocks: convolutions of seven frames over the laid-out notes.
    """

    def __init__(self, dim: int, frame_rate: float, blocks: int = 3) -> None:
        super().__init__()
        self.frame_rate = frame_rate
        self.instrument = nn.Embedding(len(CAST), dim)
        self.pitch = nn.Embedding(128, dim)
        self.velocity = nn.Embedding(N_LEVELS, dim)
        self.gain = nn.Embedding(N_GAINS, dim)
        self.sound = nn.Embedding(N_SOUNDS, dim)
        self.expand, self.shapes = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, SHAPES * dim)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(dim) for _ in range(blocks)])

    def forward(self, notes: Notes, frames: int) -> Tensor:
        """One vector for each of ``frames`` frames of the windows."""
        heard = notes.what[..., 0] >= 0
        instrument, pitch, velocity, gain = notes.what.clamp(min=0).unbind(-1)
        note = self.instrument(instrument) + self.pitch(pitch) + self.velocity(velocity) + self.gain(gain)
        vectors = self.shapes(functional.gelu(self.expand(note)))  # [batch, notes, shapes × dim]
        weights = self._weights(notes.when, heard, frames).to(vectors.dtype)  # [batch, shapes, frames, notes]
        dim = note.shape[-1]
        x = sum(weights[:, i] @ vectors[..., i * dim : (i + 1) * dim] for i in range(SHAPES))
        assert isinstance(x, Tensor)
        out: Tensor = self.blocks(x + self.sound(notes.sound)[:, None])
        return out

    def _weights(self, when: Tensor, heard: Tensor, frames: int) -> Tensor:
        """How much of each of a note's vectors every frame gets."""
        middle = (torch.arange(frames, device=when.device, dtype=when.dtype) + 0.5) / self.frame_rate
        since = middle[None, :, None] - when[:, None, :, 0]  # [batch, frames, notes]
        left = when[:, None, :, 1] - middle[None, :, None]
        attack = (1 - (since * self.frame_rate - 0.5).abs()).clamp(min=0)  # shared by the two frames it falls between
        held = ((since >= 0) & (left > 0)).to(when.dtype)
        fading = [held * torch.exp(-since.clamp(min=0) / decay) for decay in DECAY_S]
        rest = (left <= 0) * torch.exp(left.clamp(max=0) / DECAY_S[0])
        return torch.stack([attack, held, *fading, rest], 1) * heard[:, None, None]
