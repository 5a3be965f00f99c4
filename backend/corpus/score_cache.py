"""Parsed scores kept on disk. Parsing is slow and can take its whole process down, so it runs in expendable ones."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backend.corpus.scores import NOTE, Score, find_scores, read_score

logger = logging.getLogger(__name__)

BATCH = 40
STALL_S = 90.0


def cache_path(folder: Path, source: str) -> Path:
    """Where the parsed score of a piece lies."""
    return folder / (source.replace("/", "__") + ".npz")


def save_score(score: Score, path: Path) -> None:
    """Write a score as arrays, whole or not at all."""
    part = path.with_suffix(".part.npz")
    columns: dict[str, Any] = {name: score.notes[name] for name in NOTE.names or ()}
    shape = np.array([score.n_parts, score.numerator, score.denominator])
    np.savez(part, source=np.array(score.source), shape=shape, **columns)
    part.replace(path)


def load_score(path: Path) -> Score:
    """Read what `save_score` wrote.

    Raises:
        OSError, ValueError, KeyError: the file is damaged.
    """
    with np.load(path, allow_pickle=False) as data:
        notes = np.zeros(len(data["onset"]), NOTE)
        for name in NOTE.names or ():
            notes[name] = data[name]
        n_parts, numerator, denominator = (int(v) for v in data["shape"])
        return Score(str(data["source"]), notes, n_parts, numerator, denominator)


def split_of(source: str) -> str:
    """``train`` (90 %), ``valid`` or ``test`` (5 % each) by a hash of the piece, the same in every build."""
    bucket = int(hashlib.sha256(source.encode()).hexdigest()[:8], 16) % 100
    return "test" if bucket < 5 else "valid" if bucket < 10 else "train"


def fill_cache(data: Path, folder: Path, workers: int, progress: Callable[[int, int], None]) -> None:
    """Parse every score below ``data`` that is neither cached nor known to fail.

    Args:
        data: folder with the public repositories' layout.
        folder: cache; failures leave a ``.failed`` file with the reason.
        workers: processes.
        progress: called with (done, total).
    """
    parse_all([(path, source) for path, source, _ in find_scores(data)], folder, workers, progress)


def parse_all(
    jobs: Sequence[tuple[Path, str]], folder: Path, workers: int, progress: Callable[[int, int], None]
) -> None:
    """Parse score files, each with the name of its piece, as `fill_cache` does."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        todo = [(p, s) for p, s in jobs if not _settled(folder, s)]
        progress(len(jobs) - len(todo), len(jobs))
        if not todo:
            return
        batches = [todo[i * BATCH : (i + 1) * BATCH] for i in range(workers) if todo[i * BATCH : (i + 1) * BATCH]]
        running = [subprocess.Popen(_command(batch, folder), stderr=subprocess.DEVNULL) for batch in batches]
        for process, batch in zip(running, batches, strict=True):
            _wait(process, batch, folder)


def _settled(folder: Path, source: str) -> bool:
    path = cache_path(folder, source)
    return path.exists() or path.with_suffix(".failed").exists()


def _command(batch: Sequence[tuple[Path, str]], folder: Path) -> list[str]:
    pairs = [word for path, source in batch for word in (str(path), source)]
    return [sys.executable, "-m", "backend.corpus.score_cache", str(folder), *pairs]


def _wait(process: subprocess.Popen[bytes], batch: Sequence[tuple[Path, str]], folder: Path) -> None:
    """Wait for a batch; if its process died or stalls, the first piece without a result is the one that did it."""
    before, since = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        done = sum(_settled(folder, s) for _, s in batch)
        if done != before:
            before, since = done, time.monotonic()
        elif time.monotonic() - since > STALL_S:
            process.kill()
            process.wait()
    if process.returncode != 0:
        for _, source in batch:
            if not _settled(folder, source):
                cache_path(folder, source).with_suffix(".failed").write_text("the score parser crashed or hung")
                logger.warning("score %s cannot be parsed and is left out", source)
                return


def main(arguments: Sequence[str]) -> int:
    """Child process: parse (path, source) pairs one after another into the folder."""
    folder = Path(arguments[0])
    for path, source in zip(arguments[1::2], arguments[2::2], strict=True):
        target = cache_path(folder, source)
        if _settled(folder, source):
            continue
        try:
            save_score(read_score(Path(path), source), target)
        except Exception as error:  # whatever a damaged file provokes must not stop the others
            target.with_suffix(".failed").write_text(f"{type(error).__name__}: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
