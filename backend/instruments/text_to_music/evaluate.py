"""Does the music follow the prompt? ``python -m backend.instruments.text_to_music.evaluate`` ends with one JSON object.

Every figure is a share of clips on which a judge that took no part in training or ranking hears what the prompt asked
for: ``hit`` on generated clips, ``chance`` with the prompts shuffled among the same clips, ``codec_ceiling`` on the
real held-out clips of the same prompts through the codec, ``reached = (hit - chance) / (codec_ceiling - chance)``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.io import write
from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.instruments.text_to_music.held_out import DURATION_S, RATE, HeldOut
from backend.job import Job
from backend.metrics.following import Order, follow_figures
from backend.metrics.frechet import frechet_distance, kernel_distance
from backend.metrics.listener import Listener, share_heard
from backend.metrics.pitch import distinct_top_pitches, estimate_mode
from backend.metrics.rhythm import estimate_tempo, tempo_class
from backend.musiclm.decode import decode_audio
from backend.musiclm.generator import MusicGenerator
from backend.musiclm.wish import wish_of

logger = logging.getLogger(__name__)

BATCH = 16
MOVING = 4  # distinct top pitches in ten seconds
Clips = Sequence[Waveform]


def generate(
    models: MusicGenerator, prompts: Sequence[str], seed: int, guidance: float, temperature: float
) -> list[Waveform]:
    """One clip a prompt, as the page makes them apart from loudness."""
    clips: list[Waveform] = []
    for start in range(0, len(prompts), BATCH):
        clip = models.best(
            models.embed(prompts[start : start + BATCH]),
            1,
            DURATION_S,
            Job(),
            wishes=[wish_of(prompt) for prompt in prompts[start : start + BATCH]],
            guidance_scale=guidance,
            temperature=temperature,
            generator=torch.Generator().manual_seed(seed + start),
        )
        clips += [_safe(audio) for audio in clip.audio.cpu().numpy()]
        logger.info("generated %d of %d", len(clips), len(prompts))
    return clips


def _safe(audio: npt.NDArray[np.float32]) -> Waveform:
    peak = float(np.abs(audio).max()) or 1.0
    return Waveform(audio / max(1.0, peak), RATE)


class Judgement:
    """What the judges hear in a list of clips."""

    def __init__(self, clips: Clips, listener: Listener) -> None:
        heard = listener.hear(clips)
        self.families, self.embedding = heard["families"], heard["embedding"].astype(np.float64)
        self.tempo = [tempo_class(estimate_tempo(clip)) for clip in clips]
        self.mode = [estimate_mode(clip)[0] for clip in clips]
        self.top_pitches = np.array([distinct_top_pitches(clip) for clip in clips])

    def hits(self, rows: Sequence[dict[str, Any]]) -> dict[str, npt.NDArray[np.float64]]:
        """Per clip, for each attribute, whether (or how much of) what ``rows`` ask for is heard."""
        return {
            "instrument_family": share_heard(self.families, [row["families"] for row in rows]),
            "tempo_class": np.array([float(t == row["tempo_class"]) for t, row in zip(self.tempo, rows, strict=True)]),
            "mode": np.array([float(m == row["mode"]) for m, row in zip(self.mode, rows, strict=True)]),
        }


def attribute_figures(
    made: Judgement, ceiling: Judgement, rows: list[dict[str, Any]], rng: np.random.Generator
) -> dict[str, dict[str, float]]:
    """``{attribute: {hit, chance, codec_ceiling, reached}}``; chance from 200 shuffles of the prompts."""
    ceilings = ceiling.hits(rows)

    def share(name: str) -> Callable[[Order], float]:
        return lambda order: float(made.hits([rows[i] for i in order])[name].mean())

    return {name: follow_figures(share(name), len(rows), float(best.mean()), rng) for name, best in ceilings.items()}


def cosine_figures(models: MusicGenerator, clips: Clips, prompts: Sequence[str]) -> dict[str, float]:
    """MuLan cycle consistency: mean cosine of the clip's and its prompt's embedding, and with the prompts shifted."""
    audio = torch.cat([models.mulan.audio_embed(torch.from_numpy(clip.samples)) for clip in clips])
    text = models.mulan.text_embed(list(prompts))
    return {
        "prompt": float((audio * text).sum(-1).mean()),
        "shuffled": float((audio * text.roll(len(prompts) // 2, 0)).sum(-1).mean()),
    }


def evaluate(
    store: CheckpointStore, n_prompts: int, seed: int, guidance: float, temperature: float, keep: Path | None
) -> dict[str, Any]:
    """All figures; clips are written to ``keep`` when given."""
    models, listener, held_out = (
        MusicGenerator(store, torch.device("cpu")),
        Listener.from_store(store),
        HeldOut.from_store(store),
    )
    rows, rng = held_out.rows[:n_prompts], np.random.default_rng(seed)
    prompts, unseen = [row["prompt"] for row in rows], [row["unseen"] for row in rows]
    sets = {
        "generated": generate(models, prompts, seed, guidance, temperature),
        "unseen": generate(models, unseen, seed + 1, guidance, temperature),
        "codec": [
            _safe(a)
            for part in held_out.codes[:n_prompts].split(BATCH)
            for a in decode_audio(models.codec, part).numpy()
        ],
    }
    if keep is not None:
        _keep(keep, sets, prompts)
    judged = {name: Judgement(clips, listener) for name, clips in sets.items()}
    logger.info("judged")
    figures: dict[str, Any] = {"prompts": len(rows), "guidance_scale": guidance, "temperature": temperature}
    figures |= attribute_figures(judged["generated"], judged["codec"], rows, rng)
    paraphrase = attribute_figures(judged["unseen"], judged["codec"], rows, rng)
    figures["paraphrase"] = paraphrase
    figures["paraphrase_reached"] = float(np.mean([x["reached"] for x in paraphrase.values()]))
    real_moves = float(np.mean([row["top_pitches"] >= MOVING for row in rows]))
    moves = {name: float((j.top_pitches >= MOVING).mean()) for name, j in judged.items()}
    figures["melody"] = {
        "generated": moves["generated"], "real": real_moves, "codec": moves["codec"],
        "of_real": moves["generated"] / max(real_moves, 1e-6),
        "median_distinct_pitches": float(np.median(judged["generated"].top_pitches)),
        "median_distinct_pitches_real": float(np.median([row["top_pitches"] for row in rows])),
    }  # fmt: skip
    noise = [Waveform(rng.permutation(clip.samples[0]), RATE) for clip in sets["generated"]]
    embeddings = {name: j.embedding for name, j in judged.items()} | {
        "real_vs_real": held_out.other, "shuffled_noise": listener.hear(noise)["embedding"].astype(np.float64),
    }  # fmt: skip
    for name, distance in (("frechet", frechet_distance), ("kernel_distance", kernel_distance)):
        figures[name] = _distances(distance, held_out.real, embeddings)
    figures["mulan_cycle"] = cosine_figures(models, sets["generated"], prompts)
    return figures


def _distances(
    distance: Callable[[Any, Any], float], real: npt.NDArray[np.float64], others: dict[str, npt.NDArray[np.float64]]
) -> dict[str, float]:
    return {name: float(distance(real, x)) for name, x in others.items()}


def _keep(folder: Path, sets: dict[str, list[Waveform]], prompts: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompts.txt").write_text("\n".join(prompts), encoding="utf-8")
    for name, clips in sets.items():
        for i, clip in enumerate(clips):
            write(clip, folder / f"{name}_{i:03d}.wav", "wav")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--keep", type=Path, help="folder to write the judged clips to")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    figures = evaluate(
        CheckpointStore(), options.prompts, options.seed, options.guidance, options.temperature, options.keep
    )
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
