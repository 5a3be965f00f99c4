"""Runs, events and samples: the design of ds003720 and one row of voxels for each clip.

Music Genre fMRI Dataset (Nakai et al. 2021, doi 10.1002/brb3.1936): 12 training runs and 6 test runs of 41 clips of 15
s and 410 volumes. A training run begins with the clip that ended the previous one, a test run with its own last one;
that first clip is left out. Each of the 60 test clips is heard four times.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backend.errors import RequestError

FloatArray = npt.NDArray[np.float32]

TR_S = 1.5
CLIP_S = 15.0
CLIP_VOLUMES = 10
CLIPS_A_RUN = 41
VOLUMES = CLIPS_A_RUN * CLIP_VOLUMES
TRAIN_RUNS, TEST_RUNS, REPEATS = 12, 6, 4
N_TRAIN, N_TEST = TRAIN_RUNS * (CLIPS_A_RUN - 1), TEST_RUNS * (CLIPS_A_RUN - 1) // REPEATS
HRF_DELAY_VOLUMES = 3
PAIRINGS = ("clip", "ten_windows", "four_windows")
REGIONS = ("auditory", "cortex", "best")
GENRES = ("rock", "jazz", "hip-hop", "pop", "reggae", "country", "funk", "electronic", "classical", "ambient")
"""Of the bundled clips; the test clips go round them."""

LABEL = "SIMULATED: no human was scanned"
COLUMNS = ("onset", "duration", "genre", "track", "start", "end")


@dataclass(frozen=True)
class Event:
    """One clip that was played.

    Attributes:
        onset_s: from the start of the run.
        duration_s: of the clip.
        clip: its name, such as ``rock.00032@4.48``.
        genre: as the events say, without quotes.
        track: number of the track in its genre.
        start_s: of the excerpt within the track.
        end_s: its end.
    """

    onset_s: float
    duration_s: float
    clip: str
    genre: str
    track: int = 0
    start_s: float = 0.0
    end_s: float = CLIP_S


def read_events(text: str, name: str = "events.tsv") -> list[Event]:
    """Events of a BIDS table with ds003720's columns; CRLF and quoted genres are as good as any.

    Raises:
        RequestError: columns are missing or a cell is not what it should be.
    """
    if "\0" in text or "\ufffd" in text:
        raise RequestError(name, "a file that is no text", f"a table with the columns {', '.join(COLUMNS)}")
    rows = list(csv.DictReader(io.StringIO(text.lstrip("\ufeff")), delimiter="\t"))
    missing = [column for column in COLUMNS if not rows or column not in rows[0]]
    if missing:
        raise RequestError(
            name, ", ".join(rows[0]) if rows else "no rows",
            f"the columns {', '.join(COLUMNS)} of ds003720; these are events of another dataset",
        )  # fmt: skip
    events = []
    for number, row in enumerate(rows, 2):
        try:
            onset, duration, start, end = (float(row[key]) for key in ("onset", "duration", "start", "end"))
            genre, track = str(row["genre"]).strip().strip("'\""), int(float(row["track"]))
        except (TypeError, ValueError):
            raise RequestError(name, f"line {number}", "numbers in every column but genre") from None
        if not (0 <= onset < 1e5 and 0 < duration < 1e4 and genre.isalnum() and np.isfinite([start, end]).all()):
            raise RequestError(name, f"line {number}", "an onset and a duration in seconds, and a genre of one word")
        events.append(Event(onset, duration, f"{genre}.{track:05d}@{start:g}", genre, track, start, end))
    return sorted(events, key=lambda event: event.onset_s)


@dataclass(frozen=True)
class Design:
    """Clip numbers of every run, in order.

    Attributes:
        train: ``[12, 41]``, numbers of training clips.
        test: ``[6, 41]``, numbers of test clips.
    """

    train: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]


def dataset_design(rng: np.random.Generator, n_train: int = N_TRAIN, n_test: int = N_TEST) -> Design:
    """ds003720's design with random orders: repeated first clips, test clips in four rounds of a run's own ten.

    Args:
        rng: source of the orders.
        n_train: training clips, a multiple of 40.
        n_test: test clips, a multiple of 10.
    """
    a_run = CLIPS_A_RUN - 1
    train = rng.permutation(n_train).reshape(-1, a_run)
    train = np.concatenate([np.roll(train[:, -1], 1)[:, None], train], 1)
    own = rng.permutation(n_test).reshape(-1, a_run // REPEATS)
    test = np.concatenate([own[:, -1:], np.tile(own, REPEATS)], 1)
    return Design(train, test)


def window_samples(
    volumes: FloatArray, events: Sequence[Event], tr_s: float, delay: int = HRF_DELAY_VOLUMES, pairing: str = "clip"
) -> tuple[FloatArray, list[tuple[int, float, float]]]:
    """Mean responses to windows of clips.

    Args:
        volumes: ``[volumes, voxels]`` of one run.
        events: of that run; the first one is a repetition and must have been left out by the caller.
        tr_s: repetition time in seconds.
        delay: volumes by which the response lags (haemodynamic delay).
        pairing: ``clip`` (one row a clip), ``ten_windows`` (the seed's, each volume alone) or ``four_windows`` (the
            paper's: seven volumes each, one volume apart).

    Returns:
        Rows ``[samples, voxels]`` and for each its event's number and its window in the clip in seconds. A window that
        the run ends before is cut short, or left out if nothing of it was scanned.

    Raises:
        ValueError: an unknown pairing.
    """
    if pairing not in PAIRINGS:
        raise ValueError(f"pairing: got {pairing!r}, expected one of {', '.join(PAIRINGS)}")
    rows, windows = [], []
    for number, event in enumerate(events):
        length = max(1, round(event.duration_s / tr_s))
        if pairing == "clip":
            parts = [(0, length)]
        elif pairing == "ten_windows":
            parts = [(i, i + 1) for i in range(length)]
        else:
            parts = [(i, i + length - 3) for i in range(4) if length > 3]
        first = round(event.onset_s / tr_s) + delay
        for a, b in parts:
            part = volumes[first + a : first + b]
            if len(part):
                rows.append(part.mean(0))
                windows.append((number, a * tr_s, min(b * tr_s, event.duration_s)))
    return np.array(rows, np.float32).reshape(len(rows), volumes.shape[1]), windows


def mean_of_repeats(rows: FloatArray, clips: Sequence[str]) -> tuple[FloatArray, list[str]]:
    """Mean of the rows of each clip, in order of first appearance."""
    names = list(dict.fromkeys(clips))
    place = {name: i for i, name in enumerate(names)}
    owner = np.array([place[clip] for clip in clips])
    total = np.zeros((len(names), rows.shape[1]), np.float32)
    np.add.at(total, owner, rows)
    repeats = np.bincount(owner, minlength=len(names)).astype(np.float32)
    return np.asarray(total / repeats[:, None], np.float32), names
