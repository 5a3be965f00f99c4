"""The sounds of the bundled loops: each a few lines of synthesis, float64 ``[samples]``, deterministic by seed."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfilt

Samples = npt.NDArray[np.float64]


class Voice(Protocol):
    """One struck or held sound."""

    def __call__(self, sample_rate: int, *, seed: int = 0, **values: float) -> Samples:
        """The sound at a rate; ``seed`` draws its noise, ``values`` are its own controls."""


def kick(sample_rate: int, *, seed: int = 0, **values: float) -> Samples:
    """A sine that falls from 190 to 48 Hz, with a click."""
    t = _time(0.35, sample_rate)
    phase = 2 * np.pi * np.cumsum(48 + 142 * np.exp(-t / 0.03)) / sample_rate
    click = _filtered(_noise(t, seed) * np.exp(-t / 0.003), (900.0, 5_000.0), sample_rate)
    return _released(np.sin(phase) * np.exp(-t / 0.11) + 0.25 * click, sample_rate)


def snare(sample_rate: int, *, seed: int = 0, **values: float) -> Samples:
    """Two drum modes and bright noise."""
    t = _time(0.25, sample_rate)
    modes = np.sin(2 * np.pi * 185 * t) + 0.6 * np.sin(2 * np.pi * 331 * t)
    wires = _filtered(_noise(t, seed) * np.exp(-t / 0.07), (1_500.0, 9_000.0), sample_rate)
    return _released(0.5 * modes * np.exp(-t / 0.05) + 0.9 * wires, sample_rate)


def clap(sample_rate: int, *, seed: int = 0, **values: float) -> Samples:
    """Three quick bursts and a tail, around 1.5 kHz."""
    t = _time(0.3, sample_rate)
    bursts = sum(np.where(t >= at, np.exp(-(t - at) / 0.006), 0.0) for at in (0.0, 0.011, 0.023))
    envelope = bursts + np.where(t >= 0.03, 0.7 * np.exp(-(t - 0.03) / 0.07), 0.0)
    return _released(_filtered(_noise(t, seed) * envelope, (900.0, 4_000.0), sample_rate), sample_rate)


def hat(sample_rate: int, *, seed: int = 0, decay_s: float = 0.05, **values: float) -> Samples:
    """Noise above 6 kHz."""
    t = _time(5 * decay_s, sample_rate)
    return 0.5 * _released(
        _filtered(_noise(t, seed) * np.exp(-t / decay_s), (6_000.0, 20_000.0), sample_rate), sample_rate
    )


def bass(sample_rate: int, *, seed: int = 0, hertz: float = 55.0, seconds: float = 0.2, **values: float) -> Samples:
    """A sawtooth whose overtones die away first."""
    t = _time(seconds, sample_rate)
    out = np.zeros_like(t)
    for k in range(1, _overtones(hertz, 2_500.0, sample_rate) + 1):
        out += np.sin(2 * np.pi * k * hertz * t) / k * np.exp(-t * (1.5 + 0.9 * k))
    return 0.5 * _released(out * np.minimum(t / 0.004, 1.0), sample_rate)


def pluck(sample_rate: int, *, seed: int = 0, hertz: float = 440.0, seconds: float = 0.5, **values: float) -> Samples:
    """A string plucked at a fifth of its length: partials ``sin(k pi / 5) / k²`` that ring the shorter the higher."""
    t = _time(seconds, sample_rate)
    out = np.zeros_like(t)
    for k in range(1, _overtones(hertz, 8_000.0, sample_rate) + 1):
        stiff = k * hertz * np.sqrt(1 + 2e-4 * k * k)
        out += np.sin(np.pi * k / 5) / k**2 * np.sin(2 * np.pi * stiff * t) * np.exp(-t * (4 + 1.2 * k))
    return 0.9 * _released(out * np.minimum(t / 0.002, 1.0), sample_rate)


def pad_tone(
    sample_rate: int, *, seed: int = 0, hertz: float = 220.0, seconds: float = 2.0, **values: float
) -> Samples:
    """Three detuned voices with soft overtones that rise and fall over the length."""
    t = _time(seconds, sample_rate)
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, (3, 12))
    out = np.zeros_like(t)
    for row, cents in zip(phases, (-6.0, 0.0, 7.0), strict=True):
        pitch = hertz * 2 ** (cents / 1200)
        for k in range(1, min(12, _overtones(pitch, 5_000.0, sample_rate)) + 1):
            out += np.sin(2 * np.pi * k * pitch * t + row[k - 1]) / k**1.6
    out *= 0.25 * np.sin(np.pi * t / seconds) ** 2
    return out


def _time(seconds: float, sample_rate: int) -> Samples:
    return np.arange(round(seconds * sample_rate)) / sample_rate


def _noise(t: Samples, seed: int) -> Samples:
    drawn: Samples = np.random.default_rng(seed).standard_normal(len(t))
    return drawn


def _overtones(hertz: float, highest_hz: float, sample_rate: int) -> int:
    """How many partials lie below both limits; at least one."""
    return max(1, int(min(highest_hz, 0.45 * sample_rate) / hertz))


def _filtered(sound: Samples, band_hz: tuple[float, float], sample_rate: int) -> Samples:
    low, high = band_hz[0], min(band_hz[1], 0.45 * sample_rate)
    shape: Any = butter(2, (min(low, 0.8 * high), high), "bandpass", fs=sample_rate, output="sos")
    filtered: Samples = sosfilt(shape, sound)
    return filtered


def _released(sound: Samples, sample_rate: int) -> Samples:
    """The last 5 ms fade out, so that a cut tail does not click."""
    edge = min(round(0.005 * sample_rate), len(sound))
    sound[len(sound) - edge :] *= np.linspace(1, 0, edge)
    return sound
