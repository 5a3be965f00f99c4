"""Text to music as an instrument of the house."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from backend.audio.loudness import finished
from backend.contract import Instrument, InstrumentSpec, Result
from backend.errors import CheckpointError
from backend.instruments.text_to_music.request import TextToMusicRequest
from backend.musiclm.events import midi_notes
from backend.musiclm.generator import CHECKPOINTS, MusicGenerator
from backend.musiclm.wish import wish_of

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore
    from backend.job import Job
    from backend.musiclm.package_generator import PackageGenerator

SAMPLE_RATE = 24_000


class TextToMusic(Instrument):
    """A prompt becomes one to four clips."""

    spec: ClassVar[InstrumentSpec] = InstrumentSpec(
        "text_to_music", "Text to music", SAMPLE_RATE, CHECKPOINTS, memory_mb=700
    )
    request_type = TextToMusicRequest

    def __init__(self) -> None:
        self._generator: MusicGenerator | None = None
        self._package: PackageGenerator | None = None
        self._store: CheckpointStore | None = None

    def load(self, store: CheckpointStore, device: torch.device) -> None:
        """Read the bundled models; audiolm-pytorch's stages are read when first asked for."""
        self._generator, self._store = MusicGenerator(store, device), store

    def unload(self) -> None:
        """Drop the models."""
        self._generator = self._package = self._store = None

    def generate(self, request: TextToMusicRequest, job: Job) -> Result:
        """Sample, decode, level and limit.

        What was composed comes along as notes, one table a variation.

        Raises:
            CheckpointError: audiolm-pytorch's stages are asked for and not there.
            Cancelled, DeadlineExceeded: from ``job``.
        """
        models = self._generator
        if models is None:
            raise CheckpointError("The models of text to music are not loaded.")
        job.step(0, 100, "Reading the prompt")
        variations = int(request.variations)  # a slider may say 2.0
        text = models.embed([request.prompt])
        negative = models.embed([request.negative_prompt]) if request.negative_prompt.strip() else None
        sampling: dict[str, Any] = {
            "guidance_scale": request.guidance_scale,
            "temperature": request.temperature,
            "generator": torch.Generator().manual_seed(int(request.seed)),
        }
        wishes = [wish_of(request.prompt)]
        if request.stages == "bundled":
            clip = models.best(text, variations, request.duration_s, job, negative=negative, wishes=wishes, **sampling)
        else:
            negative = None if negative is None else negative.expand(variations, -1)
            clip = self._package_stages(models).generate(
                text.expand(variations, -1),
                request.duration_s,
                job,
                negative=negative,
                wishes=wishes * variations,
                **sampling,
            )
        waveforms = tuple(finished(audio, SAMPLE_RATE) for audio in clip.audio.cpu().numpy())
        return Result(waveforms=waveforms, notes=tuple(midi_notes(events) for events in clip.events))

    def _package_stages(self, models: MusicGenerator) -> PackageGenerator:
        """audiolm-pytorch's stages, read at their first use: few ask for them and they cost as much as ours."""
        if self._package is None and self._store is not None:
            from backend.musiclm.package_generator import PackageGenerator

            self._package = PackageGenerator(self._store, models.codec)
        assert self._package is not None
        return self._package
