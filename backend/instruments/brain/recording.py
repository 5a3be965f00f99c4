"""A listener's cleaned responses, one row a clip, ready for decoders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from backend.instruments.brain.cleaning import Quality, clean
from backend.instruments.brain.layout import (
    CLIP_VOLUMES,
    HRF_DELAY_VOLUMES,
    N_TRAIN,
    TR_S,
    Event,
    dataset_design,
    mean_of_repeats,
    window_samples,
)
from backend.instruments.brain.listener import SimulatedListener
from backend.instruments.brain.space import Space

FloatArray = npt.NDArray[np.float32]
Run = tuple[str, FloatArray, list[Event]]


@dataclass(frozen=True, eq=False)
class Recording:
    """One listener.

    Attributes:
        space: where the voxels are.
        train: ``[samples, voxels]``, a row for each window of each clip.
        train_clips: name of each row's clip; rows of one clip are never split between folds.
        train_windows: of each row, seconds within its clip ``[samples, 2]``.
        test: ``[test clips, voxels]``, mean over repeats.
        test_clips: their names.
        test_volumes: their responses volume by volume, mean over repeats ``[test clips, volumes, voxels]``.
        quality: of each run.
        simulated: whether nobody was scanned.
        remarks: what was left out and why.
    """

    space: Space
    train: FloatArray
    train_clips: list[str]
    train_windows: FloatArray
    test: FloatArray
    test_clips: list[str]
    test_volumes: FloatArray
    quality: tuple[Quality, ...] = ()
    simulated: bool = False
    remarks: tuple[str, ...] = field(default=())

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """Number of the clip of each training row."""
        names = {name: i for i, name in enumerate(dict.fromkeys(self.train_clips))}
        return np.array([names[clip] for clip in self.train_clips], np.int64)

    def only(self, voxels: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Recording:
        """The same listener, some voxels."""
        return Recording(
            self.space.only(voxels), np.ascontiguousarray(self.train[:, voxels]), self.train_clips, self.train_windows,
            np.ascontiguousarray(self.test[:, voxels]), self.test_clips, self.test_volumes[:, :, voxels], self.quality,
            self.simulated, self.remarks,
        )  # fmt: skip


class Course:
    """Sums of the responses to each clip, volume by volume, over its repeats."""

    def __init__(self, voxels: int) -> None:
        self._sum: dict[str, FloatArray] = {}
        self._count: dict[str, npt.NDArray[np.int64]] = {}
        self._voxels = voxels

    def add(self, volumes: FloatArray, events: Sequence[Event], tr_s: float) -> None:
        """Take a run in; what lies beyond its end counts for nothing."""
        for event in events:
            first = round(event.onset_s / tr_s) + HRF_DELAY_VOLUMES
            part = volumes[first : first + CLIP_VOLUMES]
            total = self._sum.setdefault(event.clip, np.zeros((CLIP_VOLUMES, self._voxels), np.float32))
            count = self._count.setdefault(event.clip, np.zeros(CLIP_VOLUMES, np.int64))
            total[: len(part)] += part
            count[: len(part)] += 1

    def mean(self, clips: Sequence[str]) -> FloatArray:
        """``[clips, 10, voxels]``; 0 where nothing was scanned."""
        rows = [self._sum[clip] / np.maximum(self._count[clip], 1)[:, None] for clip in clips]
        return np.array(rows, np.float32).reshape(len(clips), CLIP_VOLUMES, self._voxels)


def collect(
    runs: Iterable[Run],
    space: Space,
    tr_s: float,
    pairing: str = "clip",
    *,
    simulated: bool = False,
    on_run: Callable[[int], None] | None = None,
    remarks: Iterable[str] = (),
) -> Recording:
    """Clean run after run and keep what decoders need; one run is in memory at a time.

    Args:
        runs: task (``Training`` or ``Test``), volumes ``[volumes, voxels]`` and events; the first event is left out.
        space: where the voxels are.
        tr_s: repetition time in seconds.
        pairing: see `window_samples`; test runs always give one row a clip.
        simulated: whether nobody was scanned.
        on_run: told how many runs are done; may raise to stop.
        remarks: what is to be said of the recording.
    """
    rows: dict[str, list[FloatArray]] = {"Training": [], "Test": []}
    clips: dict[str, list[str]] = {"Training": [], "Test": []}
    windows: list[tuple[float, float]] = []
    qualities = []
    course = Course(space.n_voxels)
    for done, (task, volumes, events) in enumerate(runs, 1):
        volumes, quality = clean(volumes, tr_s)
        part, meta = window_samples(
            volumes, events[1:], tr_s, HRF_DELAY_VOLUMES, pairing if task == "Training" else "clip"
        )
        rows[task].append(part)
        clips[task] += [events[1:][i].clip for i, _, _ in meta]
        windows += [(a, b) for _, a, b in meta] if task == "Training" else []
        if task == "Test":
            course.add(volumes, events[1:], tr_s)
        qualities.append(quality)
        if on_run is not None:
            on_run(done)
    n = space.n_voxels
    train, test = (
        np.concatenate(rows[task]) if rows[task] else np.zeros((0, n), np.float32) for task in ("Training", "Test")
    )
    test, test_clips = mean_of_repeats(test, clips["Test"])
    return Recording(
        space, train, clips["Training"], np.array(windows, np.float32).reshape(-1, 2), test, test_clips,
        course.mean(test_clips), tuple(qualities), simulated, tuple(remarks),
    )  # fmt: skip


def simulate(
    person: SimulatedListener,
    n_train: int = N_TRAIN,
    *,
    pairing: str = "clip",
    on_run: Callable[[int], None] | None = None,
) -> Recording:
    """SIMULATED: a listener hears all clips in ds003720's design.

    Clips are named by their numbers, training clips first; the rows come in the order of the numbers.

    Args:
        person: who knows the clips' features; their seed is that of the order too.
        n_train: how many of the clips are for training, a multiple of 40; the others are for tests, a multiple of 10.
        pairing: see `window_samples`.
        on_run: told how many runs are done; may raise to stop.
    """
    design = dataset_design(np.random.default_rng([person.seed, 0]), n_train, person.n_clips - n_train)
    recording = collect(person.runs(design, n_train), person.space, TR_S, pairing, simulated=True, on_run=on_run)
    order = np.argsort([int(clip) for clip in recording.train_clips], kind="stable")
    test_order = np.argsort([int(clip) for clip in recording.test_clips])
    return Recording(
        recording.space, recording.train[order], [recording.train_clips[i] for i in order],
        recording.train_windows[order], recording.test[test_order], [recording.test_clips[i] for i in test_order],
        recording.test_volumes[test_order], recording.quality, True,
    )  # fmt: skip
