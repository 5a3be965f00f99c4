"""From a predicted embedding to sound: composed anew, or the nearest clip of a catalogue; and the controls.

Controls answer "would anything have done?": the mean embedding of the training clips, another listener's prediction
(the same decoder on another clip's scan, which is what a random brain state gives), and the embedding of what really
sounded, which is the ceiling of the generator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from backend.job import Job
from backend.metrics.identification import correlation
from backend.musiclm.generator import MusicGenerator

FloatArray = npt.NDArray[np.float32]

CONTROLS = ("mean_embedding", "random_listener", "true_embedding")
TEMPERATURE, GUIDANCE = 0.9, 3.0


@dataclass(frozen=True, eq=False)
class Made:
    """A generated clip: sound ``[samples]``, MuLan's embedding of it, its cosine to what was asked, its notes."""

    audio: FloatArray
    embedding: FloatArray
    cosine: float
    events: npt.NDArray[np.uint8]


def generate(
    models: MusicGenerator,
    wanted: FloatArray,
    duration_s: float,
    job: Job,
    seed: int,
    candidates: int = 1,
    guidance_scale: float = GUIDANCE,
) -> list[Made]:
    """One clip for each wanted embedding, through MuLan's quantiser into the music language model.

    Args:
        models: the bundled generator.
        wanted: ``[clips, 128]``; normalised here.
        duration_s: of each clip.
        job: told of every step.
        seed: of the sampling.
        candidates: clips tried for each, of which the one that MuLan hears closest to ``wanted`` is kept.
        guidance_scale: 1 is off.
    """
    asked = functional.normalize(torch.from_numpy(wanted).float().to(models.device), dim=-1)
    rows = models.mulan.dequantize(models.mulan.quantize(asked)).repeat_interleave(candidates, 0)
    clip = models.generate(
        rows, duration_s, job, guidance_scale=guidance_scale, temperature=TEMPERATURE,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    heard = models.mulan.audio_embed(clip.audio)
    cosine = (heard * asked.repeat_interleave(candidates, 0)).sum(-1).view(len(wanted), candidates)
    best = (cosine.argmax(1) + candidates * torch.arange(len(wanted), device=cosine.device)).tolist()
    return [
        Made(
            clip.audio[i].cpu().numpy(), heard[i].cpu().numpy(), float(cosine.flatten()[i]), clip.events[i],
        )
        for i in best
    ]  # fmt: skip


def nearest(wanted: FloatArray, catalogue: FloatArray) -> npt.NDArray[np.int64]:
    """Number of the catalogue's clip that correlates most with each wanted embedding."""
    return np.asarray(correlation(wanted, catalogue).argmax(1), np.int64)


def control_embeddings(predicted: FloatArray, true: FloatArray, train: FloatArray, seed: int) -> dict[str, FloatArray]:
    """Embeddings ``[clips, 128]`` of each control.

    Args:
        predicted: of the test clips.
        true: of the test clips.
        train: of the training clips.
        seed: of who hears what instead.
    """
    n, rng = len(predicted), np.random.default_rng([seed, 3])
    order = rng.permutation(n)
    other = np.empty(n, np.int64)
    other[order] = np.roll(order, 1)  # a cycle: nobody keeps their own
    mean = np.repeat(train.mean(0, keepdims=True), n, 0)
    return dict(zip(CONTROLS, (mean.astype(np.float32), predicted[other], true), strict=True))
