"""Melodies by rule: motifs repeated and sequenced, chord tones on strong beats, steps between, phrases that breathe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.corpus.arrangement import Notes, as_notes
from backend.corpus.theory import SCALES, Chord

FORMS = ("aaba", "abac", "aabc", "aaab", "abab", "abcb")


@dataclass(frozen=True)
class Harmony:
    """A cycle of chords, each lasting ``beats_each`` beats, in a key."""

    chords: tuple[Chord, ...]
    beats_each: float
    tonic: int
    mode: str

    def at(self, beat: float) -> Chord:
        """The chord that sounds at a beat."""
        return self.chords[int((beat + 1e-6) // self.beats_each) % len(self.chords)]


@dataclass(frozen=True)
class MelodyStyle:
    """How a melody moves.

    Attributes:
        grid: positions inside a beat where notes may start.
        density: expected notes a beat.
        leap: probability that a step is a leap.
        syncopation: 0 keeps to beats, 1 ignores them.
        legato: share of the gap to the next note that is held.
    """

    grid: tuple[float, ...] = (0.0, 0.5)
    density: float = 1.2
    leap: float = 0.2
    syncopation: float = 0.3
    legato: float = 0.95


def write_melody(
    harmony: Harmony, n_beats: float, bar: float, low: int, high: int, style: MelodyStyle, rng: np.random.Generator
) -> Notes:
    """A melody over the harmony.

    Bars follow a four-bar form over up to three motifs; every fourth bar closes the phrase on a long chord tone and
    a rest.

    Args:
        harmony: the chords.
        n_beats: length.
        bar: beats in a bar.
        low: lowest pitch.
        high: highest pitch; the line is written in at most an octave and a half inside.
        style: rhythm and motion.
        rng: source of randomness.
    """
    scale = [p for p in range(low, high + 1) if (p - harmony.tonic) % 12 in SCALES[harmony.mode]]
    span = min(len(scale), 12)
    offset = int(rng.integers(0, len(scale) - span + 1)) if len(scale) > span else 0
    scale = scale[offset : offset + span]
    motifs = {name: _motif(bar, style, rng) for name in "abc"}
    form = FORMS[rng.integers(len(FORMS))]
    rows: list[tuple[float, float, float, float]] = []
    place = span // 2
    for index in range(int(np.ceil(n_beats / bar))):
        start = index * bar
        motif = motifs[form[index % 4]]
        closing = index % 4 == 3
        # The motif starts near where the last bar ended, drawn to the middle of the range: a sequence, not a jump.
        place = int(np.clip(round(0.7 * place + 0.3 * span / 2 + rng.integers(-1, 2)), 1, span - 2))
        place = _bar(rows, motif, start, bar, place, scale, harmony, style, closing, rng)
    notes = as_notes(rows)
    return notes[notes[:, 0] < n_beats]


def _motif(bar: float, style: MelodyStyle, rng: np.random.Generator) -> list[tuple[float, int]]:
    """(position in the bar, steps from the note before) of one bar."""
    positions = [b + g for b in range(int(np.ceil(bar))) for g in style.grid if b + g < bar]
    weight = np.array([1.0 if p % 1 == 0 else style.syncopation for p in positions])
    if style.syncopation < 0.6:
        weight[0] *= 2
    count = int(np.clip(rng.poisson(1.15 * style.density * bar), 2, len(positions)))
    chosen = sorted(rng.choice(len(positions), count, replace=False, p=weight / weight.sum()))
    direction = int(rng.choice([-1, 1]))
    out = []
    for i in chosen:
        if rng.random() < 0.3:
            direction = -direction
        size = (
            int(rng.integers(2, 5))
            if rng.random() < style.leap
            else int(rng.choice([0, 1, 1, 1, 2], p=[0.08] + [0.23] * 4))
        )
        out.append((positions[i], direction * size))
    return out


def _bar(
    rows: list[tuple[float, float, float, float]],
    motif: list[tuple[float, int]],
    start: float,
    bar: float,
    place: int,
    scale: list[int],
    harmony: Harmony,
    style: MelodyStyle,
    closing: bool,
    rng: np.random.Generator,
) -> int:
    """Append one bar of melody; returns the scale place it ends on."""
    notes = [m for m in motif if not closing or m[0] <= bar / 2]
    for i, (position, step) in enumerate(notes):
        # At the edge of the range the line turns back instead of standing still.
        step = step if 0 <= place + step < len(scale) else -step
        place = int(np.clip(place + step, 0, len(scale) - 1))
        last = i == len(notes) - 1
        end = notes[i + 1][0] if not last else (bar if not closing else min(bar - 0.75, position + bar / 2))
        strong = abs(position - round(position)) < 0.01 and (round(position) % 2 == 0 or end - position >= 1)
        if strong or (closing and last):
            place = _nearest_chord_tone(place, scale, harmony.at(start + position), rng)
            if rows and scale[place] == rows[-1][2] and rng.random() < 0.75:
                # Snapping to the chord must not freeze the line: move on to the next tone that way.
                place = _nearest_chord_tone(
                    int(np.clip(place + (2 if step >= 0 else -2), 0, len(scale) - 1)),
                    scale,
                    harmony.at(start + position),
                    rng,
                )
        held = max(0.2, (end - position) * style.legato)
        rows.append((start + position, held, scale[place], 84 + (6 if strong else -3)))
    return place


def _nearest_chord_tone(place: int, scale: list[int], chord: Chord, rng: np.random.Generator) -> int:
    """The scale place nearest ``place`` whose pitch is in the chord's triad; ties broken at random."""
    tones = [i for i, p in enumerate(scale) if p % 12 in chord.classes[:3]]
    if not tones:
        return place
    return min(tones, key=lambda i: abs(i - place) + 0.1 * rng.random())
