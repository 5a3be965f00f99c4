"""Sample-by-sample loops that numpy cannot express, compiled: band-limited oscillators and a state-variable filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from numba import njit

Samples = npt.NDArray[np.float32]

Function = TypeVar("Function", bound=Callable[..., Any])

SINE, SAW, SQUARE = 0, 1, 2
LOW, BAND, HIGH = 0, 1, 2


def compiled(function: Function) -> Function:
    """To machine code at its first call, kept on disk for the next process."""
    return cast("Function", njit(cache=True, fastmath=True)(function))


@compiled
def _blep(phase: float, step: float) -> float:
    """Correction of a unit step's aliases within a sample of it (polynomial band-limited step)."""
    if phase < step:
        t = phase / step
        return float(2.0 * t - t * t - 1.0)
    if phase > 1.0 - step:
        t = (phase - 1.0) / step
        return float(t * t + 2.0 * t + 1.0)
    return 0.0


@compiled
def unison(hertz: Samples, ratios: Samples, phases: Samples, pans: Samples, sample_rate: float) -> Samples:
    """Detuned saws of one note, spread over the stereo field: ``[2, samples]``, each saw at ``1 / sqrt(voices)``.

    Args:
        hertz: pitch at each sample ``[samples]``.
        ratios: of each saw to it ``[voices]``.
        phases: at the beginning, in turns ``[voices]``.
        pans: 0 left to 1 right ``[voices]``.
        sample_rate: Hz.
    """
    out = np.zeros((2, len(hertz)), np.float32)
    scale = 1.0 / np.sqrt(len(ratios))
    for v in range(len(ratios)):
        left, right = scale * np.sqrt(1.0 - pans[v]), scale * np.sqrt(pans[v])
        phase = phases[v]
        for i in range(len(hertz)):
            step = hertz[i] * ratios[v] / sample_rate
            value = 2.0 * phase - 1.0 - _blep(phase, step)
            out[0, i] += left * value
            out[1, i] += right * value
            phase += step
            if phase >= 1.0:
                phase -= 1.0
    return out


@compiled
def oscillator(hertz: Samples, shape: int, phase: float, width: float, sample_rate: float) -> Samples:
    """A sine, saw or pulse of varying pitch ``[samples]``, without audible aliases.

    Args:
        hertz: pitch at each sample ``[samples]``.
        shape: `SINE`, `SAW` or `SQUARE`.
        phase: at the beginning, in turns.
        width: share of the pulse that is high.
        sample_rate: Hz.
    """
    out = np.empty(len(hertz), np.float32)
    for i in range(len(hertz)):
        step = hertz[i] / sample_rate
        if shape == 0:
            out[i] = np.sin(2 * np.pi * phase)
        elif shape == 1:
            out[i] = 2.0 * phase - 1.0 - _blep(phase, step)
        else:
            fall = phase - width
            if fall < 0:
                fall += 1.0
            out[i] = (1.0 if phase < width else -1.0) + _blep(phase, step) - _blep(fall, step)
        phase += step
        if phase >= 1.0:
            phase -= 1.0
    return out


@compiled
def sweep(sound: Samples, cutoff_hz: Samples, resonance: float, mode: int, sample_rate: float) -> Samples:
    """A two-pole filter whose cutoff moves: the trapezoidal state-variable filter (Zavalishin, 2012, section 4).

    Args:
        sound: ``[channels, samples]``.
        cutoff_hz: at each sample ``[samples]``.
        resonance: quality factor; .7 has no peak.
        mode: `LOW`, `BAND` or `HIGH`.
        sample_rate: Hz.
    """
    out = np.empty_like(sound)
    k = 1.0 / resonance
    for c in range(sound.shape[0]):
        low_state, band_state = 0.0, 0.0
        g, a1, last = 0.0, 0.0, -1.0
        for i in range(sound.shape[1]):
            if cutoff_hz[i] != last:
                last = cutoff_hz[i]
                g = np.tan(np.pi * min(last, 0.45 * sample_rate) / sample_rate)
                a1 = 1.0 / (1.0 + g * (g + k))
            x = sound[c, i]
            v3 = x - low_state
            band = a1 * band_state + g * a1 * v3
            low = low_state + g * band
            band_state = 2.0 * band - band_state
            low_state = 2.0 * low - low_state
            if mode == 0:
                out[c, i] = low
            elif mode == 1:
                out[c, i] = k * band
            else:
                out[c, i] = x - k * band - low
    return out
