"""Stimuli by rule: sixty-odd pieces in each of ten genres that need no data and belong to nobody else.

The bands and miniatures of `backend.corpus` over drum patterns programmed here, fifteen seconds each, faded and
levelled as ds003720's clips are (2 s in and out, equal root mean square).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from backend.audio.waveform import Waveform
from backend.corpus.arrangement import Arrangement, as_notes
from backend.corpus.bands import band_arrangement
from backend.corpus.grooves import DRUM_HOLD, Groove, machine_groove
from backend.corpus.miniatures import miniature
from backend.corpus.perform import PerformedPart, perform
from backend.corpus.render import SAMPLE_RATE, Synth, render
from backend.errors import NeuromuseError
from backend.instruments.brain.layout import GENRES

FloatArray = npt.NDArray[np.float32]

CLIP_S, FADE_S, RMS = 15.0, 2.0, 0.08
KICK, RIM, SNARE, HAT, PEDAL, OPEN, RIDE = 36, 37, 38, 42, 44, 46, 51

_EIGHTHS = tuple(i / 2 for i in range(8))
_SIXTEENTHS = tuple(i / 4 for i in range(16))
_SWING = (0.0, 1.0, 1.667, 2.0, 3.0, 3.667)
_BARS: dict[str, tuple[float, bool, tuple[dict[int, tuple[float, ...]], ...]]] = {
    "rock": (122, False, (
        {KICK: (0, 2), SNARE: (1, 3), HAT: _EIGHTHS}, {KICK: (0, 1.5, 2.5), SNARE: (1, 3), OPEN: (0, 1, 2, 3)},
    )),
    "jazz": (138, True, ({RIDE: _SWING, PEDAL: (1, 3), KICK: (0,)}, {RIDE: _SWING, PEDAL: (1, 3), RIM: (3.667,)})),
    "hip-hop": (88, False, (
        {KICK: (0, 0.75, 2.5), SNARE: (1, 3), HAT: _EIGHTHS}, {KICK: (0, 1.75, 2.25), SNARE: (1, 3), HAT: _SIXTEENTHS},
    )),
    "pop": (106, False, (
        {KICK: (0, 1.5, 2), SNARE: (1, 3), HAT: _EIGHTHS}, {KICK: (0, 2, 3.5), SNARE: (1, 3), HAT: (0, 1, 2, 3)},
    )),
    "reggae": (76, False, ({KICK: (2,), RIM: (2,), HAT: _EIGHTHS}, {KICK: (0, 1, 2, 3), RIM: (2,), HAT: _EIGHTHS})),
    "country": (112, False, (
        {KICK: (0, 2), SNARE: _EIGHTHS, RIM: (1, 3)}, {KICK: (0, 2), SNARE: (1, 3), PEDAL: (0.5, 1.5, 2.5, 3.5)},
    )),
    "funk": (102, False, (
        {KICK: (0, 0.75, 2.5), SNARE: (1, 1.75, 2.25, 3), HAT: _SIXTEENTHS},
        {KICK: (0, 1.25, 2.75), SNARE: (1, 3, 3.75), HAT: _SIXTEENTHS},
    )),
}  # fmt: skip
"""Genre → beats a minute, whether it swings, and bars: General MIDI drum → beats."""


def drum_grooves() -> list[Groove]:
    """Programmed patterns of every genre with drums; dance patterns are the corpus's own."""
    grooves = [machine_groove(i) for i in range(24)]
    for genre, (bpm, swung, bars) in _BARS.items():
        for number, bar in enumerate(bars):
            rows = [
                (4.0 * repeat + beat, DRUM_HOLD, float(drum), 100.0 if beat in (0, 1, 2, 3) else 72.0)
                for repeat in range(4)
                for drum, beats in bar.items()
                for beat in beats
            ]
            source = f"programmed/{genre}-{number}"
            grooves.append(Groove(source, genre, "train", bpm, 16, swung, as_notes(rows)))
    return grooves


def compose_all(each: int, rng: np.random.Generator, grooves: list[Groove]) -> dict[str, list[Arrangement]]:
    """``each`` arrangements of every genre; the corpus draws styles at random, so its others are passed over."""
    found: dict[str, list[Arrangement]] = {genre: [] for genre in GENRES}
    while any(len(found[genre]) < each for genre in GENRES):
        short = [genre for genre in GENRES if len(found[genre]) < each]
        quiet = short[0] in ("classical", "ambient")
        piece = miniature([], False, rng) if quiet else band_arrangement(grooves, False, rng)
        if len(found.get(piece.style, [0] * each)) < each:
            found[piece.style].append(piece)
    return found


def sound(arrangement: Arrangement, synth: Synth, rng: np.random.Generator) -> Waveform | None:
    """Fifteen seconds of a piece as a listener in a scanner hears them; None if nothing sounds."""
    arrangement.parts = [part for part in arrangement.parts if len(part.notes)]
    parts = []
    for part in perform(arrangement, rng):
        early = part.notes[part.notes["onset_s"] < CLIP_S]
        if len(early):
            parts.append(PerformedPart(part.instrument, part.role, early))
    try:
        samples = render(parts, [synth], rng).samples[: int(CLIP_S * SAMPLE_RATE)]
    except NeuromuseError:
        return None
    return Waveform(presented(samples, SAMPLE_RATE), SAMPLE_RATE)


def presented(samples: FloatArray, sample_rate: int) -> FloatArray:
    """Fades of 2 s and equal root mean square, as the clips of ds003720 were played (quieter if that would clip)."""
    out = samples.astype(np.float32, copy=True)
    n = min(int(FADE_S * sample_rate), out.shape[-1] // 2)
    ramp = np.linspace(0, 1, n, dtype=np.float32)
    out[..., :n] *= ramp
    out[..., out.shape[-1] - n :] *= ramp[::-1]
    level = float(np.sqrt(np.square(out).mean()))
    peak = float(np.abs(out).max())
    gain = min(RMS / max(level, 1e-6), 0.98 / max(peak, 1e-6))
    return np.asarray(out * np.float32(gain), np.float32)
