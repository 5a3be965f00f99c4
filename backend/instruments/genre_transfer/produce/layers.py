"""What recipes share: voices for a tune, tunes, chords and bass lines over the progression, ducking, transitions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backend.instruments.genre_transfer.produce import voices
from backend.instruments.genre_transfer.produce.desk import Song
from backend.instruments.genre_transfer.produce.effects import RATE, duck, opening
from backend.instruments.genre_transfer.produce.kernels import SQUARE, Samples

Note = Callable[[float, float], Samples]
"""A pitch and a length in seconds → sound."""

Rhythm = list[tuple[float, float]]
"""``(step, length in steps)`` of a bar."""

STABS: tuple[Rhythm, ...] = (
    [(0, 2), (3, 2), (6, 2), (10, 2), (13, 2)], [(2, 2), (6, 2), (10, 2), (14, 2)], [(0, 3), (3, 3), (6, 4)],
    [(3, 2), (6, 2), (11, 3)], [(0, 2), (6, 2), (12, 2)], [(0, 14)], [(2, 1.5), (5, 1.5), (10, 1.5), (13, 1.5)],
)  # fmt: skip


def lead_voice(song: Song, names: tuple[str, ...]) -> Note:
    """One of several voices, with its sound drawn once for the song; its name is noted."""
    rng = song.rng
    name, bright, ratio = str(rng.choice(names)), rng.uniform(0.1, 0.9), float(rng.choice([2.0, 3.0, 3.5, 5.0]))
    song.notes["lead"] = name
    table: dict[str, Note] = {
        "bell": lambda p, s: voices.bell(p + 12, max(s, 0.8), rng, ratio, 1 + 2 * bright),
        "pluck": lambda p, s: voices.pluck(p, max(s, 0.25), rng, bright),
        "square": lambda p, s: voices.pluck(p, s, rng, 0.5 * bright, SQUARE),
        "piano": lambda p, s: voices.piano(p, max(s, 0.8), rng, bright),
        "electric_piano": lambda p, s: voices.electric_piano(p, max(s, 0.5), rng, bright),
        "guitar": lambda p, s: voices.guitar(p, max(s, 0.5), rng, bright),
        "vocal": lambda p, s: voices.vocal(p, s, rng, "ao"),
        "saw": lambda p, s: voices.Supersaw(3, 9, 2_000 + 5_000 * bright, release_s=0.05).chord([p], s, rng),
        "thin": lambda p, s: 0.4 * voices.squeal(p, s),
        "organ": lambda p, s: voices.organ(p, s, rng, bright),
    }
    return table[name]


def tune(
    song: Song, bus: str, note: Note, octave: float, density: float, gain: float, chances: tuple[float, float, float]
) -> None:
    """A two-bar motif over the progression, in every section that draws it; chord tones follow the chords."""
    motif = song.harmony.tune(song.rng, density=density)
    for section in song.sections:
        if not song.chance(section, *chances):
            continue
        for bar in section:
            for step, length, degree in motif:
                if step // 16 != bar % 2:
                    continue
                root = song.harmony.degrees[song.chord_index(bar, step % 16 // 8) % len(song.harmony.degrees)]
                near = root if root < 4 else root - 7
                pitch = song.harmony.pitch(near + degree, 0) + 12 * octave
                loud = gain * song.rng.uniform(0.75, 1.0)
                song.add(bus, song.at(bar, step % 16), note(pitch, length * song.step_s * 0.95), loud)


def chord_hits(
    song: Song,
    bus: str,
    chord: Callable[[list[int], float], Samples],
    rhythm: list[tuple[float, float]],
    centre: float,
    gain: float,
    chances: tuple[float, float, float],
    strum_s: float = 0.0,
) -> None:
    """Chords at ``(step, length in steps)`` of every bar; with ``strum_s`` its pitches one after another."""
    for section in song.sections:
        if not song.chance(section, *chances):
            continue
        for bar in section:
            for step, length in rhythm:
                pitches = song.harmony.chord(song.chord_index(bar, int(step >= 8)), centre)
                at_s, seconds = song.at(bar, step), length * song.step_s
                if strum_s == 0:
                    song.add(bus, at_s, chord(pitches, seconds), gain)
                    continue
                for k, pitch in enumerate(pitches):
                    late = strum_s * k + abs(song.rng.normal(0, 0.004))
                    song.add(bus, at_s + late, chord([pitch], seconds), gain * song.rng.uniform(0.8, 1))


def bass_line(
    song: Song,
    bus: str,
    note: Note,
    rhythm: list[tuple[float, float, int]],
    gain: float,
    chances: tuple[float, float, float],
    lowest: int = 28,
) -> None:
    """Notes at ``(step, length, semitones above the root)`` of every bar."""  # fmt: skip
    for section in song.sections:
        if not song.chance(section, *chances):
            continue
        for bar in section:
            for step, length, above in rhythm:
                root = song.harmony.root(song.chord_index(bar, int(step >= 8)), lowest)
                song.add(bus, song.at(bar, step), note(root + above, length * song.step_s), gain)


def ducked(song: Song, bus: str, depth: float, release_s: float) -> None:
    """Duck a bus under the kick."""
    if bus in song.buses and depth > 0:
        song.buses[bus] *= duck(song.n, song.kicks_s, depth, release_s)


def summed(song: Song, gains: dict[str, float]) -> Samples:
    """All buses, at gains (1 where none is given)."""
    out = np.zeros((2, song.n), np.float32)
    for name, bus in song.buses.items():
        out += gains.get(name, 1.0) * bus
    return out


def transitions(song: Song, riser: float) -> None:
    """A crash at every drop; before it, by chance, a riser."""
    for before, section in zip(song.sections, song.sections[1:], strict=False):
        if section.kind == "drop":
            song.hit("crash", section.first, 0, 0.9)
            if song.rng.random() < riser:
                seconds = min(2, before.bars) * song.bar_s
                song.add("effects", section.first * song.bar_s - seconds, voices.riser(seconds, song.rng), 0.25)


def swept_entry(song: Song, out: Samples, chance: float) -> Samples:
    """The first section through an opening filter, by chance."""
    first = song.sections[0]
    if first.kind == "intro" and song.rng.random() < chance:
        end = round(first.bars * song.bar_s * RATE)
        out[:, :end] = opening(out[:, :end], song.rng.uniform(200, 700), 14_000, 1.1, 1.5)
    return out
