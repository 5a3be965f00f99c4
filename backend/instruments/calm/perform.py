"""A grid of notes as somebody might play it: small drifts of time and loudness, phrases that swell, no sudden onset."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from backend.audio.midi import Notes, make_notes
from backend.instruments.calm.piece import STEPS_PER_BAR, STEPS_PER_BEAT

Array = npt.NDArray[np.float64]
Grid = npt.NDArray[np.void]

PHRASE_BARS = 4
TIMING_SD_S, TIMING_MEMORY = 0.008, 0.8
SPREAD_S = 0.006  # between the notes of a chord, from the bass up
VELOCITY_SD, SOFTEST, LOUDEST = 2.5, 18, 74
FADE_IN_S, FADE_OUT_S, FADE_VELOCITY = 15.0, 30.0, 16.0
MAX_RISE_DB, MEMORY_S, TOGETHER_S = 3.0, 4.0, 0.06


def perform(grid: Grid, beat_s: Array, transpose: int, rng: np.random.Generator) -> Notes:
    """Notes in seconds of a grid of `piece.NOTE_GRID`, with soft ends.

    The deviations have a memory, as a player's have (Hennig et al., "The nature and perception of fluctuations in
    human musical rhythms", PLoS ONE 6:e26457, 2011). No onset is more than 3 dB above the loudest of the four seconds
    before it.

    Args:
        grid: sorted by step and pitch, all hands.
        beat_s: time of every beat and of the end of the last.
        transpose: semitones from the grid's pitches to those played.
        rng: of the deviations.
    """
    steps, place = np.unique(grid["step"], return_inverse=True)
    drift = _remembering(len(steps), TIMING_SD_S, rng)[place]
    rank = np.arange(len(grid)) - np.searchsorted(place, place)  # the grid is sorted: from the bass up
    beats = np.arange(len(beat_s))
    at = np.interp(grid["step"] / STEPS_PER_BEAT, beats, beat_s)
    start = at + drift + SPREAD_S * np.minimum(rank, 4)
    end = np.interp((grid["step"] + grid["length"]) / STEPS_PER_BEAT, beats, beat_s) + drift
    phrase = np.sin(np.pi * (grid["step"] / (PHRASE_BARS * STEPS_PER_BAR) % 1.0))
    velocity = 50.0 + 0.35 * (grid["velocity"].astype(np.float64) - 64.0) + 4.0 * phrase
    velocity += _remembering(len(steps), VELOCITY_SD, rng)[place]
    for seconds, since in ((FADE_IN_S, at - beat_s[0]), (FADE_OUT_S, beat_s[-1] - at)):
        seconds = min(seconds, (beat_s[-1] - beat_s[0]) / 3)
        velocity -= FADE_VELOCITY * np.clip(1.0 - since / seconds, 0.0, 1.0)
    struck = _without_jumps(start, np.clip(velocity, SOFTEST, LOUDEST))
    end = np.minimum(np.maximum(end, start + 0.05), _next_of_pitch(grid["pitch"], start) - 0.005)
    pitch = grid["pitch"].astype(int) + transpose
    rows = zip(start, end, pitch, struck, grid["hand"], strict=True)
    return make_notes([(float(a), float(b), int(p), int(v), 0, False, int(h)) for a, b, p, v, h in rows])


def onset_jump_db(notes: Notes) -> float:
    """Largest rise of an onset above the loudest onset of the four seconds before it, in dB.

    The level of a note is 40 log10 of its velocity, as General MIDI recommends; notes within 60 ms add up in power.
    The first onset has nothing before it and counts as none.
    """
    order = np.argsort(notes["start_s"], kind="stable")
    start, velocity = notes["start_s"][order], notes["velocity"][order].astype(np.float64)
    times, levels = list[float](), list[float]()
    for first, stop in _groups(start):
        times.append(float(start[first]))
        levels.append(_level_db(velocity[first:stop]))
    return max((level - _loudest(times, levels, i) for i, level in enumerate(levels) if i), default=0.0)


def _remembering(count: int, deviation: float, rng: np.random.Generator) -> Array:
    """A first-order autoregressive series of this standard deviation, never beyond 2.5 of it."""
    noise = rng.normal(0.0, deviation * np.sqrt(1.0 - TIMING_MEMORY**2), count)
    series, value = np.empty(count), 0.0
    for index in range(count):
        value = series[index] = TIMING_MEMORY * value + noise[index]
    return np.clip(series, -2.5 * deviation, 2.5 * deviation)


def _without_jumps(start: Array, velocity: Array) -> npt.NDArray[np.int64]:
    """Whole velocities, lowered wherever an onset would rise too far above those before it."""
    order = np.argsort(start, kind="stable")
    result = np.floor(velocity).astype(np.int64)
    times, levels = list[float](), list[float]()
    for first, stop in _groups(start[order]):
        mine = order[first:stop]
        times.append(float(start[mine[0]]))
        levels.append(_level_db(result[mine].astype(np.float64)))
        excess = levels[-1] - _loudest(times, levels, len(levels) - 1) - MAX_RISE_DB if len(levels) > 1 else 0.0
        if excess > 0:
            result[mine] = np.maximum(np.floor(result[mine] * 10.0 ** (-excess / 40.0)), 1).astype(np.int64)
            levels[-1] = _level_db(result[mine].astype(np.float64))
    return result


def _groups(start: Array) -> Iterator[tuple[int, int]]:
    """First and last-plus-one of the notes that begin together, of onsets in order."""
    first = 0
    for index in range(1, len(start) + 1):
        if index == len(start) or start[index] - start[first] > TOGETHER_S:
            yield first, index
            first = index


def _level_db(velocity: Array) -> float:
    return float(10.0 * np.log10(((velocity / 127.0) ** 4).sum()))


def _loudest(times: list[float], levels: list[float], index: int) -> float:
    """Level of the loudest of the onsets in the four seconds before one, or of the one before it."""
    loudest, earlier = levels[index - 1], index - 1
    while earlier >= 0 and times[index] - times[earlier] <= MEMORY_S:
        loudest, earlier = max(loudest, levels[earlier]), earlier - 1
    return loudest


def _next_of_pitch(pitch: npt.NDArray[np.uint8], start: Array) -> Array:
    """When each note's pitch is struck again; infinity where it is not."""
    order = np.lexsort((start, pitch))
    following = np.full(len(pitch), np.inf)
    same = pitch[order][1:] == pitch[order][:-1]
    following[order[:-1]] = np.where(same, start[order][1:], np.inf)
    return following
