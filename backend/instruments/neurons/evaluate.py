"""How well the ears do: ``python -m backend.instruments.neurons.evaluate`` ends stdout with one JSON object.

With ``--corpus DIR`` (of `backend.corpus.build`, whose valid and test pieces no ear was trained on) gains are in
deviations over its sounds, otherwise over the bundled loops; and the ears are also asked what they learned: InfoNCE on
held-out pieces, and linear probes with few labels. Beside each figure stands what it must beat: ascent without
regularisers, an ear with random weights, chance, log-mel statistics, and a supervised net of the same size.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backend.checkpoints import CheckpointStore
from backend.instruments.neurons.cpc import Cpc
from backend.instruments.neurons.data import Listening
from backend.instruments.neurons.ear import Ear
from backend.instruments.neurons.excitation import UNREGULARISED, Excited, excite, random_targets, spread, summary
from backend.instruments.neurons.loops import LOOPS, Meter, make_loop
from backend.instruments.neurons.networks import EARS, EarNetwork, load_ear
from backend.instruments.neurons.normalise import NeuronScale, measure
from backend.instruments.neurons.probing import FIELDS, accuracies, labelled
from backend.settings import Settings

logger = logging.getLogger(__name__)

LABELS = (2, 5, 10)
CANDIDATES = 32
BATCHES = 8
SOUNDS, BATCH = 64, 8


def random_ear(like: Ear, sounds: Tensor) -> EarNetwork:
    """An ear of the same architecture with its first weights, its neurons' scale measured over ``sounds``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ear = Ear(like.config)
    return EarNetwork(ear, "random", measure(EarNetwork(ear, "", NeuronScale({}, {})), sounds.split(BATCH)))


def held_out_sounds(corpus: Path | None, taste: str, sample_rate: int) -> Tensor:
    """Sounds ``[n, samples]`` of the length of a loop: of the corpus's validation pieces, or else the bundled loops."""
    if corpus is None:
        loops = [make_loop(name, Meter(), sample_rate).samples[0] for name in LOOPS]
        return torch.from_numpy(np.stack(loops))
    heard = Listening([corpus], taste, "valid", sample_rate)
    rng, n = np.random.default_rng(2), min(16, heard.pieces)
    length = round(Meter().seconds * sample_rate)
    return torch.cat([heard.batch(rng, n, length) for _ in range(SOUNDS // n)])


def excitation(ears: dict[str, EarNetwork], corpus: Path | None, targets: int, updates: int) -> dict[str, Any]:
    """All figures of excitation, over the targets of both ears together and by ear."""
    rows: dict[str, list[Excited]] = {"default": [], "unregularised": [], "random_ear": []}
    by_ear = {}
    for number, (name, network) in enumerate(ears.items()):
        share = targets // len(ears) + (number < targets % len(ears))
        chosen = random_targets(network, share, np.random.default_rng(number))
        sounds = held_out_sounds(corpus, name.partition(":")[2], network.sample_rate)
        untrained = random_ear(network.ear, sounds)
        spreads = spread(network, chosen, sounds)
        found = {
            "default": excite(network, chosen, spreads, updates),
            "unregularised": excite(network, chosen, spreads, updates, UNREGULARISED),
            "random_ear": excite(untrained, chosen, spread(untrained, chosen, sounds), updates),
        }
        by_ear[name] = summary(found["default"])
        for kind, excited in found.items():
            rows[kind] += excited
    sums = {kind: summary(excited) for kind, excited in rows.items()}
    return {
        "targets": len(rows["default"]),
        "updates": updates,
        **sums["default"],
        **{f"{key}_{kind}": value for kind in ("unregularised", "random_ear") for key, value in sums[kind].items()},
        "layers_gain_median": _layers(rows["default"]),
        "by_ear": by_ear,
    }


def info_nce(model: Cpc, corpus: Path, taste: str) -> dict[str, float]:
    """Share of predictions that find the right encoding among the excerpts of as many test pieces."""
    heard = Listening([corpus], taste, "test", model.ear.config.cqt.sample_rate)
    n = min(CANDIDATES, heard.pieces)
    rng = np.random.default_rng(0)
    rows = []
    with torch.no_grad():
        for _ in range(BATCHES):
            loss, figures = model({"audio": heard.batch(rng, n, model.ear.config.excerpt_samples)})
            rows.append({"loss": float(loss), **{key: float(value) for key, value in figures.items()}})
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return {**means, "chance": 1 / n, "pieces": float(heard.pieces)}


def probes(models: dict[str, Cpc], corpus: Path, steps: int) -> dict[str, Any]:
    """Balanced accuracies by question and number of labels: each ear, log-mel, a supervised net, chance."""
    found: dict[str, Any] = {}
    for field in FIELDS:
        train, test = labelled(corpus, field, next(iter(models.values())).ear.config)
        rows: dict[str, Any] = {"classes": list(train.names), "excerpts": [len(train.classes), len(test.classes)]}
        for labels in LABELS:
            row: dict[str, float] = {}
            for name, model in models.items():
                logger.info("probe %s %s %d", field, name, labels)
                # Log-mel and supervised net know nothing of the ear, so they are measured beside the first one only.
                figures = accuracies(model.ear, train, test, labels, repeats=5, steps=0 if row else steps)
                row = {name: figures.pop("ear"), **figures, **row}
            rows[f"labels_{labels}"] = row
        found[field] = rows
    return found


def evaluate(options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    store, cpu = CheckpointStore(extra=Settings.from_env().checkpoint_dirs), torch.device("cpu")
    models, ears = {}, {}
    for name, (checkpoint, label) in EARS.items():
        model, scale = load_ear(store, checkpoint, cpu)
        models[name], ears[name] = model, EarNetwork(model.ear, label, scale)
    figures = excitation(ears, options.corpus, options.targets, options.updates)
    if options.corpus is not None:
        figures["info_nce"] = {
            name: info_nce(model, options.corpus, name.partition(":")[2]) for name, model in models.items()
        }
        figures["probe"] = probes(models, options.corpus, options.supervised_steps)
    return figures


def _layers(excited: Sequence[Excited]) -> dict[str, float]:
    names = dict.fromkeys(one.layer for one in excited)
    return {name: float(np.median([one.gain for one in excited if one.layer == name])) for name in names}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; ends stdout with one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.neurons.evaluate", description=__doc__)
    parser.add_argument("--targets", type=int, default=52, help="random targets, over all layers of both ears")
    parser.add_argument("--updates", type=int, default=75, help="of each target; 25 are a pass of a live session")
    parser.add_argument("--corpus", type=Path, help="held-out pieces for InfoNCE and probes")
    parser.add_argument("--supervised-steps", type=int, default=150)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    print(json.dumps(_rounded(evaluate(options)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
