"""Recordings before training: what can be used, how loud they are, what they may be called. A job of the violin."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.audio.io import read
from backend.audio.loudness import integrated_lufs
from backend.contract import Result
from backend.errors import AudioError, NeuromuseError, RequestError
from backend.instruments.violin.clips import read_clips
from backend.instruments.violin.request import SUFFIXES, ListenRequest
from backend.job import Job

QUIET_LUFS, LOUD_LUFS = -35.0, -9.0
LONGEST_S = 1200.0
MOST_LEFT_OUT = 20


def listen(request: ListenRequest, job: Job) -> Result:
    """Read, clean, cut and caption; recordings that cannot be used are deleted with a sentence, the others stay.

    Arrays, one row a clip: ``names``, ``seconds``, ``levels`` (of the recording as it was), ``captions``; and
    ``notes``, sentences.

    Raises:
        RequestError: too few are left, too much, or captions that cannot be read.
        AudioError: nearly nothing can be used.
        Cancelled, DeadlineExceeded: from ``job``.
    """
    left_out = list[str]()
    while True:
        try:
            clips = read_clips(request.folder, request.table, lambda n, of: job.step(n, of, "Listening to the clips"))
            break
        except AudioError as error:
            bad = next((p for p in sorted(request.folder.iterdir()) if str(error).startswith(p.name)), None)
            if bad is None or len(left_out) >= MOST_LEFT_OUT:
                raise
            bad.unlink()
            left_out.append(f"{error} It was left out.")
        except RequestError as error:
            if left_out and error.field == "clips":
                raise RequestError(error.field, error.value, f"{error.allowed}. {' '.join(left_out)}") from None
            raise
    levels = _levels(request.folder, job)
    notes = [*left_out, *(f"{clip.name}: {note}" for clip in clips for note in clip.notes_of_cleaning)]
    return Result(
        arrays={
            "names": np.array([clip.name for clip in clips], np.str_),
            "seconds": np.array([clip.waveform.duration_s for clip in clips], np.float32),
            "levels": np.array([levels.get(clip.source, "") for clip in clips], np.str_),
            "captions": np.array([clip.caption for clip in clips], np.str_),
            "notes": np.array(notes, np.str_),
        }
    )


def _levels(folder: Path, job: Job) -> dict[str, str]:
    """Recording → its own loudness before it was levelled, and whether that is a good one."""
    found = {}
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    for number, path in enumerate(paths):
        job.step(number, len(paths), "Measuring levels")
        try:
            lufs = float(integrated_lufs(read(path, max_seconds=LONGEST_S)))
        except NeuromuseError:
            continue
        word = "quiet" if lufs < QUIET_LUFS else "loud" if lufs > LOUD_LUFS else "good"
        found[path.stem] = found[path.name] = f"{lufs:.0f} LUFS, {word}"
    return found
