"""Train an adapter: ``python -m backend.instruments.violin.train --clips DIR --out DIR``; ends with one JSON object.

Resumable: the same command goes on where it stopped. What resumes lies in ``--out``, at most a minute old.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backend.audio.io import write
from backend.audio.loudness import finished
from backend.checkpoints import CheckpointStore
from backend.errors import Cancelled, NeuromuseError
from backend.instruments.violin.adapter import Adapter, base_of
from backend.instruments.violin.instrument import HEAD_MIN_P
from backend.instruments.violin.lora import LoraSettings, adapter_state
from backend.instruments.violin.objective import AdapterObjective, AdapterTask, recipe
from backend.instruments.violin.prepare import Prepared, prepare
from backend.instruments.violin.status import StatusFile
from backend.job import Job
from backend.musiclm.fit import FitConfig, fit
from backend.musiclm.generator import MusicGenerator
from backend.settings import Settings

logger = logging.getLogger(__name__)

SAMPLE_S = 6.0
FOLDER = "adapter"
"""Folder inside ``--out`` that the adapter is saved to, after every better validation."""


@dataclass(frozen=True)
class TrainConfig:
    """How long and how fast.

    Attributes:
        minutes: of training, preparation not counted.
        lr: peak learning rate.
        batch: windows of each stage in a step.
        save_s: seconds between two validations, after each of which everything is saved.
        patience: validations in a row without improvement before it ends early.
        sample_every_s: seconds between two samples.
        seed: of all that is random.
    """

    minutes: float = 12.0
    lr: float = 1.5e-3
    batch: int = 6
    save_s: float = 45.0
    patience: int | None = 8
    sample_every_s: float = 150.0
    seed: int = 0


def train_adapter(
    models: MusicGenerator,
    prepared: Prepared,
    settings: LoraSettings,
    config: TrainConfig,
    out: Path,
    finish: Callable[[dict[str, torch.Tensor], dict[str, Any]], Adapter],
    status: StatusFile,
) -> Adapter:
    """Train on what was prepared; ``models`` are changed in place and are of no use afterwards.

    Args:
        models: the base.
        prepared: examples.
        settings: of the adapter.
        config: how long and how fast.
        out: folder to resume from.
        finish: makes the adapter of weights and figures.
        status: told of every step.

    Raises:
        Cancelled: it was asked to stop.
    """
    objective = AdapterObjective(models, settings)
    data = prepared.data
    task = AdapterTask(data, config.batch, models.semantic.config.window, models.codec.frame_rate)
    if status.now.base_loss is None:
        objective.eval()
        with torch.no_grad():
            status.now.base_loss = task.validate(objective)["loss"]
    watch = _Watch(models, prepared, config, out, status)
    figures = fit(
        objective,
        task,
        FitConfig(
            minutes=config.minutes, lr=config.lr, weight_decay=0.0, warmup_steps=20, validate_every_s=config.save_s,
            seed=config.seed, precision=_precision(models.device), ema_decay=0.99, patience=config.patience,
        ),
        out,
        cpu=models.device.type == "cpu",
        on_step=watch,
    )  # fmt: skip
    watch.read_curve()
    best = torch.load(out / "best.pt", map_location="cpu", weights_only=True)["module"]
    objective.load_state_dict(best)
    return finish(adapter_state(objective.stages), {**figures, "base_loss": status.now.base_loss})


class _Watch:
    """Reports before every step, reads the curve when it grows, and plays a sample now and then."""

    def __init__(
        self, models: MusicGenerator, prepared: Prepared, config: TrainConfig, out: Path, status: StatusFile
    ) -> None:
        self.models, self.prepared, self.config, self.out, self.status = models, prepared, config, out, status
        self.sampled_s = time.monotonic()

    def __call__(self, module: nn.Module, step: int, progress: float) -> None:
        total = self.config.minutes
        self.read_curve()
        self.status.step(progress * total, total, f"Step {step + 1}", state="training")
        if time.monotonic() - self.sampled_s > self.config.sample_every_s:
            self._sample(module, step)
            self.sampled_s = time.monotonic()

    def read_curve(self) -> None:
        """Tell of the validations so far."""
        path = self.out / "curve.csv"
        if not path.exists():
            return
        lines = path.read_text().splitlines()
        if len(lines) - 1 == len(self.status.now.losses):
            return
        names = lines[0].split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:]]
        self.status.now.losses = [
            (float(r["minutes"]), float(r["train_loss"]), float(r["valid_loss"]) if r.get("valid_loss") else None)
            for r in rows
        ]

    def _sample(self, module: nn.Module, step: int) -> None:
        module.eval()
        embed = self.models.embed([self.prepared.caption])
        clip = self.models.generate(
            embed, SAMPLE_S, Job(), guidance_scale=3.0, temperature=1.0,
            generator=torch.Generator().manual_seed(self.config.seed), min_p=HEAD_MIN_P,
        )  # fmt: skip
        module.train()
        name = f"sample-{step:05d}.wav"
        write(finished(clip.audio.float().cpu().numpy(), self.models.codec.sample_rate), self.out / name)
        self.status.now.samples.append(name)
        self.status.write()


def _precision(device: torch.device) -> str:
    """bfloat16 where the processor multiplies it, float32 elsewhere."""
    if device.type == "cuda":
        return "bf16"
    known = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if known() else "no"


def run(options: argparse.Namespace, status: StatusFile) -> Adapter:
    """Prepare, train, save.

    Raises:
        NeuromuseError: clips that cannot be used; a sentence each.
        Cancelled: it was asked to stop.
    """
    settings = LoraSettings(options.rank, options.alpha or 2.0 * options.rank, options.dropout, options.output_layer)
    config = TrainConfig(
        options.minutes, options.lr, options.batch, sample_every_s=options.sample_every, seed=options.seed,
        patience=options.patience or None,
    )  # fmt: skip
    store = CheckpointStore(extra=Settings.from_env().checkpoint_dirs)
    models = MusicGenerator(store, torch.device(options.device))
    prepared = prepare(models, options, status)
    status.now.notes = list(prepared.notes)
    sounding = sum(e.codes is not None for e in prepared.data.train)

    def finish(tensors: dict[str, torch.Tensor], figures: dict[str, Any]) -> Adapter:
        made = recipe(
            settings, minutes=config.minutes, lr=config.lr, batch=config.batch, seed=config.seed, clips=sounding,
            clips_of_notes=len(prepared.data.train) - sounding, sound=prepared.sound,
        )  # fmt: skip
        scale = settings.alpha / settings.rank
        return Adapter(options.name, tensors, scale, base_of(store), options.licence, figures, made)

    adapter = train_adapter(models, prepared, settings, config, options.out, finish, status)
    part = options.out / f"{FOLDER}.part"
    shutil.rmtree(part, ignore_errors=True)
    adapter.save(part)
    shutil.rmtree(options.out / FOLDER, ignore_errors=True)
    part.rename(options.out / FOLDER)
    return adapter


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    found = argparse.ArgumentParser(prog="python -m backend.instruments.violin.train", description=__doc__)
    found.add_argument("--clips", type=Path, help="folder of recordings, with captions in .txt files if there are any")
    found.add_argument("--csv", type=Path, help="captions in the manner of MusicCaps: ytid, start_s, end_s, caption")
    found.add_argument("--corpus", type=Path, help="a rendered corpus whose notes are learned from as well")
    found.add_argument("--corpus-clips", type=int, default=1500)
    found.add_argument("--valid", nargs="*", default=[], help="recordings to validate on; some are chosen if left out")
    found.add_argument("--out", type=Path, required=True)
    found.add_argument("--name", default="my violin", help="what the adapter is called")
    found.add_argument("--licence", default="", help="of the recordings")
    found.add_argument("--minutes", type=float, default=12.0)
    found.add_argument("--rank", type=int, default=8)
    found.add_argument("--alpha", type=float, help="twice the rank if left out")
    found.add_argument("--dropout", type=float, default=0.05)
    found.add_argument("--output-layer", action="store_true", help="also train a copy of the last layers")
    found.add_argument("--lr", type=float, default=1.5e-3)
    found.add_argument("--batch", type=int, default=6)
    found.add_argument("--replay", type=int, default=48, help="pieces of the base that are replayed")
    found.add_argument("--patience", type=int, default=8, help="0 trains to the end")
    found.add_argument("--sample-every", type=float, default=150.0, help="seconds")
    found.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--bundle", action="store_true", help="store it as the adapter that comes with the app")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit status is 1 on bad input and 2 when it was stopped."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    status = StatusFile(options.out)
    try:
        adapter = run(options, status)
    except Cancelled:
        status.end("stopped", "Stopped; training can be resumed.")
        return 2
    except NeuromuseError as error:
        status.end("failed", str(error))
        print(json.dumps({"error": str(error)}))
        return 1
    except Exception as error:
        logger.exception("training failed")
        status.end("failed", f"Training ended on an internal error ({type(error).__name__}); resume it to go on.")
        return 1
    if options.bundle:
        adapter.store(CheckpointStore(), "violin/README.md")
    status.end("done", "The adapter is ready.")
    print(json.dumps({"name": adapter.name, "figures": dict(adapter.figures), "settings": dict(adapter.settings)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
