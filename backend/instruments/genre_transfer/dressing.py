"""What a harmonic layer takes from the style besides its notes' sound: levels band by band, and when it breathes."""

from __future__ import annotations

from typing import cast

import numpy as np

from backend.audio.waveform import FloatArray
from backend.instruments.genre_transfer.bands import N_BANDS, expand, filters, levels_db, matched_db, smoothed
from backend.instruments.genre_transfer.resynthesis import HOP, N_FFT, above_bass
from backend.instruments.genre_transfer.rhythm import Alignment
from backend.instruments.genre_transfer.separation import samples_of, spectrum_of

LEVEL_DB = 15.0
PAIR_DB = -4.0
PULSE_DB, BROAD = 15.0, 8


def dress(layer: FloatArray, style: FloatArray, sample_rate: int, share: float) -> FloatArray:
    """One of two harmonic layers with the levels that each band has in the style's harmonic part.

    Above the bass, where both layers play, each is as much quieter as makes their sum as loud; the bass is one's alone.
    """
    spectrum = spectrum_of(layer, N_FFT, HOP)
    own = levels_db(spectrum, sample_rate, N_FFT)
    wanted = levels_db(spectrum_of(style, N_FFT, HOP), sample_rate, N_FFT)
    rows = filters(sample_rate, N_FFT)
    both_play = rows @ above_bass(rows.shape[1], sample_rate) / rows.sum(1, keepdims=True)
    gain = smoothed(matched_db(own, wanted, share, LEVEL_DB), 3) + PAIR_DB * both_play
    return samples_of(spectrum * expand(gain.astype(np.float32), sample_rate, N_FFT), N_FFT, HOP, layer.shape[1])


def pulsed(
    layer: FloatArray, style: FloatArray, groove: Alignment, sample_rate: int, start_s: float, share: float
) -> FloatArray:
    """A harmonic layer that swells and stops where the style's harmonic part does, beat by beat.

    Stabs, gates and the pumping of a compressor are rhythm too, and they are not in the drums.
    """
    spectrum = spectrum_of(layer, N_FFT, HOP)
    own, wanted = (_broad(levels_db(one, sample_rate, N_FFT)) for one in (spectrum, spectrum_of(style, N_FFT, HOP)))
    times = start_s + np.arange(own.shape[1]) * HOP / sample_rate
    frames = np.round(groove.style_times(times) * sample_rate / HOP).astype(int).clip(0, wanted.shape[1] - 1)
    gain = (share * np.clip(_centred(wanted)[:, frames] - _centred(own), -PULSE_DB, PULSE_DB)).astype(np.float32)
    bands = np.repeat(gain, N_BANDS // BROAD, axis=0)
    return samples_of(spectrum * expand(smoothed(bands, 1), sample_rate, N_FFT), N_FFT, HOP, layer.shape[1])


def _broad(levels: FloatArray) -> FloatArray:
    """Levels in a few broad bands, dB."""
    power = (10 ** (levels / 10)).reshape(BROAD, -1, levels.shape[1]).mean(1)
    return cast("FloatArray", 10 * np.log10(power + 1e-12))


def _centred(levels: FloatArray) -> FloatArray:
    """Levels relative to each band's mean power, no lower than -30 dB."""
    mean = 10 * np.log10((10 ** (levels / 10)).mean(1, keepdims=True) + 1e-12)
    return cast("FloatArray", np.maximum(levels - mean, -30.0))
