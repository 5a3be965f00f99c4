"""What runs inside a training kit on the machine it was carried to: ``python kit.py all --minutes 9``.

Needs torch and numpy, no network. The budget is wall-clock: a call ends in time, the next one goes on where it stopped,
and after ``--total`` minutes every model has had its share. See `backend.musiclm.pack`, which makes the kit.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from backend.errors import NeuromuseError
from backend.musiclm import train
from backend.musiclm.parcel import write_parcels

logger = logging.getLogger(__name__)

OVERHEAD = 0.9
"""Share of the wall-clock that is training; the rest is loading, validating and saving."""


@dataclass(frozen=True)
class Job:
    """One model to train.

    Attributes:
        name: folder of its result.
        share: of the training time.
        arguments: for ``backend.musiclm.train``, besides folders and budget.
        sizes: arguments by ``--size``.
        after: name of the result it starts from.
    """

    name: str
    share: float
    arguments: tuple[str, ...]
    sizes: dict[str, str]
    after: str = ""


_TINY_CODEC = (
    "--batch 2 --set n_quantizers=2 codebook_size=16 latent_dim=8 encoder_dim=8 encoder_blocks=1 "
    "decoder_dim=8 decoder_blocks=1 synthesis_dim=8 synthesis_blocks=1"
)
_LARGE_CODEC = "encoder_dim=384 encoder_blocks=6 decoder_dim=640 decoder_blocks=6 synthesis_dim=640 synthesis_blocks=4"
JOBS = {
    "tokens": (
        Job("semantic", 0.6, ("semantic", "--ema", "0.999"), {
            "tiny": "--batch 4 --set dim=16 depth=1 heads=1",
            "base": "--batch 128 --lr 6e-4 --set dim=320 depth=8 heads=5 dropout=0.1",
            "large": "--batch 128 --lr 3e-4 --set dim=512 depth=10 heads=8 dropout=0.15",
        }),
        Job("acoustic", 0.4, ("acoustic", "--ema", "0.999"), {
            "tiny": "--batch 4 --set dim=16 blocks=1 longest=1",
            "base": "--batch 48 --lr 1.5e-3",
            "large": "--batch 48 --lr 8e-4 --set dim=640 blocks=15",
        }),
    ),
    "notes": (
        Job("codec_encoder", 0.45, ("codec", "--phase", "encoder", "--ema", "0.999"), {
            "tiny": _TINY_CODEC, "base": "--batch 48 --lr 6e-4", "large": f"--batch 48 --lr 4e-4 --set {_LARGE_CODEC}",
        }),
        Job("codec", 0.43, ("codec", "--phase", "decoder", "--ema", "0.999"), {
            "tiny": _TINY_CODEC, "base": "--batch 48 --lr 6e-4", "large": f"--batch 48 --lr 4e-4 --set {_LARGE_CODEC}",
        }, after="codec_encoder"),
        Job("listener", 0.12, ("listener", "--ema", "0.995"), {
            "tiny": "--batch 2", "base": "--batch 48 --lr 1e-3", "large": "--batch 48 --lr 1e-3",
        }),
    ),
}  # fmt: skip
"""``base`` fits the bundle: 60 MB at eight bits a weight, ten seconds of music in five on two cores."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 0 when all is trained, 2 when time ran out first, 1 on an error."""
    root = Path(__file__).resolve().parents[2]
    options = _parser(root).parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    torch.set_float32_matmul_precision("high")
    try:
        finished = run(root, options)
    except NeuromuseError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write("All is trained.\n" if finished else "Time is up; repeat the command to go on.\n")
    return 0 if finished else 2


def _parser(root: Path) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python kit.py", description=__doc__)
    parser.add_argument("what", nargs="*", default=["all"], help="models to train; all, in turn, by default")
    parser.add_argument("--minutes", type=float, default=9.0, help="of wall-clock for this call")
    parser.add_argument("--total", type=float, help="over all calls; default: this one only")
    parser.add_argument("--size", choices=("tiny", "base", "large"), default="base")
    parser.add_argument("--out", type=Path, default=root / "results", help="best.pt, config.pt and curve of each model")
    parser.add_argument(
        "--work", type=Path, default=root / "work", help="scratch: unpacked data and what resumes a run"
    )
    parser.add_argument(
        "--parcels", type=Path, help="write the results here too, small and in parts, to be carried home"
    )
    parser.add_argument("--part-mib", type=float, default=15.0, help="largest file among the parcels")
    parser.add_argument("--variants", type=int, default=1, help="notes kit: renderings of each training clip")
    parser.add_argument("--workers", type=int, help="notes kit: processes that render; default: one a core")
    parser.add_argument("--threads", type=int, help="of torch on the CPU")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def run(root: Path, options: argparse.Namespace) -> bool:
    """Unpack or render, then train the jobs in turn until the time is up; whether all of them are finished.

    Raises:
        NeuromuseError: this is no kit, or a model of another kind was asked for.
    """
    started = time.monotonic()
    if not (root / "kit.json").is_file():
        raise NeuromuseError(f"{root} is no training kit; make one with python -m backend.musiclm.pack.")
    kit = json.loads((root / "kit.json").read_text(encoding="utf-8"))
    jobs = JOBS[kit["kind"]]
    names = [job.name for job in jobs]
    unknown = [name for name in options.what if name not in ("all", *names)]
    if unknown:
        raise NeuromuseError(f"This kit trains {', '.join(names)}, not {', '.join(unknown)}.")
    wanted = [job for job in jobs if "all" in options.what or job.name in options.what]
    data = _unpack(root, kit, options, started + 60 * options.minutes)
    training_minutes = OVERHEAD * (options.total or options.minutes) / sum(job.share for job in wanted)
    finished = data is not None
    for job in wanted if data else ():
        left = options.minutes - (time.monotonic() - started) / 60
        budget = job.share * training_minutes
        if left > 0.02 * options.minutes and not is_finished(options.work / job.name, budget):
            _train(job, data or [], options, budget, 0.95 * left)
        finished = finished and is_finished(options.work / job.name, budget)
        _collect(options.work / job.name, options.out / job.name)
    if options.parcels:
        write_parcels(options.out, options.parcels, round(options.part_mib * 2**20))
    return finished


def _unpack(root: Path, kit: dict[str, Any], options: argparse.Namespace, deadline: float) -> list[str] | None:
    """Arguments that name the data; None while it is not ready."""
    if kit["kind"] == "tokens":
        from backend.musiclm.kit_tokens import read_tokens

        read_tokens(root / "data", options.work / "tokens")
        return ["--tokens", str(options.work / "tokens")]
    from backend.musiclm.kit_notes import cores, render_corpus

    sys.path.append(str(root / "site"))  # where the kit carries the synthesiser; an installed one comes first
    ready = render_corpus(
        root / "data",
        options.work / "corpus",
        [root / "soundfonts" / name for name in kit["soundfonts"]],
        variants=options.variants,
        workers=options.workers or cores(),
        deadline=deadline,
    )
    return ["--corpus", str(options.work / "corpus")] if ready else None


def _train(job: Job, data: Sequence[str], options: argparse.Namespace, minutes: float, piece: float) -> None:
    logger.info("%s: %.1f of %.1f minutes", job.name, min(piece, minutes), minutes)
    words = [*job.arguments, *job.sizes[options.size].split(), *data, "--out", str(options.work / job.name)]
    words += ["--minutes", f"{minutes:.4f}", "--piece", f"{piece:.4f}", "--seed", str(options.seed)]
    words += ["--validate-every", f"{max(15.0, 60 * minutes / 15):.1f}"]
    if options.threads:
        words += ["--threads", str(options.threads)]
    if job.after:
        start = options.work / job.after / "best.pt"
        if not start.exists():
            raise NeuromuseError(f"{job.name} starts from {job.after}; train that first.")
        words += ["--start", str(start)]
    train.main(words)


def is_finished(folder: Path, minutes: float) -> bool:
    """Whether the run in ``folder`` has used its budget."""
    if not (folder / "state.pt").exists():
        return False
    saved = torch.load(folder / "state.pt", map_location="cpu", weights_only=False, mmap=True)
    return bool(saved["progress"]["elapsed_s"] >= 60 * minutes - 0.1)


def _collect(folder: Path, out: Path) -> None:
    for name in ("best.pt", "config.pt", "curve.csv", "curve.png"):
        if (folder / name).exists():
            out.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, out / name)
