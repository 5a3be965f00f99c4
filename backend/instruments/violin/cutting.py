"""Long recordings into clips, at phrase ends; how clipped a recording is; whether two are the same sound."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import uniform_filter1d

from backend.audio.loudness import fade
from backend.audio.spectral import LogMel
from backend.audio.waveform import FloatArray, Waveform

Array = npt.NDArray[Any]

SHORTEST_S, USUAL_S, LONGEST_S = 4.0, 10.0, 15.0
LEVEL_RATE = 50.0
DB_PER_S_OFF = 1.5
"""A cut may lie a second further from the usual length for a place this much quieter."""

CLIPPED_RUN, CLIPPED_NEAR, CLIPPED_FROM = 4, 1e-4, 0.5
PRINT_COLUMNS, PRINT_BANDS, SAME_COSINE, SAME_LENGTH = 64, 32, 0.95, 0.05
"""The same sound through MP3 or Vorbis at another level keeps a cosine of 0.98; other passages stay below 0.8."""


def cut(waveform: Waveform) -> list[Waveform]:
    """Clips of 4 to 15 s, cut at the quietest places about 10 s apart; a shorter recording stays whole.

    Args:
        waveform: mono.
    """
    level = _level_db(waveform)
    start, duration = 0.0, waveform.duration_s
    clips = []
    while duration - start > LONGEST_S:
        first = start + SHORTEST_S
        last = min(start + LONGEST_S, duration - SHORTEST_S)
        times = np.arange(int(first * LEVEL_RATE), int(last * LEVEL_RATE)) / LEVEL_RATE
        loss = level[(times * LEVEL_RATE).round().astype(int)] + DB_PER_S_OFF * np.abs(times - start - USUAL_S)
        stop = float(times[loss.argmin()])
        clips.append(waveform.slice(start, stop))
        start = stop
    clips.append(waveform.slice(start, duration))
    return [fade(clip, 0.01, 0.03) for clip in clips] if len(clips) > 1 else clips


def clipped_share(waveform: Waveform) -> float:
    """Share of the samples that lie in runs of four or more at the highest level, 0 to 1; worst channel.

    Only a peak of half of full scale and more counts, since a faint recording repeats its few steps.
    """
    worst = 0.0
    for samples in waveform.samples:
        peak = float(np.abs(samples).max(initial=0.0))
        if peak < CLIPPED_FROM:
            continue
        flat = (samples >= peak - CLIPPED_NEAR).astype(int) - (samples <= CLIPPED_NEAR - peak).astype(int)
        edges = np.flatnonzero(np.diff(flat, prepend=2, append=2))
        lengths = np.diff(edges)
        runs = lengths[(flat[edges[:-1]] != 0) & (lengths >= CLIPPED_RUN)]
        worst = max(worst, float(runs.sum()) / len(samples))
    return worst


def fingerprint(waveform: Waveform) -> FloatArray:
    """Length in seconds, then a coarse log-mel picture of the whole, free of level, ``[1 + 32 * 64]``."""
    mel = LogMel(waveform.sample_rate, 2048, 480, PRINT_BANDS, f_max=min(8_000.0, waveform.sample_rate / 2), clamp=0.3)
    samples = waveform.samples[0] / max(float(np.abs(waveform.samples[0]).max(initial=0.0)), 1e-9)
    with torch.no_grad():
        picture = mel(torch.from_numpy(samples))[None, None]
        picture = torch.nn.functional.interpolate(picture, (PRINT_BANDS, PRINT_COLUMNS), mode="area")
    flat = picture.numpy().reshape(PRINT_BANDS, PRINT_COLUMNS)
    flat = (flat - flat.mean(1, keepdims=True)).ravel()  # without its mean spectrum: what is left is what is played
    flat = flat / max(float(np.linalg.norm(flat)), 1e-9)
    return cast("FloatArray", np.concatenate([[waveform.duration_s], flat]).astype(np.float32))


def same_sound(a: FloatArray, b: FloatArray) -> bool:
    """Whether two fingerprints are of one recording at another level, rate or coding."""
    return bool(abs(a[0] - b[0]) < SAME_LENGTH * max(a[0], b[0]) and float(a[1:] @ b[1:]) > SAME_COSINE)


def _level_db(waveform: Waveform) -> Array:
    """Level at 50 frames a second in dBFS, over 150 ms."""
    hop = round(waveform.sample_rate / LEVEL_RATE)
    power = uniform_filter1d(waveform.samples[0].astype(np.float64) ** 2, round(0.15 * waveform.sample_rate))[::hop]
    return cast("Array", 10.0 * np.log10(np.maximum(power, 1e-10)))
