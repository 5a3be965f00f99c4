"""Future bass and liquid drum & bass."""

from __future__ import annotations

import numpy as np

from backend.instruments.genre_transfer.produce import voices
from backend.instruments.genre_transfer.produce.desk import Song
from backend.instruments.genre_transfer.produce.effects import RATE, duck, echo, filtered, reverb, saturated
from backend.instruments.genre_transfer.produce.kernels import Samples
from backend.instruments.genre_transfer.produce.layers import (
    STABS,
    Note,
    Rhythm,
    bass_line,
    chord_hits,
    ducked,
    lead_voice,
    summed,
    swept_entry,
    transitions,
    tune,
)  # fmt: skip


def future_bass(song: Song) -> Samples:
    """Wide saws that swell and wobble over half-time drums, a sub, chopped voices and bells."""
    rng = song.rng
    song.beat({"kick": (1, 0.2, 0.1), "snare": (1, 0.2, 0.15), "hat": (0.9, 0.4, 0.3),
               "open": (0.6, 0.2, 0.1), "perc": (0.6, 0.3, 0.3)},
              str(rng.choice(["snare", "both", "clap"])))  # fmt: skip
    saw = voices.Supersaw(
        int(rng.choice([5, 7])),
        rng.uniform(8, 24),
        rng.uniform(3_500, 12_000),
        rng.uniform(0.004, 0.06),
        0.12,
        rng.uniform(0.2, 0.7),
    )
    rhythms: tuple[Rhythm, ...] = (
        [(0, 6), (6, 4), (10, 6)], [(0, 3), (3, 3), (6, 2), (8, 3), (11, 3), (14, 2)], [(0, 8), (8, 8)],
        [(0, 16)], [(0, 3), (3, 5), (8, 3), (11, 5)],
        [(0, 2), (3, 2), (6, 2), (8, 2), (11, 2), (14, 2)],
    )  # fmt: skip
    rhythm = rhythms[int(rng.integers(len(rhythms)))]
    chord_hits(song, "chords", lambda p, s: saw.chord(p, s, rng), rhythm, rng.uniform(60, 67), 0.6, (1, 0.2, 0.15))
    _wobble(song)
    soft = lead_voice(song, ("electric_piano", "pluck", "piano", "bell"))
    chord_hits(song, "soft", lambda p, s: soft(p[0], s), rhythm, 64, 0.2, (0.3, 1, 1), 0.006)
    deep: Note = lambda p, s: voices.sub(p, s, rng.uniform(0.1, 0.5))  # noqa: E731
    bass_line(song, "bass", deep, [(a, b, 0) for a, b in rhythm], 0.5, (1, 0.1, 0.2), 29)
    if rng.random() < 0.75:
        note = lead_voice(song, ("vocal", "vocal", "pluck", "bell", "saw"))
        tune(song, "lead", note, 6, rng.uniform(0.5, 0.9), 0.35, (0.85, 0.6, 0.6))
        lead = song.bus("lead")
        lead += rng.uniform(0.2, 0.5) * echo(lead, 3 * song.step_s, 0.4)
        lead += rng.uniform(0.3, 0.7) * reverb(lead, rng.uniform(1.5, 3), rng, 0.6)
    transitions(song, riser=0.6)
    snare = song.bus("snare")
    snare += rng.uniform(0.15, 0.4) * reverb(snare, rng.uniform(0.7, 1.6), rng, 0.7)
    chords = song.bus("chords")
    chords += rng.uniform(0.15, 0.4) * reverb(chords, rng.uniform(1, 2.5), rng, 0.6)
    for bus in ("chords", "bass", "soft"):
        ducked(song, bus, rng.uniform(0.5, 0.95), rng.uniform(2, 4) * song.step_s)
    out = summed(song, {"chords": rng.uniform(0.8, 1.3), "bass": rng.uniform(0.5, 0.9), "drums": rng.uniform(0.7, 1.1)})
    return swept_entry(song, saturated(out, rng.uniform(0.6, 1.4)), 0.3)


def _wobble(song: Song) -> None:
    """Tremolo of the chords in notes of the bar, changing its rate; some songs have none."""
    rng = song.rng
    if rng.random() < 0.2:
        return
    chords = song.bus("chords")
    depth = rng.uniform(0.3, 0.9)
    for bar in range(song.bars):
        for half in (0, 8):
            steps = float(rng.choice([1, 2, 4 / 3, 4, 8]))
            begin, end = (round(song.at(bar, half + k) * RATE) for k in (0, 8))
            t = np.arange(end - begin) / RATE / (steps * song.step_s)
            swell = 0.5 - 0.5 * np.cos(2 * np.pi * t)
            chords[:, begin:end] *= (1 - depth + depth * swell).astype(np.float32)[: chords.shape[1] - begin]


def liquid_dnb(song: Song) -> Samples:
    """A broken beat at full speed under slow pads, a rolling bass and a piano in a long hall."""
    rng = song.rng
    song.beat(
        {
            "kick": (1, 0.4, 0.05),
            "snare": (1, 0.35, 0.1),
            "hat": (1, 0.7, 0.3),
            "open": (0.5, 0.2, 0.1),
            "perc": (0.8, 0.4, 0.3),
        }
    )
    _break_layer(song)
    if rng.random() < 0.5:
        for section in song.sections:
            if song.chance(section, 0.9, 0.4, 0.3):
                for bar in section:
                    for step in range(0, 16, 2):
                        song.hit("ride", bar, step, 0.8 if step % 4 == 0 else 0.5, pan=0.3)
    cutoff = rng.uniform(700, 3_000)
    if rng.random() < 0.85:
        chord_hits(
            song,
            "pad",
            lambda p, s: voices.pad(p, s * 1.1, rng, cutoff, 1.0),
            [(0.0, 16.0)],
            rng.uniform(58, 65),
            0.35,
            (1, 1, 1),
        )
    kind, detune = str(rng.choice(["reese", "sub", "reese", "upright"])), rng.uniform(8, 28)
    song.notes["bass"] = kind
    deep: dict[str, Note] = {
        "reese": lambda p, s: voices.reese(p, s, rng, 220 + 12 * detune, detune),
        "sub": lambda p, s: voices.sub(p, s, 0.3),
        "upright": lambda p, s: voices.upright_bass(p, s, rng),
    }
    lines = (
        [(0, 16, 0)],
        [(0, 8, 0), (10, 6, 0)],
        [(0, 3, 0), (3, 7, 0), (11, 5, 7)],
        [(0, 6, 0), (6, 4, 12), (10, 6, 0)],
        [(0, 10, 0), (10, 4, -2), (14, 2, 0)],
    )
    bass_line(
        song,
        "bass",
        deep[kind],
        [(float(a), float(b), c) for a, b, c in lines[int(rng.integers(5))]],
        0.55,
        (1, 0.2, 0.25),
        28,
    )
    note = lead_voice(song, ("piano", "electric_piano", "pluck", "bell", "guitar", "vocal"))
    if rng.random() < 0.6:
        tune(song, "lead", note, int(rng.choice([5, 6])), rng.uniform(0.2, 0.8), 0.28, (0.85, 0.7, 0.9))
    else:
        stab = STABS[int(rng.integers(len(STABS)))]
        chord_hits(song, "lead", lambda p, s: note(p[0], max(0.5, 2 * s)), stab, 64, 0.2, (0.85, 0.7, 0.9), 0.004)
    transitions(song, riser=0.4)
    return _liquid_mix(song)


def _liquid_mix(song: Song) -> Samples:
    """Echo and a long hall for the tune and the pad, ducked under the kick; then all buses."""
    rng = song.rng
    for bus in ("lead", "pad"):
        if bus in song.buses:
            sound = song.bus(bus)
            if bus == "lead":
                sound += rng.uniform(0.2, 0.5) * echo(sound, float(rng.choice([3, 6])) * song.step_s, 0.4)
            sound += rng.uniform(0.3, 0.9) * reverb(sound, rng.uniform(2, 4), rng, rng.uniform(0.3, 0.7))
            sound *= duck(song.n, song.kicks_s, rng.uniform(0, 0.5), 0.2)
    out = summed(
        song,
        {
            "pad": rng.uniform(0.6, 1.2),
            "lead": rng.uniform(0.6, 1.1),
            "drums": rng.uniform(0.8, 1.3),
            "bass": rng.uniform(0.6, 0.95),
        },
    )
    return swept_entry(song, saturated(out, rng.uniform(0.6, 1.3)), 0.3)


def _break_layer(song: Song) -> None:
    """A recorded drum break under the beat, stretched to the bar by its speed, if the kit has one."""
    loop = song.kit.recording("break", song.rng)
    if loop is None or song.rng.random() < 0.4:
        return
    beats = max(4, round(len(loop) / RATE * song.tempo_bpm / 60 / 4) * 4)
    samples = round(beats * 4 * song.step_s * RATE)
    fitted = np.interp(np.linspace(0, len(loop) - 1, samples), np.arange(len(loop)), loop).astype(np.float32)
    fitted = filtered(fitted[None], song.rng.uniform(120, 400), None)[0]
    for section in song.sections:
        if song.chance(section, 0.8, 0.4, 0.2):
            start = section.first * song.bar_s
            length = round(section.bars * song.bar_s * RATE)
            song.add("break", start, np.resize(fitted, length), 0.3)
