"""``python -m backend.corpus.build``: public scores and drum grooves → rendered clips, captions, true metadata.

A clip's seed is its id and the build's seed, and what it may draw from is fixed in ``plan.json`` on the first start,
so a build that was interrupted ends with the same files. Clips come in a shuffled order: any prefix is a fair sample.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from backend.corpus.arrangement import CLIP_S
from backend.corpus.clips import SPLITS, Library, captioned, make_clip, make_silent_clip
from backend.corpus.render import find_soundfonts
from backend.corpus.score_cache import fill_cache
from backend.errors import NeuromuseError

logger = logging.getLogger(__name__)

CLIPS_PER_HOUR = 3600 / CLIP_S
HELD_OUT_SHARE, HELD_OUT_LEAST = 0.05, 100


def clip_order(hours: float, seed: int) -> list[str]:
    """Ids of all clips, shuffled; ``hours`` counts training, valid and test get 5 % each but at least 100 clips."""
    n_train = max(1, round(hours * CLIPS_PER_HOUR))
    n_held = max(HELD_OUT_LEAST, round(HELD_OUT_SHARE * n_train))
    ids = [f"{s}_{i:05d}" for s, n in zip(SPLITS, (n_train, n_held, n_held), strict=True) for i in range(n)]
    return [ids[i] for i in np.random.default_rng([seed, 77]).permutation(len(ids))]


def silent_order(hours: float) -> list[str]:
    """Ids of the training clips that are written as notes alone."""
    return [f"train_silent_{i:06d}" for i in range(round(hours * CLIPS_PER_HOUR))]


def recaption(out: Path, seed: int) -> int:
    """Write the captions of a finished build anew, as the present wording has them; no sound changes.

    Returns:
        Number of clips.
    """
    count = 0
    for lines in (out / "clips.jsonl", out / "silent.jsonl"):
        if not lines.is_file():
            continue
        metas = [captioned(json.loads(line), seed) for line in lines.read_text(encoding="utf-8").splitlines()]
        part = lines.with_suffix(".part")
        part.write_text("".join(json.dumps(m, ensure_ascii=False) + "\n" for m in metas), encoding="utf-8")
        part.replace(lines)
        count += len(metas)
    return count


_worker: dict[str, Any] = {}


def _start_worker(data: Path, out: Path, seed: int, pieces: list[str], soundfonts: list[Path]) -> None:
    _worker.update(library=Library.load(data, out / "scores", pieces, soundfonts), seed=seed, out=out)


def _work(clip_id: str) -> dict[str, Any] | None:
    try:
        make = make_silent_clip if "_silent_" in clip_id else make_clip
        return make(clip_id, _worker["seed"], _worker["library"], _worker["out"])
    except (NeuromuseError, ValueError, IndexError) as error:
        logger.warning("clip %s is left out: %r", clip_id, error)
        return None


def done_clips(out: Path, lines: Path) -> set[str]:
    """Ids whose line is whole and whose files exist; a line cut short by a kill is dropped from the file."""
    if not lines.is_file():
        return set()
    good, ids = [], set()
    for line in lines.read_text(encoding="utf-8").splitlines():
        try:
            meta = json.loads(line)
        except ValueError:
            continue
        if (not meta["audio"] or (out / meta["audio"]).is_file()) and (out / meta["notes"]).is_file():
            good.append(line)
            ids.add(meta["id"])
    part = lines.with_suffix(".part")
    part.write_text("".join(line + "\n" for line in good), encoding="utf-8")
    part.replace(lines)
    return ids


def _plan(args: argparse.Namespace) -> dict[str, Any]:
    """The build's fixed choices: read from ``plan.json``, or made and written there.

    Raises:
        NeuromuseError: the folder holds a build with other settings.
    """
    path = args.out / "plan.json"
    if path.is_file():
        plan: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if (plan["seed"], plan["hours"]) != (args.seed, args.hours):
            raise NeuromuseError(
                f"{args.out} holds a build with --seed {plan['seed']} --hours {plan['hours']:g}; "
                "resume it with these or choose another folder."
            )
        return plan
    if not args.cached_only:
        fill_cache(args.data, args.out / "scores", args.workers, lambda a, b: _say(f"\rscores {a}/{b}"))
        _say("\n")
    pieces = sorted(p.name for p in (args.out / "scores").glob("*.npz"))
    fonts = [str(p.resolve()) for p in find_soundfonts(args.soundfont)]
    plan = {"seed": args.seed, "hours": args.hours, "pieces": pieces, "soundfonts": fonts}
    path.write_text(json.dumps(plan), encoding="utf-8")
    return plan


def build(args: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Make every clip that is missing, yielding (done, total) as clips are written."""
    args.out.mkdir(parents=True, exist_ok=True)
    plan = _plan(args)
    audible = [clip for clip in clip_order(args.hours, args.seed) if clip.split("_")[0] in args.splits]
    orders = {"clips.jsonl": audible, "silent.jsonl": silent_order(args.silent_hours)}
    start = (args.data, args.out, args.seed, plan["pieces"], [Path(p) for p in plan["soundfonts"]])
    count, total = 0, sum(map(len, orders.values()))
    for name, order in orders.items():
        done = done_clips(args.out, args.out / name)
        todo = [c for c in order if c not in done]
        count += len(order) - len(todo)
        with (args.out / name).open("a", encoding="utf-8") as lines:
            for meta in _made(todo, args.workers, start) if todo else ():
                count += 1
                if meta is not None:
                    lines.write(json.dumps(meta, ensure_ascii=False) + "\n")
                    lines.flush()
                yield count, total


def _made(todo: Sequence[str], workers: int, start: tuple[Any, ...]) -> Iterator[dict[str, Any] | None]:
    """The clips' metadata in order, made in this process or in ``workers`` of them."""
    if workers <= 1:
        _start_worker(*start)
        yield from map(_work, todo)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=start) as pool:
        yield from pool.map(_work, todo, chunksize=4)


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m backend.corpus.build", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the public repositories")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=24.0, help="hours of training audio")
    parser.add_argument(
        "--silent-hours", type=float, default=0.0, help="hours of further training clips, as notes alone (silent.jsonl)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=SPLITS, help="make only the clips of these")
    parser.add_argument("--soundfont", type=Path, action="append", default=[], help="use this soundfont (repeatable)")
    parser.add_argument("--cached-only", action="store_true", help="use only scores parsed before")
    parser.add_argument("--recaption", action="store_true", help="only reword the captions of a finished build")
    args = parser.parse_args(argv)
    if not args.data.is_dir():
        parser.error(f"--data {args.data} is not a folder")
    if not 0 < args.hours <= 1000:
        parser.error(f"--hours {args.hours:g}: expected a number above 0, up to 1000")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    args = _arguments(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    began = time.monotonic()
    first = None
    if args.recaption:
        _say(f"{recaption(args.out, args.seed)} clips captioned\n")
        return 0
    try:
        for count, total in build(args):
            first = count if first is None else first
            rate = (count - first + 1) / (time.monotonic() - began)
            _say(f"\rclips {count}/{total}  {rate:.1f}/s  {(total - count) / max(rate, 1e-6) / 60:.0f} min left ")
    except NeuromuseError as error:
        _say(f"\n{error}\n")
        return 1
    _say("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
