"""Training of the judge of timbre: ``python -m backend.instruments.genre_transfer.timbre_train --out DIR …``.

``--corpus`` is a folder of `backend.corpus.build`, of which clips with a single instrument are heard; ``--genres`` one
of `material`, of which each track is a source of its own. Resumable; ``--bundle`` stores what was trained as
``judges.timbre``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.audio import io
from backend.checkpoints import CheckpointStore
from backend.corpus.catalogue import read_catalogue
from backend.metrics.timbre import CHECKPOINT, WINDOW_S, TimbreConfig, TimbreNet
from backend.musiclm.fit import FitConfig, fit

logger = logging.getLogger(__name__)

CARD = "genre_transfer/README.md"
MARGIN = 0.3
SOURCES = 48
"""Sources a batch, two stretches of each."""

SAME_KIND = 0.5
"""Share of batches whose sources are all of one kind (genre, instrument), where only details tell them apart."""

Cepstra = npt.NDArray[np.float16]


class Triplets(nn.Module):
    """Two views of each source → hinge on the hardest and on the mean negative."""

    def __init__(self, config: TimbreConfig) -> None:
        super().__init__()
        self.net = TimbreNet(config)

    def forward(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """``[2, sources, coefficients, frames]`` → loss and the share of triplets in the right order."""
        views = self.net(batch.flatten(0, 1)).reshape(2, batch.shape[1], -1).float()
        similarity = views[0] @ views[1].T
        positive = similarity.diagonal()[:, None]
        others = ~torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
        hinges = functional.relu(MARGIN - positive + similarity)[others].reshape(len(similarity), -1)
        hard = hinges.topk(min(5, hinges.shape[1]), 1).values.mean()
        right = (positive > similarity)[others].float().mean()
        return 0.5 * hard + 0.5 * hinges.mean(), {"right": right.detach()}


class Sources:
    """Cepstra of every source of a split, with the kind each belongs to."""

    def __init__(self, corpus: Path | None, genres: Path | None, split: str, net: TimbreNet) -> None:
        self.cepstra, self.kinds = list[Cepstra](), list[str]()
        for path, kind in [*_solos(corpus, split), *_tracks(genres, split)]:
            waveform = io.read(path, sample_rate=net.config.sample_rate, mono=True)
            with torch.no_grad():
                found = net.cepstra(torch.from_numpy(waveform.samples[0]))
            self.cepstra.append(found.numpy().astype(np.float16))
            self.kinds.append(kind)
        self.frames = round(WINDOW_S * net.config.sample_rate / 512)
        self._by_kind = {kind: [i for i, k in enumerate(self.kinds) if k == kind] for kind in set(self.kinds)}

    def batch(self, rng: np.random.Generator, count: int) -> Tensor:
        """``[2, sources, coefficients, frames]``, two stretches of each source."""
        pool = list(range(len(self.cepstra)))
        large = [rows for _, rows in sorted(self._by_kind.items()) if len(rows) >= 8]
        if large and rng.random() < SAME_KIND:
            pool = large[rng.integers(len(large))]
        chosen = rng.permutation(pool)[:count]
        views = [torch.from_numpy(np.stack([self._view(int(i), rng) for i in chosen])) for _ in range(2)]
        return torch.stack(views).float()

    def _view(self, index: int, rng: np.random.Generator) -> Cepstra:
        found = self.cepstra[index]
        start = int(rng.integers(max(1, found.shape[1] - self.frames + 1)))
        piece = found[:, start : start + self.frames]
        short = self.frames - piece.shape[1]
        return np.pad(piece, ((0, 0), (0, short)), mode="wrap") if short else piece


def _solos(corpus: Path | None, split: str) -> list[tuple[Path, str]]:
    if corpus is None:
        return []
    clips = [clip for clip in read_catalogue(corpus) if clip.split == split and clip.meta["ensemble"] == "solo"]
    return [(clip.audio_path, str(clip.meta["instruments"][0]["family"])) for clip in clips]


def _tracks(genres: Path | None, split: str) -> list[tuple[Path, str]]:
    if genres is None:
        return []
    return [(path, path.parent.name) for path in sorted((genres / split).glob("*/*.flac"))]


class TimbreTask:
    """Batches of sources, and triplets among held-out ones."""

    def __init__(self, train: Sources, valid: Sources) -> None:
        self.train = train
        rng = np.random.default_rng(0)
        self._valid = [valid.batch(rng, SOURCES) for _ in range(12)]

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Endless training batches."""
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        while True:
            yield self.train.batch(rng, SOURCES)

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """Loss and share of held-out triplets in the right order."""
        rows = [module(batch) for batch in self._valid]
        return {
            "loss": float(np.mean([float(loss) for loss, _ in rows])),
            "triplets_right": float(np.mean([float(figures["right"]) for _, figures in rows])),
        }


def train(options: argparse.Namespace) -> dict[str, float]:
    """Train and keep the net as ``out/best.pt``; the best validation's figures."""
    config = TimbreConfig()
    with torch.random.fork_rng(devices=[]):  # modules draw their first weights from torch's own generator
        torch.manual_seed(options.seed)
        module = Triplets(config)
        heard, held_out = (Sources(options.corpus, options.genres, s, module.net) for s in ("train", "valid"))
        logger.info("%d sources to learn from, %d held out", len(heard.cepstra), len(held_out.cepstra))
        budget = FitConfig(minutes=options.minutes, seed=options.seed, precision="no", validate_every_s=30.0)
        return fit(module, TimbreTask(heard, held_out), budget, options.out, cpu=True)


def bundle(folder: Path, store: CheckpointStore) -> str:
    """Store the trained net in half precision; the checkpoint's name."""
    saved = torch.load(folder / "best.pt", map_location="cpu", weights_only=False)
    module = Triplets(TimbreConfig())
    module.load_state_dict(saved["module"])
    store.save(
        CHECKPOINT, module.net.state_dict(), module.net.as_config(), saved["figures"], CARD, dtype="float16", force=True
    )
    return CHECKPOINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; ends stdout with one JSON object."""
    parser = argparse.ArgumentParser(
        prog="python -m backend.instruments.genre_transfer.timbre_train", description=__doc__
    )
    parser.add_argument("--corpus", type=Path, help="folder of backend.corpus.build")
    parser.add_argument("--genres", type=Path, help="folder of material: <split>/<genre>/<track>.flac")
    parser.add_argument("--out", type=Path, required=True, help="state, curve and model")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--bundle", action="store_true", help="train nothing, store what is in --out")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    if options.bundle:
        figures: dict[str, object] = {"checkpoint": bundle(options.out, CheckpointStore())}
    elif options.corpus is None and options.genres is None:
        parser.error("--corpus or --genres is needed to train")
    else:
        figures = {"out": str(options.out), **train(options)}
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
