"""Score windows re-orchestrated: any piece may become a solo, duo, song or quartet, in any tempo and mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backend.corpus.arrangement import Arrangement, Notes, Part, below, fit_range, raised, skyline
from backend.corpus.instruments import BY_NAME, Instrument, draw
from backend.corpus.scores import Score
from backend.corpus.theory import to_mode

TEMPO_RANGES = {"slow": (52.0, 85.0), "medium": (91.0, 120.0), "fast": (126.0, 178.0)}
ENSEMBLES = ("solo", "solo", "piano", "duo", "duo", "song", "quartet")
TRIES = 24
LICENCES = {
    "chopin_first_editions": "CC BY 4.0",
    "openscore_lieder": "CC0",
    "openscore_quartets": "CC0",
    "bach_violin": "public domain",
}
_QUARTETS = (
    ("violin", "violin", "viola", "cello"),
    ("flute", "oboe", "clarinet", "bassoon"),
    ("soprano sax", "alto sax", "tenor sax", "baritone sax"),
    ("trumpet", "trumpet", "french horn", "trombone"),
    ("synth strings", "polysynth", "warm pad", "synth bass"),
    ("choir", "choir", "choir", "choir"),
    ("flute", "violin", "viola", "cello"),
    ("pizzicato strings", "pizzicato strings", "pizzicato strings", "cello"),
)


def score_arrangement(scores: Sequence[Score], rng: np.random.Generator) -> Arrangement:
    """A random window of a random piece for a random ensemble, in a random tempo and mode.

    Windows are drawn until one is felt in the tempo and heard in the mode that were drawn; the best is kept.

    Args:
        scores: the pieces of one split, at least one.
        rng: source of randomness.
    """
    wanted_class = str(rng.choice(list(TEMPO_RANGES)))
    wanted_mode = "minor" if rng.random() < 0.5 else "major"
    ensemble = str(rng.choice(ENSEMBLES))
    best: tuple[float, Arrangement] | None = None
    score = scores[0]
    for attempt in range(TRIES):
        if attempt % 3 == 0:
            score = draw_score(scores, rng)
        tempo = float(rng.uniform(*TEMPO_RANGES[wanted_class]))
        arrangement = _arrange(score, tempo, ensemble, wanted_mode, rng)
        if arrangement is None:
            continue
        points = arrangement.fitness(wanted_mode)
        if best is None or points > best[0]:
            best = (points, arrangement)
        if points >= 3.0:
            break
    if best is None:
        return score_arrangement(scores, rng)
    return best[1]


def draw_score(scores: Sequence[Score], rng: np.random.Generator, shares: Mapping[str, float] | None = None) -> Score:
    """A collection first, then a piece, so that the few quartets are not lost among the songs.

    Args:
        scores: at least one.
        rng: source of randomness.
        shares: weights of the collections; the square root of their sizes if omitted.
    """
    collections: dict[str, list[Score]] = {}
    for score in scores:
        collections.setdefault(score.source.split("/")[0], []).append(score)
    names = sorted(collections)
    weights = np.array([np.sqrt(len(collections[n])) if shares is None else shares[n] for n in names])
    pool = collections[names[rng.choice(len(names), p=weights / weights.sum())]]
    return pool[rng.integers(len(pool))]


def felt_beat(score: Score) -> float:
    """Quarter notes in the beat that is felt: dotted in compound time, halves in alla breve."""
    if score.denominator == 8 and score.numerator % 3 == 0:
        return 1.5
    if score.denominator == 2:
        return 2.0
    return 1.0


@dataclass(frozen=True)
class Window:
    """Half a minute of a piece in beats.

    Attributes:
        score: the piece.
        tempo_bpm: the felt beat.
        bar: felt beats in a bar.
        notes: transposed at random, of velocity 80.
        part: staff of every note, from the top.
    """

    score: Score
    tempo_bpm: float
    bar: float
    notes: Notes
    part: npt.NDArray[np.uint8]

    def arrangement(self, ensemble: str, parts: list[Part]) -> Arrangement:
        """An arrangement of the window."""
        source = self.score.source
        return Arrangement(
            "score", ensemble, "classical", source, LICENCES.get(source.split("/")[0], "unknown"),
            source.split("/")[-1], self.tempo_bpm, self.bar, f"{self.score.numerator}/{self.score.denominator}", parts,
        )  # fmt: skip


def draw_window(score: Score, tempo_bpm: float, rng: np.random.Generator) -> Window | None:
    """A random window; None when it is unusable (too empty, too dense, too short)."""
    beat = felt_beat(score)
    bar = max(score.numerator * 4 / score.denominator / beat, 1.0)
    length = 30.0 * tempo_bpm / 60.0
    table = np.stack(
        [score.notes["onset"] / beat, score.notes["duration"] / beat, score.notes["pitch"], score.notes["velocity"]], 1
    ).astype(np.float64)
    total = float((table[:, 0] + table[:, 1]).max())
    start = bar * rng.integers(0, max(1, int((total - length) / bar) + 1))
    inside = (table[:, 0] >= start - 1e-3) & (table[:, 0] < start + length)
    window, part = table[inside], score.notes["part"][inside]
    if len(window) < 16 or total - start < 0.6 * length:
        return None
    window[:, 0] -= start
    phase = _phase(window, bar)
    window[:, 0] -= phase
    keep = window[:, 0] >= 0
    window, part = window[keep], part[keep]
    onsets = np.unique(np.round(window[:, 0] * 12))
    rate = len(onsets) / length
    if len(onsets) < 8 or np.diff(onsets).max() / 12 * 60 / tempo_bpm > 3.5 or rate > (3.0 if tempo_bpm < 88 else 4.0):
        return None
    window[:, 2] += int(rng.integers(-5, 7))
    window[:, 3] = 80
    return Window(score, tempo_bpm, bar, window, part)


def _arrange(score: Score, tempo_bpm: float, ensemble: str, mode: str, rng: np.random.Generator) -> Arrangement | None:
    """One try; None when the window is unusable."""
    window = draw_window(score, tempo_bpm, rng)
    if window is None:
        return None
    parts = _orchestrate(voices_of(window.notes, window.part, score), ensemble, rng)
    arrangement = window.arrangement(ensemble if ensemble != "piano" else "solo", parts)
    arrangement.dynamics = draw_dynamics(rng)
    set_mode(arrangement, mode, rng)
    return arrangement


def draw_dynamics(rng: np.random.Generator) -> str:
    """``soft``, ``medium`` or ``loud``."""
    return str(rng.choice(["soft", "medium", "loud"], p=[0.3, 0.4, 0.3]))


def _phase(window: Notes, bar: float) -> float:
    """Where the beat falls after the window's start, in beats: pickups shift it from the multiples of a bar.

    Long and low notes start on beats more often than off them.
    """
    position = np.round(window[:, 0] * 12).astype(int)
    weight = np.minimum(window[:, 1], 2.0) * np.where(window[:, 2] < 55, 1.6, 1.0)
    candidates = np.arange(0, round(bar * 12), 6)
    scores = [
        weight[(position - c) % 12 == 0].sum() + 0.5 * weight[(position - c) % round(bar * 12) == 0].sum()
        for c in candidates
    ]
    scores[0] *= 1.15
    return float(candidates[int(np.argmax(scores))]) / 12


def voices_of(window: Notes, part: np.ndarray, score: Score) -> dict[str, Notes]:
    """Melody, accompaniment, everything, bass and the two middle voices of the window."""
    is_song = score.n_parts >= 3
    top = skyline(window[part == 0])
    everything = window
    if is_song and len(top):
        # The singer rests in interludes: the upper of the other staves carries the melody there.
        other = skyline(window[part == 1])
        ends = top[:, 0] + top[:, 1]
        gaps = [(e, n) for e, n in zip(ends, [*top[1:, 0], np.inf], strict=True) if n - e >= 2.0]
        if top[0, 0] >= 2.0:
            gaps.append((0.0, top[0, 0]))
        fill = np.zeros(len(other), bool)
        for a, b in gaps:
            fill |= (other[:, 0] >= a) & (other[:, 0] + 0.25 < b)
        melody = np.concatenate([top, other[fill]])
        melody = melody[np.argsort(melody[:, 0], kind="stable")]
        accompaniment = window[part > 0]
    else:
        melody = skyline(window)
        melody_keys = {(round(o * 12), p) for o, _, p, _ in melody}
        accompaniment = window[[(round(o * 12), p) not in melody_keys for o, _, p, _ in window]]
        if is_song or not len(accompaniment):
            accompaniment = window[part > 0] if (part > 0).any() else window
    low = skyline(np.stack([window[:, 0], window[:, 1], 127 - window[:, 2], window[:, 3]], 1))
    low[:, 2] = 127 - low[:, 2]
    rest = accompaniment[accompaniment[:, 2] > np.median(low[:, 2])]
    inner = skyline(rest) if len(rest) else low
    keys = {(round(o * 12), p) for o, _, p, _ in inner}
    tenor = rest[[(round(o * 12), p) not in keys for o, _, p, _ in rest]] if len(rest) else rest
    return {
        "melody": melody,
        "accompaniment": accompaniment,
        "all": everything,
        "bass": low,
        "inner": inner,
        "tenor": skyline(tenor) if len(tenor) > 8 else low,
    }


def _orchestrate(voices: dict[str, Notes], ensemble: str, rng: np.random.Generator) -> list[Part]:
    """Parts of the ensemble, each in its instrument's range."""
    if ensemble == "piano":
        return [Part(BY_NAME["piano"], "lead", voices["all"])]
    if ensemble == "solo":
        player = draw(rng, "l" if rng.random() < 0.6 else "s")
        notes = voices["all"] if "s" in player.roles and rng.random() < 0.7 else voices["melody"]
        return [Part(player, "lead", fit_range(notes, player))]
    if ensemble == "quartet":
        if rng.random() < 0.8:
            names = _QUARTETS[rng.integers(len(_QUARTETS))]
            players = [BY_NAME[n] for n in names]
        else:
            players = [draw(rng, "q") for _ in range(4)]
            players.sort(key=lambda i: -i.low)
        lines = [voices["melody"], voices["inner"], voices["tenor"], voices["bass"]]
        roles = ["lead", "counter", "counter", "counter"]
        top = raised(fit_range(lines[0], players[0]), players[0])
        ceiling = float(np.median(top[:, 2])) + 1
        fitted = [top, *(below(n, i, ceiling) for i, n in zip(players[1:], lines[1:], strict=True))]
        return [Part(i, r, n) for i, r, n in zip(players, roles, fitted, strict=True)]
    lead = _voice_or(rng) if ensemble == "song" else draw(rng, "l")
    exclude = (lead.name,)
    backing = BY_NAME["piano"] if ensemble == "song" and lead.name != "piano" else draw(rng, "c", exclude)
    melody = raised(fit_range(voices["melody"], lead), lead)
    accompaniment = below(voices["accompaniment"], backing, float(np.median(melody[:, 2])) + 1)
    return [Part(lead, "lead", melody), Part(backing, "chords", accompaniment)]


def _voice_or(rng: np.random.Generator) -> Instrument:
    """The singer of a song: a voice half of the time, else any melody instrument."""
    if rng.random() < 0.5:
        return BY_NAME[str(rng.choice(["voice oohs", "choir", "synth voice"], p=[0.5, 0.35, 0.15]))]
    return draw(rng, "l", ("piano",))


def set_mode(arrangement: Arrangement, mode: str, rng: np.random.Generator) -> None:
    """Turn a passage of the other mode into its parallel, about a quarter of the time, to part mode from piece."""
    key = arrangement.key()
    if key.mode == mode or not key.clear or rng.random() > 0.4:
        return
    raised = bool(rng.random() < 0.6)
    for part in arrangement.parts:
        part.notes = part.notes.copy()
        part.notes[:, 2] = to_mode(part.notes[:, 2], key.tonic, mode, raised)
