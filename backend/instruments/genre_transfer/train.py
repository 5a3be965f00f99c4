"""Training: ``python -m backend.instruments.genre_transfer.train --model lil_data --genres DIR --out DIR``.

``--genres`` is what `material` made, or any folder with a folder of sound files for each genre. Resumable: repeat the
command. ``--test`` trains nothing and measures on held-out tracks; ``--bundle`` stores what was trained.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backend.audio.io import read
from backend.checkpoints import CheckpointStore
from backend.errors import RequestError
from backend.instruments.genre_transfer import judge, lil_data
from backend.instruments.genre_transfer.augment import equalised, low_passed, masked, noisy, resped
from backend.instruments.genre_transfer.baselines import make_baseline
from backend.instruments.genre_transfer.continuation import Continuation
from backend.instruments.genre_transfer.cutting import LONGEST_S, GenreFolder, cut, read_genre_folder
from backend.instruments.genre_transfer.genres import GENRES
from backend.instruments.genre_transfer.image_cache import CachedSplit, images, open_cache
from backend.instruments.genre_transfer.judge import Judge, JudgeConfig
from backend.instruments.genre_transfer.lil_data import LilData, LilDataConfig, keep_gains_positive
from backend.instruments.genre_transfer.listen import Ear, classifier_figures
from backend.instruments.genre_transfer.spectrogram import mono_clip
from backend.musiclm.fit import FitConfig, fit

logger = logging.getLogger(__name__)

CARD = "genre_transfer/README.md"
MODELS = ("lil_data", "softmax", "resnet", "judge", "continuation")
BATCHES = {"lil_data": 16, "softmax": 32, "resnet": 16, "judge": 32, "continuation": 16}
RATES = {"lil_data": 2e-3, "softmax": 3e-4, "resnet": 2e-3, "judge": 2e-3, "continuation": 6e-3}
SMOOTHING = 0.05
VALID_CLIPS = 384
CONTINUED = "lofi"
CONTINUED_FRAMES = 192


class Classified(nn.Module):
    """A classifier under cross-entropy with a little label smoothing (arXiv 1512.00567, section 7)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and accuracy."""
        picture = batch["picture"]
        if picture.ndim == 4:  # in half the time on a CPU
            picture = picture.contiguous(memory_format=torch.channels_last)
        logits = self.net(picture).float()
        loss = nn.functional.cross_entropy(logits, batch["label"], label_smoothing=SMOOTHING if self.training else 0.0)
        return loss, {"accuracy": (logits.argmax(-1) == batch["label"]).float().mean()}


class ClassifierTask:
    """Augmented excerpts of training tracks, and whole clips of held-out ones."""

    def __init__(self, splits: Mapping[str, CachedSplit], net: nn.Module, batch: int) -> None:
        self.train, self.valid, self.batch = splits["train"], splits["valid"], batch
        self.net = net

    def batches(self, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """Endless training batches."""
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        noise = self.train.genres.index("noise") if "noise" in self.train.genres else None
        while True:
            decibels, label = self.train.batch(rng, self.batch)
            if isinstance(self.net, Judge):
                other = (
                    self.train.batch(rng, self.batch, noise)[0] if noise is not None and rng.random() < 0.5 else None
                )
                yield {"picture": _for_judge(decibels, other, self.net, rng), "label": label}
            else:
                yield {"picture": _for_image_net(decibels, rng), "label": label}

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """Loss and accuracy over clips of held-out tracks."""
        logits, labels = cached_logits(module.net, self.valid, VALID_CLIPS)  # type: ignore[arg-type]
        loss = float(nn.functional.cross_entropy(logits, labels))
        return {"loss": loss, "accuracy": float((logits.argmax(-1) == labels).float().mean())}


class ContinuationTask:
    """Excerpts of one genre as images."""

    def __init__(self, splits: Mapping[str, CachedSplit], genre: str, batch: int) -> None:
        self.splits, self.batch, self.label = splits, batch, splits["train"].genres.index(genre)
        self._held_out = images(splits["valid"].batch(np.random.default_rng(0), 16, self.label)[0])[:, 0]

    def batches(self, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """Endless training batches."""
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        while True:
            image = images(self.splits["train"].batch(rng, self.batch, self.label)[0])[:, 0]
            start = int(
                rng.integers(0, image.shape[-1] - CONTINUED_FRAMES + 1)
            )  # a second and a half: more steps a minute
            yield {"image": image[..., start : start + CONTINUED_FRAMES]}

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """Loss and error on fixed held-out clips, beside the error of repeating the last column."""
        loss, figures = module({"image": self._held_out})
        copied = (self._held_out[..., 1:] - self._held_out[..., :-1]).abs().mean()
        return {"loss": float(loss), "l1": float(figures["l1"]), "l1_of_repeating": float(copied)}


def _for_image_net(decibels: Tensor, rng: np.random.Generator) -> Tensor:
    """Training images for Lil Data and its baselines ``[n, 1, 631, 631]``."""
    decibels = low_passed(equalised(decibels, rng, 2.5), rng, 0.1)
    if rng.random() < 0.4:
        decibels = noisy(decibels, rng, -100, -50)
    pictures = resped(images(decibels)[:, 0], rng, 0.06)
    return masked(pictures, rng, 60, 60, lil_data.CENTRE)[:, None]


def _for_judge(decibels: Tensor, other: Tensor | None, net: Judge, rng: np.random.Generator) -> Tensor:
    """Training log-mels for the judge: stronger colours, foreign sound underneath, more speed."""
    magnitude = 10 ** (low_passed(equalised(decibels, rng, 5.0), rng, 0.25) / 20)
    magnitude = magnitude * torch.from_numpy(10 ** rng.uniform(-1, 0.3, (len(magnitude), 1, 1))).float()
    if other is not None:
        scale = magnitude.pow(2).mean((1, 2), keepdim=True).sqrt() / (10 ** (other / 20)).pow(2).mean(
            (1, 2), keepdim=True
        ).sqrt().clamp(min=1e-6)
        level = torch.from_numpy(10 ** (rng.uniform(-45, -12, (len(magnitude), 1, 1)) / 20)).float()
        magnitude = torch.sqrt(magnitude**2 + (level * scale * 10 ** (other / 20)) ** 2)
    mels = resped(net.log_mel(magnitude), rng, 0.1)
    out = mels.clone()
    for row in out:  # masked with the mean of the clip, which carries nothing
        row[:] = masked(row[None], rng, 10, 40, float(row.mean()))[0]
    return out


@torch.no_grad()
def cached_logits(net: nn.Module, split: CachedSplit, most: int | None = None) -> tuple[Tensor, Tensor]:
    """Logits and labels of the clips of a cached split, evenly thinned to at most so many."""
    clips = list(split.clips())
    chosen = (
        clips
        if most is None or len(clips) <= most
        else [clips[i] for i in np.linspace(0, len(clips) - 1, most).astype(int)]
    )
    rows = []
    for k in range(0, len(chosen), 16):
        decibels = torch.stack([clip for clip, _ in chosen[k : k + 16]])
        rows.append(net(net.log_mel(10 ** (decibels / 20)) if isinstance(net, Judge) else images(decibels)).float())
    return torch.cat(rows), torch.tensor([label for _, label in chosen])


def make_net(model: str, genres: tuple[str, ...]) -> nn.Module:
    """An untrained net."""
    if model == "lil_data":
        return LilData(LilDataConfig(batch_norm=True, genres=genres))
    if model == "judge":
        return Judge(JudgeConfig(genres=genres))
    return Continuation() if model == "continuation" else make_baseline(model, genres)


def train(options: argparse.Namespace, folder: GenreFolder) -> dict[str, float]:
    """Train, and keep what is used as ``out/<model>.pt``; the best validation's figures."""
    splits = open_cache(
        folder, options.cache or options.out.parent / f"{options.genres.name}_images", ("train", "valid")
    )
    with torch.random.fork_rng(devices=[]):  # modules draw their first weights from torch's own generator
        torch.manual_seed(options.seed + MODELS.index(options.model))
        net = make_net(options.model, folder.genres)
        batch = options.batch or BATCHES[options.model]
        config = FitConfig(
            minutes=options.minutes, lr=RATES[options.model], weight_decay=0.3 if options.model == "softmax" else 0.03,
            seed=options.seed + 17 * MODELS.index(options.model), validate_every_s=options.validate_every,
            ema_decay=0.99, piece_minutes=options.piece, precision=options.precision,
        )  # fmt: skip
        if isinstance(net, Continuation):
            module: nn.Module = net
            fit(net, ContinuationTask(splits, options.genre, batch), config, options.out, cpu=options.cpu or None)
        else:
            module = Classified(net)
            fit(module, ClassifierTask(splits, net, batch), config, options.out, cpu=options.cpu or None,
                on_step=lambda part, step, progress: keep_gains_positive(part))  # fmt: skip
    best = torch.load(options.out / "best.pt", map_location="cpu", weights_only=False)
    module.cpu().load_state_dict(best["module"])
    net.eval()
    figures: dict[str, float] = dict(best["figures"])
    if isinstance(net, Judge):
        logits, labels = cached_logits(net, splits["valid"])
        net.temperature.fill_(judge.fitted_temperature(logits, labels))
        figures["temperature"] = float(net.temperature)
    if isinstance(net, LilData):
        keep_gains_positive(net)
        net = net.folded()
    saved = {"model": net.state_dict(), "config": net.as_config(), "figures": figures}  # type: ignore[operator]
    torch.save(saved, options.out / f"{options.model}.pt")
    return figures


def load_trained(model: str, out: Path) -> nn.Module:
    """The net a training left in a folder.

    Raises:
        RequestError: none is there.
    """
    path = out / f"{model}.pt"
    if not path.is_file():
        raise RequestError("out", str(out), f"a folder with a trained {model}")
    saved = torch.load(path, map_location="cpu", weights_only=False)
    kinds: dict[str, Any] = {"lil_data": LilData, "judge": Judge, "continuation": Continuation}
    net: nn.Module
    if model in kinds:
        net = kinds[model].from_config(saved["config"])
    else:
        net = make_net(model, tuple(saved["config"]["genres"]))
    net.load_state_dict(saved["model"])
    return net.eval().requires_grad_(False)


def held_out_clips(folder: GenreFolder) -> Iterator[tuple[str, Tensor]]:
    """Genre and sound of every five seconds of the test tracks, cut after the tracks were split."""
    for genre, path in folder.tracks("test"):
        for clip in cut(read(path, max_seconds=LONGEST_S, max_bytes=2_000_000_000)):
            yield genre, mono_clip(clip)


def test(model: str, out: Path, folder: GenreFolder) -> dict[str, Any]:
    """Figures on held-out tracks, from their sound."""
    net = load_trained(model, out)
    if isinstance(net, Continuation):
        raise RequestError("model", model, "a classifier")
    ear: Ear = net  # type: ignore[assignment]
    return classifier_figures(ear, held_out_clips(folder)) | {"parameters": sum(p.numel() for p in net.parameters())}


def bundle(model: str, out: Path, store: CheckpointStore, figures: Mapping[str, Any]) -> str:
    """Store what was trained in half precision; the checkpoint's name."""
    net = load_trained(model, out)
    own = torch.load(out / f"{model}.pt", map_location="cpu", weights_only=False)["figures"]
    tensors = {name: value for name, value in net.state_dict().items()}
    valid = {f"valid_{name}": value for name, value in own.items()}
    name = f"genre_transfer.{model}"
    config: dict[str, Any] = net.as_config()  # type: ignore[operator]
    store.save(name, tensors, config, {**valid, **figures}, CARD, dtype="float16", force=True)
    return name


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.genre_transfer.train", description=__doc__)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--genres", type=Path, help="folder of folders of sound files")
    parser.add_argument("--out", type=Path, required=True, help="state, curve and model")
    parser.add_argument("--cache", type=Path, help="where spectrograms are kept; beside --out by default")
    parser.add_argument("--minutes", type=float, default=20.0, help="total budget over all resumed runs")
    parser.add_argument("--piece", type=float, metavar="MINUTES", help="stop this run after so much of the budget")
    parser.add_argument("--validate-every", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--genre", default=CONTINUED, help="which one the continuation learns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("bf16", "no"), default="bf16")
    parser.add_argument("--cpu", action="store_true", help="stay on the CPU where there is a GPU")
    parser.add_argument("--test", action="store_true", help="train nothing, measure on held-out tracks")
    parser.add_argument("--bundle", action="store_true", help="train nothing, store what is in --out")
    parser.add_argument("--figures", type=Path, help="JSON of --test, to be stored with --bundle")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; ends stdout with one JSON object."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    if options.bundle:
        figures = json.loads(options.figures.read_text("utf-8")) if options.figures else {}
        print(json.dumps({"checkpoint": bundle(options.model, options.out, CheckpointStore(), figures)}))
        return 0
    if options.genres is None:
        parser().error("--genres is needed")
    folder = read_genre_folder(options.genres, GENRES)
    if options.test:
        print(json.dumps(test(options.model, options.out, folder)))
        return 0
    print(json.dumps({"model": str(options.out / f"{options.model}.pt"), **train(options, folder)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
