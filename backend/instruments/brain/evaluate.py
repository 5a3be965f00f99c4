"""Is the music in the scan? ``python -m backend.instruments.brain.evaluate`` ends with one JSON object.

SIMULATED: every figure is of a listener whom nobody scanned, over 60 test clips; published ones stand beside them as
``published`` and are of people. Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backend.checkpoints import CheckpointStore
from backend.instruments.brain.laboratory import DECODERS, Listener
from backend.instruments.brain.layout import LABEL, REGIONS
from backend.instruments.brain.listener import PAPER_IDENTIFICATION, SimulatedListener
from backend.instruments.brain.probe import GenreProbe
from backend.instruments.brain.reconstruct import control_embeddings, generate, nearest
from backend.instruments.brain.recording import simulate
from backend.instruments.brain.stimuli import Stimuli
from backend.job import Job
from backend.metrics.identification import Identification, identify

logger = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float32]

BATCH = 10
PUBLISHED = {
    "identification": {"mulan_music": PAPER_IDENTIFICATION, "sd": 0.015},
    "of": "five people, Denk et al. 2023, arXiv 2307.11078",
}


def listener_of(stimuli: Stimuli, seed: int, snr: float) -> Listener:
    """A simulated listener who heard all clips."""
    recording = simulate(SimulatedListener(stimuli.features, seed, snr), stimuli.n_train)
    rows = stimuli.embeddings[[int(clip) for clip in recording.train_clips]]
    return Listener(recording, rows, stimuli.embeddings[stimuli.n_train :])


def decoding(listener: Listener, region: str, permutations: int) -> dict[str, Any]:
    """Identification, top-1 and p of every decoder."""
    figures: dict[str, Any] = {"identification": {}, "top1": {}, "p": {}, "null_sd": {}}
    for name in DECODERS:
        found = listener.decode(name, region, permutations).identification
        logger.info("%s: %.3f, top-1 %.3f, p %.4f", name, found.accuracy, found.top1, found.p)
        for key, value in (
            ("identification", found.accuracy), ("top1", found.top1), ("p", found.p), ("null_sd", found.null_sd),
        ):  # fmt: skip
            figures[key][name] = value
    return figures


def reconstruction(
    store: CheckpointStore, stimuli: Stimuli, listener: Listener, region: str, candidates: int, permutations: int
) -> dict[str, Any]:
    """Identification by the embeddings of what was generated or retrieved, and by those of the controls."""
    from backend.musiclm.generator import MusicGenerator

    models = MusicGenerator(store, torch.device("cpu"))
    decoded = listener.decode("contrastive", region, permutations)
    true, catalogue = decoded.true, stimuli.embeddings[: stimuli.n_train]
    asked = {"reconstruction": decoded.predicted}
    asked |= control_embeddings(decoded.predicted, true, listener.train, 0)
    figures: dict[str, Any] = {}
    for name, rows in asked.items():
        heard = _heard(models, rows, candidates if name == "reconstruction" else 1, name)
        figures[name] = identify(heard, true, permutations)
        logger.info("%s: %.3f after generation", name, figures[name].accuracy)
    retrieved = identify(catalogue[nearest(decoded.predicted, catalogue)], true, permutations)
    found = figures.pop("reconstruction")
    return {
        "identification_after_generation": found.accuracy, "p_after_generation": found.p,
        "identification_after_retrieval": retrieved.accuracy, "p_after_retrieval": retrieved.p,
        "controls": {name: value.accuracy for name, value in figures.items()},
        "controls_null_sd": {name: value.null_sd for name, value in figures.items()},
        "candidates": candidates,
    }  # fmt: skip


def _heard(models: Any, rows: FloatArray, candidates: int, name: str) -> FloatArray:
    """MuLan's embeddings of clips generated from ``rows [clips, 128]``."""
    out: list[FloatArray] = []
    for start in range(0, len(rows), BATCH):
        made = generate(models, rows[start : start + BATCH], 10.0, Job(), start, candidates)
        out += [one.embedding for one in made]
        logger.info("%s: generated %d of %d", name, len(out), len(rows))
    return np.stack(out)


def genre_probe(stimuli: Stimuli, listener: Listener, region: str) -> dict[str, float]:
    """Accuracy of the probe on predictions, voxels and true embeddings of the test clips."""
    decoded = listener.decode("contrastive", region)
    train = stimuli.genre[[int(clip) for clip in listener.recording.train_clips]]
    test = stimuli.genre[stimuli.n_train :]
    part = listener.recording.only(decoded.voxels)
    return {
        "predicted": listener.probe(decoded, train).accuracy(decoded.predicted, test),
        "voxels": GenreProbe(1e-4).fit(part.train, train).accuracy(part.test, test),
        "true": GenreProbe().fit(listener.train, train).accuracy(decoded.true, test),
        "chance": 1 / len(stimuli.genres),
    }


def encoding_figures(listener: Listener, stimuli_strength: FloatArray) -> dict[str, float]:
    """Where the encoding model finds music, against where the simulation put it."""
    encoded = listener.encoding_map()
    inside = stimuli_strength > 0
    found = encoded.significant
    return {
        "voxels": float(len(inside)),
        "significant": float(found.sum()),
        "significant_outside_auditory": float((found & ~inside).sum() / max(found.sum(), 1)),
        "mean_r_inside": float(encoded.correlation[inside].mean()),
        "max_r": float(encoded.correlation.max()),
    }


def evaluate(store: CheckpointStore, options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    stimuli = Stimuli.from_store(store)
    options.snr = stimuli.snr if options.snr is None else options.snr
    logger.info("simulating a listener at SNR %.3f", options.snr)
    listener = listener_of(stimuli, options.seed, options.snr)
    figures: dict[str, Any] = {
        "label": LABEL, "snr": options.snr, "test_clips": len(listener.test), "permutations": options.permutations,
        "region": options.region, "published": PUBLISHED,
    }  # fmt: skip
    figures |= decoding(listener, options.region, options.permutations)
    person = SimulatedListener(stimuli.features, options.seed, options.snr)
    figures["encoding"] = encoding_figures(listener, person.strength)
    figures["genre_probe"] = genre_probe(stimuli, listener, options.region)
    deaf = listener_of(stimuli, options.seed, 0.0)
    nothing: Identification = deaf.decode("contrastive", options.region, options.permutations).identification
    figures["snr0_identification"], figures["snr0_null_sd"] = nothing.accuracy, nothing.null_sd
    figures["snr0_p"] = nothing.p
    logger.info("SNR 0: %.3f", nothing.accuracy)
    if not options.skip_generation:
        figures |= reconstruction(store, stimuli, listener, options.region, options.candidates, options.permutations)
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the simulated listener")
    parser.add_argument("--snr", type=float, help="strength of the signal; the calibrated one if left out")
    parser.add_argument("--region", default="auditory", choices=REGIONS)
    parser.add_argument("--permutations", type=int, default=1000)
    parser.add_argument("--candidates", type=int, default=2, help="clips tried for each reconstruction")
    parser.add_argument("--skip-generation", action="store_true", help="embeddings only")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    print(json.dumps(evaluate(CheckpointStore(), options), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
