"""Small changes to a bar that keep its harmony and its calm, so that a long session never says the same thing twice.

A note of a bar is a row of `piece.NOTE_GRID` with its step counted from the bar line. All pitches are those of the
normal form, where the scale is the white keys in both modes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

WHITE = (0, 2, 4, 5, 7, 9, 11)
STEPS = 16


@dataclass(frozen=True, order=True)
class BarNote:
    """One note of a bar: step 0 to 15, length in steps (may reach past the bar), pitch, velocity, hand."""

    step: int
    pitch: int
    length: int
    velocity: int
    hand: int


Bar = tuple[BarNote, ...]
Content = frozenset[tuple[int, int]]
Change = Callable[[list[BarNote], np.random.Generator], list[BarNote] | None]


def content(first: Bar, second: Bar) -> Content:
    """What two bars say: their onsets and pitches. Length, loudness and timing make no difference to it."""
    return frozenset([(n.step, n.pitch) for n in first] + [(n.step + STEPS, n.pitch) for n in second])


def vary(bar: Bar, rng: np.random.Generator, changes: int, lowest: int, highest: int) -> Bar:
    """The bar with up to ``changes`` small changes, drawn at random from those that fit.

    Args:
        bar: at least one note.
        rng: draws the changes.
        changes: how many to make.
        lowest: no pitch is moved below it …
        highest: … or above it.
    """
    notes = sorted(bar)
    for _ in range(changes):
        for index in rng.permutation(len(CHANGES)):
            changed = CHANGES[int(index)](notes, rng)
            if changed and all(lowest <= note.pitch <= highest for note in changed):
                notes = sorted(_distinct(changed))
                break
    return tuple(notes)


def _swap(notes: list[BarNote], rng: np.random.Generator) -> list[BarNote] | None:
    """Two neighbouring notes of a broken chord change places."""
    inner = [note for note in notes if note.hand == 1]
    pairs = [(a, b) for a, b in pairwise(inner) if a.step != b.step and a.pitch != b.pitch]
    if not pairs:
        return None
    a, b = pairs[int(rng.integers(len(pairs)))]
    return [note for note in notes if note not in (a, b)] + [replace(a, pitch=b.pitch), replace(b, pitch=a.pitch)]


def _octave(notes: list[BarNote], rng: np.random.Generator) -> list[BarNote] | None:
    """An inner note moves by an octave, staying below the melody and above the bass."""
    inner = [note for note in notes if note.hand == 1]
    if len(inner) < 2:
        return None
    bass = min(note.pitch for note in inner)
    top = max((note.pitch for note in notes if note.hand == 0), default=bass + 36)
    options = [
        (note, moved)
        for note in inner
        for moved in (note.pitch - 12, note.pitch + 12)
        if bass < moved < top and note.pitch > bass
    ]
    if not options:
        return None
    note, moved = options[int(rng.integers(len(options)))]
    return [replace(other, pitch=moved) if other is note else other for other in notes]


def _passing(notes: list[BarNote], rng: np.random.Generator) -> list[BarNote] | None:
    """A melody note that leaps a third fills it with the step between, in its second half."""
    melody = [note for note in notes if note.hand == 0]
    places = []
    for a, b in pairwise(melody):
        between = [p for p in range(min(a.pitch, b.pitch) + 1, max(a.pitch, b.pitch)) if p % 12 in WHITE]
        if len(between) == 1 and b.step - a.step >= 4:
            places.append((a, b, between[0]))
    if not places:
        return None
    a, b, pitch = places[int(rng.integers(len(places)))]
    half = (b.step - a.step) // 2
    added = replace(a, step=a.step + half, length=b.step - a.step - half, pitch=pitch, velocity=max(1, a.velocity - 6))
    return [replace(note, length=min(note.length, half)) if note is a else note for note in notes] + [added]


def _neighbour(notes: list[BarNote], rng: np.random.Generator) -> list[BarNote] | None:
    """A long melody note turns to its upper or lower neighbour and back."""
    long = [note for note in notes if note.hand == 0 and note.length >= 6 and note.step <= 8]
    if not long:
        return None
    note = long[int(rng.integers(len(long)))]
    up = bool(rng.integers(2))
    pitch = next(p for p in (range(note.pitch + 1, 140) if up else range(note.pitch - 1, -12, -1)) if p % 12 in WHITE)
    quiet = max(1, note.velocity - 8)
    turned = [
        replace(note, length=2),
        replace(note, step=note.step + 2, length=2, pitch=pitch, velocity=quiet),
        replace(note, step=note.step + 4, length=note.length - 4, velocity=quiet),
    ]
    return [other for other in notes if other is not note] + turned


def _omit(notes: list[BarNote], rng: np.random.Generator) -> list[BarNote] | None:
    """A weak note of a full accompaniment is left out."""
    weak = [note for note in notes if note.hand == 1 and note.step % 4 != 0]
    if len(weak) < 3:
        return None
    gone = weak[int(rng.integers(len(weak)))]
    return [note for note in notes if note is not gone]


def _delay(notes: list[BarNote], rng: np.random.Generator) -> list[BarNote] | None:
    """A note off the beat's start waits for an eighth."""
    steps = {note.step for note in notes}
    late = [n for n in notes if n.step and n.length >= 4 and n.step + 2 < STEPS and n.step + 2 not in steps]
    if not late:
        return None
    note = late[int(rng.integers(len(late)))]
    return [replace(n, step=n.step + 2, length=n.length - 2) if n is note else n for n in notes]


def _echo(notes: list[BarNote], rng: np.random.Generator) -> list[BarNote] | None:
    """A note of the chord answers softly, later and an octave higher, where nothing else begins."""
    steps = {note.step for note in notes}
    free = [step for step in range(2, STEPS, 2) if step not in steps]
    sources = [note for note in notes if note.hand == 1] or notes
    if not free:
        return None
    step, source = free[int(rng.integers(len(free)))], sources[int(rng.integers(len(sources)))]
    if step <= source.step:
        return None
    pitch = source.pitch + 12
    soft = max(1, source.velocity - 10)
    return [*notes, BarNote(step, pitch, min(4, STEPS - step), soft, 1)]


CHANGES: tuple[Change, ...] = (_swap, _octave, _passing, _neighbour, _omit, _delay, _echo)
"""Each returns the changed bar, or None where it does not apply."""


def _distinct(notes: list[BarNote]) -> list[BarNote]:
    """One note for each step and pitch."""
    return list({(note.step, note.pitch): note for note in notes}.values())
