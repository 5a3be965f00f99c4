"""Drum sounds by synthesis, float32 ``[samples]`` at `RATE`, peak about 1; every one drawn anew from its ranges."""

from __future__ import annotations

import numpy as np

from backend.instruments.genre_transfer.produce.effects import RATE, filtered, saturated
from backend.instruments.genre_transfer.produce.kernels import Samples
from backend.instruments.genre_transfer.produce.voices import times


def _noise(t: Samples, rng: np.random.Generator, low_hz: float, high_hz: float) -> Samples:
    noise: Samples = filtered(rng.standard_normal((1, len(t))).astype(np.float32), low_hz, high_hz)[0]
    return noise


def _finished(sound: Samples) -> Samples:
    edge = min(220, len(sound))
    sound[len(sound) - edge :] *= np.linspace(1, 0, edge, dtype=np.float32)
    return np.asarray(sound / max(1e-6, float(np.abs(sound).max())), np.float32)


def kick(rng: np.random.Generator, style: str = "punchy") -> Samples:
    """``punchy``, ``boomy`` (808), ``dusty`` (sampled from a record) or ``hard`` (hardstyle: distorted with a tail)."""
    low = {"punchy": (45, 62), "boomy": (38, 52), "dusty": (55, 80), "hard": (44, 58)}[style]
    decay = {"punchy": (0.09, 0.2), "boomy": (0.2, 0.5), "dusty": (0.05, 0.12), "hard": (0.16, 0.26)}[style]
    base, decay_s = rng.uniform(*low), rng.uniform(*decay)
    t = times(min(0.9, 5 * decay_s))
    fall = base + rng.uniform(90, 260) * np.exp(-t / rng.uniform(0.012, 0.035))
    if style == "hard":
        fall = base + 350 * np.exp(-t / 0.025) + 60 * np.exp(-t / 0.12)
    tone = np.sin(2 * np.pi * np.cumsum(fall) / RATE) * np.exp(-t / decay_s)
    click = _noise(t, rng, 1_200, rng.uniform(3_000, 9_000)) * np.exp(-t / rng.uniform(0.002, 0.006))
    out = (tone + rng.uniform(0.1, 0.5) * click).astype(np.float32)
    if style == "hard":
        drive = rng.uniform(5, 14)
        out = saturated(filtered(saturated(out, drive)[None], 30, rng.uniform(3_000, 7_000))[0] * 3, drive)
        out = out * np.minimum(1, np.exp(-(t - 0.26) / 0.05)).astype(np.float32)
    if style == "dusty":
        out = filtered(saturated(out + 0.1 * _noise(t, rng, 100, 900) * np.exp(-t / 0.06), 2)[None], 45, 5_000)[0]
    return _finished(out)


def snare(rng: np.random.Generator, style: str = "tight") -> Samples:
    """``tight`` (machine), ``fat`` (layered, long), ``dusty`` (acoustic, from a record) or ``crack`` (break beats)."""
    length = {"tight": (0.06, 0.1), "fat": (0.12, 0.22), "dusty": (0.06, 0.14), "crack": (0.05, 0.11)}[style]
    wires_s = rng.uniform(*length)
    t = times(6 * wires_s)
    base = rng.uniform(165, 235) if style != "crack" else rng.uniform(200, 260)
    drop = 1 + 0.35 * np.exp(-t / 0.015)
    body = np.sin(2 * np.pi * np.cumsum(base * drop) / RATE) + 0.5 * np.sin(2 * np.pi * 1.72 * base * t)
    wires = _noise(t, rng, rng.uniform(900, 2_200), rng.uniform(6_500, 15_000))
    out = rng.uniform(0.4, 0.9) * body * np.exp(-t / rng.uniform(0.03, 0.07)) + 0.7 * wires * np.exp(-t / wires_s)
    if style == "dusty":
        out = saturated(filtered(out[None].astype(np.float32), 120, rng.uniform(5_000, 9_000))[0], 2.5)
    if style == "fat":
        out = saturated(out.astype(np.float32) + 0.5 * np.pad(clap(rng), (0, len(t)))[: len(t)], 1.5)
    return _finished(out.astype(np.float32))


def clap(rng: np.random.Generator) -> Samples:
    """Bursts and a tail."""
    t = times(rng.uniform(0.22, 0.4))
    gaps = np.cumsum([0.0, *rng.uniform(0.007, 0.013, int(rng.integers(2, 4)))])
    shape = sum(np.where(t >= at, np.exp(-(t - at) / 0.005), 0.0) for at in gaps)
    shape = shape + np.where(t >= gaps[-1], 0.8 * np.exp(-(t - gaps[-1]) / rng.uniform(0.04, 0.09)), 0.0)
    return _finished((_noise(t, rng, rng.uniform(700, 1_200), rng.uniform(3_500, 8_000)) * shape).astype(np.float32))


def hat(rng: np.random.Generator, opened: bool = False, dusty: bool = False) -> Samples:
    """Metal: six inharmonic squares as in the analogue machines, and noise."""
    decay_s = rng.uniform(0.12, 0.3) if opened else rng.uniform(0.015, 0.045)
    t = times(5 * decay_s)
    scale = rng.uniform(0.85, 1.5)
    metal = sum(np.sign(np.sin(2 * np.pi * f * scale * t)) for f in (263, 400, 421, 474, 587, 845))
    mix = rng.uniform(0.0, 0.25)
    raw = (mix * metal + rng.standard_normal(len(t))).astype(np.float32)[None]
    low = rng.uniform(4_500, 9_000)
    out = filtered(raw, low, 9_000 if dusty else rng.uniform(14_000, 19_000))[0]
    return _finished((out * np.exp(-t / decay_s)).astype(np.float32))


def cymbal(rng: np.random.Generator, seconds: float = 1.8) -> Samples:
    """A crash."""
    t = times(seconds)
    out = _noise(t, rng, rng.uniform(2_500, 5_000), 17_000) * np.exp(-t / (0.28 * seconds))
    return _finished((out * np.minimum(t / 0.003, 1)).astype(np.float32))


def ride(rng: np.random.Generator) -> Samples:
    """Ping and wash."""
    t = times(0.6)
    ping = sum(np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) for f in rng.uniform(2_800, 7_500, 7)) / 7
    out = ping * np.exp(-t / 0.12) + 0.25 * _noise(t, rng, 5_000, 15_000) * np.exp(-t / 0.2)
    return _finished(out.astype(np.float32))


def rim(rng: np.random.Generator) -> Samples:
    """A rim shot, a clave or a wood block."""
    t = times(0.12)
    base = rng.uniform(450, 2_600)
    out = np.sin(2 * np.pi * base * t) + 0.6 * np.sin(2 * np.pi * 1.48 * base * t) + 0.3 * _noise(t, rng, 1_000, 8_000)
    return _finished((out * np.exp(-t / rng.uniform(0.008, 0.03))).astype(np.float32))


def shaker(rng: np.random.Generator) -> Samples:
    """A soft burst of treble."""
    t = times(0.12)
    rise = rng.uniform(0.015, 0.035)
    shape = np.minimum(t / rise, 1) * np.exp(-np.maximum(t - rise, 0) / 0.022)
    return _finished((_noise(t, rng, 4_500, 12_500) * shape).astype(np.float32))


def tom(rng: np.random.Generator) -> Samples:
    """A drum or conga of falling pitch."""
    t = times(0.5)
    base = rng.uniform(80, 320)
    tone = np.sin(2 * np.pi * np.cumsum(base * (1 + 0.5 * np.exp(-t / 0.03))) / RATE) * np.exp(
        -t / rng.uniform(0.06, 0.16)
    )
    return _finished((tone + 0.1 * _noise(t, rng, 400, 4_000) * np.exp(-t / 0.02)).astype(np.float32))
