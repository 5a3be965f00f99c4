"""Training of the judge `backend.metrics.violinist`: a violin alone, or anything else.

``python -m backend.musiclm.violinist_train --violin DIR --rivals DIR --corpus DIR --real DIR --out DIR --minutes 12``

Resumable as every training is. At the end the judge's temperature is fitted on the validation pieces, it is heard on
the test pieces and on the recording that was held out, and ``--save`` stores it with those figures.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.checkpoints import CheckpointStore
from backend.metrics.violinist import CHECKPOINT, Violinist, ViolinistConfig
from backend.musiclm.fit import FitConfig, fit
from backend.musiclm.generator import MusicGenerator
from backend.musiclm.violinist_data import RATE, VARIANTS, WINDOW_S, Sound, SoundCache, augment, gather

logger = logging.getLogger(__name__)

CARD = "judges/README.md"
MOST = {"train": 170, "valid": 36, "test": 80}
"""Clips of a corpus that are also heard through the codec and the acoustic stage."""
SHARES = {"violin": 0.36, "real violin": 0.14, "rivals": 0.28, "band": 0.1, "others": 0.09, "real other": 0.03}
"""How often a window comes from where; half of them are violins."""
SMOOTHING = 0.02
Array = npt.NDArray[np.float64]


class ViolinistObjective(nn.Module):
    """The judge with its loss: ``{"audio", "violin"}`` → ``(loss, figures)``."""

    def __init__(self, config: ViolinistConfig) -> None:
        super().__init__()
        self.violinist = Violinist(config)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Binary cross-entropy with slightly softened labels."""
        logits = self.violinist(batch["audio"]).float()
        target = batch["violin"] * (1 - 2 * SMOOTHING) + SMOOTHING
        loss = functional.binary_cross_entropy_with_logits(logits, target)
        return loss, {"wrong": ((logits > 0) != (batch["violin"] > 0.5)).float().mean().detach()}


class ViolinistTask:
    """Random windows of five or ten seconds, augmented alike whoever plays.

    Args:
        sounds: of the splits ``train`` and ``valid``; others are ignored.
        rivals: groups that count as a violin's rivals.
        batch: windows of ten seconds a step; twice as many of five.
    """

    def __init__(self, sounds: Sequence[Sound], rivals: frozenset[str], batch: int) -> None:
        self.batch = batch
        self.valid = [sound for sound in sounds if sound.split == "valid"]
        pools: dict[str, dict[tuple[str, str], list[Sound]]] = defaultdict(lambda: defaultdict(list))
        for sound in sounds:
            if sound.split == "train":
                pools[_pool_of(sound, rivals)][sound.group, sound.variant].append(sound)
        self.pools = {name: [pools[name][key] for key in sorted(pools[name])] for name in SHARES if name in pools}
        self.weights = torch.tensor([SHARES[name] for name in self.pools])

    def _draw(self, length: int, generator: torch.Generator) -> tuple[Tensor, float]:
        """A pool, then a group in a variant, then a sound, then a place in it."""

        def below(n: int) -> int:
            return int(torch.randint(n, (), generator=generator))

        pool = list(self.pools.values())[int(torch.multinomial(self.weights, 1, generator=generator))]
        sounds = pool[below(len(pool))]
        for _ in range(8):
            sound = sounds[below(len(sounds))]
            window = sound.window(below(max(1, len(sound.samples) - length)), length)
            if float(window.abs().max()) > 0.01:
                break
        return window, float(sound.violin)

    def batches(self, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """Endless batches; one in eight windows is left as it is."""
        while True:
            short = bool(torch.rand((), generator=generator) < 0.5)
            length = (WINDOW_S // 2 if short else WINDOW_S) * RATE
            rows = [self._draw(length, generator) for _ in range(self.batch * (2 if short else 1))]
            audio = torch.stack([row for row, _ in rows])
            changed = augment(audio, generator)
            kept = torch.rand(len(rows), 1, generator=generator) < 0.125
            yield {"audio": torch.where(kept, audio, changed), "violin": torch.tensor([target for _, target in rows])}

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """Held-out loss, with both answers weighing the same, and area under the curve."""
        judge: Any = module.violinist
        logits, targets = hear_all(judge, self.valid), np.array([sound.violin for sound in self.valid])
        return {"loss": balanced_loss(logits, targets), "auc": auc(logits[targets], logits[~targets])}


def _pool_of(sound: Sound, rivals: frozenset[str]) -> str:
    if sound.group in ("real violin", "band", "real other"):
        return sound.group
    return "violin" if sound.violin else "rivals" if sound.group in rivals else "others"


@torch.inference_mode()
def hear_all(judge: Violinist, sounds: Sequence[Sound]) -> Array:
    """Logits of the first ten seconds of every sound, ``[sounds]``."""
    out = []
    for start in range(0, len(sounds), 16):
        audio = torch.stack([sound.window(0, WINDOW_S * RATE) for sound in sounds[start : start + 16]])
        out.append(judge(audio.to(next(judge.parameters()).device)).float().cpu())
    return torch.cat(out).double().numpy()


def balanced_loss(logits: Array, targets: npt.NDArray[np.bool_]) -> float:
    """Cross-entropy in nats, violins and others weighing half each."""
    return float(0.5 * np.logaddexp(0, -logits[targets]).mean() + 0.5 * np.logaddexp(0, logits[~targets]).mean())


def auc(positive: Array, negative: Array) -> float:
    """Probability that a violin gets a higher logit than something else; ties count half."""
    difference = positive[:, None] - negative[None]
    return float((difference > 0).mean() + 0.5 * (difference == 0).mean())


def fit_temperature(logits: Array, targets: npt.NDArray[np.bool_]) -> float:
    """What the logits must be divided by for the least balanced cross-entropy (Guo et al., arXiv 1706.04599)."""
    candidates = np.geomspace(0.25, 8.0, 121)
    return float(min(candidates, key=lambda t: balanced_loss(logits / t, targets)))


def report(judge: Violinist, sounds: Sequence[Sound]) -> dict[str, Any]:
    """On the test pieces, by variant: accuracy, area under the curve, mean probability by who plays.

    The recording that was held out is heard in windows of ten seconds with a hop of five, and counted apart.
    """
    figures: dict[str, Any] = {}
    test = [sound for sound in sounds if sound.split == "test"]
    for variant in VARIANTS:
        here = [s for s in test if s.variant == variant and s.group != "real violin"]
        if not here:
            continue
        logits, targets = hear_all(judge, here), np.array([s.violin for s in here])
        probability = 1 / (1 + np.exp(-logits))
        right = (probability > 0.5) == targets
        by_group: dict[str, list[float]] = defaultdict(list)
        for sound, p in zip(here, probability.tolist(), strict=True):
            by_group[sound.group.replace(" ", "_")].append(p)
        figures[variant] = {
            "windows": len(here),
            "accuracy": round(float(0.5 * right[targets].mean() + 0.5 * right[~targets].mean()), 4),
            "auc": round(auc(logits[targets], logits[~targets]), 4),
            "probability": {name: round(float(np.mean(ps)), 3) for name, ps in sorted(by_group.items())},
        }
    for sound in (s for s in test if s.group == "real violin"):
        starts = range(0, len(sound.samples) - WINDOW_S * RATE, WINDOW_S * RATE // 2)
        windows = [replace(sound, samples=sound.samples[a : a + WINDOW_S * RATE]) for a in starts]
        p = 1 / (1 + np.exp(-hear_all(judge, windows)))
        figures[f"real_{sound.variant}"] = {
            "windows": len(p), "probability": round(float(p.mean()), 4), "least": round(float(p.min()), 4),
            "above_half": round(float((p > 0.5).mean()), 4),
        }  # fmt: skip
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.musiclm.violinist_train", description=__doc__)
    for name, text in (
        ("violin", "folder of backend.corpus.violin"), ("rivals", "folder of backend.corpus.violin --rivals"),
        ("corpus", "folder of backend.corpus.build"), ("real", "recordings of a violin alone"), ("out", "of this run"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", type=Path, required=True, help=text)
    parser.add_argument("--samples", type=Path, help="recordings of anything but violins")
    parser.add_argument("--minutes", type=float, default=12.0)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gather-only", action="store_true", help="make the sounds, train later")
    parser.add_argument("--save", action="store_true", help="store the judge with its figures")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    store = CheckpointStore()
    cache = SoundCache(options.out / "sounds", MusicGenerator(store, torch.device("cpu")))
    corpora = {"violin": options.violin, "rivals": options.rivals, "corpus": options.corpus}
    sounds = gather(cache, corpora, options.real, options.samples, MOST)
    if options.gather_only:
        return 0
    del cache
    config, figures = train(sounds, options)
    if options.save:
        store.save(CHECKPOINT, config[1], asdict(config[0]), figures, CARD, force=True, dtype="float16")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")
    return 0


def train(sounds: Sequence[Sound], options: argparse.Namespace) -> tuple[tuple[ViolinistConfig, Any], dict[str, Any]]:
    """Train, calibrate and measure.

    Returns:
        Configuration and weights, and the figures.
    """
    from backend.corpus.violin import RIVALS

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        module = ViolinistObjective(ViolinistConfig())
    task = ViolinistTask(sounds, frozenset(RIVALS), options.batch)
    settings = FitConfig(options.minutes, lr=2e-3, seed=options.seed, ema_decay=0.99, validate_every_s=90.0)
    fit(module, task, settings, options.out, cpu=True)
    best = torch.load(options.out / "best.pt", map_location="cpu", weights_only=False)
    module.load_state_dict(best["module"])
    judge = module.violinist.eval()
    targets = np.array([sound.violin for sound in task.valid])
    logits = hear_all(judge, task.valid)
    temperature = fit_temperature(logits, targets)
    judge.config = replace(judge.config, temperature=round(temperature, 4))
    figures = {
        "valid": {"auc": round(auc(logits[targets], logits[~targets]), 4),
                  "loss": round(balanced_loss(logits / temperature, targets), 4)},
        "test": report(judge, sounds),
    }  # fmt: skip
    return (judge.config, judge.state_dict()), figures


if __name__ == "__main__":
    sys.exit(main())
