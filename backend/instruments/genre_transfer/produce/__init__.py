"""Music of eight genres by rule: a seed becomes a track of its own tempo, key, chords, sounds, arrangement and mix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.genre_transfer.genres import EXAMPLES, genre_index
from backend.instruments.genre_transfer.produce import ambience, bass_music, dance, hip_hop
from backend.instruments.genre_transfer.produce.desk import Section, Song
from backend.instruments.genre_transfer.produce.effects import RATE, faded, filtered, master, shelf, wider
from backend.instruments.genre_transfer.produce.harmony import draw_harmony
from backend.instruments.genre_transfer.produce.kernels import Samples
from backend.instruments.genre_transfer.produce.kits import Kit, SynthKit

__all__ = ["EXAMPLES", "RATE", "SPLITS", "Kit", "SynthKit", "Track", "example", "produce"]

SPLITS = ("train", "valid", "test", "example")
LENGTH_S = (20.0, 28.0)


@dataclass(frozen=True)
class Plan:
    """What a genre draws from before anything sounds."""

    recipe: Callable[[Song], Samples]
    tempo_bpm: tuple[float, float]
    swing: tuple[float, float]
    human_s: float
    minor: float
    sizes: tuple[int, ...]
    bars_a_chord: tuple[float, ...] = (1.0,)


PLANS: Mapping[str, Plan] = {
    "trap": Plan(hip_hop.trap, (118, 172), (0, 0.08), 0.001, 0.93, (3, 3, 4), (1, 2, 2)),
    "future_bass": Plan(bass_music.future_bass, (122, 172), (0, 0.1), 0.002, 0.4, (3, 4, 4, 5), (1, 1, 2, 0.5)),
    "lofi": Plan(hip_hop.lofi, (62, 102), (0.08, 0.38), 0.008, 0.5, (4, 5, 5), (1, 1, 0.5)),
    "hardstyle": Plan(dance.hardstyle, (136, 168), (0, 0), 0.0, 0.9, (3,), (1, 1, 2, 0.5)),
    "house": Plan(dance.house, (108, 138), (0, 0.22), 0.002, 0.65, (3, 4, 4, 5), (1, 1, 2, 0.5)),
    "liquid_dnb": Plan(bass_music.liquid_dnb, (156, 184), (0, 0.12), 0.002, 0.6, (4, 4, 5), (1, 2, 2)),
    "boom_bap": Plan(hip_hop.boom_bap, (76, 110), (0.05, 0.36), 0.005, 0.75, (3, 4, 4), (1, 1, 0.5, 2)),
}


@dataclass(frozen=True, eq=False)
class Track:
    """A produced track.

    Attributes:
        waveform: stereo, 44.1 kHz, peaks at most -1 dB.
        tempo_bpm: of the quarter note; 0 for noise.
        key: such as ``F minor``; empty for noise.
        genre: one of `GENRES`.
        recipe: what was drawn, as JSON values.
    """

    waveform: Waveform
    tempo_bpm: float
    key: str
    genre: str
    recipe: Mapping[str, Any]


def produce(
    genre: str, seed: int, kit: str | Kit = "synth", *, split: str = "test", duration_s: float | None = None
) -> Track:
    """A track by rule; the same arguments give the same samples.

    Args:
        genre: one of `GENRES`.
        seed: of everything that is drawn; seeds of different splits never coincide.
        kit: ``synth``, or drum sounds from elsewhere.
        split: ``train`` plays progressions that the others never play, and the reverse.
        duration_s: exactly so long, in the full arrangement throughout; None for 20 to 28 s with intro and break.

    Raises:
        RequestError: an unknown genre, kit or split, or a length outside 1 to 120 s.
    """
    number = genre_index(genre)
    if split not in SPLITS:
        raise RequestError("split", split, f"one of {', '.join(SPLITS)}")
    if duration_s is not None and not 1.0 <= duration_s <= 120.0:
        raise RequestError("duration_s", duration_s, "a number from 1 to 120")
    if isinstance(kit, str) and kit != "synth":
        raise RequestError("kit", kit, "synth, or a kit of sounds")
    sounds: Kit = SynthKit() if isinstance(kit, str) else kit
    rng = np.random.default_rng([seed, number, SPLITS.index(split), 2026])
    length_s = float(rng.uniform(*LENGTH_S))
    recipe: dict[str, Any] = {"seed": seed, "split": split, "kit": sounds.name}
    if genre == "noise":
        n = round((duration_s or length_s) * RATE)
        out, names = ambience.soundscape(n, rng, sounds)
        recipe["sounds"] = names
        return Track(_mastered(out, rng, n, quiet=True), 0.0, "", genre, recipe)
    song = _song(genre, rng, sounds, split, length_s, duration_s)
    out = PLANS[genre].recipe(song)
    recipe |= {
        "bars": song.bars, "swing": round(song.swing, 3), "degrees": list(song.harmony.degrees), "first_beat_s": 0.0,
        "sections": [[s.kind, s.first, s.bars] for s in song.sections], **song.notes,
    }  # fmt: skip
    n = out.shape[1] if duration_s is None else round(duration_s * RATE)
    return Track(_mastered(out, rng, n), round(song.tempo_bpm, 3), song.harmony.key, genre, recipe)


def _song(genre: str, rng: np.random.Generator, kit: Kit, split: str, length_s: float, exact_s: float | None) -> Song:
    """An empty song: tempo, key and sections are drawn, the drums chosen."""
    plan = PLANS[genre]
    tempo_bpm = float(rng.uniform(*plan.tempo_bpm))
    harmony = draw_harmony(rng, plan.minor, plan.sizes, split != "train")
    bar_s = 240.0 / tempo_bpm
    bars = max(4, round(length_s / bar_s)) if exact_s is None else int(np.ceil(exact_s / bar_s))
    drums = kit.draw(genre, rng)
    swing = float(rng.uniform(*plan.swing)) if rng.random() < 0.75 else 0.0
    sections = _sections(rng, bars) if exact_s is None else [Section("drop", 0, bars)]
    bars_a_chord = float(rng.choice(plan.bars_a_chord))
    return Song(genre, rng, tempo_bpm, swing, plan.human_s, bars, sections, harmony, kit, drums, bars_a_chord)


def _sections(rng: np.random.Generator, bars: int) -> list[Section]:
    """A short intro or none, a drop, by chance a break and a second drop."""
    intro = int(rng.choice([0, 1, 2])) if bars >= 8 else int(rng.choice([0, 0, 1]))
    pause = int(rng.choice([0, 0, 1, 2])) if bars >= 10 else 0
    first = (bars - intro) if not pause else int(rng.integers(3, max(4, bars - intro - pause - 2)))
    lengths = [("intro", intro), ("drop", first), ("break", pause), ("drop", bars - intro - first - pause)]
    sections, at = [], 0
    for kind, length in lengths:
        if length > 0:
            sections.append(Section(kind, at, length))
            at += length
    return sections


def _mastered(out: Samples, rng: np.random.Generator, n: int, quiet: bool = False) -> Waveform:
    """Another engineer for every track: tilt, width, bandwidth, level."""
    out = out[:, :n] if out.shape[1] >= n else np.pad(out, ((0, 0), (0, n - out.shape[1])))
    tilt = rng.normal(0, 1.5)
    out = shelf(out, rng.uniform(500, 1_500), -tilt, tilt)
    if rng.random() < 0.15:
        out = filtered(out, None, rng.uniform(7_000, 15_000), 1)
    out = wider(out, rng.uniform(0.6, 1.25))
    level = rng.uniform(-30, -16) if quiet else rng.uniform(-18.5, -13)
    return Waveform(faded(master(out, level, rng.uniform(0.85, 1.2))), RATE)


def example(name: str, duration_s: float | None = 12.0) -> Track:
    """A clip that comes with the page.

    Raises:
        RequestError: there is none of that name.
    """
    if name not in EXAMPLES:
        raise RequestError("example", name, f"one of {', '.join(EXAMPLES)}")
    genre, seed = EXAMPLES[name]
    return produce(genre, seed, split="example", duration_s=duration_s)
