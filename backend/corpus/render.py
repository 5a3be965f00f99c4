"""Performed parts → 24 kHz mono sound: soundfonts, balance by loudness, a room, a tilt."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy import fft

from backend.corpus.arrangement import CLIP_S
from backend.corpus.perform import PerformedPart
from backend.errors import NeuromuseError

logger = logging.getLogger(__name__)

SAMPLE_RATE = 24_000
N_SAMPLES = int(CLIP_S * SAMPLE_RATE)
SYSTEM_FOLDERS = (Path("/usr/share/sounds/sf2"), Path("/usr/share/sounds/sf3"), Path("/usr/local/share/sounds/sf2"))
DRUM_CHANNEL = 9
ROOMS = {"dry": (0.0, 0.0), "studio": (0.35, 0.08), "room": (0.7, 0.14), "chamber": (1.1, 0.2), "hall": (1.9, 0.28)}
"""Room → (seconds to decay by 60 dB, energy of the echo relative to the direct sound)."""
_BALANCE_DB = {"lead": 0.0, "counter": -3.0, "chords": -8.0, "bass": -5.0, "pad": -11.0, "drums": -3.0}

FloatArray = npt.NDArray[np.float32]


def find_soundfonts(extra: Sequence[Path] = ()) -> list[Path]:
    """Soundfonts named by the user, else those of the system and the one pretty_midi carries; no duplicates.

    Raises:
        NeuromuseError: none is found, or a named one is missing.
    """
    for path in extra:
        if not path.is_file():
            raise NeuromuseError(f"The soundfont {path} does not exist.")
    found = list(extra)
    if not found:
        for folder in SYSTEM_FOLDERS:
            found += sorted(p for p in folder.glob("*.sf[23]") if not p.is_symlink())
        import pretty_midi

        found += sorted(Path(pretty_midi.__file__).parent.glob("*.sf2"))
    if not found:
        raise NeuromuseError("No soundfont found; install Debian's fluid-soundfont-gm or pass --soundfont FILE.")
    return found


@dataclass
class Synth:
    """One loaded soundfont. Loading costs seconds and a hundred megabytes: once a process."""

    name: str
    _synth: Any
    _font: int

    @classmethod
    def load(cls, path: Path) -> Synth:
        """Load a ``.sf2`` or ``.sf3`` file.

        Raises:
            NeuromuseError: it is not a soundfont.
        """
        import tinysoundfont

        synth = tinysoundfont.Synth(gain=-8, samplerate=SAMPLE_RATE)
        try:
            return cls(path.stem, synth, synth.sfload(str(path)))
        except Exception as error:  # the binding raises its own type and plain RuntimeError
            raise NeuromuseError(f"{path} cannot be read as a soundfont.") from error

    def play(self, part: PerformedPart) -> FloatArray:
        """One part alone, mono, `N_SAMPLES` long, at the soundfont's own level.

        Note-ons and note-offs happen at the exact sample their times name.
        """
        channel = DRUM_CHANNEL if part.instrument.is_drum else 0
        bank = 128 if part.instrument.is_drum else 0
        self._synth.sounds_off()
        self._synth.generate(SAMPLE_RATE // 5)  # let the last clip's voices die
        self._synth.program_select(channel, self._font, bank, part.instrument.program, part.instrument.is_drum)
        events = []
        for onset, duration, pitch, velocity in part.notes.tolist():
            events.append((round(onset * SAMPLE_RATE), 1, pitch, velocity))
            events.append((round((onset + duration) * SAMPLE_RATE), 0, pitch, 0))
        out = np.zeros((N_SAMPLES, 2), np.float32)
        now = 0
        for at, on, pitch, velocity in [*sorted(events), (N_SAMPLES, 0, 0, 0)]:
            at = min(at, N_SAMPLES)
            if at > now:
                out[now:at] = np.frombuffer(self._synth.generate(at - now), np.float32).reshape(-1, 2)
                now = at
            if on:
                self._synth.noteon(channel, pitch, velocity)
            elif pitch:
                self._synth.noteoff(channel, pitch)
        return (out[:, 0] + out[:, 1]) * np.float32(0.5)


def active_rms(samples: FloatArray) -> float:
    """Root mean square over the 50 ms frames in which the part sounds (within 30 dB of its loudest frames)."""
    frames = samples[: len(samples) // 1200 * 1200].reshape(-1, 1200)
    power = np.mean(np.square(frames, dtype=np.float64), 1)
    loud = np.quantile(power, 0.98)
    active = power[power > loud * 1e-3]
    return float(np.sqrt(active.mean())) if loud > 0 and len(active) else 0.0


@dataclass(frozen=True)
class Mix:
    """A rendered clip and the choices that made it; ``samples`` float32 ``[N_SAMPLES]``."""

    samples: FloatArray
    soundfont: str
    room: str
    gains_db: tuple[float, ...]


def draw_gain(part: PerformedPart, parts: Sequence[PerformedPart], rng: np.random.Generator) -> float:
    """Loudness of a part in the mix, in dB: by its role, give or take two; voices of an ensemble are nearly equal."""
    equal = all(other.role in ("lead", "counter") for other in parts)
    return float(_BALANCE_DB[part.role] * (0.7 if equal else 1.0) + rng.uniform(-2, 2))


def render(parts: Sequence[PerformedPart], synths: Sequence[Synth], rng: np.random.Generator) -> Mix:
    """Render and mix the parts with a random soundfont, balance, room, tilt and level.

    Raises:
        NeuromuseError: nothing sounds.
    """
    synth = synths[int(rng.integers(len(synths)))]
    gains, mix = [], np.zeros(N_SAMPLES, np.float32)
    for part in parts:
        sound = synth.play(part)
        level = active_rms(sound)
        gain = draw_gain(part, parts, rng)
        gains.append(gain)
        if level > 0:
            mix += sound * np.float32(10 ** (gain / 20) / level)
    if not mix.any():
        raise NeuromuseError("The arrangement makes no sound.")
    room = str(rng.choice(list(ROOMS)))
    mix = _place(mix, room, rng)
    mix[-480:] *= np.linspace(1, 0, 480, dtype=np.float32)
    peak_db = rng.uniform(-9.0, -1.0)
    mix *= np.float32(10 ** (peak_db / 20) / np.abs(mix).max())
    return Mix(mix, synth.name, room, tuple(gains))


def _place(dry: FloatArray, room: str, rng: np.random.Generator) -> FloatArray:
    """Convolve with a synthetic room (decaying noise that darkens) and tilt the spectrum; the direct sound stays."""
    rt60_s, energy = ROOMS[room]
    tilt_db = float(rng.uniform(-2.5, 2.5))
    size = _fast_length(N_SAMPLES + int(rt60_s * SAMPLE_RATE) + 1)
    spectrum = fft.rfft(dry, size)
    octaves = np.log2(np.maximum(fft.rfftfreq(size, 1 / SAMPLE_RATE), 50.0) / 1000.0)
    response = (10 ** (tilt_db * octaves / 4 / 20)).astype(np.float32)
    if rt60_s > 0:
        n = int(rt60_s * SAMPLE_RATE)
        t = np.arange(n, dtype=np.float32) / SAMPLE_RATE
        noise = rng.standard_normal(n).astype(np.float32)
        dark = np.convolve(noise, np.ones(5, np.float32) / 5, "same")
        blend = np.minimum(t / rt60_s * 2, 1)
        tail = ((1 - blend) * noise + blend * 2 * dark) * np.exp(-6.9 * t / rt60_s * rng.uniform(0.9, 1.3))
        tail[: int(rng.uniform(0.005, 0.025) * SAMPLE_RATE)] = 0
        tail *= np.sqrt(energy * rng.uniform(0.5, 1.5) / np.square(tail).sum())
        impulse = tail
        impulse[0] = 1.0
        spectrum *= fft.rfft(impulse, size)
    return np.asarray(fft.irfft(spectrum * response, size)[:N_SAMPLES], np.float32)


def _fast_length(least: int) -> int:
    """The first length from ``least`` on without a prime factor above 5, which the FFT is fast at."""
    while True:
        rest = least
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return least
        least += 1
