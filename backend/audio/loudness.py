"""Loudness, true peak, the limiter every output passes, and fades."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d
from scipy.signal import resample_poly

from backend.audio.waveform import Waveform

OVERSAMPLING = 4
SILENCE_LUFS = -70.0
"""The absolute gate of ITU-R BS.1770-4: below it there is nothing to measure."""

LOOK_AHEAD_S = 0.005
RELEASE_DB_PER_S = 60.0


def true_peak_db(waveform: Waveform) -> float:
    """Highest peak between samples too, in dBTP (four times oversampled, ITU-R BS.1770-4 annex 2); -inf for silence."""
    peak = float(_true_peak_envelope(waveform).max(initial=0.0))
    return 20.0 * float(np.log10(peak)) if peak > 0 else -np.inf


def limit(waveform: Waveform, ceiling_db: float = -1.0) -> Waveform:
    """Keep the true peak below ``ceiling_db`` dBTP without clipping; sound below the ceiling is returned unchanged.

    The needed gain recovers at 60 dB a second, is held for the look-ahead on both sides, then smoothed by a window no
    longer than what it was held for, so at every peak the smoothed gain is at most the needed one. One gain serves all
    channels, which keeps the stereo image.

    Args:
        waveform: any level; silence and single samples are fine.
        ceiling_db: highest true peak, 0 or less.
    """
    ceiling = 10.0 ** (ceiling_db / 20.0)
    for _ in range(3):  # a changing gain can raise a peak between samples by a hundredth of a dB
        envelope = _true_peak_envelope(waveform)
        if envelope.max(initial=0.0) <= ceiling:
            return waveform
        needed_db = -20.0 * np.log10(np.maximum(envelope / (ceiling * 0.999), 1.0))
        recovery = RELEASE_DB_PER_S / waveform.sample_rate * np.arange(waveform.n_samples)
        released_db = np.minimum(np.minimum.accumulate(needed_db - recovery) + recovery, 0.0)
        window = 2 * max(1, round(LOOK_AHEAD_S * waveform.sample_rate)) + 1
        held = minimum_filter1d(10.0 ** (released_db / 20.0), window, mode="nearest")
        gain = np.minimum(uniform_filter1d(held, window, mode="nearest"), 1.0)
        waveform = Waveform((waveform.samples * gain).astype(np.float32), waveform.sample_rate)
    peak = float(_true_peak_envelope(waveform).max(initial=0.0))
    return waveform if peak <= ceiling else Waveform(waveform.samples * (ceiling / peak * 0.9999), waveform.sample_rate)


def integrated_lufs(waveform: Waveform) -> float:
    """Integrated loudness in LUFS (ITU-R BS.1770-4 through pyloudnorm), -inf below the gate at -70 LUFS.

    Sound shorter than the 400 ms block of the standard is repeated until it fills three of them: the mean square over
    the clip is what a listener would get from a loop of it.
    """
    import pyloudnorm

    samples = waveform.samples.T[:, :5]  # the standard weighs at most five channels
    needed = round(1.2 * waveform.sample_rate)
    if len(samples) == 0 or not np.any(samples):
        return -np.inf
    if len(samples) < needed:
        samples = np.tile(samples, (-(-needed // len(samples)), 1))
    with np.errstate(divide="ignore", invalid="ignore"):  # all blocks gated
        loudness = float(pyloudnorm.Meter(waveform.sample_rate).integrated_loudness(samples.astype(np.float64)))
    return loudness if np.isfinite(loudness) and loudness >= SILENCE_LUFS else -np.inf


def normalise_loudness(
    waveform: Waveform, target_lufs: float = -16.0, ceiling_db: float = -1.0, max_gain_db: float = 30.0
) -> Waveform:
    """Bring the integrated loudness to ``target_lufs``, then `limit`; silence is returned unchanged.

    Args:
        waveform: what to level.
        target_lufs: -16 LUFS is common for streamed music.
        ceiling_db: true-peak ceiling of the limiter.
        max_gain_db: near-silence is raised by no more than this, so that a noise floor stays one.
    """
    loudness = integrated_lufs(waveform)
    if loudness == -np.inf:
        return waveform
    gain = 10.0 ** (min(target_lufs - loudness, max_gain_db) / 20.0)
    return limit(Waveform((waveform.samples * gain).astype(np.float32), waveform.sample_rate), ceiling_db)


def fade(waveform: Waveform, fade_in_s: float = 0.01, fade_out_s: float = 0.05) -> Waveform:
    """Raised-cosine fades at both ends, each at most half the sound; the first and last samples become 0."""
    gain = np.ones(waveform.n_samples, dtype=np.float32)
    for seconds, view in ((fade_in_s, gain), (fade_out_s, gain[::-1])):
        length = min(round(seconds * waveform.sample_rate), waveform.n_samples // 2)
        if length > 0:
            view[:length] *= np.sin(0.5 * np.pi * np.arange(length) / length).astype(np.float32) ** 2
    return Waveform(waveform.samples * gain, waveform.sample_rate)


def _true_peak_envelope(waveform: Waveform) -> npt.NDArray[np.float64]:
    """For each sample the highest magnitude, over channels, of the oversampled signal within half a sample of it."""
    if waveform.n_samples == 0:
        return np.zeros(0)
    dense: npt.NDArray[Any] = np.abs(resample_poly(waveform.samples.astype(np.float64), OVERSAMPLING, 1, axis=1)).max(0)
    # Each sample answers for everything up to its neighbours, so that a peak between two samples lowers both.
    near = maximum_filter1d(dense, 2 * OVERSAMPLING - 1, mode="constant")[::OVERSAMPLING]
    return cast("npt.NDArray[np.float64]", np.maximum(near, np.abs(waveform.samples).max(0)))


def finished(audio: npt.NDArray[np.floating[Any]], sample_rate: int, lufs: float = -16.0) -> Waveform:
    """What a model made, ready for ears: nothing that is not finite, faded at both ends, levelled and limited.

    Args:
        audio: ``[samples]`` or ``[channels, samples]``.
        sample_rate: in Hz.
        lufs: integrated loudness wanted.
    """
    clean = np.nan_to_num(np.atleast_2d(audio).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    return limit(normalise_loudness(fade(Waveform(clean, sample_rate)), lufs))
