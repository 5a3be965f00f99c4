"""Synthetic people: a melody hummed, whistled or sung, with what makes real ones hard to follow.

Intonation drifts (±20 cents), notes are scooped into and glided between, vibrato sets in late, syllables and the tongue
part the notes, there is breath before phrases and between partials, and a room with its noise. Material for measuring
how well a melody is heard and followed where the truth is known; nobody is recorded.

The voice is a sum of harmonics under formants (Klatt, "Software for a cascade/parallel formant synthesizer", 1980,
parallel form without the glottal model); a whistle is one partial in a band of noise of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from backend.audio.waveform import Waveform

Kind = Literal["hum", "whistle", "sung"]
KINDS: tuple[Kind, ...] = ("hum", "whistle", "sung")
Array = npt.NDArray[np.float64]
Notes = npt.NDArray[np.void]

CONTROL_RATE = 500.0
"""Control points a second of pitch and level."""

LEAD_IN_S, TAIL_S = 0.25, 0.4
DRIFT_CENTS = 20.0
PHRASE_REST_S = 0.25
"""A rest of this length is long enough to breathe in."""


@dataclass(frozen=True)
class Manner:
    """How one kind of performer sounds.

    Attributes:
        vibrato_cents: half depth once it has set in, lowest and highest.
        glide_s: time from note to note within a phrase, lowest and highest.
        scoop_cents: how far below the first note of a phrase begins, lowest and highest.
        attack_s: rise of a note, lowest and highest.
        dip: level between two notes of a phrase relative to theirs, lowest and highest.
        formants: ``(hz, bandwidth_hz, gain)``; empty for a single partial.
        tilt: exponent of the harmonics' fall.
        breath: level of noise within the tone, relative to it.
        centre: MIDI pitch in the middle of the comfortable range.
    """

    vibrato_cents: tuple[float, float]
    glide_s: tuple[float, float]
    scoop_cents: tuple[float, float]
    attack_s: tuple[float, float]
    dip: tuple[float, float]
    formants: tuple[tuple[float, float, float], ...]
    tilt: float
    breath: float
    centre: float


MANNERS: dict[Kind, Manner] = {
    "hum": Manner(
        (0, 25), (0.03, 0.09), (30, 150), (0.03, 0.06), (0.15, 0.45),
        ((270, 120, 1.0), (1000, 250, 0.08), (2200, 350, 0.03)), 1.6, 0.015, 55.0,
    ),
    "whistle": Manner((5, 30), (0.02, 0.07), (40, 200), (0.02, 0.05), (0.05, 0.3), (), 0.0, 0.08, 80.0),
    "sung": Manner(
        (20, 60), (0.03, 0.1), (20, 120), (0.02, 0.05), (0.1, 0.4),
        ((700, 110, 1.0), (1150, 130, 0.5), (2700, 200, 0.2), (3500, 300, 0.1)), 1.0, 0.02, 62.0,
    ),
}  # fmt: skip


def hum(
    notes: Notes,
    kind: Kind,
    rng: np.random.Generator,
    sample_rate: int = 24_000,
    *,
    octaves: int | None = 0,
) -> Waveform:
    """Perform a melody.

    Args:
        notes: fields ``onset_s``, ``duration_s``, ``pitch`` and ``velocity``, one at a time, sorted by onset.
        kind: one of `KINDS`.
        rng: decides everything that is left open; the same state gives the same sound.
        sample_rate: Hz.
        octaves: transposition; None moves the melody to where the kind is comfortable.

    Returns:
        Mono, `LEAD_IN_S` of room before the note at 0 s and `TAIL_S` after the last, the peak between 0.1 and 0.7.

    Raises:
        ValueError: no notes, or a kind that is not known.
    """
    if len(notes) == 0 or kind not in MANNERS:
        raise ValueError(f"a melody needs notes, and a kind of {', '.join(KINDS)}; got {len(notes)} notes and {kind!r}")
    manner = MANNERS[kind]
    pitch = notes["pitch"].astype(np.float64)
    shift = 12.0 * (round((manner.centre - float(np.median(pitch))) / 12) if octaves is None else octaves)
    start = notes["onset_s"].astype(np.float64) + LEAD_IN_S
    stop = start + notes["duration_s"].astype(np.float64)
    stop[:-1] = np.minimum(stop[:-1], start[1:])
    n = int((stop[-1] + TAIL_S) * sample_rate)
    contour, level, breathing = _controls(start, stop, pitch + shift, notes["velocity"], manner, rng)
    times, grid = np.arange(n) / sample_rate, np.arange(len(contour)) / CONTROL_RATE
    hz = 440.0 * 2 ** ((np.interp(times, grid, contour) - 69.0) / 12)
    envelope = np.interp(times, grid, level)
    tone = _tone(hz, manner, sample_rate, rng) * envelope
    breath = _noise(n, 300.0, 6_000.0, sample_rate, rng) * np.interp(times, grid, breathing)
    room = _room(tone + 0.04 * breath, sample_rate, rng)
    room *= rng.uniform(0.1, 0.7) / max(float(np.abs(room).max()), 1e-9)
    floor = 10 ** (rng.uniform(-62.0, -48.0) / 20)
    room += floor * (_noise(n, 60.0, 3_000.0, sample_rate, rng) + 0.5 * np.sin(2 * np.pi * 50.0 * times))
    return Waveform(np.clip(room, -1.0, 1.0).astype(np.float32)[None], sample_rate)


def _controls(
    start: Array, stop: Array, pitch: Array, velocity: npt.NDArray[Any], manner: Manner, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """Fractional MIDI pitch, level of the tone, and level of the breath, each ``[control points]``."""
    count = int((stop[-1] + TAIL_S) * CONTROL_RATE) + 2
    times = np.arange(count) / CONTROL_RATE
    contour, level = np.full(count, pitch[0]), np.zeros(count)
    breathing = np.zeros(count)
    rate = rng.uniform(4.8, 6.2)
    depth = rng.uniform(*manner.vibrato_cents) / 100
    for i in range(len(pitch)):
        fresh = i == 0 or start[i] - stop[i - 1] > 0.08
        sounding = (times >= start[i]) & (times < stop[i])
        own = pitch[i] + np.clip(rng.normal(0, 0.06), -0.15, 0.15)
        glide = min(float(rng.uniform(*manner.glide_s)), 0.5 * (stop[i] - start[i]))
        before = (
            own - rng.uniform(*manner.scoop_cents) / 100 if fresh else contour[max(int(start[i] * CONTROL_RATE) - 1, 0)]
        )
        # a glide is half over where the note begins to be heard; a scoop begins there
        centre = start[i] + (glide if fresh else 0.25 * glide)
        arrived = 1 / (1 + np.exp(-np.clip((times - centre) / (glide / 8 + 1e-4), -40, 40)))
        late = np.clip((times - start[i] - 0.2) / 0.25, 0, 1)
        shape = before + (own - before) * arrived
        shape += depth * late * np.sin(2 * np.pi * rate * (times - start[i]) + rng.uniform(0, 1))
        contour[times >= start[i]] = shape[times >= start[i]]
        loud = (velocity[i] / 100) ** 1.6 * (1 + 0.15 * rng.normal())
        attack = min(float(rng.uniform(*manner.attack_s)), 0.4 * (stop[i] - start[i]))
        release = min(0.06, 0.3 * (stop[i] - start[i]))
        rest = rng.uniform(*manner.dip) if not fresh else 0.0
        joined = i + 1 < len(pitch) and start[i + 1] - stop[i] <= 0.08
        rise = np.clip((times - start[i]) / attack, rest, 1)
        fall = np.clip((stop[i] - times) / release, rng.uniform(*manner.dip) if joined else 0.0, 1)
        swell = 1 + 0.2 * np.sin(np.pi * np.clip((times - start[i]) / max(stop[i] - start[i], 0.05), 0, 1))
        level[sounding] = (max(loud, 0.15) * rise * fall * swell)[sounding]
        if fresh and (i == 0 or start[i] - stop[i - 1] > PHRASE_REST_S):
            lasts = min(0.2, start[i] - (stop[i - 1] if i else 0.0))
            breathing += np.clip(1 - np.abs(times - start[i] + 0.6 * lasts) / (0.4 * lasts), 0, 1)
    drift = gaussian_filter1d(rng.normal(0, 1, count), 0.6 * CONTROL_RATE)
    contour += np.clip(drift / max(float(np.abs(drift).max()), 1e-9), -1, 1) * DRIFT_CENTS / 100
    return contour, gaussian_filter1d(level, 0.004 * CONTROL_RATE), breathing + 0.6 * level


def _tone(hz: Array, manner: Manner, sample_rate: int, rng: np.random.Generator) -> Array:
    """Unit-level tone ``[samples]`` that follows a frequency in Hz, with noise of its own."""
    n = len(hz)
    jitter = 1 + 0.002 * gaussian_filter1d(rng.normal(0, 1, n), sample_rate / 200) * np.sqrt(sample_rate / 200)
    phase = 2 * np.pi * np.cumsum(hz * jitter) / sample_rate
    if not manner.formants:
        band = gaussian_filter1d(rng.normal(0, 1, (2, n)), sample_rate / 500, axis=1)
        band *= manner.breath / max(float(band.std()), 1e-9)
        tone: Array = (1 + band[0]) * np.sin(phase) + band[1] * np.cos(phase) + 0.015 * np.sin(2 * phase)
        return tone
    tone, power = np.zeros(n), np.zeros(n)
    for harmonic in range(1, 41):
        partial = harmonic * hz
        gain = harmonic**-manner.tilt * _formants(partial, manner)
        gain = np.where(partial < 0.45 * sample_rate, gain, 0.0)
        if not gain.any():
            break
        tone += gain * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
        power += gain**2
    tone /= np.sqrt(np.maximum(power / 2, 1e-12))
    tone += manner.breath * _noise(n, 500.0, 5_000.0, sample_rate, rng)
    return tone


def _formants(hz: Array, manner: Manner) -> Array:
    """Gain of the vocal tract at a frequency: resonances in parallel."""
    gain = np.full_like(hz, 0.02)
    for centre, width, level in manner.formants:
        gain += level / np.sqrt(1 + ((hz - centre) / width) ** 2)
    return gain


def _noise(n: int, low_hz: float, high_hz: float, sample_rate: int, rng: np.random.Generator) -> Array:
    """Band of noise of unit level, ``[samples]``."""
    sections = butter(2, (low_hz, min(high_hz, 0.45 * sample_rate)), "bandpass", fs=sample_rate, output="sos")
    noise: Array = sosfilt(sections, rng.normal(0, 1, n))
    return noise / max(float(noise.std()), 1e-9)


def _room(dry: Array, sample_rate: int, rng: np.random.Generator) -> Array:
    """A small room: 15 to 25 dB below the direct sound, dying away in a quarter of a second."""
    times = np.arange(int(0.25 * sample_rate)) / sample_rate
    tail = lfilter([1.0], [1.0, -0.5], rng.normal(0, 1, len(times))) * np.exp(-times / 0.05)
    tail *= 10 ** (rng.uniform(-25.0, -15.0) / 20) / np.linalg.norm(tail)
    wet: Array = fftconvolve(dry, tail)[: len(dry)]
    return dry + wet
