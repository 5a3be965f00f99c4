"""The notes of the corpus, packed for a training kit, and rendered to sound there on all of its cores.

A clip of thirty seconds is a few kilobytes of notes and more than a megabyte of sound. Rendered anew it gets another
balance, room and level than at home, and any number of them; what is played, and so what the models learn, is the same.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import time
import wave
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.corpus.arrangement import ROLES
from backend.corpus.catalogue import read_catalogue
from backend.corpus.instruments import DRUMS, INSTRUMENTS
from backend.corpus.perform import PERFORMED, PerformedPart
from backend.corpus.render import SAMPLE_RATE, Synth, render
from backend.errors import NeuromuseError

logger = logging.getLogger(__name__)

TICKS_PER_S = 2000
"""Times are kept to half a millisecond, so that thirty seconds fit into 16 bits."""

NOTE_COLUMNS = ("onset_s", "duration_s", "pitch", "velocity", "part")
PART_COLUMNS = ("program", "is_drum", "role")
_TIMES = ("onset_s", "duration_s", "beats_s", "downbeats_s")


def write_notes(corpus: Path, data: Path) -> int:
    """Pack notes and labels of all clips but the test split's into ``data``.

    Returns:
        Bytes written.

    Raises:
        NeuromuseError: no corpus is there.
    """
    try:
        clips = [clip for clip in read_catalogue(corpus) if clip.split != "test"]
    except FileNotFoundError as error:
        raise NeuromuseError(f"{corpus} holds no corpus; build it with backend.corpus.build.") from error
    columns: dict[str, list[npt.NDArray[Any]]] = {}
    labels = []
    for clip in clips:
        notes = clip.notes()
        sizes = {"notes": len(notes["part"]), "parts": int(notes["part"].max()) + 1}
        first = [int(np.argmax(notes["part"] == part)) for part in range(sizes["parts"])]
        for name in (*NOTE_COLUMNS, "beats_s", "downbeats_s"):
            columns.setdefault(name, []).append(ticks_of(notes[name]) if name in _TIMES else notes[name])
        for name in PART_COLUMNS:
            columns.setdefault(name, []).append(notes[name][first].astype(np.uint8))
        sizes |= {name: len(notes[name]) for name in ("beats_s", "downbeats_s")}
        labels.append({key: clip.meta[key] for key in ("id", "split", "lead_family", "families")} | {"sizes": sizes})
    data.mkdir(parents=True, exist_ok=True)
    joined: dict[str, Any] = {name: np.concatenate(parts) for name, parts in columns.items()}
    np.savez_compressed(data / "notes.npz", **joined)
    (data / "clips.json").write_text(json.dumps(labels, separators=(",", ":")), encoding="utf-8")
    return sum(path.stat().st_size for path in data.iterdir())


def ticks_of(seconds: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """Times in half milliseconds, 32.7 s at most."""
    return np.clip(np.round(seconds * TICKS_PER_S), 0, 65535).astype(np.uint16)


def unpacked(data: Path) -> Iterator[tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]]:
    """Label and note arrays of every clip, as `backend.corpus.catalogue.Clip.notes` gives them."""
    with np.load(data / "notes.npz") as stored:
        columns = {name: stored[name] for name in stored.files}
    at = dict.fromkeys(columns, 0)
    for label in json.loads((data / "clips.json").read_text(encoding="utf-8")):
        sizes, own = label.pop("sizes"), {}
        for name, column in columns.items():
            count = sizes["parts" if name in PART_COLUMNS else name if name in sizes else "notes"]
            own[name] = column[at[name] : at[name] + count]
            at[name] += count
        notes = {k: v.astype(np.float32) / np.float32(TICKS_PER_S) if k in _TIMES else v for k, v in own.items()}
        for name in PART_COLUMNS:
            notes[name] = own[name][own["part"]]
        yield label, notes | {"is_drum": notes["is_drum"].astype(bool)}


def parts_of(notes: dict[str, npt.NDArray[Any]]) -> list[PerformedPart]:
    """The players of a clip with what they play."""
    programs = {i.program: i for i in INSTRUMENTS}
    parts = []
    for number in range(int(notes["part"].max()) + 1):
        own = notes["part"] == number
        first = int(np.argmax(own))
        played = np.zeros(int(own.sum()), PERFORMED)
        for name in PERFORMED.names or ():
            played[name] = notes[name][own]
        instrument = DRUMS if notes["is_drum"][first] else programs[int(notes["program"][first])]
        parts.append(PerformedPart(instrument, ROLES[int(notes["role"][first])], played))
    return parts


_worker: dict[str, Any] = {}


def _start_worker(corpus: Path, soundfonts: Sequence[Path]) -> None:
    _worker.update(corpus=corpus, synths=[Synth.load(path) for path in soundfonts])


def _render_clip(label: dict[str, Any], notes: dict[str, npt.NDArray[Any]]) -> dict[str, Any] | None:
    """One clip's files and its line of the catalogue; None where a soundfont has no sound for it."""
    corpus: Path = _worker["corpus"]
    name = label["id"]
    audio, stored = Path("audio", label["split"], f"{name}.wav"), Path("notes", f"{name}.npz")
    if not (corpus / audio).exists():
        try:
            mix = render(parts_of(notes), _worker["synths"], np.random.default_rng(zlib.crc32(name.encode())))
        except NeuromuseError as error:
            logger.warning("%s is left out: %s", name, error)
            return None
        np.savez(corpus / stored, **notes)  # type: ignore[arg-type]
        part = corpus / "audio" / f"{name}.part"
        with wave.open(str(part), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(np.round(mix.samples * 32767).astype("<i2").tobytes())
        part.replace(corpus / audio)
    return {**label, "audio": str(audio), "notes": str(stored)}


def render_corpus(
    data: Path, corpus: Path, soundfonts: Sequence[Path], *, variants: int, workers: int, deadline: float
) -> bool:
    """Render every clip into ``corpus``, which is then what ``backend.musiclm.train --corpus`` reads.

    Args:
        data: folder of `write_notes`.
        corpus: where sound and notes go; clips that are there are kept.
        soundfonts: each clip draws one of them.
        variants: how many times each training clip is rendered, with another mix and room each time.
        workers: processes; 1 for this one.
        deadline: of ``time.monotonic``, when to stop.

    Returns:
        Whether all is rendered; if not, call again.

    Raises:
        NeuromuseError: the synthesiser does not run here.
    """
    if (corpus / "clips.jsonl").exists():  # written last
        return True
    for folder in ("audio/train", "audio/valid", "notes"):
        (corpus / folder).mkdir(parents=True, exist_ok=True)
    check_synthesiser()
    jobs = list(_jobs(data, variants))
    lines, began = [], time.monotonic()
    for number, line in enumerate(_rendered(jobs, corpus, soundfonts, workers)):
        lines.append(line)
        if number % 200 == 0:
            logger.info("rendered %d of %d, %.0f s", number, len(jobs), time.monotonic() - began)
        if time.monotonic() > deadline and number + 1 < len(jobs):
            return False
    text = "".join(json.dumps(line) + "\n" for line in lines if line)
    (corpus / "clips.jsonl").write_text(text, encoding="utf-8")
    return True


def _jobs(data: Path, variants: int) -> Iterator[tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]]:
    for label, notes in unpacked(data):
        yield label, notes
        for variant in range(1, variants if label["split"] == "train" else 1):
            yield {**label, "id": f"{label['id']}_{variant}"}, notes


def _rendered(
    jobs: list[tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]],
    corpus: Path,
    soundfonts: Sequence[Path],
    workers: int,
) -> Iterator[dict[str, Any] | None]:
    if workers <= 1:
        _start_worker(corpus, soundfonts)
        yield from (_render_clip(*job) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")  # a forked process would share the GPU's state
    with ProcessPoolExecutor(workers, context, _start_worker, (corpus, soundfonts)) as pool:
        waiting = (jobs[i : i + 8 * workers] for i in range(0, len(jobs), 8 * workers))
        for block in waiting:  # a block at a time: what was handed out must be finished, deadline or not
            yield from pool.map(_render_clip, *zip(*block, strict=True))


def check_synthesiser() -> None:
    """Try to import tinysoundfont.

    Raises:
        NeuromuseError: its compiled part is not for this Python.
    """
    try:
        import tinysoundfont  # noqa: F401
    except ImportError as error:
        raise NeuromuseError(
            f"The synthesiser does not run here ({error}); make the kit with --wheel FILE, the tinysoundfont wheel for "
            "this machine's Python."
        ) from error


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
