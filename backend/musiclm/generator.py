"""Prompt to sound with the bundled models: text → MuLan → notes → acoustic codes → audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from backend.checkpoints import CheckpointStore
from backend.errors import CheckpointError
from backend.job import Job
from backend.musiclm.acoustic import AcousticStage
from backend.musiclm.acoustic import config_of as acoustic_config_of
from backend.musiclm.codec import Codec
from backend.musiclm.codec import config_of as codec_config_of
from backend.musiclm.compose import Wish, compose
from backend.musiclm.decode import Sampling, decode_audio
from backend.musiclm.events import SIZE, Events, Setting, notes_of
from backend.musiclm.guide import Notes
from backend.musiclm.mulan import MuLanEmbedder
from backend.musiclm.stages import Stage, stage_config_of

CHECKPOINTS = tuple(f"text_to_music.{name}" for name in ("mulan", "semantic", "acoustic", "codec"))
LEAD_IN_S = 0.05  # before the first beat, so that its attack is whole
CANDIDATES = 1  # MuLan's choice of four raised its own cosine, but no independent judge heard a difference
ModuleType = TypeVar("ModuleType", bound=nn.Module)


@dataclass(frozen=True)
class Clip:
    """Sound of all variations with the codes it was made from.

    Attributes:
        audio: ``[variations, samples]`` at the codec's rate.
        events: of each variation, ``[events, 5]``, see `backend.musiclm.events`.
        codes: ``[variations, frames, n_quantizers]``.
    """

    audio: Tensor
    events: list[Events]
    codes: Tensor


class MusicGenerator:
    """The bundled models on one device, in evaluation mode.

    Raises:
        CheckpointError: a file is missing or altered, or its weights do not fit its configuration.
    """

    def __init__(self, store: CheckpointStore, device: torch.device) -> None:
        self.device = device
        self.mulan = MuLanEmbedder.from_store(store, "text_to_music.mulan").to(device).eval()

        def read(name: str, make: Callable[[dict[str, Any]], ModuleType]) -> ModuleType:
            return _read(store, f"text_to_music.{name}", make).to(device)

        self.semantic = read("semantic", lambda c: Stage(stage_config_of(c)))
        self.acoustic = read("acoustic", lambda c: AcousticStage(acoustic_config_of(c)))
        self.codec = read("codec", lambda c: Codec(codec_config_of(c)))

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors ``[texts, 128]`` as the stages were trained on: through MuLan's quantiser and back."""
        return self.mulan.dequantize(self.mulan.quantize(self.mulan.text_embed(list(texts))))

    @torch.inference_mode()
    def best(
        self, texts: Tensor, keep: int, duration_s: float, job: Job, *, candidates: int = CANDIDATES, **how: Any
    ) -> Clip:
        """Make ``candidates`` clips for each wanted one and keep those whose sound MuLan hears closest to the text.

        Args:
            texts: ``[texts, 128]`` from `embed`.
            keep: clips to keep of each text.
            duration_s: length in seconds.
            job: told of every frame; may raise to stop.
            candidates: 1 keeps everything that is made.
            how: the keyword arguments of `generate`; ``negative`` as ``[1, 128]``, ``wishes`` of each text.

        Returns:
            ``texts × keep`` clips, the best of each text first.
        """
        rows = texts.repeat_interleave(keep * candidates, 0)
        if how.get("wishes") is not None:
            how["wishes"] = [wish for wish in how["wishes"] for _ in range(keep * candidates)]
        if how.get("negative") is not None:
            how["negative"] = how["negative"].expand(len(rows), -1)
        clip = self.generate(rows, duration_s, job, **how)
        if candidates == 1:
            return clip
        cosine = (self.mulan.audio_embed(clip.audio) * rows).sum(-1).view(len(texts), -1)
        first = torch.arange(len(texts), device=rows.device)[:, None] * cosine.shape[1]
        kept = (first + cosine.topk(keep).indices).flatten()
        return Clip(clip.audio[kept], [clip.events[i] for i in kept.tolist()], clip.codes[kept])

    @torch.inference_mode()
    def generate(
        self,
        embed: Tensor,
        duration_s: float,
        job: Job,
        *,
        guidance_scale: float,
        temperature: float,
        generator: torch.Generator,
        negative: Tensor | None = None,
        wishes: Sequence[Wish] | None = None,
        events: list[Events] | None = None,
        min_p: float = 0.0,
    ) -> Clip:
        """Make one clip for each row of ``embed``.

        Args:
            embed: ``[variations, 128]`` from `embed` or MuLan's audio tower.
            duration_s: length in seconds.
            job: told of every step; may raise to stop.
            guidance_scale: 1 is off.
            temperature: of the semantic stage.
            generator: on the CPU.
            negative: ``[variations, 128]`` to steer away from.
            wishes: what each variation keeps to, whatever its embedding says.
            events: notes of each variation to sound instead of composing them.
            min_p: of the head of a piece; see `Sampling`.
        """
        progress = _Progress(job)
        if events is None:
            events = compose(
                self.semantic, embed, duration_s, Sampling(temperature, SIZE, guidance_scale, min_p=min_p), generator,
                negative=negative, wishes=wishes, on_step=progress.part(0, 70, "Composing"),
            )  # fmt: skip
        playing = progress.part(70, 100, "Playing")
        parts = []
        for i, piece in enumerate(events):
            playing(i, len(events))
            parts.append(self.play(piece, embed[i : i + 1], duration_s))
        playing(len(events), len(events))
        return Clip(torch.cat([audio for audio, _ in parts]), events, torch.cat([codes for _, codes in parts]))

    @torch.inference_mode()
    def play(self, events: Events, embed: Tensor, duration_s: float) -> tuple[Tensor, Tensor]:
        """Sound one piece.

        Args:
            events: ``[events, 5]``, beginning with its setting.
            embed: ``[1, 128]``.
            duration_s: of the sound.

        Returns:
            Audio ``[1, samples]`` and its codes ``[1, frames, n_quantizers]``.
        """
        samples = round(duration_s * self.codec.sample_rate)
        frames = -(-samples // self.codec.config.hop)
        sound = Setting.of_event(events[0].tolist()).sound
        notes = Notes.of([started(notes_of(events))], [sound], [0.0], duration_s).to(embed.device)
        codes: Tensor = self.codec.quantizer(self.acoustic(notes, frames, embed))[1]
        return decode_audio(self.codec, codes)[:, :samples], codes


def started(notes: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The notes `LEAD_IN_S` later."""
    later = notes.copy()
    later["onset_s"] += LEAD_IN_S
    return later


def _read(store: CheckpointStore, name: str, make: Callable[[dict[str, Any]], ModuleType]) -> ModuleType:
    """The model of a checkpoint, in evaluation mode."""
    try:
        module = make(store.config(name))
        module.load_state_dict(store.load(name))
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{name} does not fit its configuration ({reason}).") from None
    return module.eval()


@dataclass(frozen=True)
class _Progress:
    """Maps the steps of a stage to its share of the whole, in percent measured on a CPU."""

    job: Job

    def part(self, start: float, stop: float, message: str) -> Callable[[int, int], None]:
        def step(done: int, total: int) -> None:
            self.job.step(start + (stop - start) * done / total, 100, message)

        return step
