"""Where the beat of a note table lies: from the file's own tempo map, or tracked in the onsets."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mido
import numpy as np
import numpy.typing as npt

from backend.corpus.theory import tempo_scores

Array = npt.NDArray[np.float64]

TRACKED_S = 120.0
CURVE_RATE = 100
TIGHTNESS = 60.0  # of the tracker: how much a beat may differ from its neighbours
MIN_ALIGNED = 0.4
MIDI_DEFAULT_BPM = 120.0


@dataclass(frozen=True, eq=False)
class Beats:
    """A clock from seconds to quarter notes, straight between its knots and beyond them.

    Attributes:
        seconds: knots ``[knots]``, rising, at least two.
        beats: the same knots in quarter notes ``[knots]``.
        tempi: distinct tempi stated in the file; 0 when it states none.
        meter: first time signature.
        meters: distinct time signatures.
        tracked: whether the beat was estimated from the onsets.
    """

    seconds: Array
    beats: Array
    tempi: int = 0
    meter: tuple[int, int] = (4, 4)
    meters: int = 1
    tracked: bool = False

    def at(self, times_s: Array) -> Array:
        """Quarter notes at the times ``[n]``."""
        place = np.clip(np.searchsorted(self.seconds, times_s, side="right") - 1, 0, len(self.seconds) - 2)
        rise = np.diff(self.beats)[place] / np.maximum(np.diff(self.seconds)[place], 1e-9)
        return np.asarray(self.beats[place] + (times_s - self.seconds[place]) * rise, np.float64)


def constant_beats(tempo_bpm: float, first_s: float = 0.0) -> Beats:
    """A steady beat that starts at ``first_s``."""
    return Beats(np.array([first_s, first_s + 60.0]), np.array([0.0, tempo_bpm]), 1)


def beats_of_midi(source: str | Path | bytes) -> Beats:
    """The tempo map and metre of a MIDI file that `backend.audio.midi.read_midi` accepts."""
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    midi = mido.MidiFile(file=io.BytesIO(data), clip=True)
    changes: list[tuple[int, int]] = []
    meters: list[tuple[int, int, int]] = []
    for track in midi.tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "set_tempo" and message.tempo > 0:
                changes.append((tick, message.tempo))
            elif message.type == "time_signature":
                meters.append((tick, message.numerator, message.denominator))
    changes.sort(key=lambda change: change[0])
    known = dict([(0, round(60e6 / MIDI_DEFAULT_BPM)), *changes])  # of several at one place the last counts
    ticks = np.array(sorted(known), np.float64)
    rates = np.array([known[int(tick)] for tick in ticks], np.float64) / 1e6 / midi.ticks_per_beat
    ticks = np.append(ticks, ticks[-1] + midi.ticks_per_beat)
    seconds = np.concatenate(([0.0], np.cumsum(np.diff(ticks) * rates)))
    kinds = [meter[1:] for meter in sorted(meters, key=lambda meter: meter[0])] or [(4, 4)]
    return Beats(
        seconds,
        ticks / midi.ticks_per_beat,
        len({tempo for _, tempo in changes}),
        kinds[0],
        len(set(kinds)),
    )


def alignment(beats: Array) -> float:
    """How well onsets in quarter notes lie on a grid, 0 to 1: the best of sixteenths, triplets and both together.

    The mean resultant length of the onsets' phases (Mardia and Jupp, "Directional statistics", 2000); chance is about
    one over the root of their number.
    """
    if len(beats) == 0:
        return 1.0
    return max(float(np.abs(np.exp(2j * np.pi * n * beats).mean())) for n in (4, 3, 12))


def aligned(beats: Array) -> bool:
    """Whether the onsets follow the beat; too few to tell count as doing so."""
    return alignment(beats) >= max(MIN_ALIGNED, 2.5 / np.sqrt(max(1, len(beats)))) or len(beats) < 12


def track_beats(onsets_s: Array) -> Beats:
    """Beats of a free performance by dynamic programming over its onsets.

    Ellis, "Beat tracking by dynamic programming", 2007, equations 5 and 6, on the notes' onsets instead of the
    sound's; the first two minutes are tracked and the last tempo is kept after them.

    Args:
        onsets_s: note onsets in seconds ``[n]``, at least two different ones.
    """
    start = float(onsets_s.min())
    onsets = np.sort(onsets_s[onsets_s - start <= TRACKED_S] - start)
    span_s = max(4.0, float(onsets[-1]) + 1.0)
    bpm, score = tempo_scores(onsets, np.ones(len(onsets)), span_s)
    period = CURVE_RATE * 60.0 / float(bpm[int(score.argmax())])
    curve = np.bincount((onsets * CURVE_RATE).round().astype(int), minlength=int(span_s * CURVE_RATE)).astype(float)
    curve = np.convolve(np.sqrt(curve), np.exp(-0.5 * (np.arange(-4, 5) / 2.0) ** 2), "same")
    places = _best_chain(curve, period)
    if len(places) < 2:
        return constant_beats(60.0 * CURVE_RATE / period, start)
    return Beats(start + places / CURVE_RATE, np.arange(len(places), dtype=np.float64), tracked=True)


def _best_chain(curve: Array, period: float) -> Array:
    """Frames of the beats: the chain with most onsets on it and least change of its period."""
    back = np.arange(-round(2 * period), -round(period / 2) + 1)
    cost = -TIGHTNESS * np.log(-back / period) ** 2
    total, before = curve.copy(), np.full(len(curve), -1)
    for frame in range(len(curve)):
        known = back + frame >= 0
        if not known.any():
            continue
        options = total[(back + frame)[known]] + cost[known]
        best = int(options.argmax())
        if options[best] > 0:
            total[frame] += options[best]
            before[frame] = (back + frame)[known][best]
    place = int(total[-round(period) :].argmax()) + len(total) - len(total[-round(period) :])
    chain = [place]
    while before[chain[-1]] >= 0:
        chain.append(int(before[chain[-1]]))
    return np.array(chain[::-1], np.float64)


def downbeat(start: Array, length: Array, pitch: npt.NDArray[np.integer[Any]]) -> float:
    """Quarter notes by which to delay music in 4/4 so that its bars begin on the grid's, 0 to 3.

    A pickup written as a short first bar moves all bars that follow. Long and low notes start bars more often than
    other notes do; no shift has the benefit of the doubt.

    Args:
        start: onsets in quarter notes ``[n]``.
        length: lengths in quarter notes ``[n]``.
        pitch: MIDI pitches ``[n]``.
    """
    place = np.round(start * 4).astype(int)
    weight = np.minimum(length, 4.0) * np.where(pitch < np.median(pitch), 1.6, 1.0)
    scores = [
        weight[(place + 4 * shift) % 16 == 0].sum() + 0.3 * weight[(place + 4 * shift) % 8 == 0].sum()
        for shift in range(4)
    ]
    scores[0] *= 1.25
    return float(np.argmax(scores))
