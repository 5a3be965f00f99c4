"""A user's own recordings as clips to learn from: read, checked, cleaned, cut at phrase ends and captioned.

Captions come from a text file beside each recording, from a table in the form of MusicCaps (arXiv 2301.11325: id,
start, end, caption), or are proposed by the analysis. Whatever cannot be used is told in one sentence that names the
file; what can be used with a reservation carries it as a note.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from backend.audio.io import probe, read, resample
from backend.audio.transcribe import Transcription, transcribe
from backend.audio.waveform import Waveform
from backend.errors import AudioError, RequestError
from backend.instruments.violin.captions import MAX_CAPTION, Row, caption_beside, checked_caption, read_table
from backend.instruments.violin.cleaning import clean
from backend.instruments.violin.cutting import clipped_share, cut, fingerprint, same_sound
from backend.instruments.violin.describe import caption_of, describe
from backend.instruments.violin.request import SUFFIXES

__all__ = ["MAX_CAPTION", "Clip", "from_files", "read_clips"]

SAMPLE_RATE = 24_000
MAX_TOTAL_S, SHORTEST_S, MAX_FILES, MAX_BYTES = 1200.0, 1.0, 500, 400_000_000
LEAST_CLIPS = 2
Report = Callable[[int, int], None]
"""Told how many recordings of how many are done; may raise to stop."""

LOW_HZ, HIGH_HZ = 65.0, 3000.0
CLIPPED_NOTED, CLIPPED_WARNED, CLIPPED_REFUSED = 1e-4, 0.01, 0.1


@dataclass(frozen=True, eq=False)
class Clip:
    """One clip.

    Attributes:
        name: of the clip, unique: the recording's, with a number where it was cut.
        source: name of the recording; clips of one must not be divided between training and validation.
        waveform: mono at 24 kHz, at -20 LUFS, up to 15 s.
        caption: what is played in it.
        proposed: whether the caption is the analysis' and not the user's.
        notes_of_cleaning: what was done to the recording, and reservations, in sentences; on its first clip.
        heard: its notes.
    """

    name: str
    source: str
    waveform: Waveform
    caption: str
    proposed: bool
    notes_of_cleaning: tuple[str, ...] = ()
    heard: Transcription | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class _Recording:
    """A recording as read, before cleaning; ``raw`` is the hash of its bytes."""

    name: str
    path: Path
    waveform: Waveform
    caption: str
    notes: tuple[str, ...]
    raw: str


def read_clips(folder: Path, csv: Path | None = None, report: Report | None = None) -> list[Clip]:
    """Clips of a folder of recordings (WAV, FLAC, MP3, OGG, Opus, AIFF).

    Args:
        folder: not searched below; a ``.txt`` of the same name beside a recording is its caption, and one with the name
            of a clip that was cut from it is that clip's.
        csv: a table with columns ``ytid``, ``id`` or ``file``, ``start_s``, ``end_s`` and ``caption``; then the
            rows are the clips. Rows whose recording is not there are passed over, as usual with MusicCaps.
        report: told before each recording.

    Raises:
        RequestError: no folder, nothing to read, a single clip, too much, a caption or table that cannot be used.
        AudioError: a recording that cannot be used, named.
    """
    if not folder.is_dir():
        raise RequestError("clips", str(folder), "a folder of recordings")
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if not paths:
        raise RequestError("clips", folder.name, "a folder that holds WAV, FLAC, MP3, OGG or Opus files")
    if csv is not None:
        clips = _finished(_table_recordings(paths, read_table(csv)), report)
    else:
        clips = from_files(paths, {p: caption_beside(p) for p in paths}, report)
    own = {clip.name: caption_beside(folder / f"{clip.name}.wav") for clip in clips}
    return [replace(clip, caption=own[clip.name], proposed=False) if own[clip.name] else clip for clip in clips]


def from_files(
    paths: Sequence[Path], captions: Mapping[Path, str] | Sequence[str] = (), report: Report | None = None
) -> list[Clip]:
    """Clips of recordings anywhere.

    Args:
        paths: sound files.
        captions: by path, or in the order of ``paths``; an empty or missing one is proposed by the analysis.
        report: told before each recording.

    Raises:
        RequestError, AudioError: as `read_clips`.
    """
    if not paths:
        raise RequestError("clips", 0, f"at least {LEAST_CLIPS} recordings")
    if not isinstance(captions, Mapping):
        captions = dict(zip(paths, captions, strict=False))
    _check_total(paths)
    names = _names(paths)
    recordings = []
    for path in paths:
        caption = checked_caption(captions.get(path, ""), path.name)
        recordings.append(_recording(path, names[path], caption))
    return _finished(recordings, report)


def _table_recordings(paths: Sequence[Path], rows: Sequence[Row]) -> list[_Recording]:
    """The part of a recording that each row names."""
    by_id: dict[str, Path] = {}
    for path in paths:
        by_id.setdefault(path.stem, path)
        by_id[path.name] = path
    found = [(row, by_id.get(row.id) or _containing(row.id, paths)) for row in rows]
    present = [(row, path) for row, path in found if path is not None]
    if not present:
        raise RequestError("csv", rows[0].id, f"ids that are names of the {len(paths)} recordings in the folder")
    total = sum(row.end_s - row.start_s for row, _ in present)
    if total > MAX_TOTAL_S:
        raise RequestError("clips", f"{total / 60:.0f} minutes", f"at most {MAX_TOTAL_S / 60:.0f} minutes in all")
    names, out = _names(paths), list[_Recording]()
    whole: dict[Path, _Recording] = {}
    for row, path in present:
        caption = checked_caption(row.caption, f"line {row.line} of the table")
        if path not in whole:
            whole = {path: _recording(path, names[path], "")}  # one at a time in memory
        entire = whole[path]
        length = entire.waveform.duration_s
        if row.start_s >= length:
            # downloaded clips are often cut already: then the whole file is the row
            if length > row.end_s - row.start_s + 1.0:
                raise RequestError("start_s", row.start_s, f"a time within the {length:.1f} s of {path.name}")
            part = entire.waveform
        else:
            part = entire.waveform.slice(row.start_s, row.end_s)
        raw = hashlib.sha256(part.samples.tobytes()).hexdigest()
        out.append(replace(entire, waveform=part, caption=caption, raw=raw))
    return out


def _containing(wanted: str, paths: Sequence[Path]) -> Path | None:
    """The file with an id of at least six characters somewhere in its name, as downloaders write it."""
    return next((p for p in paths if wanted in p.stem), None) if len(wanted) >= 6 else None


def _recording(path: Path, name: str, caption: str) -> _Recording:
    """Read one recording and refuse what cannot be used.

    Raises:
        AudioError: naming the file.
    """
    try:
        waveform = read(path, max_seconds=MAX_TOTAL_S, max_bytes=MAX_BYTES)
        raw = hashlib.sha256(waveform.samples.tobytes()).hexdigest()
    except AudioError as error:
        raise AudioError(f"{path.name}: {error}") from error
    if waveform.duration_s < SHORTEST_S:
        raise AudioError(f"{path.name} lasts {waveform.duration_s:.2g} s; at least {SHORTEST_S:.0f} s is needed.")
    share, notes = clipped_share(waveform), list[str]()
    if share > CLIPPED_REFUSED:
        raise AudioError(
            f"{path.name} is clipped in {100 * share:.0f} % of its samples; record it again at a lower level."
        )
    if share > CLIPPED_WARNED:
        notes.append(f"{100 * share:.1f} % of the samples are clipped, which will be learned too; better leave it out.")
    elif share > CLIPPED_NOTED:
        notes.append(f"{100 * share:.2f} % of the samples are clipped.")
    return _Recording(name, path, resample(waveform.mono(), SAMPLE_RATE), caption, tuple(notes), raw)


def _finished(recordings: Sequence[_Recording], report: Report | None = None) -> list[Clip]:
    """Clean, drop what is there twice, cut, listen, caption; ``recordings`` of one name are parts of one source."""
    clips, seen, prints = (
        list[Clip](),
        dict[str, str](),
        list[tuple[str, np.ndarray[tuple[int], np.dtype[np.float32]]]](),
    )
    dropped = list[str]()
    for number, recording in enumerate(recordings):
        if report is not None:
            report(number, len(recordings))
        cleaned, done = clean(recording.waveform)
        if cleaned.duration_s < SHORTEST_S:
            held = f"{cleaned.duration_s:.2g} s of sound"
            raise AudioError(f"{recording.path.name} holds {held}; at least {SHORTEST_S:.0f} s is needed.")
        mark = fingerprint(cleaned)
        twin = seen.get(recording.raw) or next((name for name, other in prints if same_sound(mark, other)), None)
        if twin is not None:
            dropped.append(f"{recording.path.name} sounds the same as {twin} and was left out.")
            continue
        seen[recording.raw] = recording.path.name
        prints.append((recording.path.name, mark))
        clips += _parts(recording, cleaned, (*recording.notes, *done))
    clips = _numbered(clips)
    if len(clips) < LEAST_CLIPS:
        raise RequestError(
            "clips", len(clips), f"at least {LEAST_CLIPS} different clips; " + " ".join(dropped or ["add more"])
        )
    if dropped:
        clips[0] = replace(clips[0], notes_of_cleaning=(*clips[0].notes_of_cleaning, *dropped))
    return clips


def _parts(recording: _Recording, cleaned: Waveform, notes: tuple[str, ...]) -> list[Clip]:
    """The clips of one recording; those without a pitch are dropped.

    Raises:
        AudioError: there is a pitch in none of them.
    """
    clips, silent, reason = list[Clip](), 0, ""
    for part in cut(cleaned):
        try:
            heard = transcribe(part, low_hz=LOW_HZ, high_hz=HIGH_HZ)
        except AudioError as error:
            silent, reason = silent + 1, str(error)
            continue
        caption = recording.caption
        if not caption:
            seed = int.from_bytes(hashlib.sha256(part.samples.tobytes()).digest()[:8], "big")
            caption = caption_of(describe(part, heard), np.random.default_rng(seed))
        told = () if clips else notes  # once a recording
        clips.append(Clip(recording.name, recording.name, part, caption, not recording.caption, told, heard))
    if not clips:
        raise AudioError(f"{recording.path.name}: {reason}")
    if silent:
        note = f"{silent} part{'s' if silent > 1 else ''} without a pitch {'were' if silent > 1 else 'was'} left out."
        clips[0] = replace(clips[0], notes_of_cleaning=(*notes, note))
    return clips


def _numbered(clips: Sequence[Clip]) -> list[Clip]:
    """Numbers behind the names of sources that have several clips."""
    sources = [clip.source for clip in clips]
    counted: dict[str, int] = {}
    out = []
    for clip in clips:
        counted[clip.source] = counted.get(clip.source, 0) + 1
        several = sources.count(clip.source) > 1
        out.append(replace(clip, name=f"{clip.source}-{counted[clip.source]:02d}") if several else clip)
    return out


def _names(paths: Sequence[Path]) -> dict[Path, str]:
    """A unique name for each file: the stem, with the suffix or a number where two share it."""
    stems = [path.stem for path in paths]
    names: dict[Path, str] = {}
    for path in paths:
        name = path.stem if stems.count(path.stem) == 1 else path.name
        while name in names.values():
            name += "_"
        names[path] = name
    return names


def _check_total(paths: Sequence[Path]) -> None:
    """Refuse more than `MAX_TOTAL_S` before anything is decoded.

    Raises:
        RequestError, AudioError: too many files, too much sound, or a file that is not one.
    """
    if len(paths) > MAX_FILES:
        raise RequestError("clips", len(paths), f"at most {MAX_FILES} files")
    total = 0.0
    for path in paths:
        try:
            total += probe(path, max_seconds=1e6, max_bytes=MAX_BYTES).duration_s
        except AudioError as error:
            raise AudioError(f"{path.name}: {error}") from error
    if total > MAX_TOTAL_S:
        found = f"{total / 60:.0f} minutes of sound"
        raise RequestError("clips", found, f"at most {MAX_TOTAL_S / 60:.0f} minutes in all; choose the best")
