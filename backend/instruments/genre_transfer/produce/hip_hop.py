"""Trap, lo-fi and boom bap."""

from __future__ import annotations

import numpy as np

from backend.instruments.genre_transfer.produce import voices
from backend.instruments.genre_transfer.produce.desk import Section, Song
from backend.instruments.genre_transfer.produce.effects import (
    RATE,
    crushed,
    echo,
    filtered,
    reverb,
    saturated,
    tape,
    vinyl,
    wider,
)  # fmt: skip
from backend.instruments.genre_transfer.produce.kernels import Samples
from backend.instruments.genre_transfer.produce.layers import (
    Note,
    bass_line,
    chord_hits,
    ducked,
    lead_voice,
    summed,
    transitions,
    tune,
)  # fmt: skip
from backend.instruments.genre_transfer.produce.patterns import hat_roll


def trap(song: Song) -> Samples:
    """808 bass, half-time snare, rolling hats, a dark tune in an echo."""
    rng = song.rng
    song.beat({"kick": (1, 0.3, 0.1), "snare": (1, 0.4, 0.3), "hat": (1, 0.6, 0.35),
               "open": (0.7, 0.1, 0.1), "perc": (0.7, 0.3, 0.2)},
              back=str(rng.choice(["snare", "clap", "both"])))  # fmt: skip
    for section in song.sections:
        if section.kind != "drop" and rng.random() < 0.5:
            continue
        for bar in section:
            for half in (0, 8):
                if rng.random() < 0.38:
                    for step, loud in hat_roll(rng):
                        song.hit("hat", bar, half + step, loud, pan=0.2)
    drive = rng.uniform(0.8, 4.5)
    _sliding_bass(song, drive)
    note = lead_voice(song, ("bell", "pluck", "piano", "square", "guitar", "thin", "vocal"))
    tune(song, "lead", note, int(rng.choice([5, 5, 6])), rng.uniform(0.3, 0.7), 0.3, (0.95, 1, 0.9))
    if rng.random() < 0.6:
        cutoff = rng.uniform(500, 2_500)
        chord_hits(song, "pad", lambda p, s: voices.pad(p, s, rng, cutoff), [(0, 16)], 57, 0.22, (0.7, 0.8, 1))
    transitions(song, riser=0.3)
    lead = song.bus("lead")
    lead += rng.uniform(0.2, 0.6) * echo(lead, float(rng.choice([3, 4, 6])) * song.step_s, 0.45)
    if rng.random() < 0.35:
        lead[:] = filtered(tape(lead, rng.uniform(1, 3), rng), None, rng.uniform(1_500, 5_000))
    lead += rng.uniform(0.2, 0.7) * reverb(lead, rng.uniform(1.2, 3.0), rng, 0.4)
    snare = song.bus("snare")
    snare += rng.uniform(0.05, 0.3) * reverb(snare, rng.uniform(0.5, 1.4), rng, 0.6)
    ducked(song, "bass", rng.uniform(0, 0.6), 0.12)
    return saturated(
        summed(song, {"bass": rng.uniform(0.6, 1.0), "lead": rng.uniform(0.5, 1.2)}), rng.uniform(0.6, 1.4)
    )


def _sliding_bass(song: Song, drive: float) -> None:
    """An 808 that follows the kick's rhythm, now and then sliding an octave or a fifth."""
    rng = song.rng
    rhythm = [
        float(s) for s in sorted({0, *rng.choice([3, 6, 7, 10, 11, 12, 14], int(rng.integers(1, 4)), replace=False)})
    ]
    for section in song.sections:
        if not song.chance(section, 1, 0.2, 0.2):
            continue
        for bar in section:
            for k, step in enumerate(rhythm):
                end = rhythm[k + 1] if k + 1 < len(rhythm) else 16.0
                root = song.harmony.root(song.chord_index(bar, int(step >= 8)), int(25 + 2 * (song.harmony.tonic % 2)))
                above = int(rng.choice([0, 0, 0, 0, 12, 7])) if k else 0
                glide = root + int(rng.choice([12, 7, -5, 0])) if rng.random() < 0.2 else None
                seconds = (end - step) * song.step_s * 0.97
                song.add("bass", song.at(bar, step), voices.bass808(root + above, seconds, drive, glide, 0.5), 0.75)


def _hand_played(song: Song, back: str, layers: dict[str, tuple[float, float, float]], share: float) -> None:
    """A performed groove for the whole song if the kit knows one, else written drums."""
    whole = Section("drop", 0, song.bars)
    if song.rng.random() < share and song.performed(whole):
        song.notes["groove"] = "performed"
        return
    song.beat(layers, back)


def lofi(song: Song) -> Samples:
    """Swung, soft, dusty drums under ninth chords of an electric piano or a guitar, through a tired tape."""
    rng = song.rng
    _hand_played(song, str(rng.choice(["snare", "snare", "rim", "both"])), {
        "kick": (1, 0.3, 0.3), "snare": (1, 0.3, 0.3), "hat": (0.95, 0.5, 0.4),
        "open": (0.5, 0.1, 0.1), "perc": (0.5, 0.2, 0.2),
    }, 0.2)  # fmt: skip
    note = lead_voice(song, ("electric_piano", "electric_piano", "guitar", "piano", "organ"))
    rhythm = [
        [(0.0, 15.0)],
        [(0.0, 7.0), (10.0, 6.0)],
        [(0.0, 10.0), (11.0, 4.0)],
        [(0.0, 6.0), (6.0, 9.0)],
        [(2.0, 5.0), (10.0, 6.0)],
    ]
    chosen = rhythm[int(rng.integers(len(rhythm)))]
    chord_hits(
        song,
        "chords",
        lambda p, s: note(p[0], s),
        chosen,
        rng.uniform(56, 64),
        0.28,
        (1, 1, 1),
        rng.uniform(0.004, 0.03),
    )
    deep: Note = (
        (lambda p, s: voices.upright_bass(p, s, rng)) if rng.random() < 0.55 else (lambda p, s: voices.sub(p, s, 0.1))
    )
    lines = (
        [(0, 9, 0), (10, 5, 0)],
        [(0, 6, 0), (7, 3, 7), (10, 5, 12)],
        [(0, 14, 0)],
        [(0, 3, 0), (3, 6, 0), (11, 4, 7)],
    )
    bass_line(
        song, "bass", deep, [(float(a), float(b), c) for a, b, c in lines[int(rng.integers(4))]], 0.5, (1, 0.4, 0.6), 31
    )
    if rng.random() < 0.65:
        melody = lead_voice(song, ("electric_piano", "bell", "guitar", "piano", "pluck", "vocal"))
        tune(song, "lead", melody, 6, rng.uniform(0.15, 0.5), 0.18, (0.8, 0.5, 0.7))
        lead = song.bus("lead")
        lead += 0.3 * echo(lead, 3 * song.step_s, 0.35)
    chords = song.bus("chords")
    chords[:] = filtered(tape(chords, rng.uniform(1.0, 4.0), rng), 90, rng.uniform(900, 4_500), 1)
    ducked(song, "chords", rng.uniform(0.1, 0.55), 0.25)
    chords += rng.uniform(0.1, 0.4) * reverb(chords, rng.uniform(0.8, 2.2), rng, 0.3)
    drums = rng.uniform(0.45, 0.85)
    out = summed(song, {"drums": drums * rng.uniform(0.5, 1), "kick": drums, "snare": drums * 0.8, "chords": 1.25})
    out = filtered(saturated(out * 1.2, rng.uniform(0.8, 1.8), 0.1), 35, rng.uniform(3_500, 11_000), 1)
    out = out + rng.uniform(0.2, 1.0) * vinyl(song.n, rng.uniform(0.05, 0.5), rng.uniform(0.2, 1.2), rng)
    if rng.random() < 0.25:
        rain = filtered(rng.standard_normal(out.shape).astype(np.float32), 400, 5_000, 1)
        out = out + 0.012 * rain
    return wider(out, rng.uniform(0.5, 1.0))


def boom_bap(song: Song) -> Samples:
    """Hard, swung drums in front, a chopped loop of an old record behind, a round bass."""
    rng = song.rng
    _hand_played(song, str(rng.choice(["snare", "snare", "both"])), {
        "kick": (1, 0.3, 0.15), "snare": (1, 0.35, 0.15), "hat": (1, 0.6, 0.5),
        "open": (0.6, 0.2, 0.1), "perc": (0.4, 0.1, 0.1),
    }, 0.25)  # fmt: skip
    _chops(song)
    deep: Note = (
        (lambda p, s: voices.upright_bass(p, s, rng)) if rng.random() < 0.6 else (lambda p, s: voices.sub(p, s, 0.35))
    )
    lines = ([(0, 3, 0), (7, 2, 0), (10, 4, 0)], [(0, 2, 0), (3, 2, 0), (8, 3, 7), (11, 3, 10)],
             [(0, 6, 0), (10, 3, 12), (14, 2, 10)],
             [(0, 3, 0), (6, 2, 12), (8, 3, 0), (14, 2, -2)])  # fmt: skip
    bass_line(
        song, "bass", deep, [(float(a), float(b), c) for a, b, c in lines[int(rng.integers(4))]], 0.6, (1, 0.3, 0.4), 31
    )
    if rng.random() < 0.5:
        for section in song.sections:
            for bar in section:
                if rng.random() < (0.3 if section.kind == "drop" else 0.5):
                    song.add(
                        "effects",
                        song.at(bar, float(rng.choice([8, 10, 12]))),
                        voices.scratch(rng.uniform(0.2, 0.5), rng),
                        0.3,
                    )
    room = song.bus("snare")
    room += rng.uniform(0.05, 0.25) * reverb(room, rng.uniform(0.3, 0.8), rng, 0.5)
    out = summed(
        song,
        {
            "drums": rng.uniform(0.8, 1.3),
            "kick": rng.uniform(0.9, 1.2),
            "snare": rng.uniform(0.9, 1.25),
            "loop": rng.uniform(0.5, 0.95),
        },
    )
    out = saturated(1.3 * out, rng.uniform(0.8, 2.0), 0.05)
    if rng.random() < 0.5:
        out = crushed(out, int(rng.choice([1, 2])), rng.uniform(9, 12))
    out = out + rng.uniform(0.0, 0.6) * vinyl(song.n, rng.uniform(0.02, 0.35), rng.uniform(0.1, 0.6), rng)
    return wider(filtered(out, 35, rng.uniform(8_000, 17_000), 1), rng.uniform(0.4, 0.9))


def _chops(song: Song) -> None:
    """Two bars of chords and a phrase, recorded to a dull record, cut into eighths and played in another order."""
    rng = song.rng
    source = np.zeros((2, round(2 * song.bar_s * RATE) + 1), np.float32)
    kind = str(rng.choice(["piano", "brass", "strings", "electric_piano", "guitar"]))
    song.notes["loop"] = kind
    note = {"piano": voices.piano, "electric_piano": voices.electric_piano, "guitar": voices.guitar}.get(kind)
    places = [(0, 6), (6, 4), (10, 6)] if rng.random() < 0.5 else [(0, 3), (3, 5), (8, 4), (12, 4)]
    for bar in (0, 1):
        for step, length in places:
            pitches = song.harmony.chord(song.chord_index(bar, int(step >= 8)), rng.uniform(58, 66), 4)
            seconds = length * song.step_s * 1.2
            if note is not None:
                sound = np.sum([note(p, seconds, rng) for p in pitches], axis=0) * np.float32(0.4)
            elif kind == "brass":
                sound = voices.brass(pitches, seconds, rng, 0.5)
            else:
                sound = voices.pad(pitches, seconds, rng, 2_500)
            begin = round((16 * bar + step) * song.step_s * RATE)
            source[:, begin : begin + sound.shape[1]] += sound[:, : source.shape[1] - begin]
    source = filtered(
        saturated(tape(source, rng.uniform(0.3, 1.5), rng), 1.5), rng.uniform(120, 350), rng.uniform(2_000, 6_500)
    )
    piece = round(float(rng.choice([2, 4, 4, 8])) * song.step_s * RATE)
    order = np.arange(len(source[0]) // piece)
    for _ in range(int(rng.integers(1, 5))):
        a, b = rng.integers(len(order), size=2)
        order[a] = order[b]
    ramp = np.minimum(1, np.minimum(np.arange(piece), np.arange(piece)[::-1]) / 200).astype(np.float32)
    for section in song.sections:
        if not song.chance(section, 1, 0.85, 0.85):
            continue
        start, k = section.first * song.bar_s, 0
        while k * piece < section.bars * song.bar_s * RATE - piece // 2:
            cut = order[k % len(order)] * piece
            song.add("loop", start + k * piece / RATE, source[:, cut : cut + piece] * ramp, 0.8)
            k += 1
