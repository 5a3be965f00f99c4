"""Miniatures by rule, to widen tempo, instrument and mood: ambient, arpeggios, music box, drone, études, waltzes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from backend.corpus.accompaniment import write_arpeggio, write_pad
from backend.corpus.arrangement import Arrangement, Part, as_notes, below, fit_range
from backend.corpus.bands import draw_groove
from backend.corpus.grooves import Groove, looped
from backend.corpus.instruments import BY_NAME, DRUMS, draw
from backend.corpus.melody import Harmony, MelodyStyle, write_melody
from backend.corpus.progressions import progressions
from backend.corpus.score_clips import TEMPO_RANGES
from backend.corpus.theory import parse_progression, voice

TRIES = 12
Writer = Callable[[Harmony, float, float, np.random.Generator], tuple[str, list[Part]]]


def miniature(grooves: Sequence[Groove], held_out: bool, rng: np.random.Generator) -> Arrangement:
    """One miniature of a random form, tempo class and mode.

    Args:
        grooves: the performances of one split, for drum solos.
        held_out: use the progressions kept for held-out clips.
        rng: source of randomness.
    """
    if rng.random() < 0.1 and grooves:
        return _drum_solo(grooves, rng)
    mode = "minor" if rng.random() < 0.5 else "major"
    low, high = TEMPO_RANGES[str(rng.choice(list(TEMPO_RANGES)))]
    name = str(rng.choice(list(_WRITERS)))
    best: tuple[float, Arrangement] | None = None
    for _ in range(TRIES):
        arrangement = _compose(name, float(rng.uniform(low, high)), mode, held_out, rng)
        points = arrangement.fitness(mode)
        if best is None or points > best[0]:
            best = (points, arrangement)
        if points >= 3.0:
            break
    assert best is not None
    return best[1]


def _compose(name: str, tempo: float, mode: str, held_out: bool, rng: np.random.Generator) -> Arrangement:
    bar = 3.0 if name == "waltz" or (name != "etude" and rng.random() < 0.2) else 4.0
    tonic = int(rng.integers(12))
    table = progressions(mode, held_out)
    text = table[rng.integers(len(table))]
    harmony = Harmony(tuple(parse_progression(text, tonic, mode)), bar, tonic, mode)
    ensemble, parts = _WRITERS[name](harmony, 30.0 * tempo / 60.0, bar, rng)
    style = (
        "ambient" if name in ("ambient", "drone") else "classical" if name in ("etude", "waltz", "chorale") else "folk"
    )
    soft = name in ("ambient", "drone", "music box")
    dynamics = str(rng.choice(["soft", "medium", "loud"], p=[0.6, 0.35, 0.05] if soft else [0.3, 0.4, 0.3]))
    source = f"written/{name}/{text.replace(' ', '-')}"
    return Arrangement(
        "miniature", ensemble, style, source, "CC0", f"{name} over {text}", tempo, bar, f"{bar:g}/4", parts,
        dynamics=dynamics, progression=text,
    )  # fmt: skip


def _drum_solo(grooves: Sequence[Groove], rng: np.random.Generator) -> Arrangement:
    styles = sorted({g.style for g in grooves})
    style = styles[rng.integers(len(styles))]
    groove, tempo = draw_groove(grooves, style, str(rng.choice(list(TEMPO_RANGES))), rng)
    hits = looped(groove, 30.0 * tempo / 60.0, int(rng.integers(groove.n_beats // 4)))
    return Arrangement(
        "miniature", "drums", style, groove.source, groove.licence, f"{style} drums", tempo, 4.0, "4/4",
        [Part(DRUMS, "drums", hits, performed=True)], dynamics=str(rng.choice(["soft", "medium", "loud"])),
    )  # fmt: skip


def _ambient(harmony: Harmony, n_beats: float, bar: float, rng: np.random.Generator) -> tuple[str, list[Part]]:
    """A pad of long chords under a slow melody whose notes fall on beats."""
    wide = Harmony(harmony.chords, bar * 2 if n_beats > 50 else bar, harmony.tonic, harmony.mode)
    pad = draw(rng, "p")
    lead = draw(rng, "l", (pad.name, "bass", "brass"))
    low, high = max(lead.low, 55), min(lead.high, 86)
    if high - low < 14:
        low, high = lead.low, lead.high
    melody = write_melody(wide, n_beats, bar, low, high, MelodyStyle((0.0,), 0.55, 0.2, 0.0), rng)
    return "ambient", [Part(lead, "lead", melody), Part(pad, "pad", fit_range(write_pad(wide, n_beats, 60.0), pad))]


def _arpeggio(harmony: Harmony, n_beats: float, bar: float, rng: np.random.Generator) -> tuple[str, list[Part]]:
    """Broken chords alone, or under a melody."""
    player = draw(rng, "s", ("synth", "voice"))
    per_beat = 2 if n_beats < 48 else int(rng.choice([1, 2]))
    broken = Part(player, "lead", write_arpeggio(harmony, n_beats, player.low, player.high, per_beat, rng))
    if rng.random() < 0.4:
        return "solo", [broken]
    broken.role = "chords"
    lead = draw(rng, "l", (player.name, "bass"))
    melody = write_melody(harmony, n_beats, bar, lead.low, lead.high, MelodyStyle((0.0, 0.5), 0.8, 0.2, 0.15), rng)
    return "duo", [Part(lead, "lead", melody), broken]


def _music_box(harmony: Harmony, n_beats: float, bar: float, rng: np.random.Generator) -> tuple[str, list[Part]]:
    """A high, simple tune with two-note accompaniment on one bell-like or plucked instrument."""
    names = ["music box", "celesta", "kalimba", "vibraphone", "marimba", "harp", "koto", "glockenspiel", "steel drums"]
    player = BY_NAME[str(rng.choice(names))]
    tune = write_melody(harmony, n_beats, bar, 67, 91, MelodyStyle((0.0, 0.5), 1.1, 0.2, 0.25), rng)
    rows = []
    for beat in range(int(n_beats)):
        low_notes = voice(harmony.at(beat), 60.0, 3)
        rows.append((float(beat), 1.0, float(low_notes[0] if beat % bar == 0 else low_notes[1 + beat % 2]), 70.0))
    return "solo", [Part(player, "lead", fit_range(np.concatenate([tune, as_notes(rows)]), player))]


def _drone(harmony: Harmony, n_beats: float, bar: float, rng: np.random.Generator) -> tuple[str, list[Part]]:
    """A held tonic and fifth under a free melody."""
    pad = draw(rng, "p")
    root = 48 + (harmony.tonic - 48) % 12
    rows = [(b, bar * 2, float(p), 74.0) for b in np.arange(0, n_beats, bar * 2) for p in (root, root + 7, root + 12)]
    still = Harmony((harmony.chords[0],), bar, harmony.tonic, harmony.mode)
    lead = draw(rng, "l", (pad.name, "bass"))
    melody = write_melody(still, n_beats, bar, lead.low, lead.high, MelodyStyle((0.0, 0.5), 0.9, 0.15, 0.2), rng)
    return "ambient", [Part(lead, "lead", melody), Part(pad, "pad", fit_range(as_notes(rows), pad))]


def _etude(harmony: Harmony, n_beats: float, bar: float, rng: np.random.Generator) -> tuple[str, list[Part]]:
    """Running scales and turns on one instrument."""
    player = draw(rng, "l", ("bass",))
    per_beat = 2 if n_beats > 62 else int(rng.choice([2, 3, 4] if n_beats > 44 else [2, 3]))
    grid = tuple(i / per_beat for i in range(per_beat))
    manner = MelodyStyle(grid, per_beat * 0.95, 0.12, 1.0)
    runs = write_melody(harmony, n_beats, bar, player.low, player.high, manner, rng)
    return "solo", [Part(player, "lead", runs)]


def _waltz(harmony: Harmony, n_beats: float, bar: float, rng: np.random.Generator) -> tuple[str, list[Part]]:
    """Bass on one, chords on two and three, a singing melody."""
    backing = draw(rng, "c", ("synth",))
    rows: list[tuple[float, float, float, float]] = []
    for beat in range(int(n_beats)):
        chord = harmony.at(beat)
        if beat % 3 == 0:
            rows.append((float(beat), 0.95, float(43 + (chord.root - 43) % 12), 86.0))
        else:
            rows += [(float(beat), 0.6, float(p), 72.0) for p in voice(chord, 62.0, 3)]
    lead = draw(rng, "l", (backing.name, "bass"))
    melody = write_melody(harmony, n_beats, 3.0, lead.low, lead.high, MelodyStyle((0.0, 0.5), 1.0, 0.2, 0.15), rng)
    return "duo", [
        Part(lead, "lead", melody),
        Part(backing, "chords", below(as_notes(rows), backing, float(np.median(melody[:, 2])))),
    ]


def _chorale(harmony: Harmony, n_beats: float, bar: float, rng: np.random.Generator) -> tuple[str, list[Part]]:
    """Block chords, one or two to a bar, the melody on top: an organ, choir, section or piano alone."""
    player = draw(rng, "c", ("bass",))
    rows: list[tuple[float, float, float, float]] = []
    top = write_melody(harmony, n_beats, bar, 64, 81, MelodyStyle((0.0,), 0.7, 0.15, 0.0), rng)
    for onset, duration, pitch, velocity in top.tolist():
        rows.append((onset, duration, pitch, velocity))
        rows += [(onset, duration, float(p), 74.0) for p in voice(harmony.at(onset), 56.0, 3) if p < pitch]
        if onset % bar == 0:
            rows.append((onset, duration, float(36 + (harmony.at(onset).root - 36) % 12), 78.0))
    return "solo", [Part(player, "lead", fit_range(as_notes(rows), player))]


def _solo_song(harmony: Harmony, n_beats: float, bar: float, rng: np.random.Generator) -> tuple[str, list[Part]]:
    """A melody alone."""
    player = draw(rng, "l")
    density = 0.9 if n_beats > 62 else 1.2
    tune = write_melody(harmony, n_beats, bar, player.low, player.high, MelodyStyle((0.0, 0.5), density, 0.2, 0.2), rng)
    return "solo", [Part(player, "lead", tune)]


_WRITERS: dict[str, Writer] = {
    "ambient": _ambient,
    "arpeggio": _arpeggio,
    "music box": _music_box,
    "drone": _drone,
    "etude": _etude,
    "waltz": _waltz,
    "chorale": _chorale,
    "song": _solo_song,
}
