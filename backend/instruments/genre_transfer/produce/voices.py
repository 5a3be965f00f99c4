"""Pitched voices by synthesis: one note or chord each, float32 ``[2, samples]`` at `RATE`, peak about 1 or below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.instruments.genre_transfer.produce.effects import RATE, filtered, opening, saturated
from backend.instruments.genre_transfer.produce.kernels import (
    BAND,
    HIGH,
    LOW,
    SAW,
    SINE,
    SQUARE,
    Samples,
    oscillator,
    sweep,
    unison,
)  # fmt: skip


def hertz_of(pitch: float) -> float:
    """Frequency of a MIDI pitch."""
    return float(440.0 * 2 ** ((pitch - 69) / 12))


def times(seconds: float) -> Samples:
    """Sample times ``[samples]``."""
    return np.asarray(np.arange(max(64, round(seconds * RATE)), dtype=np.float32) / RATE, np.float32)


def envelope(seconds: float, attack_s: float, decay_s: float, sustain: float, release_s: float) -> Samples:
    """Attack, exponential decay to ``sustain``, release in the last ``release_s`` of the sound."""
    t = times(seconds)
    out = np.minimum(t / max(attack_s, 1e-4), 1) * (
        sustain + (1 - sustain) * np.exp(-np.maximum(t - attack_s, 0) / decay_s)
    )
    tail = min(len(t), max(2, round(release_s * RATE)))
    out[len(t) - tail :] *= np.linspace(1, 0, tail) ** 1.5
    return np.asarray(out, np.float32)


def steady(pitch: float, seconds: float) -> Samples:
    """An unchanging pitch in Hz ``[samples]``."""
    return np.full(len(times(seconds)), hertz_of(pitch), np.float32)


def both(mono: Samples) -> Samples:
    """The same left and right."""
    return np.asarray(np.stack([mono, mono]), np.float32)


@dataclass(frozen=True)
class Supersaw:
    """Detuned saws through a low-pass."""

    voices: int = 7
    detune_cents: float = 18.0
    cutoff_hz: float = 6_000.0
    attack_s: float = 0.005
    release_s: float = 0.08
    octave_up: float = 0.3

    def chord(self, pitches: Sequence[float], seconds: float, rng: np.random.Generator) -> Samples:
        """All pitches at once."""
        out = np.zeros((2, len(times(seconds))), np.float32)
        spread = np.linspace(-1, 1, self.voices) if self.voices > 1 else np.zeros(1)
        for pitch in pitches:
            ratios = (2 ** (self.detune_cents * spread * rng.uniform(0.9, 1.1, self.voices) / 1200)).astype(np.float32)
            pans = rng.permutation(np.linspace(0.1, 0.9, self.voices)).astype(np.float32)
            phases = rng.random(self.voices).astype(np.float32)
            out += unison(steady(pitch, seconds), ratios, phases, pans, float(RATE))
            if self.octave_up > 0:
                out += self.octave_up * unison(
                    steady(pitch + 12, seconds), ratios[::3], phases[::3], pans[::3], float(RATE)
                )
        out = filtered(out, 120, self.cutoff_hz) / np.sqrt(len(pitches))
        return np.asarray(0.6 * out * envelope(seconds, self.attack_s, 1.0, 0.9, self.release_s), np.float32)


def pluck(pitch: float, seconds: float, rng: np.random.Generator, bright: float = 0.5, shape: int = SAW) -> Samples:
    """A saw or pulse whose low-pass closes at once."""
    tone = oscillator(steady(pitch, seconds), shape, float(rng.random()), 0.3, float(RATE))
    tone += 0.5 * oscillator(steady(pitch + 0.08, seconds), shape, float(rng.random()), 0.5, float(RATE))
    t = times(seconds)
    top = 300 + 1.5 * hertz_of(pitch) + (1_500 + 9_000 * bright) * np.exp(-t / (0.04 + 0.12 * bright))
    out = sweep(tone[None], top[np.arange(len(t)) // 32 * 32].astype(np.float32), 1.2, LOW, float(RATE))[0]
    return both(0.6 * out * envelope(seconds, 0.002, 0.12 + 0.3 * bright, 0.05, 0.05))


def bell(pitch: float, seconds: float, rng: np.random.Generator, ratio: float = 3.5, depth: float = 2.0) -> Samples:
    """Frequency modulation with an odd ratio: a bell or music box."""
    t, hertz = times(seconds), hertz_of(pitch)
    strike = depth * np.exp(-t / 0.25)
    tone = np.sin(2 * np.pi * hertz * t + strike * np.sin(2 * np.pi * hertz * ratio * t))
    tone += 0.3 * np.sin(2 * np.pi * hertz * 2 * t) * np.exp(-t / 0.15)
    return both(0.5 * tone * envelope(seconds, 0.002, 0.5, 0.02, 0.1)).astype(np.float32)


def electric_piano(pitch: float, seconds: float, rng: np.random.Generator, hard: float = 0.5) -> Samples:
    """Tine and tone bar by frequency modulation; ``hard`` barks. Tremolo from side to side."""
    t, hertz = times(seconds), hertz_of(pitch)
    body = np.sin(2 * np.pi * hertz * t + (0.5 + 1.6 * hard) * np.exp(-t / 0.35) * np.sin(2 * np.pi * hertz * t))
    tine = 0.22 * hard * np.exp(-t / 0.06) * np.sin(2 * np.pi * hertz * 14 * t) if hertz * 14 < 16_000 else 0
    out = (body + tine) * envelope(seconds, 0.003, 1.1, 0.12, 0.12)
    sway = 0.18 * np.sin(2 * np.pi * 4.7 * t)
    return np.stack([out * (1 + sway), out * (1 - sway)]).astype(np.float32) * 0.5


def piano(pitch: float, seconds: float, rng: np.random.Generator, bright: float = 0.5) -> Samples:
    """Stiff-string partials that die the faster the higher, and a knock."""
    t, hertz = times(seconds), hertz_of(pitch)
    out = np.zeros(len(t), np.float32)
    for k in range(1, max(2, int(min(11, 9_000 / hertz)))):
        partial = k * hertz * np.sqrt(1 + 3e-4 * k * k)
        level = np.abs(np.sin(np.pi * k / 7.5)) / k ** (1.9 - 0.8 * bright)
        out += (
            level * np.sin(2 * np.pi * partial * t + rng.uniform(0, 6)) * np.exp(-t * (1.3 + 0.45 * k + hertz / 500))
        ).astype(np.float32)
    knock = filtered(rng.standard_normal((1, len(t))).astype(np.float32) * np.exp(-t / 0.008), 200, 2_500)[0]
    return both(0.8 * (out + 0.08 * knock) * envelope(seconds, 0.002, 5, 0.9, 0.08))


def organ(pitch: float, seconds: float, rng: np.random.Generator, percussive: float = 0.5) -> Samples:
    """Drawbars with a percussive third harmonic: the house organ."""
    t, hertz = times(seconds), hertz_of(pitch)
    out = sum(a * np.sin(2 * np.pi * hertz * k * t) for k, a in ((0.5, 0.5), (1, 1.0), (2, 0.6), (3, 0.3), (4, 0.25)))
    out = out + percussive * np.sin(2 * np.pi * hertz * 3 * t) * np.exp(-t / 0.08)
    return both(np.asarray(0.35 * out * envelope(seconds, 0.003, 0.2, 0.5, 0.04), np.float32))


def pad(
    pitches: Sequence[float], seconds: float, rng: np.random.Generator, cutoff_hz: float = 1_800.0, airy: float = 0.3
) -> Samples:
    """Soft, slowly opening saws with breath."""
    saws = Supersaw(4, 11.0, 4 * cutoff_hz, min(0.6, 0.3 * seconds), min(0.8, 0.3 * seconds), 0.0)
    out = opening(saws.chord(pitches, seconds, rng), 0.5 * cutoff_hz, cutoff_hz, 0.8)
    breath = filtered(rng.standard_normal(out.shape).astype(np.float32), 1_500, 7_000) * envelope(
        seconds, 0.5, 5, 0.8, 0.5
    )
    return np.asarray(out + 0.03 * airy * breath, np.float32)


VOWELS = {
    "a": (800, 1_200, 2_600),
    "o": (450, 850, 2_500),
    "e": (450, 1_900, 2_600),
    "u": (330, 750, 2_400),
    "i": (300, 2_250, 3_000),
}
"""Formants in Hz of a singing voice."""


def vocal(pitch: float, seconds: float, rng: np.random.Generator, vowels: str = "ao", scoop: float = 2.0) -> Samples:
    """A sung syllable that glides into its pitch and from vowel to vowel: the chops of future bass, and babble."""
    t = times(seconds)
    bend = -scoop * np.exp(-t / 0.035) + 0.15 * np.sin(2 * np.pi * 5.5 * t) * np.minimum(t / 0.3, 1)
    source = oscillator((hertz_of(pitch) * 2 ** (bend / 12)).astype(np.float32), SAW, 0.0, 0.5, float(RATE))
    source += 0.12 * rng.standard_normal(len(t)).astype(np.float32)
    out = np.zeros_like(source)
    place = np.minimum(t / max(0.4 * seconds, 0.05), 1)
    for k, level in enumerate((1.0, 0.7, 0.35)):
        path = VOWELS[vowels[0]][k] * (VOWELS[vowels[-1]][k] / VOWELS[vowels[0]][k]) ** place
        out += (
            level
            * sweep(source[None], path[np.arange(len(t)) // 32 * 32].astype(np.float32), 7.0, BAND, float(RATE))[0]
        )
    return both(0.7 * out * envelope(seconds, 0.015, 2, 0.8, 0.06))


def bass808(pitch: float, seconds: float, drive: float, glide_to: float | None = None, punch: float = 0.6) -> Samples:
    """A long sine with a falling attack and saturation; may glide to another pitch half way."""
    t = times(seconds)
    semitones = 20 * punch * np.exp(-t / 0.02)
    if glide_to is not None:
        semitones = semitones + (glide_to - pitch) / (1 + np.exp(-(t - 0.55 * seconds) / (0.02 * seconds + 0.008)))
    tone = oscillator((hertz_of(pitch) * 2 ** (semitones / 12)).astype(np.float32), SINE, 0.0, 0.5, float(RATE))
    out = saturated(tone * envelope(seconds, 0.002, 0.9, 0.25, 0.05), drive) * min(1.0, 0.5 + 0.5 * drive) * 1.1
    return both(np.asarray(out, np.float32))


def sub(pitch: float, seconds: float, overtone: float = 0.2) -> Samples:
    """A sine with a little second and third harmonic."""
    t, hertz = times(seconds), hertz_of(pitch)
    out = np.sin(2 * np.pi * hertz * t) + overtone * (
        np.sin(4 * np.pi * hertz * t) + 0.5 * np.sin(6 * np.pi * hertz * t)
    )
    return both(np.asarray(0.8 * out * envelope(seconds, 0.006, 3, 0.8, 0.04), np.float32))


def reese(
    pitch: float, seconds: float, rng: np.random.Generator, cutoff_hz: float = 500.0, detune: float = 18.0
) -> Samples:
    """Beating saws under a moving low-pass over a sub."""
    ratios = (2 ** (np.array([-detune, -0.3 * detune, 0.4 * detune, detune]) / 1200)).astype(np.float32)
    pans = np.array([0.35, 0.6, 0.4, 0.65], np.float32)
    saws = unison(steady(pitch, seconds), ratios, rng.random(4).astype(np.float32), pans, float(RATE))
    t = times(seconds)
    path = cutoff_hz * 2 ** (0.8 * np.sin(2 * np.pi * rng.uniform(0.15, 1.2) * t + rng.uniform(0, 6)))
    out = sweep(saws, path[np.arange(len(t)) // 32 * 32].astype(np.float32), 1.1, LOW, float(RATE))
    return np.asarray((0.6 * out * envelope(seconds, 0.01, 4, 0.9, 0.05)) + 0.5 * sub(pitch, seconds, 0.1), np.float32)


def plucked_bass(
    pitch: float, seconds: float, rng: np.random.Generator, bright: float = 0.4, shape: int = SAW
) -> Samples:
    """A saw or square with a short filter envelope: house and garage basses."""
    tone = oscillator(steady(pitch, seconds), shape, float(rng.random()), 0.5, float(RATE))
    t = times(seconds)
    path = 140 + (400 + 2_600 * bright) * np.exp(-t / (0.05 + 0.15 * bright))
    out = sweep(tone[None], path[np.arange(len(t)) // 32 * 32].astype(np.float32), 1.6, LOW, float(RATE))[0]
    return np.asarray(
        both(0.6 * out * envelope(seconds, 0.002, 0.3, 0.5, 0.03)) + 0.4 * sub(pitch, seconds, 0.05), np.float32
    )


def upright_bass(pitch: float, seconds: float, rng: np.random.Generator) -> Samples:
    """A plucked gut string: rounded, with a thump."""
    t, hertz = times(seconds), hertz_of(pitch)
    out = sum(np.sin(2 * np.pi * hertz * k * t) / k**1.7 * np.exp(-t * (1.5 + 2.2 * k)) for k in range(1, 8))
    thump = filtered(rng.standard_normal((1, len(t))).astype(np.float32) * np.exp(-t / 0.012), 60, 900)[0]
    return both(np.asarray((0.9 * out + 0.25 * thump) * envelope(seconds, 0.004, 3, 0.9, 0.05), np.float32))


def guitar(pitch: float, seconds: float, rng: np.random.Generator, bright: float = 0.4) -> Samples:
    """A nylon or clean electric string plucked at a quarter of its length."""
    t, hertz = times(seconds), hertz_of(pitch)
    out = np.zeros(len(t), np.float32)
    for k in range(1, max(2, int(min(12, 7_000 / hertz)))):
        level = np.abs(np.sin(np.pi * k / 4.3)) / k ** (2.0 - 0.7 * bright)
        out += (level * np.sin(2 * np.pi * k * hertz * t) * np.exp(-t * (1.6 + 0.9 * k))).astype(np.float32)
    return both(out * envelope(seconds, 0.003, 5, 0.9, 0.06))


def brass(pitches: Sequence[float], seconds: float, rng: np.random.Generator, bright: float = 0.5) -> Samples:
    """A stab of saws whose brightness swells and falls: horns on an old record."""
    saws = Supersaw(3, 7.0, 9_000, 0.02, 0.06, 0.0).chord(pitches, seconds, rng)
    t = times(seconds)
    path = 400 + (1_200 + 3_500 * bright) * np.minimum(t / 0.05, 1) * np.exp(-np.maximum(t - 0.05, 0) / (0.5 * seconds))
    return sweep(saws, path[np.arange(len(t)) // 32 * 32].astype(np.float32), 0.9, LOW, float(RATE))


def screech(pitch: float, seconds: float, rng: np.random.Generator, sharp: float = 0.6) -> Samples:
    """A distorted pulse through a resonant band that swoops: the hardstyle lead."""
    t = times(seconds)
    bend = 1.5 * np.exp(-t / 0.03) + 0.25 * np.sin(2 * np.pi * 6 * t)
    tone = oscillator((hertz_of(pitch) * 2 ** (bend / 12)).astype(np.float32), SQUARE, 0.0, 0.3, float(RATE))
    tone += oscillator((hertz_of(pitch) * 1.007 * 2 ** (bend / 12)).astype(np.float32), SAW, 0.3, 0.5, float(RATE))
    path = 700 + (1_500 + 3_000 * sharp) * np.sin(np.pi * np.clip(t / seconds * rng.uniform(0.8, 1.6), 0, 1)) ** 2
    out = sweep(tone[None], path[np.arange(len(t)) // 32 * 32].astype(np.float32), 4.0, BAND, float(RATE))[0]
    out = saturated(2.5 * (out + 0.25 * tone), 1.5)
    return both(np.asarray(0.7 * out * envelope(seconds, 0.004, 3, 0.9, 0.03), np.float32))


def riser(seconds: float, rng: np.random.Generator, tonal: float = 0.3) -> Samples:
    """Noise and a tone that climb."""
    t = times(seconds)
    noise = rng.standard_normal((2, len(t))).astype(np.float32)
    path = (400 * 25 ** (t / seconds))[np.arange(len(t)) // 32 * 32].astype(np.float32)
    out = 0.5 * sweep(noise, path, 1.5, BAND, float(RATE))
    tone = oscillator((220 * 4 ** (t / seconds)).astype(np.float32), SAW, 0.0, 0.5, float(RATE))
    return np.asarray((out + 0.3 * tonal * both(tone)) * (t / seconds) ** 1.6, np.float32)


def impact(seconds: float, rng: np.random.Generator) -> Samples:
    """A boom with a wash."""
    t = times(seconds)
    boom = np.sin(2 * np.pi * np.cumsum(38 + 60 * np.exp(-t / 0.06)) / RATE) * np.exp(-t / 0.5)
    wash = filtered(rng.standard_normal((2, len(t))).astype(np.float32), 1_500, 12_000) * np.exp(-t / (0.3 * seconds))
    return np.asarray(0.8 * boom + 0.25 * wash, np.float32)


def scratch(seconds: float, rng: np.random.Generator) -> Samples:
    """A record pushed back and forth: filtered noise and tone whose pitch follows the hand."""
    t = times(seconds)
    hand = np.abs(np.sin(np.pi * t / seconds * rng.integers(2, 6))) ** 1.3
    tone = oscillator((60 + 900 * hand).astype(np.float32), SAW, 0.0, 0.5, float(RATE))
    noise = rng.standard_normal(len(t)).astype(np.float32)
    path = (300 + 3_500 * hand)[np.arange(len(t)) // 32 * 32].astype(np.float32)
    return both(
        sweep((0.6 * tone + 0.5 * noise)[None], path, 2.0, BAND, float(RATE))[0] * hand.astype(np.float32) * 0.7
    )


def squeal(pitch: float, seconds: float) -> Samples:
    """A bare high-passed saw, for thin leads."""
    tone = oscillator(steady(pitch, seconds), SAW, 0.0, 0.5, float(RATE))
    return sweep(both(tone), np.full(len(tone), 900, np.float32), 0.8, HIGH, float(RATE)) * envelope(
        seconds, 0.005, 1, 0.7, 0.05
    )
