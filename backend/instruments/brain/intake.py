"""Uploaded files of a scan: laid out as ds003720 is, looked at one by one, refused in one sentence, and deleted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import RequestError
from backend.instruments.brain.layout import Event, read_events
from backend.instruments.brain.scan import Scan, cortex_mask, inspect, is_anatomy, refuse_anatomy

RUN = re.compile(r"task-(Training|Test)_run-(\d+)(?:_[A-Za-z0-9-]+)*_bold\.nii(\.gz)?")
ONE_BRAIN = (
    "its own training runs beside it; a decoder fits one brain, so give a BIDS folder to train one, or hear the "
    "simulated listener"
)
LEAST_COVERED_S = 6.0  # of the last clip after its onset
CAPTIONS = "captions.csv"
_IN_FUNC = re.compile(
    r"(sub-[A-Za-z0-9]+)_task-(?:Training|Test)_run-\d+[A-Za-z0-9_-]*(_bold\.nii(\.gz)?|_bold\.json|_events\.tsv)"
)
_TRACK = re.compile(r"([A-Za-z0-9]+)\.(\d{1,5})\.(wav|au|flac|mp3|ogg)")


@dataclass(frozen=True)
class Intake:
    """What has been received so far.

    Attributes:
        folder: where it lies: ``sub-…/func``, ``genres/…`` and perhaps captions.
        subjects: whose runs there are.
        training: runs.
        test: runs.
        events: tables.
        tracks: sounds that were played.
    """

    folder: Path
    subjects: tuple[str, ...]
    training: int
    test: int
    events: int
    tracks: int

    @property
    def captions(self) -> Path | None:
        """The caption table, if one was given."""
        path = self.folder / CAPTIONS
        return path if path.is_file() else None


def receive(files: Sequence[tuple[Path, str]], folder: Path) -> Intake:
    """Move uploaded files into ``folder`` and look at every scan and table; nothing stays where it was uploaded to.

    Args:
        files: where each lies, and what it was called.
        folder: a private one, which may hold earlier files.

    Raises:
        RequestError: one sentence about the first file that cannot be used; it and those after it are deleted.
    """
    try:
        for path, name in files:
            place = _place(path, name)
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
            try:
                _look(target)
            except RequestError:
                forget(target)
                raise
    finally:
        for path, _ in files:
            forget(path)
    return listed(folder)


def listed(folder: Path) -> Intake:
    """What lies in a folder that `receive` filled."""
    runs = [match[1] for path in folder.glob("sub-*/func/*") if (match := RUN.search(path.name))]
    subjects = sorted(path.name for path in folder.glob("sub-*"))
    events, tracks = (len(list(folder.glob(pattern))) for pattern in ("sub-*/func/*_events.tsv", "genres/*/*"))
    return Intake(folder, tuple(subjects), runs.count("Training"), runs.count("Test"), events, tracks)


def _place(path: Path, name: str) -> Path:
    """Where a file belongs, by its name alone; the name of an unusable one is not repeated."""
    found = _IN_FUNC.fullmatch(name)
    if found:
        return Path(found[1], "func", name)
    track = _TRACK.fullmatch(name)
    if track:
        return Path("genres", track[1], f"{track[1]}.{int(track[2]):05d}.{track[3]}")
    if name.lower().endswith(".csv"):
        return Path(CAPTIONS)
    if name.lower().endswith((".tsv", ".json")):
        raise RequestError(
            "upload", "a table of another name", "names as in ds003720: sub-001_task-Test_run-01_events.tsv"
        )
    if is_anatomy(name):
        refuse_anatomy()
    check_upload(path)
    raise RequestError("upload", "a scan by itself", ONE_BRAIN)


def _look(path: Path) -> None:
    """Check a scan, a table, and whether they fit where both are there."""
    if path.name.endswith("_events.tsv"):
        events = read_events(path.read_text("utf-8", errors="replace"))
        scan = next(path.parent.glob(path.name.replace("_events.tsv", "*_bold.nii*")), None)
        if scan is not None:
            check_length(inspect(scan), events)
    elif ".nii" in path.suffixes:
        check_upload(path)
        table = path.with_name(re.sub(r"(run-\d+).*", r"\1_events.tsv", path.name))
        if table.is_file():
            check_length(inspect(path), read_events(table.read_text("utf-8", errors="replace")))


def check_upload(path: Path) -> None:
    """Look at a single scan: header, then the first volumes.

    Raises:
        RequestError: one sentence about what is wrong.
    """
    cortex_mask(inspect(path))


def check_length(scan: Scan, events: list[Event]) -> None:
    """Refuse events that happen after the scan has ended.

    Raises:
        RequestError: fewer volumes than the events need.
    """
    needed = int(np.ceil((events[-1].onset_s + LEAST_COVERED_S) / scan.tr_s))
    if scan.shape[3] < needed:
        raise RequestError("scan", f"{scan.shape[3]} volumes", f"at least {needed}, which its events take")


def forget(upload: Path) -> None:
    """Delete an uploaded file or folder; one that is gone already is as good."""
    if upload.is_dir() and not upload.is_symlink():
        shutil.rmtree(upload, ignore_errors=True)
    else:
        upload.unlink(missing_ok=True)
