"""What a mixing desk does to a bus: filters, saturation, reverb, delay, ducking, tape, vinyl, mastering.

Sound is float32 ``[2, samples]`` at `RATE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import butter, sosfilt

from backend.instruments.genre_transfer.produce.kernels import LOW, Samples, sweep

RATE = 44_100
CEILING = 0.89


def filtered(sound: Samples, low_hz: float | None = None, high_hz: float | None = None, order: int = 2) -> Samples:
    """Between two frequencies (either may be None), Butterworth."""
    out = sound
    if low_hz is not None and low_hz > 10:
        shape: Any = butter(order, low_hz, "highpass", fs=RATE, output="sos")
        out = sosfilt(shape, out)
    if high_hz is not None and high_hz < 0.45 * RATE:
        shape = butter(order, high_hz, "lowpass", fs=RATE, output="sos")
        out = sosfilt(shape, out)
    return np.asarray(out, np.float32)


def opening(sound: Samples, from_hz: float, to_hz: float, resonance: float = 0.9, bend: float = 1.0) -> Samples:
    """A low-pass that glides from one frequency to another over the whole sound."""
    place = np.linspace(0, 1, sound.shape[1], dtype=np.float32) ** bend
    cutoff = (from_hz * (to_hz / from_hz) ** place).astype(np.float32)
    cutoff = cutoff[np.arange(len(cutoff)) // 32 * 32]  # new coefficients are dear
    return sweep(np.ascontiguousarray(sound, np.float32), cutoff, resonance, LOW, float(RATE))


def shelf(sound: Samples, hertz: float, low_db: float, high_db: float) -> Samples:
    """Everything below a frequency by ``low_db``, everything above by ``high_db``; first order."""
    shape: Any = butter(1, hertz, "lowpass", fs=RATE, output="sos")
    low = sosfilt(shape, sound)
    return np.asarray(10 ** (low_db / 20) * low + 10 ** (high_db / 20) * (sound - low), np.float32)


def saturated(sound: Samples, drive: float, even: float = 0.0) -> Samples:
    """Soft clipping; quiet sound keeps its level. ``even`` adds second harmonics, as tubes and tape do."""
    if drive <= 0:
        return sound
    return np.asarray((np.tanh(drive * sound + even) - np.tanh(even)) / drive, np.float32)


def reverb(
    sound: Samples, decay_s: float, rng: np.random.Generator, bright: float = 0.5, delay_s: float = 0.015
) -> Samples:
    """Wet only: a room of decaying noise, whose treble dies first.

    Args:
        sound: dry.
        decay_s: time to fall by 60 dB.
        rng: draws the room.
        bright: 0 dark to 1 bright.
        delay_s: before the first reflection.
    """
    n = round(min(1.3 * decay_s, 6.0) * RATE)
    t = np.arange(n, dtype=np.float32) / RATE
    room = rng.standard_normal((2, n)).astype(np.float32)
    dark = filtered(room, 180, 1_200 + 2_500 * bright, 1)
    room = dark * np.exp(-6.9 * t / decay_s) + bright * (room - dark) * np.exp(
        -6.9 * t / (decay_s * (0.25 + 0.4 * bright))
    )
    room *= np.minimum(t / 0.004, 1)
    room /= np.sqrt((room**2).sum(1, keepdims=True))
    length = next_fast_len(sound.shape[1] + n, real=True)
    wet = irfft(rfft(sound, length) * rfft(room, length), length)
    shift = round(delay_s * RATE)
    out = np.zeros_like(sound)
    out[:, shift:] = wet[:, : sound.shape[1] - shift]
    return out


def echo(sound: Samples, apart_s: float, feedback: float, times: int = 5, darker: float = 0.6) -> Samples:
    """Wet only: repeats that change sides and lose treble."""
    out = np.zeros_like(sound)
    shift = round(apart_s * RATE)
    repeat = filtered(sound, 250, 2_500 + 9_000 * (1 - darker), 1)
    for k in range(1, times + 1):
        at = k * shift
        if at >= sound.shape[1]:
            break
        out[:, at:] += feedback**k * repeat[:: -1 if k % 2 else 1, : sound.shape[1] - at]
    return out


def duck(n: int, hits_s: Sequence[float], depth: float, release_s: float, bend: float = 1.6) -> Samples:
    """Gain ``[samples]`` that falls at every hit and recovers: side-chain compression drawn by hand."""
    gain = np.ones(n, np.float32)
    length = round(release_s * RATE)
    curve = (1 - depth * (1 - np.linspace(0, 1, length) ** bend)).astype(np.float32)
    soft = min(round(0.004 * RATE), length)
    curve[:soft] = 1 + (curve[:soft] - 1) * np.linspace(0, 1, soft)
    for hit in sorted(hits_s):
        at = max(0, round(hit * RATE))
        part = gain[at : at + length]
        gain[at : at + length] = np.minimum(part, curve[: len(part)]) if at < n else part
    return gain


def tape(sound: Samples, depth_ms: float, rng: np.random.Generator) -> Samples:
    """Wow and flutter: the time axis sways by up to ``depth_ms``."""
    t = np.arange(sound.shape[1]) / RATE
    wow, flutter = rng.uniform(0.3, 0.9), rng.uniform(4, 7)
    sway = np.sin(2 * np.pi * wow * t + rng.uniform(0, 6)) + 0.12 * np.sin(2 * np.pi * flutter * t)
    at = np.arange(sound.shape[1]) + 0.5 * depth_ms / 1_000 * RATE * (1 + sway)
    return np.stack([np.interp(at, np.arange(len(row)), row) for row in sound]).astype(np.float32)


def crushed(sound: Samples, hold: int, bits: float) -> Samples:
    """An early sampler: every ``hold``-th sample, few bits."""
    held = sound[:, (np.arange(sound.shape[1]) // hold) * hold]
    return np.asarray(np.round(held * 2 ** (bits - 1)) / 2 ** (bits - 1), np.float32)


def vinyl(n: int, crackle: float, hiss: float, rng: np.random.Generator) -> Samples:
    """Clicks and hiss of a worn record ``[2, n]``; ``crackle`` a second and level in about [0, 1]."""
    out = np.zeros((2, n), np.float32)
    clicks = rng.integers(0, n, rng.poisson(max(0.0, crackle) * 40 * n / RATE))
    for row in out:
        row[clicks] += (rng.pareto(2.5, len(clicks)) * rng.choice([-1, 1], len(clicks)) * 0.05).astype(np.float32)
    out = np.clip(filtered(out, 500, 8_000, 1), -0.3, 0.3)
    noise = filtered(rng.standard_normal((2, n)).astype(np.float32), 300, 7_000, 1)
    return np.asarray(out * crackle + 0.008 * hiss * noise, np.float32)


def wider(sound: Samples, width: float) -> Samples:
    """Sides by ``width``; the low end stays in the middle."""
    middle, side = 0.5 * (sound[0] + sound[1]), 0.5 * (sound[0] - sound[1])
    side = filtered(side[None] * width, 140, None, 1)[0]
    return np.stack([middle + side, middle - side])


def master(sound: Samples, rms_db: float, drive: float = 1.0) -> Samples:
    """Level, gentle clipping of peaks, ceiling: nothing above `CEILING`, no offset."""
    sound = filtered(sound, 22, None)
    loud = np.sqrt(np.mean(filtered(sound, 80, None, 1) ** 2) + 1e-12)
    sound = sound * (10 ** (rms_db / 20) / loud)
    knee = 0.55 / drive
    over = np.abs(sound) - knee
    room = CEILING - knee
    clipped = np.sign(sound) * (knee + room * np.tanh(np.maximum(over, 0) / room))
    return np.asarray(np.where(over > 0, clipped, sound), np.float32)


def faded(sound: Samples, seconds: float = 0.02) -> Samples:
    """Raised-cosine edges."""
    n = min(round(seconds * RATE), sound.shape[1] // 2)
    ramp: npt.NDArray[np.float32] = (np.sin(0.5 * np.pi * np.arange(n) / n) ** 2).astype(np.float32)
    sound = sound.copy()
    sound[:, :n] *= ramp
    sound[:, sound.shape[1] - n :] *= ramp[::-1]
    return sound
