"""Small sounds with known beats, hits and notes for the tests of genre transfer."""

from __future__ import annotations

import numpy as np

from backend.audio.waveform import Waveform

RATE = 44_100


def stereo(samples: np.ndarray) -> Waveform:
    return Waveform(np.repeat(samples[None].astype(np.float32), 2, 0), RATE)


def notes(hertz: list[float], each_s: float, brightness: float = 0.5) -> np.ndarray:
    """One note after another, with faded ends."""
    t = np.arange(round(each_s * RATE)) / RATE
    edge = np.minimum(1, np.minimum(t, t[::-1]) / 0.02)
    rows = [sum(brightness**k * np.sin(2 * np.pi * f * (k + 1) * t) for k in range(10)) * edge for f in hertz]
    return 0.1 * np.concatenate(rows)


def clicks(times_s: list[float], seconds: float, decay_s: float = 0.02, seed: int = 0) -> np.ndarray:
    """Bursts of noise that begin exactly at their times."""
    rng, out = np.random.default_rng(seed), np.zeros(round(seconds * RATE))
    t = np.arange(round(0.15 * RATE)) / RATE
    for time_s in times_s:
        start = round(time_s * RATE)
        burst = 0.3 * rng.standard_normal(len(t)) * np.exp(-t / decay_s)
        stop = min(start + len(t), len(out))
        out[start:stop] += burst[: stop - start]
    return out


def song(seconds: float = 3.0, tempo_bpm: float = 120.0, brightness: float = 0.5) -> Waveform:
    """A tune with a hit on every beat."""
    beat = 60 / tempo_bpm
    tune = notes([220, 277.2, 330, 440] * 8, beat, brightness)[: round(seconds * RATE)]
    hits = clicks([k * beat for k in range(int(seconds / beat))], seconds)
    return stereo(np.pad(tune, (0, len(hits) - len(tune))) + hits)
