"""Loops to begin with, composed and synthesised here: drums, bass, a pad, an arpeggio, silence and noise.

Everything is written on a circle: what rings past the end of the loop continues at its beginning, so that every loop is
seamless at any tempo. No files, and the same samples every time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from backend.audio.io import resample
from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.neurons.level import level_loop
from backend.instruments.neurons.voices import Voice, bass, clap, hat, kick, pad_tone, pluck, snare

STEPS_PER_BAR = 16
SEAM_SAMPLES = 2_000
EDGE_S = 0.005
NOISE_RMS = 0.05


@dataclass(frozen=True)
class Meter:
    """How long a loop is: whole bars of four beats at a tempo."""

    tempo_bpm: float = 120.0
    bars: int = 2

    @property
    def seconds(self) -> float:
        """Length of the loop."""
        return self.bars * 4 * 60.0 / self.tempo_bpm

    def samples(self, sample_rate: int) -> int:
        """Length of the loop at a rate."""
        return round(self.seconds * sample_rate)


@dataclass
class Circle:
    """A loop being written; ``out`` holds its samples."""

    meter: Meter
    sample_rate: int
    out: npt.NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.out = np.zeros(self.meter.samples(self.sample_rate))

    def add(self, step: float, sound: npt.NDArray[np.float64], gain: float = 1.0) -> None:
        """Write a sound at a sixteenth of the loop; what reaches past the end continues at the beginning."""
        first = round(step / (STEPS_PER_BAR * self.meter.bars) * len(self.out))
        np.add.at(self.out, (first + np.arange(len(sound))) % len(self.out), gain * sound)

    def pattern(self, voice: Voice, accents: str, **values: float) -> None:
        """One bar of sixteenths, repeated: digits 1 to 9 are loudness, anything else rests."""
        for bar in range(self.meter.bars):
            for step, accent in enumerate(accents.replace(" ", "")):
                if accent.isdigit() and accent != "0":
                    sound = voice(self.sample_rate, seed=bar * STEPS_PER_BAR + step, **values)
                    self.add(bar * STEPS_PER_BAR + step, sound, int(accent) / 9)

    def notes(self, voice: Voice, pitches: str, steps: float, **values: float) -> None:
        """MIDI pitches one after another, each so many sixteenths apart, repeated to the end; ``-`` rests."""
        row = pitches.split()
        for index in range(int(STEPS_PER_BAR * self.meter.bars / steps)):
            name = row[index % len(row)]
            if name != "-":
                hertz = 440.0 * 2 ** ((int(name) - 69) / 12)
                self.add(index * steps, voice(self.sample_rate, seed=index, hertz=hertz, **values))

    def step_s(self, steps: float = 1.0) -> float:
        """Seconds of so many sixteenths."""
        return steps * self.meter.seconds / (STEPS_PER_BAR * self.meter.bars)


def _house(circle: Circle) -> None:
    circle.pattern(kick, "9... 9... 9... 9...")
    circle.pattern(clap, ".... 7... .... 7...")
    circle.pattern(hat, "..6. ..6. ..6. ..6.", decay_s=0.12)
    circle.pattern(hat, "3.32 3.32 3.32 3.33", decay_s=0.03)


def _breakbeat(circle: Circle) -> None:
    circle.pattern(kick, "9.9. .... ..9. ....")
    circle.pattern(snare, ".... 8..2 .3.. 8..3")
    circle.pattern(hat, "5.4. 5.4. 5.4. 5.45", decay_s=0.05)


def _drums_and_bass(circle: Circle) -> None:
    _house(circle)
    circle.notes(bass, "- 33 33 45 - 33 36 31", 2, seconds=circle.step_s(1.6))


def _bass(circle: Circle) -> None:
    circle.pattern(kick, "9... 9... 9... 9...")
    circle.notes(bass, "33 - 33 45 33 - 36 40 31 - 31 43 31 29 28 -", 1, seconds=circle.step_s(0.9))


def _pad(circle: Circle) -> None:
    for half, chord in enumerate(("45 57 60 64 67", "41 53 57 60 64")):
        length = STEPS_PER_BAR * circle.meter.bars / 2
        for index, pitch in enumerate(chord.split()):
            hertz = 440.0 * 2 ** ((int(pitch) - 69) / 12)
            sound = pad_tone(circle.sample_rate, seed=index, hertz=hertz, seconds=circle.step_s(length * 1.2))
            circle.add(half * length, sound, 0.5)


def _arpeggio(circle: Circle) -> None:
    circle.notes(pluck, "57 64 69 72 76 72 69 64 53 60 65 69 72 69 65 60", 1, seconds=0.5)
    circle.notes(bass, "33 - 29 -", 8, seconds=circle.step_s(6))


LOOPS: dict[str, tuple[str, Callable[[Circle], None]]] = {
    "house": ("House beat", _house),
    "breakbeat": ("Breakbeat", _breakbeat),
    "drums_and_bass": ("Drums and bass", _drums_and_bass),
    "bass": ("Bass line", _bass),
    "pad": ("Pad", _pad),
    "arpeggio": ("Arpeggio", _arpeggio),
}
"""Name → title and score."""

EMPTY_STARTS = ("silence", "noise")


def make_loop(name: str, meter: Meter, sample_rate: int, seed: int = 0) -> Waveform:
    """A bundled loop, or ``silence``, or ``noise``; mono, at -18 LUFS (noise quieter).

    Raises:
        RequestError: there is no such loop.
    """
    n_samples = meter.samples(sample_rate)
    if name == "silence":
        return Waveform(np.zeros(n_samples, np.float32), sample_rate)
    if name == "noise":
        noise = np.random.default_rng(seed).standard_normal(n_samples) * NOISE_RMS
        return Waveform(np.clip(noise, -1, 1).astype(np.float32), sample_rate)
    if name not in LOOPS:
        raise RequestError("start", name, f"one of {', '.join((*LOOPS, *EMPTY_STARTS))}")
    circle = Circle(meter, sample_rate)
    LOOPS[name][1](circle)
    return level_loop(circle.out / max(np.abs(circle.out).max(), 1e-9) * 0.5, sample_rate)


def fit_loop(sound: Waveform, meter: Meter, sample_rate: int) -> Waveform:
    """Any sound as a loop of this length: mono, resampled, levelled.

    A longer sound is cut, and what follows the cut fades into its beginning with equal power, so that the seam is as
    smooth as the sound. A shorter one is repeated on the beat.

    Raises:
        RequestError: there is no sound.
    """
    samples = resample(sound.mono(), sample_rate).samples[0].astype(np.float64)
    if len(samples) == 0:
        raise RequestError("start", "an empty sound", "a sound of at least one sample")
    n_samples = meter.samples(sample_rate)
    if len(samples) < n_samples:
        samples = _repeated(samples, n_samples, meter, sample_rate)
    fade = min(SEAM_SAMPLES, len(samples) - n_samples, n_samples)
    loop = samples[:n_samples].copy()
    if fade > 0:
        angle = 0.5 * np.pi * (np.arange(fade) + 0.5) / fade
        loop[:fade] = loop[:fade] * np.sin(angle) + samples[n_samples : n_samples + fade] * np.cos(angle)
    return level_loop(loop, sample_rate)


def _repeated(
    samples: npt.NDArray[np.float64], n_samples: int, meter: Meter, sample_rate: int
) -> npt.NDArray[np.float64]:
    """Copies at the first beat after the last one ended, with short fades, exactly ``n_samples`` long."""
    edge = min(max(1, round(EDGE_S * sample_rate)), len(samples) // 2)
    copy = samples.copy()
    if edge:
        ramp = np.sin(0.5 * np.pi * np.arange(edge) / edge) ** 2
        copy[:edge] *= ramp
        copy[len(copy) - edge :] *= ramp[::-1]
    out = np.zeros(n_samples)
    beats = 4 * meter.bars
    apart = -(-len(copy) * beats // n_samples)  # whole beats
    for beat in range(0, beats, apart):
        first = round(beat * n_samples / beats)
        length = min(len(copy), n_samples - first)
        out[first : first + length] += copy[:length]
        if length < len(copy) and length > edge > 0:  # cut at the end of the loop
            out[n_samples - edge :] *= np.cos(0.5 * np.pi * np.arange(edge) / edge) ** 2
    return out
