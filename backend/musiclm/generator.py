"""Prompt to sound with the bundled models: text → MuLan → semantic → acoustic (→ fine) → audio."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from backend.checkpoints import CheckpointStore
from backend.errors import CheckpointError
from backend.job import Job
from backend.musiclm.codec import Codec
from backend.musiclm.codec import config_of as codec_config_of
from backend.musiclm.decode import Sampling, decode_audio, fill_fine, sample_stage
from backend.musiclm.mulan import MuLanEmbedder
from backend.musiclm.semantic import SemanticCodec
from backend.musiclm.semantic import config_of as semantic_config_of
from backend.musiclm.stages import FineStage, Stage, fine_config_of, stage_config_of

CHECKPOINTS = tuple(f"text_to_music.{name}" for name in ("mulan", "semantic_codec", "semantic", "coarse", "codec"))
ACOUSTIC_TEMPERATURE = 0.9  # of the semantic temperature; MusicLM uses .95 and .4
FINE = "text_to_music.fine"  # used when the store has it: the bundled codec sounds better without (see the model card)
FINE_TEMPERATURE = 0.4
ACOUSTIC_GUIDANCE = (
    1.5  # of the excess of the prompt's guidance over 1: of 0.6, 1.5, 2 and 2.5 MuLan hears the prompt best
)
CANDIDATES = 1  # MuLan's choice of four raised its own cosine, but no independent judge heard a difference
ModuleType = TypeVar("ModuleType", bound=nn.Module)


@dataclass(frozen=True)
class Clip:
    """Sound of all variations with the codes it was made from.

    Attributes:
        audio: ``[variations, samples]`` at the codec's rate.
        semantic: ``[variations, frames, codes]``.
        codes: ``[variations, frames, n_quantizers]``.
    """

    audio: Tensor
    semantic: Tensor
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

        self.semantic_codec = read("semantic_codec", lambda c: SemanticCodec(semantic_config_of(c)))
        self.semantic = read("semantic", lambda c: Stage(stage_config_of(c)))
        self.coarse = read("coarse", lambda c: Stage(stage_config_of(c)))
        self.fine = read("fine", lambda c: FineStage(fine_config_of(c))) if FINE in store.names() else None
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
            how: the keyword arguments of `generate`; ``negative`` as ``[1, 128]``.

        Returns:
            ``texts × keep`` clips, the best of each text first.
        """
        rows = texts.repeat_interleave(keep * candidates, 0)
        if how.get("negative") is not None:
            how["negative"] = how["negative"].expand(len(rows), -1)
        clip = self.generate(rows, duration_s, job, **how)
        if candidates == 1:
            return clip
        cosine = (self.mulan.audio_embed(clip.audio) * rows).sum(-1).view(len(texts), -1)
        first = torch.arange(len(texts), device=rows.device)[:, None] * cosine.shape[1]
        kept = (first + cosine.topk(keep).indices).flatten()
        return Clip(clip.audio[kept], clip.semantic[kept], clip.codes[kept])

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
        semantic: Tensor | None = None,
    ) -> Clip:
        """Make one clip for each row of ``embed``.

        Args:
            embed: ``[variations, 128]`` from `embed` or MuLan's audio tower.
            duration_s: length in seconds.
            job: told of every frame; may raise to stop.
            guidance_scale: 1 is off.
            temperature: of the semantic stage.
            generator: on the CPU.
            negative: ``[variations, 128]`` to steer away from.
            semantic: codes ``[variations, frames, 3]`` to sound instead of composing them.
        """
        samples, ratio = round(duration_s * self.codec.sample_rate), self.coarse.config.guide_stride
        frames = -(-samples // (self.codec.config.hop * ratio))
        progress = _Progress(job)
        sampling = Sampling(temperature, 200, guidance_scale)
        if semantic is None:
            semantic = sample_stage(
                self.semantic, embed, frames, sampling, generator,
                negative=negative, on_step=progress.part(0, 20, "Composing"),
            )  # fmt: skip
        scale = 1 + ACOUSTIC_GUIDANCE * (guidance_scale - 1)
        acoustic = Sampling(temperature * ACOUSTIC_TEMPERATURE, 120, scale)
        codes = sample_stage(
            self.coarse, embed, frames * ratio, acoustic, generator,
            negative=negative, guide=semantic, on_step=progress.part(20, 92, "Playing"),
        )  # fmt: skip
        if self.fine is not None:
            polishing = progress.part(92, 98, "Polishing")
            codes = fill_fine(self.fine, codes, embed, FINE_TEMPERATURE, generator, polishing)
        job.step(98, 100, "Writing the sound")
        audio = decode_audio(self.codec, codes)[:, :samples]
        job.step(100, 100, "Writing the sound")
        return Clip(audio, semantic, codes)


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
