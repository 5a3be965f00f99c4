"""What an arranger hands to the renderer: parts in beats, with the truths a caption may state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backend.corpus.instruments import Instrument
from backend.corpus.theory import Key, measure_key, tempo_clarity

CLIP_S = 30.0
CLEAR_TEMPO = 1.2
Notes = npt.NDArray[np.float64]
"""Notes ``[n, 4]``: onset in beats, duration in beats, MIDI pitch, velocity."""

ROLES = ("lead", "chords", "bass", "pad", "counter", "drums")


def as_notes(rows: list[tuple[float, float, float, float]]) -> Notes:
    """Rows of (onset, duration, pitch, velocity) as an array sorted by onset, then pitch."""
    return np.array(sorted(rows), dtype=np.float64).reshape(-1, 4)


@dataclass
class Part:
    """One instrument's notes in beats, its role, and whether its timing is a performance that must not be jittered."""

    instrument: Instrument
    role: str
    notes: Notes
    performed: bool = False


@dataclass
class Arrangement:
    """Thirty seconds of music before it is played.

    Attributes:
        kind: ``score``, ``band`` or ``miniature``.
        ensemble: ``solo``, ``duo``, ``song``, ``quartet``, ``band``, ``ambient`` or ``drums``.
        style: ``classical``, ``rock``, …
        source: the piece or performance it comes from; the split is by it.
        licence: of the source.
        title: for people.
        tempo_bpm: the felt beat.
        beats_per_bar: felt beats in a bar.
        meter: as written, such as ``6/8``.
        parts: the most prominent first.
        first_downbeat: beat number of the first downbeat.
        dynamics: ``soft``, ``medium`` or ``loud``.
        progression: Roman numerals, where one was used.
    """

    kind: str
    ensemble: str
    style: str
    source: str
    licence: str
    title: str
    tempo_bpm: float
    beats_per_bar: float
    meter: str
    parts: list[Part]
    first_downbeat: float = 0.0
    dynamics: str = "medium"
    progression: str = ""

    @property
    def n_beats(self) -> float:
        """Beats in the clip."""
        return CLIP_S * self.tempo_bpm / 60.0

    def key(self) -> Key:
        """Measured key of everything pitched; melody and bass count double, as ears do."""
        pitched = [p for p in self.parts if not p.instrument.is_drum and len(p.notes)]
        if not pitched:
            return Key(0, "major", 0.0)
        weights = [np.minimum(p.notes[:, 1], 4.0) * (2.0 if p.role in ("lead", "bass") else 1.0) for p in pitched]
        return measure_key(np.concatenate([p.notes[:, 2] for p in pitched]), np.concatenate(weights))

    def tempo_clarity(self) -> float:
        """Above 1 where a beat tracker would report the stated tempo rather than one of another class."""
        onsets, strengths = [], []
        for part in self.parts:
            notes = part.notes
            onsets.append(notes[:, 0] * 60.0 / self.tempo_bpm)
            if part.instrument.is_drum:
                # What counts is how much of the spectrum starts: snares and cymbals more than kicks.
                loud = np.where(
                    np.isin(notes[:, 2], (35, 36)), 1.5, np.where(np.isin(notes[:, 2], (37, 38, 39, 40)), 2.5, 2.0)
                )
                strengths.append(loud * np.minimum(notes[:, 3] / 80.0, 1.2))
            else:
                strengths.append(np.full(len(notes), 0.3 if part.instrument.sustains else 0.7))
        return tempo_clarity(np.concatenate(onsets), np.concatenate(strengths), self.tempo_bpm)

    def fitness(self, mode: str) -> float:
        """2 when the mode wanted is clearly heard, plus up to 1 for the tempo; 3 is as good as it gets."""
        key = self.key()
        return 2.0 * (key.clear and key.mode == mode) + min(self.tempo_clarity() / CLEAR_TEMPO, 1.0)


def fit_range(notes: Notes, instrument: Instrument, centre: float | None = None) -> Notes:
    """The notes moved by octaves into the instrument's range: as a whole first, stray notes folded after.

    Args:
        notes: to move.
        instrument: whose range to keep.
        centre: where the median should land; the nearest octave to the present one if omitted.
    """
    if not len(notes):
        return notes
    out = notes.copy()
    median = float(np.median(out[:, 2]))
    middle = (instrument.low + instrument.high) / 2
    wanted = middle if centre is None else float(np.clip(centre, instrument.low + 5, instrument.high - 5))
    if centre is None:
        lower = np.mean(out[:, 2] < instrument.low)
        upper = np.mean(out[:, 2] > instrument.high)
        wanted = median if lower + upper < 0.03 else middle
    out[:, 2] += 12 * round((wanted - median) / 12)
    pitch = out[:, 2]
    pitch = np.where(pitch < instrument.low, pitch + 12 * np.ceil((instrument.low - pitch) / 12), pitch)
    out[:, 2] = np.where(pitch > instrument.high, pitch - 12 * np.ceil((pitch - instrument.high) / 12), pitch)
    return out


def raised(notes: Notes, instrument: Instrument) -> Notes:
    """A melody an octave higher where it lies low for its instrument: a tune is heard on top."""
    if len(notes) and np.median(notes[:, 2]) + 12 <= (instrument.low + instrument.high) / 2 + 5:
        notes = notes + np.array([0, 0, 12, 0])
    return fit_range(notes, instrument, float(np.median(notes[:, 2]))) if len(notes) else notes


def below(notes: Notes, instrument: Instrument, ceiling: float) -> Notes:
    """Accompaniment moved by octaves so that its upper notes lie under ``ceiling``, as far as its range allows."""
    if not len(notes):
        return notes
    top = float(np.quantile(notes[:, 2], 0.85))
    shifts = [12 * k for k in range(-3, 3)]

    def cost(shift: int) -> float:
        pitch = notes[:, 2] + shift
        outside = float(np.mean((pitch < instrument.low) | (pitch > instrument.high)))
        return 30 * outside + max(0.0, top + shift - ceiling) + 0.15 * abs(shift)

    moved = notes.copy()
    moved[:, 2] += min(shifts, key=cost)
    return fit_range(moved, instrument, float(np.median(moved[:, 2])))


def skyline(notes: Notes) -> Notes:
    """The top voice as one line: highest note of each onset, unless a higher one still sounds; cut at the next."""
    kept: list[list[float]] = []
    order = np.lexsort((-notes[:, 2], np.round(notes[:, 0] * 12)))
    for row in notes[order]:
        if kept:
            last = kept[-1]
            if round(row[0] * 12) == round(last[0] * 12):
                continue
            if row[2] < last[2] and last[0] + last[1] > row[0] + 0.2:
                continue
            last[1] = min(last[1], row[0] - last[0])
        kept.append(list(row))
    return np.array(kept).reshape(-1, 4)
