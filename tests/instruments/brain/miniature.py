"""A miniature of ds003720 and of GTZAN, written by the tests: one subject, three runs, tones for music."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import soundfile

from backend.instruments.brain.layout import Event, read_events
from backend.instruments.brain.space import cortex_vertices

TR_S = 1.5
GENRES = ("blues", "jazz", "rock")
AFFINE = np.array([[12.0, 0, 0, -96], [0, 12, 0, -132], [0, 0, 12, -78], [0, 0, 0, 1]])
SHAPE = (17, 19, 16)


def brain_mask() -> np.ndarray:
    """Voxels within two of the cortical sheet."""
    mask = np.zeros(SHAPE, bool)
    place = np.round((cortex_vertices() - AFFINE[:3, 3]) / 12).astype(int)
    mask[tuple(place.T)] = True
    return mask


def write_tracks(root: Path, count: int = 6) -> Path:
    """``genres/<genre>/<genre>.000NN.wav``: a chord of another pitch and rhythm for every track."""
    rng = np.random.default_rng(0)
    t = np.arange(16 * 8000) / 8000
    for genre in GENRES:
        (root / "genres" / genre).mkdir(parents=True)
        for track in range(count):
            pitches, rate = rng.uniform(80, 1500, 3), rng.uniform(0.5, 6)
            sound = sum(np.sin(2 * np.pi * pitch * t) for pitch in pitches) * (np.sin(2 * np.pi * rate * t) > 0)
            path = root / "genres" / genre / f"{genre}.{track:05d}.wav"
            soundfile.write(path, (0.1 * sound).astype(np.float32), 8000)
    return root


def event_table(clips: list[tuple[str, int]]) -> str:
    """As ds003720 writes it: CRLF, quoted genres, the last clip first as well."""
    lines = ["onset\tduration\tgenre\ttrack\tstart\tend"]
    for i, (genre, track) in enumerate([clips[-1], *clips]):
        lines.append(f"{15 * i}\t15\t'{genre}'\t{track}\t0.5\t15.5")
    return "\r\n".join(lines) + "\r\n"


def write_run(path: Path, events: list[Event], respond: Callable[[Event], np.ndarray], noise: float, seed: int) -> None:
    """int16 volumes: 1000 in the brain, each clip's response three volumes later, the last one cut short."""
    rng, mask = np.random.default_rng(seed), brain_mask()
    weights = np.random.default_rng(99).standard_normal((mask.sum(), len(respond(events[0]))))
    volumes = np.zeros((*SHAPE, 10 * len(events)))
    series = 1000 + noise * rng.standard_normal((10 * len(events), mask.sum()))
    for i, event in enumerate(events):
        series[10 * i + 3 : 10 * i + 13] += 30 * weights @ respond(event)
    volumes[mask] = series.T
    image = nibabel.Nifti1Image(volumes.astype(np.int16), AFFINE)
    image.header.set_zooms((12, 12, 12, TR_S))
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"Jane Doe, born 1990"
    nibabel.save(image, path)


def write_dataset(root: Path, respond: Callable[[Event], np.ndarray], noise: float = 5.0) -> Path:
    """``sub-001`` with two training runs of six clips and a test run of six clips heard twice."""
    folder = root / "sub-001" / "func"
    folder.mkdir(parents=True)
    train = [(genre, track) for track in range(4) for genre in GENRES]
    test = [(genre, track) for track in (4, 5) for genre in GENRES] * 2
    runs = (("Training", 1, train[:6]), ("Training", 2, train[6:]), ("Test", 1, test))
    for seed, (task, number, clips) in enumerate(runs):
        stem = f"sub-001_task-{task}_run-{number:02d}"
        table = event_table(clips)
        (folder / f"{stem}_events.tsv").write_bytes(table.encode())
        write_run(folder / f"{stem}_bold.nii.gz", read_events(table), respond, noise, seed)
    return root
