"""Bass lines and comping in the idiom of each style, as bar patterns filled in with the harmony."""

from __future__ import annotations

import numpy as np

from backend.corpus.arrangement import Notes, as_notes
from backend.corpus.melody import Harmony
from backend.corpus.patterns import BASS, COMP
from backend.corpus.theory import Chord, voice

ARPEGGIOS = ("0123", "0213", "0321", "3210", "01232123", "0123432", "02132", "0312")


def _cells(pattern: str) -> list[tuple[float, float, str]]:
    out = []
    for cell in pattern.split():
        at, length, what = cell.split(":")
        out.append((float(at), float(length), what))
    return out


def write_bass(style: str, harmony: Harmony, n_beats: float, low: int, swung: bool, rng: np.random.Generator) -> Notes:
    """A bass line of 4/4 bars: one pattern of the style, a second one for every fourth bar; jazz walks.

    Args:
        style: a style of this module, or ``jazz``.
        harmony: the chords.
        n_beats: length.
        low: the lowest pitch roots may take; they lie in the octave above.
        swung: move off-beats to the triplet.
        rng: source of randomness.
    """
    rows: list[tuple[float, float, float, float]] = []
    patterns = BASS.get(style, BASS["pop"])
    usual = patterns[rng.integers(len(patterns))]
    turn = patterns[rng.integers(len(patterns))]
    previous = low + 6.0
    for bar in range(int(np.ceil(n_beats / 4))):
        start = 4.0 * bar
        if style == "jazz":
            previous = _walk(rows, start, harmony, low, previous, rng)
            continue
        for at, length, what in _cells(turn if bar % 4 == 3 else usual):
            chord = harmony.at(start + at)
            following = harmony.at(start + 4.0)
            root = low + (chord.root - low) % 12
            pitch = {
                "r": root, "5": root + 7 if root < low + 8 else root - 5, "8": root + 12,
                    "t": root + chord.intervals[1],
                "7": root + (10 if chord.is_minor or len(chord.intervals) > 3 else 9),
                "n": low + (following.root - low) % 12,
                "a": low + (following.root - low) % 12 + int(rng.choice([-1, 1, -2])),
            }[what]  # fmt: skip
            rows.append((start + _swing(at, swung), length, pitch, 86 if at == 0 else 80))
    return as_notes([r for r in rows if r[0] < n_beats])


def _walk(
    rows: list[tuple[float, float, float, float]],
    start: float,
    harmony: Harmony,
    low: int,
    previous: float,
    rng: np.random.Generator,
) -> float:
    """A walking bar: root, two chord tones on the way, a half-step approach to the next root."""
    chord, following = harmony.at(start), harmony.at(start + 4)
    roots = [p for p in range(low, low + 20) if p % 12 == chord.root]
    root = min(roots, key=lambda p: abs(p - previous))
    nexts = [p for p in range(low, low + 20) if p % 12 == following.root]
    goal = min(nexts, key=lambda p: abs(p - root - rng.integers(-3, 4)))
    approach = goal + int(rng.choice([-1, 1]))
    tones = sorted(p for p in range(low, low + 22) if p % 12 in chord.classes[:4] and p != root)
    between = sorted(tones, key=lambda p: abs(p - (root + (approach - root) * 0.4)) + rng.uniform(0, 3))[:2]
    between.sort(reverse=approach < root)
    for i, pitch in enumerate([root, *between, approach]):
        rows.append((start + i, 0.92, pitch, 84 if i % 2 == 0 else 88))
    if rng.random() < 0.2:
        rows.append((start + 3.67, 0.25, approach, 72))
    return float(approach)


def write_comping(
    style: str, harmony: Harmony, n_beats: float, low: int, high: int, swung: bool, rng: np.random.Generator
) -> Notes:
    """Chords or broken chords in the style's rhythm, voiced with the least movement.

    Args: as `write_bass`; ``low`` and ``high`` bound the instrument.
    """
    patterns = COMP.get(style, COMP["pop"])
    usual = patterns[rng.integers(len(patterns))]
    turn = patterns[rng.integers(len(patterns))] if rng.random() < 0.4 else usual
    centre = float(np.clip(rng.uniform(57, 68), low + 8, max(low + 8, high - 8)))
    rows: list[tuple[float, float, float, float]] = []
    for bar in range(int(np.ceil(n_beats / 4))):
        start = 4.0 * bar
        for at, length, what in _cells(turn if bar % 4 == 3 else usual):
            chord = harmony.at(start + at + (0.5 if at >= 3.5 else 0))
            onset = start + _swing(at, swung)
            for pitch in _pitches(what, chord, centre, low):
                while pitch > high:
                    pitch -= 12
                while pitch < low:
                    pitch += 12
                rows.append((onset, length, pitch, 80))
    return as_notes(sorted({(o, p): (o, d, p, v) for o, d, p, v in rows if o < n_beats}.values()))


def _pitches(what: str, chord: Chord, centre: float, low: int) -> list[int]:
    """Pitches of one comping cell."""
    if what == "p":
        base = max(low, 40)
        root = base + (chord.root - base) % 12
        return [root, root + 7, root + 12]
    voicing = voice(chord, centre)
    if what == "c":
        return voicing
    if what == "u":
        return voicing[-2:]
    index = int(what)
    return [voicing[index % len(voicing)] + 12 * (index // len(voicing))]


def write_pad(harmony: Harmony, n_beats: float, centre: float) -> Notes:
    """Held chords."""
    rows: list[tuple[float, float, float, float]] = []
    beat = 0.0
    while beat < n_beats:
        rows += [(beat, harmony.beats_each, p, 74) for p in voice(harmony.at(beat), centre)]
        beat += harmony.beats_each
    return as_notes(rows)


def write_arpeggio(
    harmony: Harmony, n_beats: float, low: int, high: int, per_beat: int, rng: np.random.Generator
) -> Notes:
    """Broken chords, ``per_beat`` notes a beat, in one of a few orders."""
    order = ARPEGGIOS[rng.integers(len(ARPEGGIOS))]
    centre = float(np.clip(rng.uniform(52, 70), low + 10, max(low + 10, high - 12)))
    rows: list[tuple[float, float, float, float]] = []
    for i in range(int(n_beats * per_beat)):
        beat = i / per_beat
        chord = harmony.at(beat)
        voicing = voice(Chord(chord.root, chord.intervals[:3]), centre)
        voicing = [*voicing, voicing[0] + 12, voicing[1] + 12]
        pitch = voicing[int(order[i % len(order)])]
        while pitch > high:
            pitch -= 12
        rows.append((beat, max(1.0 / per_beat, 0.5), pitch, 84 if beat == int(beat) else 76))
    return as_notes(rows)


def _swing(at: float, swung: bool) -> float:
    """Off-beats moved from the half to two thirds of the beat when swung."""
    if swung and abs(at % 1 - 0.5) < 0.01:
        return at + 1 / 6
    if not swung and abs(at % 1 - 0.67) < 0.01:
        return at - 0.17
    return at
