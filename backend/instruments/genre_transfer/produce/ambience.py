"""What is not music: rooms, weather, machines, voices, traffic, clicks, tones; one to three at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backend.instruments.genre_transfer.produce import drums, voices
from backend.instruments.genre_transfer.produce.effects import RATE, filtered, reverb
from backend.instruments.genre_transfer.produce.kernels import BAND, LOW, SAW, SINE, Samples, oscillator, sweep
from backend.instruments.genre_transfer.produce.kits import Kit


def _white(n: int, rng: np.random.Generator) -> Samples:
    return rng.standard_normal((2, n)).astype(np.float32)


def _slow(n: int, rng: np.random.Generator, per_second: float, low: float, high: float) -> Samples:
    """A wandering value between two limits ``[samples]``, on a logarithmic scale."""
    knots = np.log(rng.uniform(low, high, max(2, int(n / RATE * per_second) + 2)))
    return np.exp(np.interp(np.linspace(0, len(knots) - 1, n), np.arange(len(knots)), knots)).astype(np.float32)


def _stepped(path: Samples) -> Samples:
    return path[np.arange(len(path)) // 64 * 64]


def room(n: int, rng: np.random.Generator) -> Samples:
    """Air, brown to pink."""
    return 3 * filtered(_white(n, rng), 30, rng.uniform(150, 2_500), 1)


def hum(n: int, rng: np.random.Generator) -> Samples:
    """Mains or a motor: harmonics that drift a little, and hiss."""
    t = np.arange(n, dtype=np.float32) / RATE
    base = float(rng.choice([50, 60, 100, 120])) * rng.uniform(0.98, 1.02)
    tone = sum(rng.uniform(0, 1) / k**0.7 * np.sin(2 * np.pi * base * k * t + rng.uniform(0, 6)) for k in range(1, 14))
    return np.asarray(0.4 * voices.both(tone * _slow(n, rng, 0.7, 0.6, 1.0)) + 0.05 * _white(n, rng), np.float32)


def wind(n: int, rng: np.random.Generator) -> Samples:
    """Gusts: noise through a wandering band."""
    path = _slow(n, rng, 1.5, 150, 900)
    return (
        2 * sweep(_white(n, rng), _stepped(path), rng.uniform(0.8, 3), BAND, float(RATE)) * _slow(n, rng, 1, 0.2, 1.0)
    )


def rain(n: int, rng: np.random.Generator) -> Samples:
    """Hiss and single drops."""
    out = 0.3 * filtered(_white(n, rng), rng.uniform(600, 2_000), rng.uniform(6_000, 15_000), 1)
    for _ in range(int(n / RATE * rng.uniform(8, 60))):
        t = voices.times(0.03)
        drop = np.sin(2 * np.pi * rng.uniform(1_500, 6_000) * t) * np.exp(-t / 0.005) * rng.pareto(2.5)
        at, side = int(rng.integers(0, n - len(t))), int(rng.integers(2))
        out[side, at : at + len(t)] += 0.4 * np.minimum(drop, 2).astype(np.float32)
    return out


def babble(n: int, rng: np.random.Generator) -> Samples:
    """One to six people speaking: formant synthesis of syllables with falling phrases, consonants and pauses."""
    out = np.zeros((2, n), np.float32)
    for _ in range(int(rng.integers(1, 7))):
        at, voice, pan = rng.uniform(0, 1), rng.uniform(42, 62), rng.uniform(0.2, 0.8)
        rate, phrase = rng.uniform(0.12, 0.26), 0
        while at < n / RATE - 1:
            seconds = rate * rng.uniform(0.6, 1.7)
            vowels = "".join(rng.choice(list(voices.VOWELS), 2))
            pitch = voice + rng.normal(0, 1.3) - 0.25 * phrase
            sound = voices.vocal(pitch, seconds, rng, vowels, rng.normal(0, 1.5)) * rng.uniform(0.4, 1)
            begin = round(at * RATE)
            part = sound[:, : n - begin]
            out[:, begin : begin + part.shape[1]] += part * np.array([[1 - pan], [pan]], np.float32)
            if rng.random() < 0.5:
                hiss = 0.25 * filtered(_white(round(0.07 * RATE), rng), rng.uniform(1_500, 5_000), 11_000)
                out[:, begin : begin + hiss.shape[1]] += hiss[:, : n - begin] * np.hanning(hiss.shape[1]).astype(
                    np.float32
                )
            at, phrase = at + seconds * rng.uniform(0.9, 1.3), phrase + 1
            if rng.random() < 0.14:
                at, phrase = at + rng.uniform(0.2, 0.9), 0
    return out


def traffic(n: int, rng: np.random.Generator) -> Samples:
    """Cars pass: rumbling and tyres swell from side to side, motors fall in pitch."""
    out = 0.8 * filtered(_white(n, rng), 25, 300, 1)
    t = np.arange(n, dtype=np.float32) / RATE
    for _ in range(int(rng.integers(2, 7))):
        centre, width = rng.uniform(0, n / RATE), rng.uniform(0.6, 2.5)
        swell = np.exp(-(((t - centre) / width) ** 2))
        pan = 0.5 + 0.45 * np.tanh((t - centre) / width) * rng.choice([-1, 1])
        doppler = rng.uniform(60, 140) * (1 - 0.06 * np.tanh((t - centre) / (0.4 * width)))
        motor = oscillator(doppler.astype(np.float32), SAW, 0.0, 0.5, float(RATE))
        tyres = filtered(_white(n, rng)[:1], 300, 3_000, 1)[0]
        out += (
            np.stack([1 - pan, pan])
            * swell
            * (0.4 * sweep(motor[None], np.full(n, 700, np.float32), 0.8, LOW, float(RATE))[0] + 0.8 * tyres)
        )
    return np.asarray(out, np.float32)


def clicks(n: int, rng: np.random.Generator) -> Samples:
    """Typing, steps, dishes, a clock: short sounds without a beat, or ticking evenly."""
    out = np.zeros((2, n), np.float32)
    makers = (drums.rim, drums.shaker, lambda r: drums.hat(r, False), drums.tom, drums.clap)
    sounds = [makers[int(rng.integers(len(makers)))](rng) for _ in range(int(rng.integers(1, 6)))]
    even = rng.random() < 0.25
    at = rng.uniform(0, 0.5)
    gap = rng.uniform(0.08, 0.9)
    while at < n / RATE:
        sound = sounds[int(rng.integers(1 if even else len(sounds)))] * np.float32(rng.uniform(0.2, 1))
        begin, pan = round(at * RATE), rng.uniform(0.2, 0.8)
        part = sound[: n - begin]
        out[:, begin : begin + len(part)] += np.array([[1 - pan], [pan]], np.float32) * part
        at += gap if even else rng.exponential(gap) + 0.02
    return out


def tones(n: int, rng: np.random.Generator) -> Samples:
    """Beeps, sirens, dial tones, drones."""
    t = np.arange(n, dtype=np.float32) / RATE
    kind = int(rng.integers(4))
    base = rng.uniform(150, 2_500)
    if kind == 0:  # beeps
        gate = ((t % rng.uniform(0.3, 2)) < rng.uniform(0.05, 0.3)).astype(np.float32)
        mono = np.sin(2 * np.pi * base * t) * np.convolve(gate, np.ones(200, np.float32) / 200, "same")
    elif kind == 1:  # a siren
        path = base * 2 ** (rng.uniform(0.2, 0.8) * np.sin(2 * np.pi * rng.uniform(0.15, 3) * t))
        mono = oscillator(path.astype(np.float32), SINE, 0.0, 0.5, float(RATE))
    elif kind == 2:  # a sweep
        mono = oscillator(_slow(n, rng, 0.5, 60, 8_000), int(rng.choice([SINE, SAW])), 0.0, 0.5, float(RATE))
    else:  # a drone
        mono = (
            sum(np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) for f in rng.uniform(50, 1_500, int(rng.integers(2, 7))))
            / 3
        )
    return voices.both(np.asarray(0.5 * mono, np.float32))


def chirps(n: int, rng: np.random.Generator) -> Samples:
    """Birds, crickets or insects."""
    out = np.zeros((2, n), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        low, gap, at = rng.uniform(1_800, 6_500), rng.uniform(0.15, 1.5), rng.uniform(0, 1)
        while at < n / RATE - 0.6:
            t = voices.times(rng.uniform(0.04, 0.2))
            path = low * 2 ** (rng.uniform(-0.5, 0.5) * t / t[-1] + 0.05 * np.sin(2 * np.pi * rng.uniform(20, 60) * t))
            call = oscillator(path.astype(np.float32), SINE, 0.0, 0.5, float(RATE)) * np.hanning(len(t)).astype(
                np.float32
            )
            begin, pan = round(at * RATE), rng.uniform(0.1, 0.9)
            out[:, begin : begin + len(t)] += (
                np.array([[1 - pan], [pan]], np.float32) * call * np.float32(rng.uniform(0.2, 0.7))
            )
            at += rng.exponential(gap) + 0.05
    return out


def static(n: int, rng: np.random.Generator) -> Samples:
    """A radio between stations."""
    return (
        0.5
        * sweep(_white(n, rng), _stepped(_slow(n, rng, 2, 300, 6_000)), 1.0, BAND, float(RATE))
        * _slow(n, rng, 6, 0.3, 1.0)
    )


SOUNDS: dict[str, Callable[[int, np.random.Generator], Samples]] = {
    "room": room, "hum": hum, "wind": wind, "rain": rain, "babble": babble, "traffic": traffic, "clicks": clicks,
    "tones": tones, "chirps": chirps, "static": static,
}  # fmt: skip


def soundscape(n: int, rng: np.random.Generator, kit: Kit) -> tuple[Samples, list[str]]:
    """One to three sounds ``[2, n]``, in a room or dry, and their names."""
    names = [str(name) for name in rng.choice(list(SOUNDS), int(rng.choice([1, 1, 2, 3])), replace=False)]
    out = np.zeros((2, n), np.float32)
    for name in names:
        sound = SOUNDS[name](n, rng)
        out += sound / max(1e-6, float(np.sqrt((sound**2).mean()))) * np.float32(rng.uniform(0.03, 0.15))
    recorded = kit.recording("ambience", rng)
    if recorded is not None and rng.random() < 0.2:
        names.append("recorded")
        out += 0.2 * np.resize(recorded, n)
    if rng.random() < 0.4:
        out = out + rng.uniform(0.2, 0.8) * reverb(out, rng.uniform(0.3, 2.5), rng, rng.uniform(0.2, 0.8))
    return out, names
