"""The content's notes played with the style's sound: two layers that are mixed later.

*Woven*: the style's harmonic frames, each also transposed to all semitones within an octave, chosen by what is pitched
in the content at that moment (musaicing on spectral fine structure, so that a dull note may be answered by a bright one
of the same pitch), then let through only where the content has partials. *Coloured*: the content's own tones under the
spectral envelope that the woven layer has at that moment, phases untouched. The first brings the style's texture, the
second keeps the melody whole; each alone sounds like what it is, a mosaic or an equaliser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.nn import functional

from backend.audio.waveform import FloatArray
from backend.instruments.genre_transfer.bands import expand, levels_db, smoothed
from backend.instruments.genre_transfer.musaicing import Bee, activations
from backend.instruments.genre_transfer.separation import Spectrum, samples_of, spectrum_of
from backend.instruments.genre_transfer.tempo import Times

N_FFT, HOP = 4096, 1024
PER_OCTAVE, LOWEST_HZ, OCTAVES = 24, 65.4, 6.5
"""Bands of the fine structure: a quarter tone from C2 to 6 kHz."""

TRANSPOSITIONS = range(-5, 7)
BEE = Bee(repetition=2, polyphony=12, continuity=2, iterations=30)
ENVELOPE_OCTAVES = 0.75
BASS_HZ, AIR_HZ = 120.0, 6_000.0
"""Below, the content's own bass line; above, partials are too dense to choose among."""

DETUNE = 2 ** (25 / 1200)
"""A supersaw spreads a note by so much to either side; it belongs to the note."""

COLOUR_LIMIT_DB = 24.0


NEAR_BEATS, FAR, BAR = 0.15, 0.05, 4.0
"""Frames count as from the same place in the bar within so many beats; others are that much less welcome."""


@dataclass(frozen=True)
class Moments:
    """Positions in beats of the style's bars, of times in seconds: of the content's and of the style's own."""

    content: Callable[[Times], Times]
    style: Callable[[Times], Times]


@dataclass(frozen=True)
class Layers:
    """Both ``[channels, samples]``, at about the content's loudness."""

    woven: FloatArray
    coloured: FloatArray


def resynthesise(
    content: FloatArray,
    style: FloatArray,
    sample_rate: int,
    *,
    harmony: float,
    seed: int,
    step: Callable[[int], None] | None = None,
    moments: Moments | None = None,
) -> Layers:
    """Both layers of a harmonic part.

    Args:
        content: ``[channels, samples]``.
        style: ``[channels, samples]``, as many channels, any length.
        sample_rate: Hz of both.
        harmony: 0 lets nothing through beside the content's partials, 1 everything that the frames bring along.
        seed: of the first activations.
        step: called after every update of the activations, of which there are ``BEE.iterations``.
        moments: where in the bar both are, so that frames come from the same place in the bar; None does not ask.
    """
    length = content.shape[1]
    own = spectrum_of(content, N_FFT, HOP)
    target = fine_structure(np.abs(own).mean(0), sample_rate)
    spectra = [_transposed(style, semitones) for semitones in TRANSPOSITIONS]
    pieces = [fine_structure(np.abs(one).mean(0), sample_rate) for one in spectra]
    generator = torch.Generator().manual_seed(seed)
    counts = [piece.shape[1] for piece in pieces]
    prior = None if moments is None else _prior(moments, counts, target.shape[1], sample_rate)
    h = activations(target, torch.cat(pieces, 1), BEE, generator, step, prior)
    woven = np.zeros((content.shape[0], N_FFT // 2 + 1, target.shape[1]), np.complex64)
    for one, rows in zip(spectra, h.split([piece.shape[1] for piece in pieces]), strict=True):
        frames = torch.from_numpy(one)
        woven += torch.complex(frames.real @ rows, frames.imag @ rows).numpy()
    gate = comb(np.abs(own).mean(0), sample_rate)
    coloured = own * gate
    coloured *= colour(coloured, _as_loud_as(woven, own), sample_rate)
    open_share = np.float32(harmony) + np.float32(1 - harmony) * with_air(gate, sample_rate)
    woven = _as_loud_as(woven * open_share * above_bass(gate.shape[0], sample_rate), own)
    return Layers(samples_of(woven, N_FFT, HOP, length), samples_of(_as_loud_as(coloured, own), N_FFT, HOP, length))


def _prior(moments: Moments, counts: Sequence[int], frames: int, sample_rate: int) -> Tensor:
    """How welcome each transposed frame of the style is at each moment: as much as it is near in the bar."""
    seconds = HOP / sample_rate
    at = moments.content(np.arange(frames, dtype=np.float64) * seconds)
    rows = []
    for semitones, count in zip(TRANSPOSITIONS, counts, strict=True):
        theirs = moments.style(np.arange(count, dtype=np.float64) * seconds * 2 ** (semitones / 12))
        off = (theirs[:, None] - at[None] + BAR / 2) % BAR - BAR / 2
        rows.append(np.maximum(np.exp(-0.5 * (off / NEAR_BEATS) ** 2), FAR))
    return torch.from_numpy(np.concatenate(rows).astype(np.float32))


def _transposed(style: FloatArray, semitones: int) -> Spectrum:
    """STFT of the style played faster or slower."""
    if semitones:
        ratio = 2 ** (semitones / 12)
        style = soxr.resample(style.T, ratio, 1.0, quality="MQ").T
    return spectrum_of(np.ascontiguousarray(style, np.float32), N_FFT, HOP)


@cache
def _pitch_bands(sample_rate: int) -> Tensor:
    """Triangular bands a quarter tone apart, ``[bands, bins]``, never narrower than a bin to either side."""
    centres = LOWEST_HZ * 2 ** (np.arange(round(PER_OCTAVE * OCTAVES)) / PER_OCTAVE)
    bins = np.linspace(0, sample_rate / 2, N_FFT // 2 + 1)
    width = np.maximum(centres * (2 ** (1 / PER_OCTAVE) - 1), sample_rate / N_FFT)
    rows = np.maximum(1 - np.abs(bins - centres[:, None]) / width[:, None], 0)
    return torch.from_numpy((rows / rows.sum(1, keepdims=True)).astype(np.float32))


def fine_structure(magnitude: FloatArray, sample_rate: int) -> Tensor:
    """What is pitched in each frame: bands a quarter tone apart over their smooth envelope, times the frame's level.

    Args:
        magnitude: ``[bins, frames]``.
        sample_rate: Hz.

    Returns:
        ``[bands, frames]``, not negative.
    """
    bands = _pitch_bands(sample_rate) @ torch.from_numpy(np.ascontiguousarray(magnitude, np.float32))
    width = round(ENVELOPE_OCTAVES * PER_OCTAVE) | 1
    rows = bands.T[:, None]
    envelope = functional.avg_pool1d(rows, width, 1, width // 2, count_include_pad=False)[:, 0].T
    level = bands.mean(0, keepdim=True)
    salient = functional.relu(bands / (envelope + 0.3 * level + 1e-7) - 1.0)
    return salient * level + 1e-6


def comb(magnitude: FloatArray, sample_rate: int) -> FloatArray:
    """Where the content has partials: 1 on them and a little beside, towards 0 between.

    Args:
        magnitude: ``[bins, frames]`` of the content.
        sample_rate: Hz.

    Returns:
        ``[bins, frames]`` from 0 to 1.
    """
    bins = magnitude.shape[0]
    tensor = torch.from_numpy(np.ascontiguousarray(magnitude.T))[:, None]
    wide = max(3, round(400.0 * N_FFT / sample_rate) | 1)
    envelope = functional.avg_pool1d(tensor, wide, 1, wide // 2, count_include_pad=False)
    ratio = (tensor / (envelope + 1e-3 * tensor.amax((1, 2), keepdim=True) + 1e-9))[:, 0].T.numpy()
    open_share = (np.clip((ratio - 0.6) / 0.9, 0.0, 1.0) ** 2).astype(np.float32)
    reach = np.maximum(1, np.round((DETUNE - 1) * np.arange(bins))).astype(int)
    widened = _widened(open_share, np.minimum(reach, 8))
    return widened.astype(np.float32)


def with_air(gate: FloatArray, sample_rate: int) -> FloatArray:
    """A comb that is open above `AIR_HZ`."""
    hertz = np.maximum(np.linspace(0, sample_rate / 2, gate.shape[0]), 1.0)
    air = np.clip(np.log2(hertz / AIR_HZ) + 0.5, 0.0, 1.0)[:, None]
    return cast("FloatArray", (gate + (1 - gate) * air).astype(np.float32))


def above_bass(bins: int, sample_rate: int) -> FloatArray:
    """0 well below `BASS_HZ`, 1 above, ``[bins, 1]``: two bass lines at once are mud."""
    hertz = np.maximum(np.linspace(0, sample_rate / 2, bins), 1.0)
    return cast("FloatArray", np.clip(np.log2(hertz / BASS_HZ) * 2 + 0.5, 0.0, 1.0)[:, None].astype(np.float32))


def _widened(share: FloatArray, reach: np.ndarray[tuple[int], np.dtype[np.int_]]) -> FloatArray:
    """Running maximum over frequency whose reach grows with it."""
    out = share.copy()
    for width in np.unique(reach):
        rows = np.flatnonzero(reach == width)
        a, b = rows[0], rows[-1] + 1
        for shift in range(-int(width), int(width) + 1):
            c, d = max(0, a + shift), min(len(share), b + shift)
            np.maximum(out[c - shift : d - shift], share[c:d], out=out[c - shift : d - shift])
    return out


def colour(own: Spectrum, other: Spectrum, sample_rate: int) -> FloatArray:
    """Factors ``[bins, frames]`` that give one spectrum the other's envelope, moment by moment, within limits."""
    a, b = levels_db(own, sample_rate, N_FFT), levels_db(other, sample_rate, N_FFT)
    floor = a.max() - 60.0
    gain = np.clip(np.maximum(b, floor) - np.maximum(a, floor), -COLOUR_LIMIT_DB, COLOUR_LIMIT_DB)
    return expand(smoothed(gain.astype(np.float32), 3), sample_rate, N_FFT)


def _as_loud_as(spectrum: Spectrum, reference: Spectrum) -> Spectrum:
    """The frame levels of another spectrum, smoothed over some 90 ms so that nothing flutters."""
    own, wanted = (
        np.sqrt((np.abs(one) ** 2).mean((0, 1)) + 1e-12)[None].astype(np.float32) for one in (spectrum, reference)
    )
    floor = max(float(wanted.max()) * 1e-3, 1e-9)
    ratio = smoothed(wanted, 4) / np.maximum(smoothed(own, 4), floor)
    return cast("Spectrum", (spectrum * np.minimum(ratio, 30.0)[None]).astype(np.complex64))
