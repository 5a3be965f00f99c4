"""Embedding to sound with audiolm-pytorch's three transformers instead of our own stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from backend.errors import CheckpointError
from backend.job import Job
from backend.musiclm.decode import decode_audio
from backend.musiclm.events import FIELDS, SIZE, Events
from backend.musiclm.generator import LEAD_IN_S, Clip
from backend.musiclm.package_decode import PackageDecoder
from backend.musiclm.package_sample import DEFAULT_SAMPLING, StageSampling
from backend.musiclm.package_stages import STAGES, PackageConfig, Stage, load_stage

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore
    from backend.musiclm.codec import Codec
    from backend.musiclm.compose import Wish

ACOUSTIC_GUIDANCE = 0.25
"""Of the excess of the prompt's guidance over 1: the notes already say most of what a prompt asks for."""
CHECKPOINTS: dict[Stage, str] = {stage: f"text_to_music.package_{stage}" for stage in STAGES}


class PackageGenerator:
    """The package's stages on one device, over the bundled codec.

    Args:
        store: holds `CHECKPOINTS`, each with the fields of its `PackageConfig`.
        codec: decodes what the stages write; also says where to compute.

    Raises:
        CheckpointError: a stage is missing, altered, or trained on other tokens than note events and the codec's.
    """

    def __init__(self, store: CheckpointStore, codec: Codec) -> None:
        known = store.names()
        absent = [name for name in CHECKPOINTS.values() if name not in known]
        if absent:
            raise CheckpointError(
                f"The stages of audiolm-pytorch are not installed ({', '.join(absent)}): train them with 'python -m "
                "backend.musiclm.train semantic|coarse|fine --stages package' and add them with 'python -m "
                "backend.musiclm.bundle', or choose the bundled stages."
            )
        self.codec, self.device = codec, next(codec.parameters()).device
        configs = {stage: _config_of(store, name) for stage, name in CHECKPOINTS.items()}
        config = configs["semantic"]
        if any(other != config for other in configs.values()):
            raise CheckpointError("The stages of audiolm-pytorch differ in their sizes; train them alike.")
        if (config.semantic_codebook_size, config.semantic_quantizers) != (SIZE, len(FIELDS)):
            raise CheckpointError("The stages of audiolm-pytorch were trained on other tokens than note events.")
        wanted = (codec.codebook_size, codec.n_quantizers, codec.frame_rate)
        if (config.codebook_size, config.n_quantizers, config.frame_rate) != wanted:
            raise CheckpointError("The stages of audiolm-pytorch were trained on the codes of another codec.")
        modules: dict[Stage, nn.Module] = {
            stage: load_stage(stage, config, store.load(name)).to(self.device) for stage, name in CHECKPOINTS.items()
        }
        self.decoder = PackageDecoder(modules, config)

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
    ) -> Clip:
        """Make one clip for each row of ``embed``; arguments as `MusicGenerator.generate`."""
        acoustic = 1 + ACOUSTIC_GUIDANCE * (guidance_scale - 1)
        scales: dict[Stage, float] = {"semantic": guidance_scale, "coarse": acoustic, "fine": 1.0}
        sampling = {
            stage: StageSampling(temperature * usual.temperature, usual.top_k, scales[stage])
            for stage, usual in DEFAULT_SAMPLING.items()
        }
        tokens = self.decoder.decode(
            embed[:, None],
            duration_s,
            generator=self._own(generator),
            sampling=sampling,
            null_cond=None if negative is None else negative[:, None],
            wishes=wishes,
            events=events,
            lead_in_s=LEAD_IN_S,
            job=Job(lambda step: job.step(98 * step.done / step.total, 100, step.message)),
        )
        job.step(98, 100, "Writing the sound")
        audio = decode_audio(self.codec, tokens.codes)[:, : round(duration_s * self.codec.sample_rate)]
        job.step(100, 100, "Writing the sound")
        return Clip(audio, tokens.events, tokens.codes)

    def _own(self, generator: torch.Generator) -> torch.Generator:
        """A generator on the stages' device, seeded by the one that was given."""
        if self.device.type == "cpu":
            return generator
        seed = int(torch.randint(2**62, (), generator=generator))
        return torch.Generator(self.device).manual_seed(seed)


def _config_of(store: CheckpointStore, name: str) -> PackageConfig:
    known = {field.name for field in fields(PackageConfig)}
    return PackageConfig(**{key: value for key, value in store.config(name).items() if key in known})
