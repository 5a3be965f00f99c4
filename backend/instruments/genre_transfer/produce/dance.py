"""House and hardstyle."""

from __future__ import annotations

import numpy as np

from backend.instruments.genre_transfer.produce import voices
from backend.instruments.genre_transfer.produce.desk import Song
from backend.instruments.genre_transfer.produce.effects import echo, filtered, reverb, saturated
from backend.instruments.genre_transfer.produce.kernels import SQUARE, Samples
from backend.instruments.genre_transfer.produce.layers import (
    STABS,
    Note,
    bass_line,
    chord_hits,
    ducked,
    lead_voice,
    summed,
    swept_entry,
    transitions,
    tune,
)  # fmt: skip


def house(song: Song) -> Samples:
    """Four to the floor, open hats between, a moving bass and stabs; now deep, now bright, now bare."""
    rng = song.rng
    back = str(rng.choice(["clap", "clap", "snare", "both", "rim"]))
    song.beat(
        {
            "kick": (1, 0.6, 0.1),
            "snare": (0.95, 0.3, 0.2),
            "hat": (0.85, 0.5, 0.3),
            "open": (0.9, 0.3, 0.15),
            "perc": (0.7, 0.4, 0.3),
        },
        back,
    )
    if rng.random() < 0.5:
        for section in song.sections:
            for bar in section:
                for step in range(16):
                    song.hit("shaker", bar, step, 0.9 if step % 4 == 2 else 0.5, pan=-0.4)
    kind = str(rng.choice(["piano", "organ", "saw", "pluck", "electric_piano", "pad", "brass"]))
    song.notes["chords"] = kind
    _house_chords(song, kind)
    bright, shape = rng.uniform(0.1, 0.8), int(rng.choice([1, SQUARE]))
    deep: Note = lambda p, s: voices.plucked_bass(p, s, rng, bright, shape)  # noqa: E731
    lines = (
        [(2, 1.6, 0), (6, 1.6, 0), (10, 1.6, 0), (14, 1.6, 0)],
        [(0, 1.5, 0), (3, 1.5, 0), (6, 1, 12), (10, 1.5, 0), (13, 1, 10)],
        [(0, 3, 0), (6, 2, 0), (8, 3, 0), (14, 1.5, 7)],
        [(2, 1, 0), (3, 1, 12), (6, 1, 0), (7, 1, 12), (10, 1, 0), (11, 1, 12), (14, 1, 0), (15, 1, 12)],
        [(0, 1, 0), (2, 1, 0), (5, 1.5, 0), (8, 1, 0), (11, 1.5, -2), (14, 1, 0)],
    )  # fmt: skip
    line = [(float(a), float(b), c) for a, b, c in lines[int(rng.integers(len(lines)))]]
    bass_line(song, "bass", deep, line, 0.55, (1, 0.4, 0.25), 31)
    if rng.random() < 0.5:
        note = lead_voice(song, ("vocal", "pluck", "square", "piano", "thin", "saw"))
        tune(song, "lead", note, 5, rng.uniform(0.4, 0.8), 0.2, (0.6, 0.3, 0.7))
        lead = song.bus("lead")
        lead += rng.uniform(0.2, 0.5) * echo(lead, 3 * song.step_s, 0.45)
        lead += 0.3 * reverb(lead, rng.uniform(1, 2.5), rng, 0.5)
    transitions(song, riser=0.4)
    for bus in ("chords", "bass", "lead"):
        ducked(song, bus, rng.uniform(0.2, 0.8), min(0.3, 3.5 * song.step_s))
    chords = song.bus("chords")
    chords += rng.uniform(0.1, 0.4) * reverb(chords, rng.uniform(0.7, 2.5), rng, 0.5)
    out = summed(
        song,
        {
            "chords": rng.uniform(0.6, 1.2),
            "bass": rng.uniform(0.6, 1.0),
            "drums": rng.uniform(0.8, 1.3),
            "snare": rng.uniform(0.5, 0.9),
        },
    )
    return swept_entry(song, saturated(out, rng.uniform(0.5, 1.2)), 0.5)


def _house_chords(song: Song, kind: str) -> None:
    rng = song.rng
    bright = rng.uniform(0.2, 0.9)
    stab = STABS[int(rng.integers(len(STABS)))]
    saw = voices.Supersaw(5, rng.uniform(5, 14), 1_200 + 5_000 * bright, 0.004, 0.05, 0.2)
    if kind in ("piano", "organ", "electric_piano", "pluck"):
        note = {
            "piano": voices.piano,
            "organ": voices.organ,
            "electric_piano": voices.electric_piano,
            "pluck": voices.pluck,
        }[kind]
        chord_hits(
            song, "chords", lambda p, s: note(p[0], max(s, 0.25), rng, bright), stab, 63, 0.2, (0.9, 0.6, 1), 0.001
        )
    elif kind == "saw":
        chord_hits(song, "chords", lambda p, s: saw.chord(p, s, rng), stab, 63, 0.5, (0.9, 0.6, 1))
    elif kind == "brass":
        chord_hits(song, "chords", lambda p, s: voices.brass(p, s, rng, bright), stab, 62, 0.5, (0.9, 0.6, 1))
    else:
        chord_hits(
            song,
            "chords",
            lambda p, s: voices.pad(p, s, rng, 600 + 3_000 * bright),
            [(0.0, 16.0)],
            60,
            0.45,
            (0.9, 0.8, 1),
        )


def hardstyle(song: Song) -> Samples:
    """A distorted kick with a pitched tail on every beat, reverse bass between, a lead of saws or a screech."""
    rng = song.rng
    song.beat(
        {
            "kick": (1, 0.4, 0.05),
            "snare": (0.6, 0.2, 0.2),
            "hat": (0.7, 0.3, 0.1),
            "open": (0.8, 0.3, 0.05),
            "perc": (0.4, 0.3, 0.1),
        },
        "clap",
    )
    kick = song.bus("kick")
    kick += 0.15 * reverb(kick, 0.4, rng, 0.6)
    kick[:] = saturated(kick * rng.uniform(1.0, 2.2), rng.uniform(1.0, 2.5))
    _kick_tail(song)
    lead = str(rng.choice(["saws", "saws", "screech", "both"]))
    song.notes["lead"] = lead
    if lead in ("saws", "both"):
        saw = voices.Supersaw(7, rng.uniform(14, 30), rng.uniform(5_000, 12_000), 0.004, 0.05, 0.5)
        fifth = rng.random() < 0.5
        tune(
            song,
            "lead",
            lambda p, s: saw.chord([p, p + 7, p + 12] if fifth else [p, p + 12], s, rng),
            5,
            rng.uniform(0.3, 0.7),
            0.4,
            (0.75, 0.5, 1),
        )
    if lead in ("screech", "both"):
        sharp = rng.uniform(0.2, 1.0)
        tune(
            song,
            "screech",
            lambda p, s: voices.screech(p, s, rng, sharp),
            5,
            rng.uniform(0.5, 0.9),
            0.3,
            (0.6, 0.1, 0.2),
        )
    if rng.random() < 0.7:
        chord_hits(song, "pad", lambda p, s: voices.pad(p, s, rng, 2_500), [(0.0, 16.0)], 60, 0.3, (0.3, 0.8, 1))
    transitions(song, riser=0.7)
    for bus in ("lead", "pad"):
        if bus in song.buses:
            sound = song.bus(bus)
            sound += rng.uniform(0.2, 0.5) * reverb(sound, rng.uniform(1.2, 3), rng, 0.7)
            ducked(song, bus, rng.uniform(0.5, 0.95), 2.6 * song.step_s)
    out = summed(
        song,
        {
            "lead": rng.uniform(0.5, 1.1),
            "kick": rng.uniform(0.8, 1.1),
            "screech": rng.uniform(0.4, 0.8),
            "bass": rng.uniform(0.5, 0.9),
        },
    )
    return swept_entry(song, saturated(1.4 * out, rng.uniform(0.9, 1.8)), 0.3)


def _kick_tail(song: Song) -> None:
    """What sounds between the kicks: the kick's own distorted tail at the root, or a reverse bass on the off-beats."""
    rng = song.rng
    drive, cutoff, offbeat = rng.uniform(4, 12), rng.uniform(500, 2_500), rng.random() < 0.5
    song.notes["bass"] = "reverse" if offbeat else "tail"
    made: dict[int, Samples] = {}
    for section in song.sections:
        if section.kind != "drop":
            continue
        for bar in section:
            for beat in range(4):
                root = song.harmony.root(song.chord_index(bar, beat // 2), 29)
                if root not in made:
                    tone = voices.bass808(root, 2.2 * song.step_s, 1.0, None, 0.3 if offbeat else 1.2)
                    grown = tone * np.linspace(0.3, 1, tone.shape[1], dtype=np.float32) ** (1.0 if offbeat else 0.3)
                    made[root] = filtered(saturated(grown * 3, drive), 60, cutoff)
                song.add("bass", song.at(bar, 4 * beat + (2 if offbeat else 1.4)), made[root], 0.9)
