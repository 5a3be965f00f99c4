"""The last steps a mix takes: the style's tone and width, a low floor, the content's loudness, a ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from scipy.signal import resample_poly

from backend.audio.loudness import integrated_lufs, limit
from backend.audio.waveform import FloatArray, Waveform
from backend.instruments.genre_transfer.bands import N_BANDS, expand, levels_db, smoothed
from backend.instruments.genre_transfer.separation import Spectrum, samples_of, spectrum_of

N_FFT, HOP = 4096, 1024
MOST_DB = 9.0
FADE_S = 0.003
QUIETEST_LUFS, LOUDEST_LUFS = -40.0, -9.0
CEILING_DB = -1.0
KNEE = 0.5  # -6 dB
FLOOR_PERCENTILE, ABOVE_FLOOR_DB, MOST_GATED_DB, STEADY_FRAMES = 5.0, 6.0, 12.0, 4


def tone(samples: FloatArray, style: FloatArray, sample_rate: int, share: float) -> FloatArray:
    """One equaliser curve, and for each band one width, that bring the long-term spectrum to the style's.

    Args:
        samples: ``[2, samples]``.
        style: ``[2, samples]``, any length.
        sample_rate: Hz.
        share: 0 changes nothing, 1 goes all the way, but no further than `MOST_DB`.
    """
    own, other = spectrum_of(samples, N_FFT, HOP), spectrum_of(style, N_FFT, HOP)
    wanted, found = (_long_term(one, sample_rate) for one in (other, own))
    difference = wanted - found
    weights = 10 ** (np.maximum(wanted, found) / 20)
    difference -= (difference * weights).sum() / weights.sum()  # tone, not level
    difference = np.convolve(np.pad(difference, 2, mode="edge"), [0.1, 0.2, 0.4, 0.2, 0.1], "valid")
    gain = np.clip(share * difference, -MOST_DB, MOST_DB).astype(np.float32)
    own = own * expand(gain[:, None], sample_rate, N_FFT)
    return samples_of(_as_wide(own, other, sample_rate, share), N_FFT, HOP, samples.shape[1])


def _long_term(spectrum: Spectrum, sample_rate: int) -> FloatArray:
    power = 10 ** (levels_db(spectrum, sample_rate, N_FFT) / 10)
    return cast("FloatArray", 10 * np.log10(power.mean(1) + 1e-12))


def _as_wide(own: Spectrum, other: Spectrum, sample_rate: int, share: float) -> Spectrum:
    """Scale the side signal of each band towards the style's ratio of side to middle."""
    ratio = np.zeros(N_BANDS, np.float32)
    for sign, spectrum in ((-1, own), (1, other)):
        middle, side = (spectrum[:1] + s * spectrum[1:] for s in (1, -1))
        ratio += sign * (_long_term(side, sample_rate) - _long_term(middle, sample_rate))
    factor = expand((share * np.clip(ratio, -12.0, 6.0))[:, None], sample_rate, N_FFT)
    middle, side = (own[:1] + own[1:]) / 2, (own[:1] - own[1:]) / 2 * factor
    return np.concatenate((middle + side, middle - side)).astype(np.complex64)


def quietened(samples: FloatArray, sources: Sequence[FloatArray], sample_rate: int, share: float) -> FloatArray:
    """An expander for each band, which takes what is there all the time down towards what it is in the sources.

    Layers that are added fill each other's pauses, and a level that never falls is heard as a hum or a hiss. What a
    band hardly ever falls below is pushed down to what the sources hardly ever fall below, and what is
    `ABOVE_FLOOR_DB` over it is left alone.

    Args:
        samples: ``[2, samples]``.
        sources: ``[2, samples]`` each, any length; compared at the level that half of the frames reach.
        sample_rate: Hz.
        share: 0 changes nothing, 1 pushes all the way, but no further than `MOST_GATED_DB`.
    """
    own = spectrum_of(samples, N_FFT, HOP)
    levels, level, floor = _steady(own, sample_rate)
    allowed = np.full_like(floor, -np.inf)
    for source in sources:
        _, their_level, theirs = _steady(spectrum_of(source, N_FFT, HOP), sample_rate)
        allowed = np.maximum(allowed, theirs + level - their_level)
    cut = share * np.clip(floor - allowed, 0.0, MOST_GATED_DB)
    near = np.clip(1 - (levels - floor) / ABOVE_FLOOR_DB, 0.0, 1.0)
    gain = smoothed((-cut * near).astype(np.float32), 2)
    return samples_of(own * expand(gain, sample_rate, N_FFT), N_FFT, HOP, samples.shape[1])


def _steady(spectrum: Spectrum, sample_rate: int) -> tuple[FloatArray, float, FloatArray]:
    """Levels of the bands smoothed in time ``[bands, frames]``, the usual level of all, and each floor; dB."""
    amplitude = (10 ** (levels_db(spectrum, sample_rate, N_FFT) / 20)).astype(np.float32)
    amplitude = smoothed(amplitude, STEADY_FRAMES)
    levels = 20 * np.log10(np.maximum(amplitude, 1e-6))
    usual = 20 * np.log10(max(float(np.median(amplitude.sum(0))), 1e-6))
    return levels.astype(np.float32), usual, np.percentile(levels, FLOOR_PERCENTILE, axis=1, keepdims=True)


def rounded(samples: FloatArray) -> FloatArray:
    """Peaks above `KNEE` bent towards full scale, twice oversampled.

    A kick over a bass line stands 6 dB and more above what a limiter should take: it would turn the bass down with each
    kick. Bending a few milliseconds of the peak is what mastering engineers do, and is not heard.
    """
    if float(np.abs(samples).max(initial=0.0)) <= KNEE:
        return samples
    dense = resample_poly(samples, 2, 1, axis=1)
    over = np.maximum(np.abs(dense) - KNEE, 0.0) / (1 - KNEE)
    bent = np.sign(dense) * (np.minimum(np.abs(dense), KNEE) + (1 - KNEE) * np.tanh(over))
    return cast("FloatArray", resample_poly(bent, 1, 2, axis=1)[:, : samples.shape[1]].astype(np.float32))


def finish(samples: FloatArray, like: Waveform) -> Waveform:
    """At the loudness of another sound, limited, its very ends faded; finite whatever comes in."""
    samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
    wanted = integrated_lufs(like)
    wanted = float(np.clip(wanted, QUIETEST_LUFS, LOUDEST_LUFS)) if np.isfinite(wanted) else QUIETEST_LUFS
    peak = float(np.abs(samples).max(initial=0.0))
    if peak <= 1e-9:
        return Waveform(np.zeros_like(samples), like.sample_rate)
    clean = (samples / peak * 0.5).astype(np.float32)
    out, gain_db = Waveform(clean, like.sample_rate), 0.0
    for _ in range(3):  # rounding peaks off takes some loudness away
        loudness = integrated_lufs(out)
        if loudness == -np.inf:
            break
        gain_db += wanted - loudness
        out = limit(Waveform(rounded(clean * np.float32(10 ** (gain_db / 20))), like.sample_rate), CEILING_DB)
    edge = min(round(FADE_S * like.sample_rate), out.n_samples // 2)
    shape = np.ones(out.n_samples, np.float32)
    if edge:
        shape[:edge] = np.linspace(0, 1, edge)
        shape[-edge:] = shape[:edge][::-1]
    return Waveform(out.samples * shape, like.sample_rate)
