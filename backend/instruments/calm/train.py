"""Training of the calm model: ``python -m backend.instruments.calm.train --scores DIR --out DIR [--minutes M]``.

``DIR`` of scores is the cache `backend.corpus.score_cache` fills. Resumable: repeat the command. ``--plain`` trains
the same network as an autoencoder without any regularisation, which `backend.instruments.calm.evaluate` compares with.
``--bundle`` stores what was trained as the checkpoint ``calm.model``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.checkpoints import CheckpointStore
from backend.instruments.calm import statistics
from backend.instruments.calm.attributes import attributes_of_rolls
from backend.instruments.calm.data import Clips, prepare
from backend.instruments.calm.latent import decode_rolls
from backend.instruments.calm.model import BASE, CHECKPOINT, CalmConfig, CalmVAE, config_of
from backend.instruments.calm.piece import N_PITCHES
from backend.instruments.calm.similarity import note_f1
from backend.musiclm.fit import FitConfig, fit

logger = logging.getLogger(__name__)

CARD = "calm/README.md"
BARS_A_BATCH = 192
LENGTHS = (4, 8, 8, 16)
SHIFT_SHARE = 0.4  # of training passages, moved by an octave
VALID_CLIPS = 96


@dataclasses.dataclass(frozen=True)
class Weights:
    """What the loss is made of, in nats a bar.

    Attributes:
        beta: of the Kullback-Leibler divergence, raised linearly between the shares `beta_from` and `beta_at` of the
            budget (Bowman et al., arXiv 1511.06349): asked for from the start, it empties the latent before the
            decoder has learned to read it.
        free_nats: of divergence a latent dimension that cost nothing (arXiv 1606.04934).
        hold: of the holds' cross-entropy; notes are heard by their onsets first.
        attributes: of the squared error of reading the attributes off the latent by a linear map, after AR-VAE (Pati
            and Lerch, arXiv 2004.05485), which ties each to one dimension instead.
        mixing: of the density of points between two passages, which should lie between theirs.
    """

    beta: float = 0.15
    beta_from: float = 0.1
    beta_at: float = 0.4
    free_nats: float = 0.25
    hold: float = 0.4
    attributes: float = 1.0
    mixing: float = 0.5


PLAIN = Weights(beta=0.0, free_nats=0.0, attributes=0.0, mixing=0.0)


class CalmObjective(nn.Module):
    """The model with its loss: ``{"rolls": [batch, 2, bars, 16, 88]}`` → ``(loss, figures)``.

    Args:
        noisy: sample the latent in training; an autoencoder that is not takes the mean.
    """

    def __init__(self, config: CalmConfig, weights: Weights | None = None, *, noisy: bool = True) -> None:
        super().__init__()
        self.model = CalmVAE(config)
        self.weights = weights or Weights()
        self.noisy = noisy
        self.beta = 0.0
        self.reader = nn.Linear(config.latent_dim, 4)

    def on_progress(self, progress: float) -> None:
        """Set β for a share of the budget."""
        w = self.weights
        self.beta = w.beta * min(1.0, max(0.0, progress - w.beta_from) / (w.beta_at - w.beta_from))

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of onsets and holds plus what `Weights` names, all a bar."""
        rolls = batch["rolls"].float()
        mu, logvar = self.model.encode(rolls)
        z = mu + (0.5 * logvar).exp() * torch.randn_like(mu) if self.training and self.noisy else mu
        logits = self.model.decode(z)
        bars = rolls.shape[0] * rolls.shape[2]
        onset, hold = (
            functional.binary_cross_entropy_with_logits(logits[:, i], rolls[:, i], reduction="sum") / bars
            for i in (0, 1)
        )
        # Averaged over the batch before the free bits, so that they are free on average and not in every bar.
        kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean((0, 1))
        w = self.weights
        loss = onset + w.hold * hold + self.beta * kl.clamp_min(w.free_nats).sum()
        figures = {"onset": onset.detach(), "hold": hold.detach(), "kl": kl.sum().detach()}
        if w.attributes:
            read = self._attribute_loss(z, batch["attributes"])
            loss, figures["attributes"] = loss + w.attributes * read, read.detach()
        if w.mixing and self.training:
            mixed = self._mixing_loss(mu, rolls)
            loss, figures["mixing"] = loss + w.mixing * mixed, mixed.detach()
        return loss, figures

    def _attribute_loss(self, z: Tensor, attributes: Tensor) -> Tensor:
        """Mean squared error of the standardised attributes; those of silent bars are NaN and not asked for."""
        known = attributes.isfinite()
        error = self.reader(z).float() - torch.where(known, attributes, torch.zeros_like(attributes))
        out: Tensor = (error.square() * known).sum() / known.sum().clamp_min(1)
        return out

    def _mixing_loss(self, mu: Tensor, rolls: Tensor) -> Tensor:
        """How far the expected notes of mixed passages are from the mixture of their notes, in each register.

        Between two passages a decoder may fall silent or play both; neither is a road. Per bar and octave band the
        expected number of onsets should be the mixture of the two. Squared error over the mean.
        """
        half = max(1, len(mu) // 4)  # enough to teach it, and cheap
        share = torch.rand(half, 1, 1, device=mu.device)
        z = mu[:half] + share * (mu[half : 2 * half] - mu[:half])
        expected = _bands(self.model.decode(z)[:, 0].sigmoid())
        ends = _bands(rolls[: 2 * half, 0])
        wanted = ends[:half] + share * (ends[half:] - ends[:half])
        return ((expected - wanted).square() / (wanted + 1.0)).sum(-1).mean()


def _bands(onset: Tensor) -> Tensor:
    """Notes a bar in each of eight bands of eleven semitones ``[batch, bars, 8]`` of ``[batch, bars, 16, 88]``."""
    out: Tensor = onset.sum(2).unflatten(-1, (8, N_PITCHES // 8)).sum(-1)
    return out


class CalmTask:
    """Batches of training clips and the figures of validation clips.

    Args:
        clips: of all splits.
        bars_a_batch: bars of music in a batch; passages of a batch are equally long.
    """

    def __init__(self, clips: Clips, bars_a_batch: int = BARS_A_BATCH) -> None:
        self.train, self.valid = clips.split("train"), clips.split("valid")
        if not len(self.train) or not len(self.valid):
            raise ValueError("there are too few scores for a training and a validation split")
        self.bars_a_batch = bars_a_batch
        some = self.train.rolls(np.linspace(0, len(self.train) - 1, min(400, len(self.train))).astype(int))
        known = attributes_of_rolls(some[:, 0, :8], some[:, 1, :8])
        self.mean, self.sd = np.nanmean(known, (0, 1)), np.nanstd(known, (0, 1)) + 1e-6
        picks = np.linspace(0, len(self.valid) - 1, min(VALID_CLIPS, len(self.valid))).astype(int)
        self._held_out = self.valid.rolls(np.unique(picks))[:, :, :8]

    def batch_of(self, rolls: npt.NDArray[np.uint8]) -> dict[str, Tensor]:
        """The batch of rolls ``[batch, 2, bars, 16, 88]``, with their standardised attributes."""
        attributes = (attributes_of_rolls(rolls[:, 0], rolls[:, 1]) - self.mean) / self.sd
        return {"rolls": torch.from_numpy(rolls), "attributes": torch.from_numpy(attributes).float()}

    def batches(self, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """Endless batches of 4, 8 or 16 bars from anywhere in a clip, some of them an octave higher or lower."""
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        pools = {bars: np.flatnonzero(self.train.bars >= bars) for bars in set(LENGTHS)}
        while True:
            bars = int(rng.choice(LENGTHS))
            pool = pools[bars]
            if not len(pool):
                continue
            picks = rng.choice(pool, max(2, self.bars_a_batch // bars))
            whole = self.train.rolls(picks)
            starts = rng.integers(0, self.train.bars[picks] - bars + 1)
            rolls = np.stack([clip[:, start : start + bars] for clip, start in zip(whole, starts, strict=True)])
            for index in np.flatnonzero(rng.random(len(rolls)) < SHIFT_SHARE):
                rolls[index] = octave_shift(rolls[index], int(rng.choice([-12, 12])))
            yield self.batch_of(rolls)

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """``loss`` is 1 - F1 of the notes that come back from the posterior mean."""
        objective: Any = module
        device = next(module.parameters()).device
        figures: dict[str, list[float]] = {"f1": []}
        for start in range(0, len(self._held_out), 24):
            rolls = self._held_out[start : start + 24]
            batch = {k: v.to(device) for k, v in self.batch_of(rolls).items()}
            _, parts = objective(batch)
            for name, value in parts.items():
                figures.setdefault(name, []).append(float(value))
            mu, _ = objective.model.encode(batch["rolls"].float())
            found, _ = decode_rolls(objective.model, mu)
            truth = rolls[:, 0].reshape(found.shape) > 0
            figures["f1"] += [note_f1(a, b) for a, b in zip(found, truth, strict=True)]
        means = {name: float(np.mean(values)) for name, values in figures.items()}
        return {"loss": 1 - means["f1"], **means}


def octave_shift(rolls: npt.NDArray[np.uint8], semitones: int) -> npt.NDArray[np.uint8]:
    """The rolls ``[..., 88]`` moved, or as they were when a note would leave the range."""
    moved = np.zeros_like(rolls)
    if semitones > 0:
        lost, moved[..., semitones:] = rolls[..., -semitones:], rolls[..., :-semitones]
    else:
        lost, moved[..., :semitones] = rolls[..., :-semitones], rolls[..., -semitones:]
    return rolls if lost.any() else moved


def load_trained(folder: Path) -> CalmVAE:
    """The model that a training left in ``folder``.

    Raises:
        FileNotFoundError: none is there yet.
    """
    saved = torch.load(folder / "model.pt", map_location="cpu", weights_only=False)
    model = CalmVAE(config_of(saved["config"]))
    model.load_state_dict(saved["model"])
    return model.eval()


def train(options: argparse.Namespace, config: CalmConfig = BASE) -> CalmVAE:
    """Prepare, train, measure the statistics and keep the model as ``out/model.pt``."""
    clips = prepare(options.scores, options.data or options.out)
    task = CalmTask(clips, options.batch_bars)
    weights = PLAIN if options.plain else Weights(beta=options.beta)
    with torch.random.fork_rng(devices=[]):  # modules draw their first weights from torch's own generator
        torch.manual_seed(options.seed)
        objective = CalmObjective(config, weights, noisy=not options.plain)
        fit_config = FitConfig(
            minutes=options.minutes, lr=options.lr, seed=options.seed, precision=options.precision,
            ema_decay=options.ema, piece_minutes=options.piece, validate_every_s=options.validate_every,
            weight_decay=0.01,
        )  # fmt: skip
        figures = fit(
            objective, task, fit_config, options.out, cpu=options.cpu or None,
            on_step=lambda _module, _step, progress: objective.on_progress(progress),
        )  # fmt: skip
    best = torch.load(options.out / "best.pt", map_location="cpu", weights_only=False)
    objective.cpu().load_state_dict(best["module"])
    model = objective.model.eval()
    statistics.measure(model, task.train, task.valid)
    torch.save({"model": model.state_dict(), "config": model.as_config(), "figures": figures}, options.out / "model.pt")
    logger.info("best %s", figures)
    return model


def bundle(folder: Path, store: CheckpointStore, figures: Mapping[str, Any]) -> None:
    """Store the trained model in half precision as ``calm.model``, with the evaluation's figures."""
    model = load_trained(folder)
    store.save(CHECKPOINT, model.state_dict(), model.as_config(), figures, CARD, dtype="float16", force=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.calm.train", description=__doc__)
    parser.add_argument("--scores", type=Path, help="folder of parsed scores")
    parser.add_argument("--out", type=Path, required=True, help="clips, state, curve and model")
    parser.add_argument("--data", type=Path, help="folder with the prepared clips, if not --out")
    parser.add_argument("--minutes", type=float, default=45.0, help="total budget over all resumed runs")
    parser.add_argument("--piece", type=float, metavar="MINUTES", help="stop this run after so much of the budget")
    parser.add_argument("--validate-every", type=float, default=180.0, metavar="SECONDS")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--ema", type=float, default=0.995)
    parser.add_argument("--beta", type=float, default=Weights.beta)
    parser.add_argument("--batch-bars", type=int, default=BARS_A_BATCH)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precision", choices=("bf16", "no"), default="bf16")
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU where there is a GPU")
    parser.add_argument("--plain", action="store_true", help="an unregularised autoencoder, to compare with")
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
        bundle(options.out, CheckpointStore(), figures)
        print(json.dumps({"checkpoint": CHECKPOINT}))
        return 0
    if options.scores is None:
        parser().error("--scores is needed to train")
    model = train(options)
    parameters = sum(p.numel() for p in model.parameters())
    print(json.dumps({"parameters": parameters, "model": str(options.out / "model.pt")}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
