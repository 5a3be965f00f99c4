"""Training material: ``python -m backend.instruments.genre_transfer.material --out DIR --tracks 120 [--data FOLDER]``.

Writes ``DIR/<split>/<genre>/<track>.flac`` and ``DIR/tracks.jsonl``. Every other track plays the drum sounds of
``--data`` (``drum_machines``, ``sonic_pi_samples``, ``groove``), each split with its own; the rest, and all of them
without ``--data``, are synthesised. What is there already is kept, so a cut-off run continues.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from backend.audio.io import write
from backend.errors import RequestError
from backend.instruments.genre_transfer.genres import GENRES
from backend.instruments.genre_transfer.produce import produce
from backend.instruments.genre_transfer.produce.sample_kit import SampleKit

logger = logging.getLogger(__name__)

SHARES = (("train", 0.7), ("valid", 0.1), ("test", 0.2))
ACOUSTIC_STYLES = {
    "piano": "Piano", "strings": "Strings", "guitar": "Guitar", "brass": "Brass", "organ": "Organ", "reed": "Reeds",
    "pipe": "Flutes", "solo strings": "Solo strings",
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One track to be made."""

    split: str
    genre: str
    seed: int
    samples: bool

    @property
    def name(self) -> str:
        """Place of its file, below the material's folder."""
        return f"{self.split}/{self.genre}/{self.genre}_{self.seed:05d}{'s' if self.samples else ''}.flac"


@dataclass(frozen=True)
class StyleClip:
    """A clip of the rendered corpus as a style: acoustic music that is none of the genres."""

    path: Path
    style: str
    split: str
    tempo_bpm: float
    key: str


def jobs(tracks: int, seed: int, with_samples: bool) -> list[Job]:
    """``tracks`` of every genre, split by track, genres in turn so that a run cut off is balanced."""
    out = []
    for split, share in SHARES:
        count = max(1, round(share * tracks))
        for k in range(count):
            out += [Job(split, genre, seed * 100_000 + k, with_samples and k % 2 == 0) for genre in GENRES]
    return out


def read_acoustic_styles(corpus: Path, split: str = "test") -> list[StyleClip]:
    """Clips of a corpus of `backend.corpus.build` led by one acoustic family, as further styles for a transfer.

    Raises:
        RequestError: the folder holds no ``clips.jsonl``.
    """
    listing = corpus / "clips.jsonl"
    if not listing.is_file():
        raise RequestError("corpus", str(corpus), "a folder with clips.jsonl")
    out = []
    with listing.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            style = ACOUSTIC_STYLES.get(row["lead_family"])
            if style is not None and row["split"] == split and "drums" not in row["families"]:
                out.append(StyleClip(corpus / row["audio"], style, split, float(row["tempo_bpm"]), row["key"]))
    return out


@cache
def _kit(data: Path, split: str) -> SampleKit:
    """Read once a process."""
    return SampleKit(data, split)


def make(todo: Sequence[Job], data: Path | None, out: Path) -> Iterator[dict[str, Any]]:
    """Produce tracks and write them; what is known of each."""
    for job in todo:
        path = out / job.name
        kit = _kit(data, job.split) if job.samples and data is not None else "synth"
        track = produce(job.genre, job.seed, kit, split=job.split)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(track.waveform, path)
        yield asdict(job) | {
            "audio": job.name, "tempo_bpm": track.tempo_bpm, "key": track.key, "seconds": track.waveform.duration_s,
            "recipe": dict(track.recipe),
        }  # fmt: skip


def _make_all(todo: Sequence[Job], data: Path | None, out: Path) -> list[dict[str, Any]]:
    return list(make(todo, data, out))


def build(out: Path, tracks: int, seed: int, data: Path | None, workers: int) -> int:
    """Make what is missing; how many tracks there are then."""
    out.mkdir(parents=True, exist_ok=True)
    listing = out / "tracks.jsonl"
    done = set()
    if listing.is_file():
        done = {json.loads(line)["audio"] for line in listing.read_text("utf-8").splitlines()}
    todo = [job for job in jobs(tracks, seed, data is not None) if job.name not in done]
    chunks = [todo[k : k + 32] for k in range(0, len(todo), 32)]
    with listing.open("a", encoding="utf-8") as lines, ProcessPoolExecutor(max(1, workers)) as pool:
        rows = pool.map(_make_all, chunks, [data] * len(chunks), [out] * len(chunks)) if workers > 1 else None
        for k, chunk in enumerate(chunks):
            for row in make(chunk, data, out) if rows is None else next(rows):
                lines.write(json.dumps(row) + "\n")
            lines.flush()
            logger.info("%d of %d tracks", min(32 * (k + 1), len(todo)), len(todo))
    return len(done) + len(todo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; ends stdout with one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.genre_transfer.material", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="folder with drum_machines, sonic_pi_samples and groove")
    parser.add_argument("--tracks", type=int, default=120, help="of each genre, over all splits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    count = build(options.out, options.tracks, options.seed, options.data, options.workers)
    sys.stdout.write(json.dumps({"tracks": count, "out": str(options.out)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
