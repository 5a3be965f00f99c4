"""Calm pieces from MIDI: any tempo and metre is taken onto the grid of sixteenths, with a sentence on what was done.

The beat is kept and the bar line is not: 3/4 and 5/8 run on in groups of four quarter notes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from backend.audio.midi import Notes, read_midi
from backend.errors import AudioError, RequestError
from backend.instruments.calm.beat import Beats, aligned, beats_of_midi, constant_beats, downbeat, track_beats
from backend.instruments.calm.piece import (
    LOWEST,
    MAX_BARS,
    MIN_BARS,
    N_PITCHES,
    NOTE_GRID,
    STEPS_PER_BAR,
    STEPS_PER_BEAT,
    CalmPiece,
    tidy,
    to_normal_key,
    with_hands,
)

Array = npt.NDArray[np.float64]
_TIMED = np.dtype([*((name, NOTE_GRID[name]) for name in NOTE_GRID.names or ()), ("start_s", "f8"), ("beat", "f8")])

SLOWEST_BPM, FASTEST_BPM = 37.0, 150.0
LONGEST_STEPS = 2 * STEPS_PER_BAR
OFF_GRID, OFF_GRID_SHARE = 0.2, 0.15  # in sixteenths; the share of the notes from which on it is said
MIDI_SECONDS = 200_000.0  # only the first bars are taken, so length is no reason to refuse
WORKS = "a Standard MIDI File (.mid) of at most 2 MB and 50,000 notes with a melodic part works"


def read_pieces(source: str | Path | bytes, *, bars: int = 8, max_pieces: int = 4) -> tuple[list[CalmPiece], list[str]]:
    """The first pieces of a MIDI file, and a sentence for everything that was not taken as it stands.

    Raises:
        AudioError: not MIDI, damaged, too large, without notes or with drums only; says what would work.
        RequestError: ``bars`` out of range.
    """
    try:
        notes = read_midi(source, max_seconds=MIDI_SECONDS)
    except AudioError as error:
        raise AudioError(f"{str(error).rstrip('.')}; {WORKS}.") from error
    return piece_of_midi(notes, beats_of_midi(source), bars=bars, max_pieces=max_pieces)


def piece_of_midi(
    notes: Notes, beats: Beats | None = None, *, bars: int = 8, max_pieces: int = 4
) -> tuple[list[CalmPiece], list[str]]:
    """Consecutive pieces of ``bars`` bars from the start of the notes.

    Args:
        notes: table of `backend.audio.midi.NOTE`.
        beats: the file's tempo map; the beat is tracked in the onsets if omitted or if the notes do not follow it.
        bars: 4 to 16; a remainder of at least four bars becomes a shorter last piece.
        max_pieces: most to return.

    Returns:
        At least one piece, and remarks: one sentence each.

    Raises:
        AudioError: no pitched notes.
        RequestError: ``bars`` out of range.
    """
    if not MIN_BARS <= bars <= MAX_BARS:
        raise RequestError("bars", bars, f"a whole number from {MIN_BARS} to {MAX_BARS}")
    remarks: list[str] = []
    pitched = notes[~notes["is_drum"]]
    if not len(pitched):
        raise AudioError(f"The MIDI file holds only drums; {WORKS}.")
    if len(pitched) < len(notes):
        remarks.append(f"{len(notes) - len(pitched)} drum notes were left out.")
    beats = _trusted(pitched, beats, remarks)
    grid, tempo_bpm = _on_grid(pitched, beats, remarks)
    grid, total = _closed_up(grid, bars * max_pieces, remarks)
    outside = (grid["pitch"] < LOWEST) | (grid["pitch"] >= LOWEST + N_PITCHES)
    if outside.any():
        remarks.append(f"{int(outside.sum())} notes beyond the piano's range were moved by octaves.")
    grid, mode, transpose = to_normal_key(grid)
    pieces = []
    for first in range(0, total - MIN_BARS + 1, bars):
        count = min(bars, total - first)
        at = grid["step"] - first * STEPS_PER_BAR
        inside = (at >= 0) & (at < count * STEPS_PER_BAR)
        part = np.zeros(int(inside.sum()), NOTE_GRID)
        for name in ("length", "pitch", "velocity"):
            part[name] = grid[name][inside]
        part["step"] = at[inside]
        played_bpm = _tempo(grid["beat"][inside], grid["start_s"][inside], tempo_bpm)
        pieces.append(CalmPiece(with_hands(tidy(part, count * STEPS_PER_BAR)), count, played_bpm, mode, transpose))
    return pieces, remarks


def _trusted(notes: Notes, beats: Beats | None, remarks: list[str]) -> Beats:
    """The file's own beat if the notes follow it, else one tracked in them."""
    onsets = notes["start_s"].astype(np.float64)
    if beats is not None and aligned(beats.at(onsets)):
        if beats.tempi == 0:
            remarks.append("The file states no tempo; MIDI's default of 120 beats a minute was taken.")
        elif beats.tempi > 1:
            remarks.append(f"The file has {beats.tempi} different tempi; each piece is played at its average.")
        numerator, denominator = beats.meter
        if (numerator * 4 / denominator) % 2:
            remarks.append(
                f"The metre is {numerator}/{denominator}; the beat is kept and runs on in groups of four quarter notes."
            )
        if beats.meters > 1:
            remarks.append(f"The file has {beats.meters} metres; the bars are counted in the first.")
        return beats
    if np.ptp(onsets) < 1.0:
        return constant_beats(120.0, float(onsets.min()))
    found = track_beats(onsets)
    if beats is not None:
        remarks.append("The notes do not follow the file's beat; the beat was tracked in their onsets.")
    return found


def _on_grid(notes: Notes, beats: Beats, remarks: list[str]) -> tuple[npt.NDArray[np.void], float]:
    """The notes in sixteenths from the first bar on, and their mean tempo, doubled or halved into a singable range."""
    start, end = beats.at(notes["start_s"].astype(np.float64)), beats.at(notes["end_s"].astype(np.float64))
    stated = _tempo(start, notes["start_s"], _tempo(end, notes["end_s"], 120.0))
    octaves = 0
    while stated * 2.0**octaves > FASTEST_BPM:
        octaves -= 1
    while stated * 2.0**octaves < SLOWEST_BPM:
        octaves += 1
    if octaves:
        read = stated * 2.0**octaves
        remarks.append(f"At {stated:.0f} beats a minute the notes were read as {read:.0f}, a power of two away.")
        start, end = start * 2.0**octaves, end * 2.0**octaves
    bar = 2.0**octaves * beats.meter[0] * 4 / beats.meter[1]
    bar = 4.0 if beats.tracked or bar in (0.5, 1, 2, 4, 8) else bar
    start_bar = bar * np.floor((float(start.min()) + 1 / 16) / bar)
    start, end = start - start_bar, end - start_bar
    if bar == 4.0 and (beats.tracked or beats.meters > 1):  # nothing, or a short first bar, says where bars begin
        shift = downbeat(start, end - start, notes["pitch"])
        start, end = start + shift, end + shift
    exact = start * STEPS_PER_BEAT
    off = float(np.mean(np.abs(exact - np.round(exact)) > OFF_GRID))
    if off > OFF_GRID_SHARE:
        remarks.append(f"{off:.0%} of the notes lie between the sixteenths (triplets or free timing) and were moved.")
    grid = np.zeros(len(notes), _TIMED)
    grid["step"] = np.maximum(0, np.round(exact))
    grid["length"] = np.clip(np.round(end * STEPS_PER_BEAT) - grid["step"], 1, LONGEST_STEPS)
    for name in ("pitch", "velocity", "start_s"):
        grid[name] = notes[name]
    grid["beat"] = start
    return grid, stated * 2.0**octaves


def _tempo(beats: Array, seconds: Array, otherwise: float) -> float:
    """Mean tempo between the first and the last onset; ``otherwise`` where they are too close to tell."""
    span_s = float(np.ptp(seconds)) if len(seconds) else 0.0
    found = 60.0 * float(np.ptp(beats)) / span_s if span_s > 1.0 else otherwise
    return found if found > 0 else otherwise


def _closed_up(grid: npt.NDArray[np.void], wanted: int, remarks: list[str]) -> tuple[npt.NDArray[np.void], int]:
    """At most ``wanted`` bars without long silences, at least four; also how many bars there are."""
    bar = grid["step"] // STEPS_PER_BAR
    last = (grid["step"] + grid["length"] - 1) // STEPS_PER_BAR
    sounding = np.unique(np.concatenate([np.minimum(bar + k, last) for k in range(3)]))
    sounding = np.unique(np.concatenate([sounding, sounding + 1]))[:-1] if len(sounding) > 1 else sounding
    total = len(sounding)
    if int(sounding[-1]) + 1 > total:
        remarks.append(f"{int(sounding[-1]) + 1 - total} silent bars were left out.")
    grid = grid.copy()
    grid["step"] = np.searchsorted(sounding, bar) * STEPS_PER_BAR + grid["step"] % STEPS_PER_BAR
    if total > wanted:
        remarks.append(f"The file has {total} bars; the first {wanted} were taken.")
        grid, total = grid[grid["step"] < wanted * STEPS_PER_BAR], wanted
    if total < MIN_BARS:
        times = -(-MIN_BARS // total)
        remarks.append(f"The notes fill {total} bar{'s' * (total > 1)}; they were repeated to fill {MIN_BARS}.")
        copies = [grid.copy() for _ in range(times)]
        for index, copy in enumerate(copies):
            copy["step"] += index * total * STEPS_PER_BAR
        grid, total = np.concatenate(copies), MIN_BARS
        grid = grid[grid["step"] < MIN_BARS * STEPS_PER_BAR]
    return grid, total
