"""Arranged bands: a performed drum groove, and bass, chords and lead written to it from a progression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.corpus.accompaniment import write_bass, write_comping, write_pad
from backend.corpus.arrangement import Arrangement, Part, fit_range
from backend.corpus.grooves import Groove, looped, thinned
from backend.corpus.instruments import BY_NAME, DRUMS, Instrument, draw
from backend.corpus.melody import Harmony, MelodyStyle, write_melody
from backend.corpus.progressions import progressions
from backend.corpus.score_clips import TEMPO_RANGES
from backend.corpus.theory import parse_progression

STYLES = ("rock", "funk", "jazz", "latin", "hip-hop", "pop", "soul", "reggae", "country", "electronic")
STYLE_WEIGHTS = (1.4, 1.2, 1.4, 1.2, 1.2, 1.0, 0.8, 0.7, 0.8, 1.2)
_BASSES = {
    "rock": "electric bass,picked bass",
    "funk": "slap bass,electric bass,synth bass",
    "jazz": "upright bass,upright bass,fretless bass",
    "latin": "upright bass,electric bass,fretless bass",
    "hip-hop": "synth bass,electric bass,upright bass",
    "pop": "electric bass,picked bass,synth bass",
    "soul": "electric bass,fretless bass",
    "reggae": "electric bass,synth bass",
    "country": "upright bass,electric bass",
    "electronic": "synth bass",
}
_CHORDS = {
    "rock": "overdriven guitar,distorted guitar,electric guitar,hammond organ,piano",
    "funk": "electric guitar,muted guitar,electric piano,hammond organ,brass section",
    "jazz": "piano,jazz guitar,vibraphone,electric piano,hammond organ",
    "latin": "piano,nylon guitar,accordion,marimba,brass section",
    "hip-hop": "electric piano,piano,vibraphone,warm pad,jazz guitar",
    "pop": "piano,acoustic guitar,electric guitar,polysynth,string ensemble",
    "soul": "hammond organ,electric piano,electric guitar,brass section,piano",
    "reggae": "hammond organ,electric guitar,muted guitar,piano",
    "country": "acoustic guitar,banjo,electric guitar,piano",
    "electronic": "polysynth,saw lead,square lead,warm pad,synth strings",
}
_STRAIGHT, _SIXTEENTH, _TRIPLET = (0.0, 0.5), (0.0, 0.25, 0.5, 0.75), (0.0, 0.667)
_MELODIES = {
    "rock": MelodyStyle(_STRAIGHT, 1.3, 0.2, 0.5), "funk": MelodyStyle(_SIXTEENTH, 1.5, 0.25, 0.7, 0.7),
    "jazz": MelodyStyle(_TRIPLET, 1.5, 0.25, 0.8), "latin": MelodyStyle(_STRAIGHT, 1.3, 0.25, 0.8),
    "hip-hop": MelodyStyle((0.0, 0.5, 0.75), 0.9, 0.2, 0.6), "pop": MelodyStyle(_STRAIGHT, 1.2, 0.15, 0.4),
    "soul": MelodyStyle(_SIXTEENTH, 1.1, 0.2, 0.4), "reggae": MelodyStyle(_STRAIGHT, 1.0, 0.2, 0.6),
    "country": MelodyStyle(_STRAIGHT, 1.4, 0.25, 0.3), "electronic": MelodyStyle(_SIXTEENTH, 1.3, 0.2, 0.5, 0.8),
}  # fmt: skip
_KIN = {"pop": "rock", "country": "rock", "soul": "funk"}
STRETCH = 1.25
TRIES = 16


def band_arrangement(grooves: Sequence[Groove], held_out: bool, rng: np.random.Generator) -> Arrangement:
    """A band of 2 to 5 in a random style, tempo and mode; tries until tempo and mode are heard as stated.

    Args:
        grooves: the performances of one split.
        held_out: use the progressions kept for held-out clips (and only those).
        rng: source of randomness.
    """
    weights = np.array(STYLE_WEIGHTS) / sum(STYLE_WEIGHTS)
    style = str(rng.choice(STYLES, p=weights))
    mode = "minor" if rng.random() < 0.5 else "major"
    wanted = str(rng.choice(list(TEMPO_RANGES)))
    dynamics = str(rng.choice(["soft", "medium", "loud"], p=[0.2, 0.4, 0.4]))
    best: tuple[float, Arrangement] | None = None
    for _ in range(TRIES):
        groove, tempo = draw_groove(grooves, style, wanted, rng)
        arrangement = _arrange(groove, style, tempo, mode, held_out, rng)
        arrangement.dynamics = dynamics
        points = arrangement.fitness(mode)
        if best is None or points > best[0]:
            best = (points, arrangement)
        if points >= 3.0:
            break
    assert best is not None
    return best[1]


def draw_groove(
    grooves: Sequence[Groove], style: str, tempo_class: str, rng: np.random.Generator
) -> tuple[Groove, float]:
    """A performance of the style (of any style if the split has none) and a tempo within 25 % of its own.

    Performances that can reach the tempo class are preferred; where a style has none, its own tempi are used.
    """
    pool = [g for g in grooves if g.style == style]
    if style in _KIN and (len(pool) < 4 or rng.random() < 0.4):
        # Few performances of these styles exist; their near relatives' beats serve them too.
        pool = [g for g in grooves if g.style in (style, _KIN[style])]
    pool = pool or list(grooves)
    low, high = TEMPO_RANGES[tempo_class]
    able = [g for g in pool if g.bpm * STRETCH > low + 2 and g.bpm / STRETCH < high - 2]
    groove = (able or pool)[rng.integers(len(able or pool))]
    slowest, fastest = groove.bpm / STRETCH, groove.bpm * STRETCH
    if able:
        slowest, fastest = max(slowest, low), min(fastest, high)
    return groove, float(np.clip(rng.uniform(slowest, fastest), 52, 190))


def _arrange(
    groove: Groove, style: str, tempo: float, mode: str, held_out: bool, rng: np.random.Generator
) -> Arrangement:
    n_beats = 30.0 * tempo / 60.0
    tonic = int(rng.integers(12))
    table = progressions(mode, held_out)
    text = table[rng.integers(len(table))]
    colour = {"jazz": "seventh", "hip-hop": "ninth", "soul": "seventh", "funk": "seventh"}.get(style, "triad")
    if rng.random() < 0.2:
        colour = str(rng.choice(["triad", "seventh"]))
    beats_each = 8.0 if tempo > 150 and rng.random() < 0.5 else 4.0
    harmony = Harmony(tuple(parse_progression(text, tonic, mode, colour)), beats_each, tonic, mode)
    drums = looped(groove, n_beats, int(rng.integers(groove.n_beats // 4)))
    if tempo < 88 and rng.random() < 0.7:
        drums = thinned(drums)
    parts = [*_pitched(style, harmony, n_beats, groove.swung, rng), Part(DRUMS, "drums", drums, performed=True)]
    return Arrangement(
        "band", "band", style, groove.source, groove.licence, f"{style} band over {text}", tempo, 4.0, "4/4", parts,
        progression=text,
    )  # fmt: skip


def _pick(names: str, rng: np.random.Generator) -> Instrument:
    options = names.split(",")
    return BY_NAME[options[rng.integers(len(options))]]


def _pitched(style: str, harmony: Harmony, n_beats: float, swung: bool, rng: np.random.Generator) -> list[Part]:
    """Lead, chords, bass and sometimes a pad; always at least two of them."""
    parts: list[Part] = []
    has_lead = rng.random() < 0.85
    if has_lead:
        player = draw(rng, "l", ("bass",))
        low, high = max(player.low, 57), min(player.high, 88)
        if high - low < 14:
            low, high = player.low, player.high
        manner = _MELODIES[style]
        if swung and manner.grid != _TRIPLET:
            manner = MelodyStyle(_TRIPLET, manner.density, manner.leap, manner.syncopation, manner.legato)
        elif not swung and manner.grid == _TRIPLET:
            manner = MelodyStyle(_STRAIGHT, manner.density, manner.leap, manner.syncopation, manner.legato)
        parts.append(Part(player, "lead", write_melody(harmony, n_beats, 4.0, low, high, manner, rng)))
    taken = tuple(p.instrument.name for p in parts)
    if not has_lead or rng.random() < 0.88:
        player = draw(rng, "c", taken) if rng.random() < 0.3 else _pick(_CHORDS[style], rng)
        if player.name in taken:
            player = draw(rng, "c", (*taken, parts[0].instrument.family))
        comping = write_comping(style, harmony, n_beats, player.low, player.high, swung, rng)
        parts.append(Part(player, "chords", comping))
    player = _pick(_BASSES[style], rng)
    bass = write_bass(style, harmony, n_beats, max(player.low, 31), swung, rng)
    parts.append(Part(player, "bass", fit_range(bass, player)))
    if rng.random() < 0.22:
        player = draw(rng, "p", tuple(p.instrument.name for p in parts))
        parts.append(Part(player, "pad", fit_range(write_pad(harmony, n_beats, 62.0), player)))
    return parts
