"""Training of an ear: ``python -m backend.instruments.neurons.train --ear score --audio DIR... --out DIR``.

Each folder of ``--audio`` is a corpus of `backend.corpus.build`, of which the clips that suit the ear are heard, or any
folder of sound files. Resumable: repeat the command. ``--bundle`` stores what was trained as ``neurons.<ear>``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backend.checkpoints import CheckpointStore
from backend.instruments.neurons import ear
from backend.instruments.neurons.cpc import Cpc
from backend.instruments.neurons.data import TASTES, Listening, augment
from backend.instruments.neurons.ear import EarConfig
from backend.instruments.neurons.networks import EARS, EarNetwork
from backend.instruments.neurons.normalise import NeuronScale, measure
from backend.musiclm.fit import FitConfig, fit

logger = logging.getLogger(__name__)

CARD = "neurons/README.md"
CONFIGS = {"tiny": ear.TINY, "light": ear.LIGHT, "base": ear.BASE}
CONTEXTS = {"tiny": 2, "light": 9, "base": 1}
VALID_BATCHES = 4
SCALE_SOUNDS, SCALE_BATCH = 64, 8
LOOP_S = 4.0


class CpcTask:
    """Augmented training batches, and InfoNCE on fixed held-out excerpts.

    Args:
        train: what is heard.
        valid: what is not.
        config: of the ear.
        batch: excerpts a batch, which is also the number of candidates.
    """

    def __init__(self, train: Listening, valid: Listening, config: EarConfig, batch: int) -> None:
        self.train, self.config, self.batch = train, config, batch
        rng = np.random.default_rng(0)
        n = min(batch, valid.pieces)
        self._held_out = [valid.batch(rng, n, config.excerpt_samples) for _ in range(VALID_BATCHES)]

    def batches(self, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """Endless training batches."""
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        samples, bins = self.config.excerpt_samples, self.config.cqt.bins
        frames = 1 + samples // self.config.cqt.hop
        while True:
            yield augment(self.train.batch(rng, self.batch, samples), bins, frames, rng)

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """Loss and accuracies on the held-out excerpts, beside the ``chance`` of guessing among a batch."""
        device = next(module.parameters()).device
        rows = []
        for audio in self._held_out:
            loss, figures = module({"audio": audio.to(device)})
            rows.append({"loss": float(loss), **{name: float(value) for name, value in figures.items()}})
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        return means | {"chance": 1 / len(self._held_out[0])}


def train(options: argparse.Namespace) -> dict[str, float]:
    """Train, measure the neurons' scale and keep both as ``out/model.pt``; the best validation's figures."""
    config = CONFIGS[options.config]
    contexts = options.contexts or CONTEXTS[options.config]
    heard, held_out = (Listening(options.audio, options.ear, s, config.cqt.sample_rate) for s in ("train", "valid"))
    logger.info("%d pieces to learn from, %d held out", heard.pieces, held_out.pieces)
    task = CpcTask(heard, held_out, config, options.batch)
    with torch.random.fork_rng(devices=[]):  # modules draw their first weights from torch's own generator
        torch.manual_seed(options.seed)
        model = Cpc(config, contexts)
        fit_config = FitConfig(
            minutes=options.minutes, lr=options.lr, seed=options.seed, precision=options.precision,
            ema_decay=options.ema, piece_minutes=options.piece, validate_every_s=options.validate_every,
            warmup_steps=options.warmup,
        )  # fmt: skip
        figures = fit(model, task, fit_config, options.out, cpu=options.cpu or None)
    best = torch.load(options.out / "best.pt", map_location="cpu", weights_only=False)
    model.cpu().load_state_dict(best["module"])
    scale = measure_scale(model, held_out)
    saved = {"model": model.state_dict(), "scale": scale.tensors(), "config": model.as_config(), "figures": figures}
    torch.save(saved, options.out / "model.pt")
    logger.info("best %s", figures)
    return figures


def measure_scale(model: Cpc, valid: Listening, sounds: int = SCALE_SOUNDS) -> NeuronScale:
    """Scale of every neuron over held-out sounds of the length of a live loop."""
    rng = np.random.default_rng(1)
    length, n = round(LOOP_S * valid.sample_rate), min(SCALE_BATCH, valid.pieces)
    batches = [valid.batch(rng, n, length) for _ in range(-(-sounds // n))]
    # The scale is what is being measured: an empty one stands in, and nothing applies it.
    return measure(EarNetwork(model.ear, "", NeuronScale({}, {})), batches, next(model.parameters()).device)


def load_trained(folder: Path) -> tuple[Cpc, NeuronScale, dict[str, float]]:
    """The ear that a training left in ``folder``, its scale and its figures.

    Raises:
        FileNotFoundError: none is there yet.
    """
    saved = torch.load(folder / "model.pt", map_location="cpu", weights_only=False)
    model = Cpc.from_config(saved["config"])
    model.load_state_dict(saved["model"])
    return model.eval(), NeuronScale.from_tensors(saved["scale"], model.ear.layers), saved["figures"]


def bundle(folder: Path, name: str, store: CheckpointStore, figures: Mapping[str, Any]) -> str:
    """Store the trained ear, its predictors and its scale in half precision; the checkpoint's name."""
    model, scale, own = load_trained(folder)
    checkpoint = EARS[f"ear:{name}"][0]
    tensors = {**model.state_dict(), **scale.tensors()}
    metrics = {**own, **figures}
    store.save(checkpoint, tensors, model.as_config(), metrics, CARD, dtype="float16", force=True)
    return checkpoint


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.neurons.train", description=__doc__)
    parser.add_argument("--ear", choices=TASTES, required=True, help="what it has a taste for")
    parser.add_argument("--audio", type=Path, nargs="+", default=[], help="folders: a corpus, or sound files")
    parser.add_argument("--out", type=Path, required=True, help="state, curve and model")
    parser.add_argument("--config", choices=CONFIGS, default="light")
    parser.add_argument("--minutes", type=float, default=40.0, help="total budget over all resumed runs")
    parser.add_argument("--piece", type=float, metavar="MINUTES", help="stop this run after so much of the budget")
    parser.add_argument("--validate-every", type=float, default=180.0, metavar="SECONDS")
    parser.add_argument("--batch", type=int, default=32, help="excerpts, and candidates to choose among")
    parser.add_argument("--contexts", type=int, help="contexts of an excerpt that predict; 9 for light, 1 as the paper")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=100, metavar="STEPS")
    parser.add_argument("--ema", type=float, default=0.0, help="average the weights; batch statistics are not")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precision", choices=("bf16", "no"), default="bf16")
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU where there is a GPU")
    parser.add_argument("--bundle", action="store_true", help="train nothing, store what is in --out")
    parser.add_argument("--figures", type=Path, help="JSON of the evaluation, to be stored with --bundle")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; ends stdout with one JSON object."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    if options.bundle:
        figures = json.loads(options.figures.read_text("utf-8")) if options.figures else {}
        print(json.dumps({"checkpoint": bundle(options.out, options.ear, CheckpointStore(), figures)}))
        return 0
    if not options.audio:
        parser().error("--audio is needed to train")
    print(json.dumps({"model": str(options.out / "model.pt"), **train(options)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
