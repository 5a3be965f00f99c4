"""A scanned person as the instrument sees one: a BIDS folder read run by run, beside the tracks that were played.

Nothing of the scan is written anywhere. Voxels live in memory until the job ends; an uploaded file is deleted then,
however the job ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.brain.intake import ONE_BRAIN, RUN, check_length, check_upload, forget
from backend.instruments.brain.laboratory import Decoded, Listener
from backend.instruments.brain.layout import CLIP_S, Event, read_events
from backend.instruments.brain.probe import GenreProbe
from backend.instruments.brain.recording import Recording, Run, collect
from backend.instruments.brain.scan import cortex_mask, inspect, read_masked
from backend.instruments.brain.tracks import embed_windows, heard_clip, read_captions, read_catalogue, read_track

if TYPE_CHECKING:
    from backend.instruments.brain.request import BrainRequest
    from backend.instruments.brain.space import Space
    from backend.job import Job
    from backend.musiclm.mulan import MuLanEmbedder

FloatArray = npt.NDArray[np.float32]


class Material(Protocol):
    """What was heard, and what can be retrieved."""

    @property
    def titles(self) -> tuple[str, ...]:
        """Of the test clips."""
        ...

    @property
    def genres(self) -> tuple[str, ...]:
        """Names."""
        ...

    @property
    def genre(self) -> npt.NDArray[np.int64]:
        """Of the test clips."""
        ...

    @property
    def catalogue(self) -> FloatArray:
        """Embeddings of what can be retrieved."""
        ...

    @property
    def catalogue_titles(self) -> tuple[str, ...]:
        """Of what can be retrieved."""
        ...

    def original(self, clip: int) -> Waveform:
        """Sound of a test clip."""
        ...

    def retrieve(self, number: int) -> Waveform:
        """Sound of a clip of the catalogue."""
        ...

    def probe(self, listener: Listener, decoded: Decoded) -> GenreProbe:
        """A genre probe for the decoder's predictions."""
        ...


@dataclass(eq=False)
class Heard:
    """The tracks of a recording: sound and embedding of each clip, made when first asked for.

    Attributes:
        folder: of the tracks.
        mulan: the embedder.
        events: name of each clip → its event.
        missing: clips whose track was not found.
        captions: of tracks, such as ``rock.00032``, where they were given.
    """

    folder: Path
    mulan: MuLanEmbedder
    events: dict[str, Event] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    captions: Mapping[str, str] = field(default_factory=dict)

    def has(self, event: Event) -> bool:
        """Whether the clip's track is there; remembers it either way."""
        if event.clip not in self.events and event.clip not in self.missing:
            if heard_clip(self.folder, event) is None:
                self.missing.add(event.clip)
            else:
                self.events[event.clip] = event
        return event.clip in self.events

    def sound(self, clip: str) -> Waveform:
        """As it was played."""
        found = heard_clip(self.folder, self.events[clip])
        assert found is not None
        return found

    def embeddings(self, clips: list[str], windows: npt.NDArray[np.floating]) -> FloatArray:
        """MuLan's embedding of each window of each clip ``[rows, 128]``."""
        made: dict[tuple[str, float, float], FloatArray] = {}
        for name in dict.fromkeys(clips):
            own = {(float(a), float(b)) for c, (a, b) in zip(clips, windows.tolist(), strict=True) if c == name}
            ordered = sorted(own)
            for window, row in zip(ordered, embed_windows(self.mulan, self.sound(name), ordered), strict=True):
                made[(name, *window)] = row
        return np.array([made[(c, a, b)] for c, (a, b) in zip(clips, windows.tolist(), strict=True)], np.float32)


@dataclass(frozen=True, eq=False)
class ScanMaterial:
    """What a scanned person heard.

    Attributes:
        heard: tracks.
        train_clips: names of the training rows' clips.
        test_clips: names of the test clips.
        genres: names.
        catalogue: embeddings of what can be retrieved.
        paths: its files, if it is a folder of the user's.
    """

    heard: Heard
    train_clips: list[str]
    test_clips: list[str]
    genres: tuple[str, ...]
    catalogue: FloatArray
    paths: tuple[Path, ...] = ()

    @property
    def titles(self) -> tuple[str, ...]:
        """Names of the test clips, with their captions where these were given."""
        told = ((clip, self.heard.captions.get(clip.partition("@")[0])) for clip in self.test_clips)
        return tuple(f"{clip}: {caption}" if caption else clip for clip, caption in told)

    @property
    def genre(self) -> npt.NDArray[np.int64]:
        """Of the test clips."""
        return self._genre(self.test_clips)

    @property
    def catalogue_titles(self) -> tuple[str, ...]:
        """File names, or names of training clips."""
        return tuple(path.name for path in self.paths) or tuple(dict.fromkeys(self.train_clips))

    def _genre(self, clips: list[str]) -> npt.NDArray[np.int64]:
        return np.array([self.genres.index(self.heard.events[clip].genre) for clip in clips], np.int64)

    def original(self, clip: int) -> Waveform:
        """Sound of a test clip."""
        return self.heard.sound(self.test_clips[clip])

    def retrieve(self, number: int) -> Waveform:
        """Sound of a clip of the catalogue."""
        if self.paths:
            return read_track(self.paths[number]).slice(0, CLIP_S)
        return self.heard.sound(self.catalogue_titles[number])

    def probe(self, listener: Listener, decoded: Decoded) -> GenreProbe:
        """A genre probe for the decoder's predictions."""
        return listener.probe(decoded, self._genre(self.train_clips))


@contextlib.contextmanager
def scanned(request: BrainRequest, mulan: MuLanEmbedder, job: Job) -> Iterator[tuple[Listener, ScanMaterial]]:
    """Read a request's recording; what was uploaded is deleted on the way out, whatever happened.

    Raises:
        RequestError: one sentence about what is wrong.
    """
    try:
        bids = request.bids
        if bids is None and request.upload is not None and request.upload.is_dir():
            bids = request.upload
        if bids is None:
            assert request.upload is not None
            check_upload(request.upload)
            raise RequestError("upload", "a scan by itself", ONE_BRAIN)
        if request.stimuli is None or not request.stimuli.is_dir():
            raise RequestError("stimuli", None, "the folder of the tracks that were played, such as GTZAN's genres")
        heard = Heard(request.stimuli, mulan)
        if request.captions is not None:
            heard.captions = read_captions(request.captions)
        yield read_listener(request, bids, heard, job)
    finally:
        if request.upload is not None:
            forget(request.upload)


def find_runs(bids: Path, subject: str) -> list[tuple[str, Path, Path]]:
    """Task, scan and events of each run of a subject, training first, in order.

    Raises:
        RequestError: no runs, or a run without events.
    """
    found = []
    for path in sorted((bids / subject / "func").glob("*_bold.nii*")):
        match = RUN.search(path.name)
        if match:
            number = f"{int(match[2]):02d}"
            events = path.with_name(f"{subject}_task-{match[1]}_run-{number}_events.tsv")
            if not events.is_file():
                raise RequestError("bids", f"no events for {match[1]} run {number}", "an events.tsv beside each run")
            found.append((match[1], path, events))
    tasks = [task for task, _, _ in found]
    if "Training" not in tasks or "Test" not in tasks:
        raise RequestError("bids", f"{len(found)} runs of {subject}", f"training and test runs: {ONE_BRAIN}")
    return sorted(found, key=lambda run: (run[0] != "Training", run[1].name))


def read_listener(request: BrainRequest, bids: Path, heard: Heard, job: Job) -> tuple[Listener, ScanMaterial]:
    """Stream every run, pair it with what was heard, embed that."""
    runs = find_runs(bids, request.subject)
    job.step(0, 100, "Looking at the first run")
    first = inspect(runs[0][1])
    space = cortex_mask(first)

    def on_run(done: int) -> None:
        job.step(25 * done / len(runs), 100, f"Read run {done} of {len(runs)}")

    recording = collect(_runs(runs, space, heard), space, first.tr_s, request.pairing, on_run=on_run)
    if len(set(recording.train_clips)) < 10 or len(recording.test_clips) < 2:
        raise RequestError("stimuli", f"{len(heard.events)} tracks found", "the tracks that the events name")
    job.step(28, 100, "Embedding what was heard")
    train = heard.embeddings(recording.train_clips, recording.train_windows)
    whole = np.tile([0.0, CLIP_S], (len(recording.test_clips), 1))
    listener = Listener(_with_remarks(recording, heard), train, heard.embeddings(recording.test_clips, whole))
    genres = tuple(sorted({event.genre for event in heard.events.values()}))
    catalogue, paths = _mean_rows(train, recording.train_clips), tuple[Path, ...]()
    if request.catalogue is not None:
        files, catalogue = read_catalogue(
            request.catalogue, heard.mulan, lambda a, b: job.step(30 + 9 * a / b, 100, "Hearing the catalogue")
        )
        paths = tuple(files)
    return listener, ScanMaterial(heard, recording.train_clips, recording.test_clips, genres, catalogue, paths)


def _runs(runs: list[tuple[str, Path, Path]], space: Space, heard: Heard) -> Iterator[Run]:
    """Each run's masked volumes and the events whose tracks are there; the first event stays, `collect` drops it."""
    for task, path, events_path in runs:
        events = read_events(events_path.read_text("utf-8", errors="replace"))
        scan = inspect(path)
        check_length(scan, events)
        kept = [event for event in events[1:] if heard.has(event)]
        yield task, read_masked(scan, space), [events[0], *kept]


def _mean_rows(rows: FloatArray, clips: list[str]) -> FloatArray:
    names = list(dict.fromkeys(clips))
    return np.stack([rows[[clip == name for clip in clips]].mean(0) for name in names])


def _with_remarks(recording: Recording, heard: Heard) -> Recording:
    """Name the tracks that were not found."""
    import dataclasses

    if not heard.missing:
        return recording
    shown = ", ".join(sorted(heard.missing)[:5])
    remark = f"{len(heard.missing)} clips were left out because their tracks are missing: {shown}."
    changes: dict[str, Any] = {"remarks": (*recording.remarks, remark)}
    return dataclasses.replace(recording, **changes)
