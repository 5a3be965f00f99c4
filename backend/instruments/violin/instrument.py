"""The violin as an instrument of the house: text to music with low-rank adapters, and a melody to follow."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.loudness import finished
from backend.audio.transcribe import Transcription, transcribe
from backend.contract import Instrument, InstrumentSpec, Result
from backend.corpus.theory import measure_key
from backend.errors import CheckpointError
from backend.instruments.violin.adapter import BUNDLED, Adapter
from backend.instruments.violin.listen import listen
from backend.instruments.violin.request import BUNDLED_NAME, ListenRequest, ViolinRequest
from backend.instruments.violin.voicing import Voicing
from backend.musiclm.compose import Wish
from backend.musiclm.events import KEYS, midi_notes, tempo_code
from backend.musiclm.generator import CHECKPOINTS, Clip, MusicGenerator
from backend.musiclm.melody import Melody
from backend.musiclm.wish import wish_of

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore
    from backend.job import Job

SAMPLE_RATE = 24_000
LOW_HZ, HIGH_HZ = 65.0, 3000.0
AFTER_S = 0.6  # what is left to ring after a melody
SHORTEST_S, LONGEST_S = 4.0, 30.0
CLEAR_FIT = 0.35
MOST_LOADED = 6
HEAD_MIN_P = 0.1
"""With an adapter on, guidance chooses tempo, key and players among what the prompt makes likely: the two branches
differ so much that guidance would else bring in instruments which both find all but impossible."""


class Violin(Instrument):
    """A prompt, and perhaps a hummed melody, played by the generator with adapters laid over it."""

    spec: ClassVar[InstrumentSpec] = InstrumentSpec(
        "violin", "Violin", SAMPLE_RATE, (*CHECKPOINTS, BUNDLED), memory_mb=750
    )
    request_type = ViolinRequest

    def __init__(self) -> None:
        self._generator: MusicGenerator | None = None
        self._voicing: Voicing | None = None
        self._store: CheckpointStore | None = None
        self._files: dict[str, tuple[Path, int]] = {}

    def load(self, store: CheckpointStore, device: torch.device) -> None:
        """Read the generator, which is the instrument's own, and the bundled adapter."""
        self._generator, self._store = MusicGenerator(store, device), store
        self._voicing = Voicing({"semantic": self._generator.semantic, "acoustic": self._generator.acoustic})
        adapter = Adapter.from_store(store)
        adapter.require_base(store)
        self._voicing.add(BUNDLED_NAME, adapter)

    def unload(self) -> None:
        """Drop the models."""
        self._generator = self._voicing = self._store = None
        self._files.clear()

    def generate(self, request: ViolinRequest | ListenRequest, job: Job) -> Result:
        """Listen to the melody if there is one, compose, play, level and limit; or listen to recordings to learn from.

        Arrays: ``melody`` ``[notes, 3]`` (onset and length in seconds, MIDI pitch), ``contour`` (MIDI pitch a frame,
        NaN without) and ``contour_rate`` (frames a second) of what was sung; with ``compare`` the last waveform is the
        base's.

        Raises:
            AudioError: a melody in which no pitch is heard.
            CheckpointError: an adapter that is damaged or of another base.
            Cancelled, DeadlineExceeded: from ``job``.
        """
        if isinstance(request, ListenRequest):
            return listen(request, job)
        if self._generator is None or self._voicing is None:
            raise CheckpointError("The models of the violin are not loaded.")
        job.step(0, 100, "Reading the prompt")
        wish, duration_s, arrays = wish_of(request.prompt), float(request.duration_s), {}
        if request.melody is not None:
            job.step(0, 100, "Listening to the melody")
            heard = transcribe(request.melody, low_hz=LOW_HZ, high_hz=HIGH_HZ)
            wish = led(wish, heard, request.adherence)
            arrays = melody_arrays(heard)
            duration_s = melody_duration(wish, duration_s)
        strengths = {name: float(s) for name, s in request.strengths.items() if s}
        for name in strengths:
            self._fetch(name, request)
        self._voicing.set(strengths, request.part)
        variations = int(request.variations)
        clips = [self._make(request, wish, duration_s, variations, job, HEAD_MIN_P if strengths else 0.0)]
        if request.compare:
            self._voicing.set({})
            clips.append(self._make(request, wish, duration_s, 1, job, 0.0))
        waveforms = tuple(finished(audio, SAMPLE_RATE) for clip in clips for audio in clip.audio.float().cpu().numpy())
        notes = tuple(midi_notes(events) for clip in clips for events in clip.events)
        return Result(waveforms=waveforms, notes=notes, arrays=arrays)

    def _make(
        self, request: ViolinRequest, wish: Wish, duration_s: float, variations: int, job: Job, min_p: float
    ) -> Clip:
        models = self._generator
        assert models is not None
        negative = models.embed([request.negative_prompt]) if request.negative_prompt.strip() else None
        return models.best(
            models.embed([request.prompt]), variations, duration_s, job, negative=negative, wishes=[wish],
            guidance_scale=request.guidance_scale, temperature=request.temperature,
            generator=torch.Generator().manual_seed(int(request.seed)), min_p=min_p,
        )  # fmt: skip

    def _fetch(self, name: str, request: ViolinRequest) -> None:
        """Load an adapter of the user's at its first use, and again when its file changed."""
        assert self._voicing is not None and self._store is not None
        if name == BUNDLED_NAME:
            return
        path = request.adapter_paths[name]
        try:
            stamp = (path, max(file.stat().st_mtime_ns for file in (path, *path.glob("*"))))
        except OSError:
            raise CheckpointError(f"The adapter {name!r} is not there any more.") from None
        if self._files.get(name) == stamp:
            return
        adapter = Adapter.load(path)
        adapter.require_base(self._store)
        self._voicing.add(name, adapter)
        self._files[name] = stamp
        for old in list(self._files)[:-MOST_LOADED]:
            del self._files[old]
            self._voicing.drop(old)


def led(wish: Wish, heard: Transcription, adherence: float) -> Wish:
    """A wish for the melody that was heard, in its tempo and key where the prompt says neither."""
    notes = heard.notes
    first = float(notes["onset_s"][0])
    melody = Melody(
        (notes["onset_s"] - first).astype(np.float32), notes["duration_s"], notes["pitch"].astype(np.int64), adherence
    )
    more: dict[str, Any] = {"melody": melody}
    if wish.tempo is None and heard.tempo_fit >= CLEAR_FIT:
        more["tempo"] = tempo_code(heard.tempo_bpm)
    key = measure_key(notes["pitch"], notes["duration_s"])
    if wish.key is None and adherence > 0 and key.name in KEYS:
        more["key"] = KEYS.index(key.name)
    return dataclasses.replace(wish, **more)


def melody_duration(wish: Wish, asked_s: float) -> float:
    """As long as the melody, within what can be made; what was asked for without one."""
    if wish.melody is None:
        return asked_s
    return float(np.clip(wish.melody.end_s + AFTER_S, SHORTEST_S, LONGEST_S))


def melody_arrays(heard: Transcription) -> dict[str, npt.NDArray[Any]]:
    """What was heard, for the page."""
    columns = [heard.notes[name].astype(np.float32) for name in ("onset_s", "duration_s", "pitch")]
    rate = np.array(heard.frame_rate, np.float32)
    return {"melody": np.stack(columns, 1), "contour": heard.contour, "contour_rate": rate}
