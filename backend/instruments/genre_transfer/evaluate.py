"""How well genre transfer does: ``python -m backend.instruments.genre_transfer.evaluate`` ends with one JSON object.

Everything is measured on tracks produced from seeds, and with chord progressions, that no net was trained on. Transfer
is measured over ordered pairs of the seven musical genres: five seconds of one track get the sound of ten seconds of
another. All rows hear the same pairs and are measured by the same code; judge and timbre net were never optimised by
any of them. The peers' iterations are the seed's for classic, and for the 4,096 filters as many as fit the time.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backend.audio.io import resample
from backend.audio.loudness import integrated_lufs
from backend.audio.waveform import FloatArray, Waveform
from backend.checkpoints import CheckpointStore
from backend.instruments.genre_transfer import classic, master, musaicing, random_conv, studio
from backend.instruments.genre_transfer.baselines import load_baseline
from backend.instruments.genre_transfer.cutting import cut
from backend.instruments.genre_transfer.genres import GENRES
from backend.instruments.genre_transfer.judge import Judge, load_judge
from backend.instruments.genre_transfer.lil_data import LilData, load_lil_data
from backend.instruments.genre_transfer.listen import Ear, classifier_figures, p_target
from backend.instruments.genre_transfer.produce import produce
from backend.instruments.genre_transfer.spectrogram import SAMPLE_RATE as IMAGE_RATE
from backend.instruments.genre_transfer.spectrogram import mono_clip
from backend.metrics.buzz import buzz, steady_share_of_added
from backend.metrics.groove import onset_similarity, rhythm_similarity
from backend.metrics.pitch_sets import jaccard_distance, pitch_sets
from backend.metrics.timbre import TimbreNet
from backend.settings import Settings

logger = logging.getLogger(__name__)

MUSIC = tuple(genre for genre in GENRES if genre != "noise")
CONTENT_S, STYLE_S = 5.0, 10.0
FIGURES = (
    "timbre_distance_to_style", "pitch_jaccard_distance_to_content", "onset_similarity_to_content",
    "rhythm_similarity_to_style", "rhythm_similarity_to_content", "held_out_classifier_p_target", "buzz",
    "steady_share_of_added", "loudness_difference_db",
)  # fmt: skip
PUBLISHED = {
    "lil_data_4_genres": 0.96, "lil_data_8_genres": 0.81, "resnet_8_genres": 0.34,
    "timbre_untouched_content": 0.496, "timbre_ulyanov": 0.479, "timbre_musaicing": 0.232, "timbre_ss_vq_vae": 0.228,
    "pitch_ulyanov": 0.13, "pitch_musaicing": 0.63, "pitch_ss_vq_vae": 0.62,
}  # fmt: skip
"""The seed's accuracies; distances of Cífka et al. 2021 on real recordings with their own nets."""


@dataclass(frozen=True)
class Pair:
    """One transfer: genres and seeds of the content and the style."""

    content: str
    style: str
    content_seed: int
    style_seed: int


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    pairs: int = 42
    tracks: int = 12
    classic_iterations: int = 100
    random_conv_iterations: int = 12
    workers: int = 2


def pairs(count: int, seed: int) -> list[Pair]:
    """Every ordered pair of different musical genres in a random order, again and again with new seeds."""
    rng = np.random.default_rng(seed)
    genres = [(a, b) for a in MUSIC for b in MUSIC if a != b]
    found = list[Pair]()
    while len(found) < count:
        for index in rng.permutation(len(genres)):
            found.append(Pair(*genres[index], *(int(s) for s in rng.integers(10_000, 20_000, 2))))
    return found[:count]


class Rows:
    """Every way of transferring a pair, by name.

    Args:
        ear: the net that classic transfers with.
        sizes: iterations.
    """

    def __init__(self, ear: LilData, sizes: Sizes) -> None:
        self._ear, self._sizes = ear, sizes
        self.made: dict[str, Callable[[Waveform, Waveform], Waveform]] = {
            "untouched_content": lambda content, style: content,
            "untouched_style": lambda content, style: style.slice(0, CONTENT_S),
            "classic": self._classic,
            "random_conv": self._random_conv,
            "musaicing": lambda content, style: master.finish(musaicing.musaic(content, style, 0).samples, content),
            "studio": lambda content, style: _studio(content, style, studio.Controls()),
            "studio_rhythm": lambda content, style: _studio(content, style, studio.Controls(rhythm_donor=True)),
        }

    def _classic(self, content: Waveform, style: Waveform) -> Waveform:
        iterations = self._sizes.classic_iterations
        samples = classic.transfer(content, style, self._ear.activations, classic.LIL_DATA, iterations)
        return _finished(samples, IMAGE_RATE, content)

    def _random_conv(self, content: Waveform, style: Waveform) -> Waveform:
        samples = random_conv.transfer(content, style, 0, self._sizes.random_conv_iterations)
        return _finished(samples, random_conv.SAMPLE_RATE, content)


def _studio(content: Waveform, style: Waveform, controls: studio.Controls) -> Waveform:
    return studio.transfer(content, style, controls, 0, lambda share, message, sound: None)


def _finished(samples: FloatArray, rate: int, content: Waveform) -> Waveform:
    """Mono at a low rate → like every other row: stereo at 44.1 kHz, loudness of the content, limited."""
    peak = max(1.0, float(np.abs(samples).max(initial=0.0)))
    sound = resample(Waveform(samples / peak, rate), studio.SAMPLE_RATE)
    return master.finish(np.repeat(sound.samples, 2, 0)[:, : content.n_samples], content)


@cache
def _judges() -> tuple[LilData, Judge, TimbreNet]:
    """Once a process: the net that classic uses, and the two that nobody may."""
    store = CheckpointStore(extra=Settings.from_env().checkpoint_dirs)
    return load_lil_data(store), load_judge(store), TimbreNet.from_store(store)


def measure_pair(pair: Pair, sizes: Sizes) -> dict[str, dict[str, float]]:
    """All figures of all rows of one pair."""
    ear, judge, timbre = _judges()
    content = produce(pair.content, pair.content_seed, split="test", duration_s=CONTENT_S).waveform
    style = produce(pair.style, pair.style_seed, split="test", duration_s=STYLE_S).waveform
    pitches, loudness = pitch_sets(content), integrated_lufs(content)
    found = {}
    for name, transfer in Rows(ear, sizes).made.items():
        made = transfer(content, style)
        values = (
            timbre.distance(style, made),
            jaccard_distance(pitches, pitch_sets(made)),
            onset_similarity(content, made),
            rhythm_similarity(style, made),
            rhythm_similarity(content, made),
            p_target(judge, made, pair.style),
            buzz(content, made, style),
            steady_share_of_added(content, made),
            abs(integrated_lufs(made) - loudness),
        )
        found[name] = dict(zip(FIGURES, values, strict=True))
    return found


def transfer_figures(sizes: Sizes, seed: int) -> tuple[dict[str, dict[str, float]], dict[str, Any]]:
    """Means over all pairs, ``row → figure``, and what they rest on."""
    plan = pairs(sizes.pairs, seed)
    rows: list[dict[str, dict[str, float]]] = []
    for pair, row in zip(plan, _spread(plan, sizes), strict=True):
        rows.append(row)
        logger.info("%d/%d %s in the clothes of %s", len(rows), len(plan), pair.content, pair.style)
    means = {
        name: {figure: round(float(np.mean([row[name][figure] for row in rows])), 4) for figure in FIGURES}
        for name in rows[0]
    }
    return means, {"pairs": len(rows), "content_s": CONTENT_S, "style_s": STYLE_S}


def _spread(plan: list[Pair], sizes: Sizes) -> Iterator[dict[str, dict[str, float]]]:
    """`measure_pair` of every pair, in as many processes of one thread as asked for."""
    if sizes.workers <= 1:
        yield from (measure_pair(pair, sizes) for pair in plan)
        return
    with ProcessPoolExecutor(
        sizes.workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        yield from pool.map(measure_pair, plan, [sizes] * len(plan))


def goals(transfer: dict[str, dict[str, float]]) -> dict[str, float]:
    """The comparisons that were promised, as ratios and differences of the means."""
    studio_row, donor, plain = transfer["studio"], transfer["studio_rhythm"], transfer["musaicing"]
    timbre, pitch = "timbre_distance_to_style", "pitch_jaccard_distance_to_content"
    ratio = {
        "studio_timbre_to_classic": studio_row[timbre] / max(transfer["classic"][timbre], 1e-9),
        "studio_pitch_to_musaicing": studio_row[pitch] / max(plain[pitch], 1e-9),
        "studio_buzz_to_classic": studio_row["buzz"] / max(transfer["classic"]["buzz"], 1e-9),
        "studio_steady_share_of_added_to_classic": (
            studio_row["steady_share_of_added"] / max(transfer["classic"]["steady_share_of_added"], 1e-9)
        ),
        "studio_p_target": studio_row["held_out_classifier_p_target"],
        "donor_rhythm_style_less_content": donor["rhythm_similarity_to_style"] - donor["rhythm_similarity_to_content"],
    }
    return {name: round(value, 4) for name, value in ratio.items()}


def held_out_clips(tracks: int, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Every five seconds of so many tracks of each genre, which nothing was trained on."""
    for genre in GENRES:
        for index in range(tracks):
            for clip in cut(produce(genre, 30_000 + seed + index, split="test").waveform):
                yield genre, mono_clip(clip)


def classifiers(store: CheckpointStore, sizes: Sizes, seed: int) -> dict[str, Any]:
    """Accuracies of Lil Data and of what it is compared with, on the same clips."""
    clips = list(held_out_clips(sizes.tracks, seed))
    ears: dict[str, Ear] = {"lil_data": load_lil_data(store), "judge": load_judge(store)}
    ears |= {kind: load_baseline(store, kind) for kind in ("softmax", "resnet")}
    found = {name: classifier_figures(ear, clips) for name, ear in ears.items()}
    own = found["lil_data"]
    others = {
        f"{name}_{size}_genres": found[name][f"classifier_{size}_genres"]
        for name in ("softmax", "resnet", "judge")
        for size in (4, 8)
    }
    return {
        "classifier_4_genres": own["classifier_4_genres"],
        "classifier_8_genres": own["classifier_8_genres"],
        "classifier": own,
        "baselines": {
            "chance_4_genres": 1 / 4, "chance_8_genres": 1 / len(GENRES), **others, "judge_ece": found["judge"]["ece"],
        },
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.genre_transfer.evaluate", description=__doc__)
    parser.add_argument("--pairs", type=int, default=Sizes.pairs)
    parser.add_argument("--tracks", type=int, default=Sizes.tracks, help="held-out tracks of each genre")
    parser.add_argument("--classic-iterations", type=int, default=Sizes.classic_iterations)
    parser.add_argument("--random-conv-iterations", type=int, default=Sizes.random_conv_iterations)
    parser.add_argument("--workers", type=int, default=min(Sizes.workers, os.cpu_count() or 1))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write the JSON there")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    sizes = Sizes(
        options.pairs, options.tracks, options.classic_iterations, options.random_conv_iterations, options.workers
    )
    store = CheckpointStore(extra=Settings.from_env().checkpoint_dirs)
    figures = classifiers(store, sizes, options.seed)
    means, basis = transfer_figures(sizes, options.seed)
    figures |= {"transfer": means, "transfer_basis": basis, "goals": goals(means), "published": PUBLISHED}
    text = json.dumps(figures, indent=1)
    if options.out:
        options.out.write_text(text, "utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
