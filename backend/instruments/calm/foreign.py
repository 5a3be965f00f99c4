"""Magenta's MusicVAE in the place of the calm model: its own notes, in a calm tempo, from our pieces' melodies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from backend.audio.midi import Notes
from backend.corpus.theory import measure_key
from backend.errors import RequestError
from backend.instruments.calm.model import CHECKPOINT
from backend.instruments.calm.music_vae import sampling
from backend.instruments.calm.music_vae.config import named
from backend.instruments.calm.music_vae.model import MusicVae
from backend.instruments.calm.music_vae.sequences import Labels, to_notes
from backend.instruments.calm.piece import CalmPiece, within
from backend.instruments.calm.request import CalmRequest
from backend.instruments.calm.room import LEAD_S
from backend.instruments.calm.similarity import melody_tokens
from backend.metrics.calmness import CUES, calm_cues

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore
    from backend.job import Job

TEMPO_BPM = 66.0
REMARK = "{name} plays by itself: the sliders, the scale, the bars and the map belong to the calm model."


@dataclass(frozen=True)
class Passage:
    """What was decoded once: notes in seconds after `room.LEAD_S`, length without what is around it, tempo."""

    notes: Notes
    seconds: float
    tempo_bpm: float

    def cues(self) -> list[float]:
        """The calm score's cues; NaN where nothing is played."""
        pitched = self.notes[~self.notes["is_drum"]]
        if not len(pitched):
            return [float("nan")] * len(CUES)
        lengths = (pitched["end_s"] - pitched["start_s"]).astype(np.float64)
        key = measure_key(pitched["pitch"].astype(np.float64), lengths)
        found = calm_cues(pitched, self.tempo_bpm, key.mode)
        return [found[name] for name in CUES]


class Foreign:
    """At most one imported model at a time, read when it is first asked for."""

    def __init__(self, store: CheckpointStore, device: torch.device) -> None:
        self._store, self._device = store, device
        self._digest = ""
        self._model: MusicVae | None = None

    def model(self, name: str, folder: Path | None) -> MusicVae:
        """The model that Magenta calls ``name``, from ``folder`` or the user's own checkpoints.

        Raises:
            RequestError: it was not imported.
            CheckpointError: it is damaged.
        """
        checkpoint = sampling.checkpoint_name(named(name))
        store = self._store.beside(folder) if folder is not None else self._store
        if checkpoint not in store.names():
            raise RequestError("model", name, "'calm', or a model whose checkpoint was imported before")
        digest = store.digest(checkpoint)
        if digest != self._digest or self._model is None:
            self._digest, self._model = "", None  # two of them may not fit
            self._model, self._digest = sampling.load_model(store, checkpoint, self._device), digest
        self.forget()
        self._store.opened[checkpoint] = digest  # this result is made by it, also when it was read before
        return self._model

    def forget(self) -> None:
        """Leave imported models out of the provenance of what follows."""
        for name in [name for name in self._store.opened if name != CHECKPOINT]:
            del self._store.opened[name]


def passages(model: MusicVae, request: CalmRequest, anchors: Sequence[CalmPiece], job: Job) -> list[Passage]:
    """The road between two anchors, relatives of one, or new pieces.

    Raises:
        RequestError: a model of trios is asked to start from a piece.
        Cancelled, DeadlineExceeded: from ``job``.
    """
    config = model.config
    if anchors and config.is_trio:
        raise RequestError(
            "model", config.name, "a model of melodies to start from pieces; one of trios makes something new only"
        )
    generator = torch.Generator().manual_seed(int(request.seed))
    tempi = np.full(int(request.variations), TEMPO_BPM)
    if request.mode == "path":
        steps = int(request.steps)
        a, b = anchors
        tempi = a.tempo_bpm * (b.tempo_bpm / a.tempo_bpm) ** np.linspace(0, 1, steps)
        ends = [_labels(piece, config.steps) for piece in anchors]
        found = sampling.interpolate(
            model, ends[0], ends[1], steps, request.method, request.temperature, generator, job=job
        )
    elif anchors:
        tempi[:] = anchors[0].tempo_bpm
        posterior = sampling.encode(model, [_labels(anchors[0], config.steps)])
        noise = torch.randn(len(tempi), config.z_size, generator=generator)
        z = posterior.mu + float(request.radius) * noise * posterior.sigma
        found = sampling.decode(model, z, request.temperature, generator, job=job)
    else:
        found = sampling.sample(model, len(tempi), generator, request.temperature, job)
    transpose = anchors[0].transpose if anchors else 0
    return [_passage(labels, model, float(tempo), transpose) for labels, tempo in zip(found, tempi, strict=True)]


def _labels(piece: CalmPiece, steps: int) -> Labels:
    """The piece's melody as MusicVAE's classes ``[steps, 1]``; a short one is played again until it is long enough."""
    tokens = melody_tokens(piece.notes, piece.steps)
    return np.resize(tokens, steps)[:, None]


def _passage(labels: Labels, model: MusicVae, tempo_bpm: float, transpose: int) -> Passage:
    notes = to_notes(labels, model.config, tempo_bpm)
    melodic = ~notes["is_drum"]
    notes["pitch"][melodic] = within(notes["pitch"][melodic].astype(np.int64) + transpose, 0, 127)
    for edge in ("start_s", "end_s"):
        notes[edge] += LEAD_S
    return Passage(notes, model.config.steps * 15.0 / tempo_bpm, tempo_bpm)
