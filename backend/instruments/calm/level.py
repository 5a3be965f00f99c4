"""Loudness and true-peak limiting of an hour of sound, block by block; `backend.audio.loudness` wants it all at once.

The figures are those of that module: integrated loudness as ITU-R BS.1770-4 gates it, true peaks four times
oversampled. (Its high-pass is the standard's, which pyloudnorm's is not quite: up to 0.05 LU apart.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d
from scipy.signal import firwin, sosfilt

from backend.audio.loudness import OVERSAMPLING, SILENCE_LUFS, limit
from backend.audio.waveform import Waveform

Samples = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

HOP_S = 0.1  # four hops make the 400 ms block of the standard
GATE_LU = -10.0
LIMITED_S = 8.0  # limited at a time …
CONTEXT_S = 1.0  # … with this before and after: a gain of -60 dB recovers in a second
REACH = 10  # samples to either side that the oversampling interpolator hears
AT_ONCE = 65_536  # places


class LoudnessMeter:
    """Integrated and momentary loudness of stereo sound that arrives in blocks.

    Args:
        sample_rate: Hz, a multiple of ten.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sos = k_weighting(sample_rate)
        self._state = np.zeros((len(self._sos), 2, 2))
        self._hop = round(HOP_S * sample_rate)
        self._rest = np.zeros((2, 0))
        self._powers: list[Array] = []

    def add(self, block: Samples) -> None:
        """Hear the next samples, ``[2, samples]``."""
        weighted, self._state = sosfilt(self._sos, block.astype(np.float64), axis=1, zi=self._state)
        weighted = np.concatenate((self._rest, weighted), axis=1)
        whole = weighted.shape[1] // self._hop
        self._rest = weighted[:, whole * self._hop :]
        hops = weighted[:, : whole * self._hop].reshape(2, whole, self._hop)
        self._powers.append((hops**2).mean(2).sum(0))

    def momentary_lufs(self, gain_db: float = 0.0) -> Array:
        """Loudness of every 400 ms, ten times a second, -inf for silence; empty for less than 400 ms of sound."""
        power = self._block_power()
        with np.errstate(divide="ignore"):
            return _lufs(power) + gain_db

    def integrated_lufs(self) -> float:
        """Loudness of all that was heard, twice gated (ITU-R BS.1770-4 equations 5 to 7); -inf for silence."""
        power = self._block_power()
        with np.errstate(divide="ignore"):
            heard = power[_lufs(power) > SILENCE_LUFS]
            if not len(heard):
                return -np.inf
            return float(_lufs(heard[_lufs(heard) > _lufs(heard.mean()) + GATE_LU].mean()))

    def _block_power(self) -> Array:
        powers = np.concatenate(self._powers) if self._powers else np.zeros(0)
        return np.convolve(powers, np.ones(4) / 4, "valid") if len(powers) >= 4 else np.zeros(0)


def k_weighting(sample_rate: int) -> Array:
    """Second-order sections of the K weighting: the standard's two filters at 48 kHz, designed for any rate.

    Their analogue parameters are those with which the bilinear transform gives back the standard's coefficients at
    48 kHz (Brecht De Man, "Evaluation of implementations of the EBU R128 loudness measurement", AES 145, 2018).
    """
    k = np.tan(np.pi * 1681.974450955533 / sample_rate)
    q, high = 0.7071752369554196, 10.0 ** (3.999843853973347 / 20.0)
    middle = high**0.4996667741545416
    shelf = np.array(
        [high + middle * k / q + k * k, 2 * (k * k - high), high - middle * k / q + k * k,
         1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k]
    )  # fmt: skip
    k, q = np.tan(np.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    # The standard leaves the numerator of this filter at 1, -2, 1.
    scale = 1 + k / q + k * k
    highpass = np.array([scale, -2 * scale, scale, scale, 2 * (k * k - 1), 1 - k / q + k * k])
    return np.stack([shelf / shelf[3], highpass / highpass[3]])


def peak_dbtp(samples: Samples, sample_rate: int) -> float:
    """True peak of ``[2, samples]`` in dBTP; only what can hold it is oversampled."""
    step = round(LIMITED_S * sample_rate)
    starts = np.arange(0, samples.shape[1], step)
    highest = np.array([_largest(samples[:, start : start + step]) for start in starts])
    best = 0.0
    for index in np.argsort(-highest):
        if highest[index] * _overshoot() <= best:
            break
        start = int(starts[index])
        best = max(best, _true_peak(samples[:, max(0, start - REACH) : start + step + REACH], best))
    return 20.0 * float(np.log10(best)) if best > 0 else -np.inf


def limit_in_place(
    samples: Samples, sample_rate: int, ceiling_db: float, check: Callable[[], None] = lambda: None
) -> bool:
    """`backend.audio.loudness.limit` on ``[2, samples]`` without a copy of it all; whether anything was too high.

    Stretches of eight seconds that do not exceed the ceiling are not touched.

    Args:
        samples: changed in place.
        sample_rate: Hz.
        ceiling_db: highest true peak in dBTP.
        check: called for every stretch; may raise.
    """
    step, context = round(LIMITED_S * sample_rate), round(CONTEXT_S * sample_rate)
    before, touched, ceiling = np.zeros((2, 0), np.float32), False, 10.0 ** (ceiling_db / 20.0)
    for start in range(0, samples.shape[1], step):
        check()
        stop = min(start + step, samples.shape[1])
        kept = samples[:, max(start, stop - context) : stop].copy()  # the next stretch must see what was here
        after = samples[:, stop : stop + context]
        window = np.concatenate((before, samples[:, start:stop], after), axis=1)
        if _true_peak(window, ceiling) > ceiling:
            limited = limit(Waveform(window, sample_rate), ceiling_db).samples
            samples[:, start:stop] = limited[:, before.shape[1] : before.shape[1] + stop - start]
            touched = True
        before = kept
    return touched


def _lufs(power: Array) -> Array:
    return -0.691 + 10.0 * np.log10(power)


def _largest(samples: Samples) -> float:
    return max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))


def _true_peak(samples: Samples, above: float) -> float:
    """The true peak of ``[2, samples]`` as a magnitude, if it is above a value; else that value.

    A peak between samples is at most `_overshoot` times the largest sample within reach of the interpolator, so only
    where such a sample is near are the three points to the next one worked out.
    """
    best = max(above, _largest(samples))
    if _largest(samples) * _overshoot() <= above:
        return above
    height = maximum_filter1d(np.abs(samples).max(0), 2 * REACH + 1, mode="constant")
    places = np.flatnonzero(height * _overshoot() > above)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples, ((0, 0), (REACH, REACH))), 2 * REACH + 1, axis=1)
    for first in range(0, len(places), AT_ONCE):
        between = windows[:, places[first : first + AT_ONCE]] @ _interpolator()
        best = max(best, float(np.abs(between).max()))
    return best


@cache
def _interpolator() -> Samples:
    """Weights of the samples 10 before to 10 after for the points 0, 1/4, 1/2 and 3/4 after one, ``[21, 4]``.

    Those of `scipy.signal.resample_poly`, with which `backend.audio.loudness` measures true peaks.
    """
    weights = firwin(2 * REACH * OVERSAMPLING + 1, 1.0 / OVERSAMPLING, window=("kaiser", 5.0)) * OVERSAMPLING
    place = np.arange(OVERSAMPLING) - OVERSAMPLING * np.arange(-REACH, REACH + 1)[:, None] + REACH * OVERSAMPLING
    known = (place >= 0) & (place < len(weights))
    return np.where(known, weights[np.clip(place, 0, len(weights) - 1)], 0.0).astype(np.float32)


@cache
def _overshoot() -> float:
    """Largest sum of the magnitudes of an interpolator's weights."""
    return float(np.abs(_interpolator()).sum(0).max())
