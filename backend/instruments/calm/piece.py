"""A calm piece: 4 to 16 bars on a grid of sixteenths, in C major or A minor; as rolls and as notes in seconds."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from backend.audio.midi import NOTE, Notes
from backend.corpus.theory import measure_key
from backend.errors import RequestError

NOTE_GRID = np.dtype([("step", "i4"), ("length", "i4"), ("pitch", "u1"), ("velocity", "u1"), ("hand", "u1")])
"""One note: onset and length in sixteenths, normalised MIDI pitch, velocity, 0 for melody and 1 for accompaniment."""

Roll = npt.NDArray[np.bool_]
STEPS_PER_BEAT, STEPS_PER_BAR = 4, 16
LOWEST, N_PITCHES = 21, 88
MIN_BARS, MAX_BARS = 4, 16
TONIC = {"major": 0, "minor": 9}
MELODY_VELOCITY, ACCOMPANIMENT_VELOCITY = 72, 58
TIMING_S, SPREAD_S, VELOCITY_SD = 0.012, 0.008, 4.0


@dataclass(frozen=True, eq=False)
class CalmPiece:
    """A piece in its normal form.

    Attributes:
        notes: table of `NOTE_GRID`, sorted by step and pitch.
        bars: 4 to 16 bars of 16 steps.
        tempo_bpm: quarter notes a minute.
        mode: ``major`` (on C) or ``minor`` (on A).
        transpose: semitones from the normal form back to the key it came in.

    Raises:
        RequestError: bars, tempo or mode out of range.
    """

    notes: npt.NDArray[np.void]
    bars: int
    tempo_bpm: float = 66.0
    mode: str = "major"
    transpose: int = 0

    def __post_init__(self) -> None:
        if not MIN_BARS <= self.bars <= MAX_BARS:
            raise RequestError("bars", self.bars, f"a whole number from {MIN_BARS} to {MAX_BARS}")
        if not 10 <= self.tempo_bpm <= 400:
            raise RequestError("tempo_bpm", self.tempo_bpm, "a number from 10 to 400")
        if self.mode not in TONIC:
            raise RequestError("mode", self.mode, "'major' or 'minor'")

    @property
    def steps(self) -> int:
        """Length in sixteenths."""
        return self.bars * STEPS_PER_BAR

    @property
    def seconds(self) -> float:
        """Length at its tempo."""
        return self.steps * 15.0 / self.tempo_bpm

    def first_bars(self, bars: int) -> CalmPiece:
        """The piece cut to its first bars."""
        kept = self.notes[self.notes["step"] < bars * STEPS_PER_BAR]
        return replace(self, notes=tidy(kept, bars * STEPS_PER_BAR), bars=bars)


def tidy(notes: npt.NDArray[np.void], steps: int) -> npt.NDArray[np.void]:
    """Notes in order, one a step and pitch (the longest), none outside ``steps`` or into the next of its pitch."""
    notes = notes[(notes["step"] >= 0) & (notes["step"] < steps)]
    notes = notes[np.lexsort((-notes["length"], notes["step"], notes["pitch"]))]
    place = notes["pitch"].astype(np.int64) * (steps + 1) + notes["step"]
    first = np.ones(len(notes), bool)
    first[1:] = place[1:] != place[:-1]
    notes = notes[first].copy()
    following = np.full(len(notes), steps)
    if len(notes) > 1:
        same = notes["pitch"][1:] == notes["pitch"][:-1]
        following[:-1] = np.where(same, notes["step"][1:], steps)
    notes["length"] = np.clip(notes["length"], 1, following - notes["step"])
    return np.sort(notes, order=["step", "pitch"])


def with_hands(notes: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The notes with ``hand`` set: melody is the highest of each onset unless a higher melody note still sounds."""
    notes = notes.copy()
    notes["hand"] = 1
    end, top = -1, 0
    for index in np.lexsort((-notes["pitch"].astype(int), notes["step"])):
        step, pitch = int(notes["step"][index]), int(notes["pitch"][index])
        if step >= end or (pitch > top):
            notes["hand"][index] = 0
            end, top = step + int(notes["length"][index]), pitch
    return notes


def roll(piece: CalmPiece) -> tuple[Roll, Roll]:
    """Onsets and holds ``[steps, 88]``; a hold is a step on which a note of an earlier step still sounds."""
    onset = np.zeros((piece.steps, N_PITCHES), bool)
    hold = np.zeros_like(onset)
    notes = tidy(piece.notes, piece.steps)
    step, column = notes["step"].astype(int), notes["pitch"].astype(int) - LOWEST
    onset[step, column] = True
    rest = notes["length"].astype(int) - 1
    held = np.repeat(step + 1, rest) + np.arange(rest.sum()) - np.repeat(np.cumsum(rest) - rest, rest)
    hold[held, np.repeat(column, rest)] = True
    return onset, hold


def notes_of_roll(onset: Roll, hold: Roll) -> npt.NDArray[np.void]:
    """Notes of onsets and holds ``[steps, 88]`` with hands and plain velocities; holds without an onset are dropped."""
    steps, columns = np.nonzero(onset)
    # A note ends at the first later step that is not held, or is struck again.
    free = np.vstack([~hold | onset, np.ones((1, onset.shape[1]), bool)])
    ends = np.empty(free.shape, np.int64)
    last = np.full(onset.shape[1], len(onset), np.int64)
    for step in range(len(onset), -1, -1):
        last = np.where(free[step], step, last)
        ends[step] = last
    notes = np.zeros(len(steps), NOTE_GRID)
    notes["step"], notes["pitch"] = steps, columns + LOWEST
    notes["length"] = ends[steps + 1, columns] - steps
    return voiced(np.sort(notes, order=["step", "pitch"]))


def voiced(notes: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """The notes with hands, melody louder than accompaniment and the first of a bar a little louder."""
    notes = with_hands(notes)
    on_bar = np.where(notes["step"] % STEPS_PER_BAR == 0, 4, 0)
    notes["velocity"] = np.where(notes["hand"] == 0, MELODY_VELOCITY, ACCOMPANIMENT_VELOCITY) + on_bar
    return notes


def piece_of_roll(
    onset: Roll, hold: Roll, *, tempo_bpm: float = 66.0, mode: str = "major", transpose: int = 0
) -> CalmPiece:
    """The piece of onsets and holds ``[steps, 88]``, steps a multiple of 16."""
    return CalmPiece(notes_of_roll(onset, hold), len(onset) // STEPS_PER_BAR, tempo_bpm, mode, transpose)


def within(pitch: npt.NDArray[np.int64], low: int, high: int) -> npt.NDArray[np.int64]:
    """Pitches moved by octaves into ``[low, high]``, which spans an octave at least."""
    raised = pitch + 12 * np.maximum(0, -((pitch - low) // 12))
    out: npt.NDArray[np.int64] = raised - 12 * np.maximum(0, -((high - raised) // 12))
    return out


def to_normal_key(notes: npt.NDArray[np.void]) -> tuple[npt.NDArray[np.void], str, int]:
    """Notes in any key moved to C major or A minor by the nearest way, the mode found, and the semitones back."""
    key = measure_key(notes["pitch"].astype(np.float64), np.minimum(notes["length"], STEPS_PER_BAR).astype(np.float64))
    up = (TONIC[key.mode] - key.tonic + 5) % 12 - 5
    moved = notes.copy()
    moved["pitch"] = within(notes["pitch"].astype(np.int64) + up, LOWEST, LOWEST + N_PITCHES - 1)
    return moved, key.mode, -up


def midi_of_piece(
    piece: CalmPiece,
    *,
    humanise: float = 0.0,
    rng: np.random.Generator | None = None,
    program: int = 0,
    start_s: float = 0.0,
) -> Notes:
    """Notes in seconds and in the original key; part 0 is the melody, part 1 the accompaniment.

    Args:
        humanise: 0 plays the grid; 1 moves onsets by 12 ms and velocities by 4 (standard deviations) and spreads chords
            upwards by up to 8 ms a note.
        rng: its randomness; required when ``humanise`` is above 0.
        program: General MIDI program.
        start_s: time of the first step.
    """
    notes = piece.notes
    step_s = 15.0 / piece.tempo_bpm
    start = notes["step"] * step_s
    end = (notes["step"] + notes["length"]) * step_s
    velocity = notes["velocity"].astype(np.float64)
    if humanise > 0:
        if rng is None:
            raise ValueError("humanise needs rng")
        generator = rng
        _, group = np.unique(notes["step"], return_inverse=True)
        place = np.arange(len(notes)) - np.searchsorted(group, group)
        together = generator.normal(0.0, TIMING_S, int(group.max(initial=-1)) + 1)[group]
        moved = humanise * (np.clip(together, -2.5 * TIMING_S, 2.5 * TIMING_S) + SPREAD_S * np.minimum(place, 4))
        start, end = np.maximum(start + moved, 0.0), end + moved
        velocity += humanise * generator.normal(0.0, VELOCITY_SD, len(notes))
    pitch = within(notes["pitch"].astype(int) + piece.transpose, 0, 127)
    table = np.zeros(len(notes), NOTE)
    table["start_s"], table["end_s"] = start + start_s, np.maximum(end, start + 0.02) + start_s
    table["pitch"], table["part"], table["program"] = pitch, notes["hand"], program
    table["velocity"] = np.clip(np.round(velocity), 1, 127)
    return np.sort(table, order=["start_s", "part", "pitch"])
