"""Notes: one table, to and from MIDI files and ``note_seq.NoteSequence``.

MIDI files come from strangers, so reading checks bytes, notes and length and turns every parser failure into one
sentence. The sustain pedal and pitch bends are ignored: a note lasts as long as its key.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mido
import numpy as np
import numpy.typing as npt

from backend.audio import provenance as tags
from backend.errors import AudioError

NOTE = np.dtype(
    [
        ("start_s", "f8"),
        ("end_s", "f8"),
        ("pitch", "u1"),
        ("velocity", "u1"),
        ("program", "u1"),
        ("is_drum", "?"),
        ("part", "u1"),
    ]
)
"""One note: seconds, MIDI pitch and velocity (1-127), General MIDI program from 0, drum kit or not, part from 0."""

Notes = npt.NDArray[np.void]

MAX_BYTES = 2_000_000
MAX_NOTES = 50_000
MAX_SECONDS = 1_800.0
MAX_PARTS = 64
TICKS_PER_BEAT = 480
DRUM_CHANNEL = 9
MELODIC_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)


def make_notes(rows: list[tuple[float, float, int, int, int, bool, int]]) -> Notes:
    """The note table of ``(start_s, end_s, pitch, velocity, program, is_drum, part)`` rows, in order of time."""
    return np.sort(np.array(rows, dtype=NOTE), order=["start_s", "part", "pitch"])


def program_name(program: int, is_drum: bool = False) -> str:
    """General MIDI's name of a program, such as "Violin"."""
    if is_drum:
        return "Drums"
    import pretty_midi

    return str(pretty_midi.program_to_instrument_name(program))


def read_midi(
    source: str | Path | bytes,
    *,
    max_bytes: int = MAX_BYTES,
    max_notes: int = MAX_NOTES,
    max_seconds: float = MAX_SECONDS,
) -> Notes:
    """Notes of a MIDI file, with its tempo changes turned into seconds; a part is a track and channel that has notes.

    Raises:
        AudioError: not MIDI, damaged, without notes, or beyond the limits.
    """
    midi = _parse(source, max_bytes)
    tempi, tracks = _events(midi)
    seconds = _clock(tempi, midi.ticks_per_beat)
    rows: list[tuple[float, float, int, int, int, bool, int]] = []
    parts: dict[tuple[int, int], int] = {}
    for index, track in enumerate(tracks):
        programs, sounding = [0] * 16, dict[tuple[int, int], tuple[int, int, int]]()
        for tick, message in track:
            if message.type == "program_change":
                programs[message.channel] = message.program
            elif message.type in ("note_on", "note_off"):
                key = (message.channel, message.note)
                if key in sounding:
                    start, velocity, program = sounding.pop(key)
                    part = parts.setdefault((index, message.channel), len(parts))
                    drum = message.channel == DRUM_CHANNEL
                    rows.append((seconds(start), seconds(tick), message.note, velocity, program, drum, part))
                if message.type == "note_on" and message.velocity > 0:
                    sounding[key] = (tick, message.velocity, programs[message.channel])
        if len(rows) > max_notes:
            raise AudioError(f"The MIDI file has more than {max_notes:,} notes.")
    rows = [row for row in rows if row[1] > row[0]]
    if not rows:
        raise AudioError("The MIDI file holds no notes.")
    if len(parts) > MAX_PARTS:
        raise AudioError(f"The MIDI file has {len(parts)} parts; at most {MAX_PARTS} are accepted.")
    if max(row[1] for row in rows) > max_seconds:
        raise AudioError(f"The MIDI file is longer than {max_seconds:,.0f} seconds.")
    return make_notes(rows)


def to_midi(notes: Notes, tempo_bpm: float = 120.0, provenance: Mapping[str, Any] | None = None) -> bytes:
    """A type 1 MIDI file with one track a part.

    Args:
        notes: any table of `NOTE`; times are rounded to 480 ticks a beat.
        tempo_bpm: written as the tempo; it sets the bar lines and not the speed.
        provenance: JSON values embedded as a text event; `read_midi_provenance` restores them.

    Raises:
        AudioError: more than 15 melodic parts, or provenance that cannot be stored.
    """
    midi = mido.MidiFile(ticks_per_beat=TICKS_PER_BEAT)
    head = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo_bpm))])
    if provenance is not None:
        head.append(mido.MetaMessage("text", text=tags.to_comment(provenance)))
    midi.tracks.append(head)
    free = list(MELODIC_CHANNELS)
    ticks_per_second = TICKS_PER_BEAT * tempo_bpm / 60
    for part in np.unique(notes["part"]):
        mine = notes[notes["part"] == part]
        drum = bool(mine["is_drum"][0])
        if not drum and not free:
            raise AudioError(f"A MIDI file holds at most {len(MELODIC_CHANNELS)} melodic parts.")
        channel = DRUM_CHANNEL if drum else free.pop(0)
        events = []
        for note in mine:
            start, end = (round(float(note[name]) * ticks_per_second) for name in ("start_s", "end_s"))
            events.append((start, 1, "note_on", note))
            events.append((max(end, start + 1), 0, "note_off", note))
        events.sort(key=lambda event: event[:2])  # a key is released before it is struck again
        track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=int(mine["program"][0]))])
        now = 0
        for tick, _, kind, note in events:
            velocity = int(note["velocity"]) if kind == "note_on" else 0
            track.append(
                mido.Message(kind, channel=channel, note=int(note["pitch"]), velocity=velocity, time=tick - now)
            )
            now = tick
        midi.tracks.append(track)
    buffer = io.BytesIO()
    midi.save(file=buffer)
    return buffer.getvalue()


def read_midi_provenance(source: str | Path | bytes, *, max_bytes: int = MAX_BYTES) -> dict[str, Any] | None:
    """What `to_midi` embedded, or None when the file is not ours.

    Raises:
        AudioError: not a MIDI file that can be read.
    """
    for track in _parse(source, max_bytes).tracks[:2]:
        for message in track[:100]:
            if message.type == "text":
                found = tags.from_comment(message.text)
                if found is not None:
                    return found
    return None


def to_sequence(notes: Notes, tempo_bpm: float = 120.0) -> Any:
    """The notes as a ``note_seq.NoteSequence`` (one instrument number a part)."""
    import note_seq

    sequence = note_seq.NoteSequence(ticks_per_quarter=TICKS_PER_BEAT)
    sequence.tempos.add(qpm=tempo_bpm)
    for note in notes:
        sequence.notes.add(
            start_time=float(note["start_s"]),
            end_time=float(note["end_s"]),
            pitch=int(note["pitch"]),
            velocity=int(note["velocity"]),
            program=int(note["program"]),
            is_drum=bool(note["is_drum"]),
            instrument=int(note["part"]),
        )
    sequence.total_time = float(notes["end_s"].max(initial=0.0))
    return sequence


def from_sequence(sequence: Any) -> Notes:
    """The note table of a ``note_seq.NoteSequence`` in seconds (not a quantised one); empty notes are dropped.

    Raises:
        AudioError: no notes, or a pitch, velocity or program outside MIDI's range.
    """
    rows = []
    for note in sequence.notes:
        if not (0 <= note.pitch <= 127 and 1 <= note.velocity <= 127 and 0 <= note.program <= 127):
            raise AudioError(f"The notes hold a value outside MIDI's range (pitch {note.pitch}).")
        if note.end_time > note.start_time >= 0:
            part = min(note.instrument, 255)
            rows.append((note.start_time, note.end_time, note.pitch, note.velocity, note.program, note.is_drum, part))
    if not rows:
        raise AudioError("There are no notes.")
    return make_notes(rows)


def _parse(source: str | Path | bytes, max_bytes: int) -> mido.MidiFile:
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except (OSError, ValueError) as error:
        raise AudioError("The MIDI file cannot be opened.") from error
    if len(data) > max_bytes:
        raise AudioError(f"The MIDI file has {len(data):,} bytes; at most {max_bytes:,} are accepted.")
    if data[:4] != b"MThd":
        raise AudioError("The file is not a MIDI file.")
    try:
        midi = mido.MidiFile(file=io.BytesIO(data), clip=True)
    except Exception as error:  # mido lets a dozen kinds of error through on damaged files
        raise AudioError("The MIDI file is damaged.") from error
    if midi.ticks_per_beat <= 0 or midi.ticks_per_beat >= 0x8000:
        raise AudioError("The MIDI file is timed in video frames; export it in beats.")
    return midi


def _events(midi: mido.MidiFile) -> tuple[list[tuple[int, int]], list[list[tuple[int, Any]]]]:
    """``(tick, microseconds a beat)`` of all tempo changes, and each track's ``(tick, message)``."""
    tempi, tracks = [(0, 500_000)], []
    for track in midi.tracks:
        tick, events = 0, []
        for message in track:
            tick += message.time
            if message.type == "set_tempo":
                tempi.append((tick, message.tempo))
            elif message.type in ("note_on", "note_off", "program_change"):
                events.append((tick, message))
        tracks.append(events)
    return sorted(tempi, key=lambda change: change[0]), tracks


def _clock(tempi: list[tuple[int, int]], ticks_per_beat: int) -> Callable[[int], float]:
    """A function from ticks to seconds through all tempo changes."""
    ticks = np.array([tick for tick, _ in tempi], dtype=np.float64)
    rates = np.array([tempo for _, tempo in tempi], dtype=np.float64) / 1e6 / ticks_per_beat
    starts = np.concatenate(([0.0], np.cumsum(np.diff(ticks) * rates[:-1])))

    def seconds(tick: int) -> float:
        at = int(np.searchsorted(ticks, tick, side="right")) - 1
        return float(starts[at] + (tick - ticks[at]) * rates[at])

    return seconds
