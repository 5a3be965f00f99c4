"""Hits of a percussive part: found to the millisecond, told apart by band, cut out and set down somewhere else."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np
import numpy.typing as npt

from backend.audio.waveform import FloatArray
from backend.instruments.genre_transfer.separation import spectrum_of

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

N_FFT, HOP = 1024, 256
BAND_EDGES_HZ = (30.0, 150.0, 800.0, 4000.0, 16000.0)
"""Kick; toms and the body of a snare; its snap; hats and cymbals."""

THRESHOLD, ABOVE_NEIGHBOURS = 0.08, 1.4
NEIGHBOURS_S, CLOSEST_S, ATTACK_S = 0.1, 0.05, 0.06
LEAD_S, FADE_S = 0.004, 0.012
LONGEST_HIT_S = 0.9


@dataclass(frozen=True)
class Hits:
    """Where hits start and how loud they are.

    Attributes:
        starts: ``[hits]`` samples, increasing.
        bands: ``[hits, 4]`` magnitudes in the bands of `BAND_EDGES_HZ` during the attack.
    """

    starts: Indices
    bands: Floats

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def hats(self) -> npt.NDArray[np.bool_]:
        """Which ones are cymbals and shakers: bright, with next to nothing of a kick or the body of a snare."""
        if not len(self):
            return np.zeros(0, np.bool_)
        share = np.sqrt(self.bands / (self.bands.max(0) + 1e-9))
        return cast("npt.NDArray[np.bool_]", (share[:, 3] > 1.2 * share[:, :2].max(1)) & (share[:, 0] < 0.4))

    def chosen(self, which: npt.NDArray[np.bool_]) -> Hits:
        """Some of them."""
        return Hits(self.starts[which], self.bands[which])


def find_hits(percussive: FloatArray, sample_rate: int) -> Hits:
    """Hits of a percussive part ``[channels, samples]``: peaks of the rise of its four bands' compressed levels."""
    if percussive.shape[1] < N_FFT or not np.any(percussive):
        return Hits(np.zeros(0, np.int64), np.zeros((0, 4)))
    magnitude = np.abs(spectrum_of(percussive, N_FFT, HOP)).mean(0)
    hertz = np.linspace(0, sample_rate / 2, magnitude.shape[0])
    edges = np.searchsorted(hertz, BAND_EDGES_HZ)
    bands = np.stack([magnitude[a : max(b, a + 1)].mean(0) for a, b in pairwise(edges)])
    level = np.sqrt(bands / max(float(bands.max()), 1e-9))
    rise = np.maximum(np.diff(level, axis=1, prepend=level[:, :1]), 0)
    rise += np.pad(rise[:, :-1], ((0, 0), (1, 0)))
    curve = rise.max(0) + 0.5 * rise.mean(0)
    frames = _peaks(curve, sample_rate / HOP)
    frames = frames[curve[frames] >= THRESHOLD * curve.max()]
    width = max(1, round(ATTACK_S * sample_rate / HOP))
    loud = np.stack([bands[:, f : f + width].max(1) for f in frames]) if len(frames) else np.zeros((0, 4))
    starts = np.array([_start(percussive, int(frame) * HOP, sample_rate) for frame in frames], np.int64)
    starts, kept = np.unique(starts, return_index=True)
    return Hits(starts, loud[kept].astype(np.float64))


def _peaks(curve: FloatArray, frame_rate: float) -> Indices:
    """Local maxima above their neighbourhood's mean, the stronger one first, at least `CLOSEST_S` apart."""
    width, apart = max(1, round(NEIGHBOURS_S * frame_rate)), max(1, round(CLOSEST_S * frame_rate))
    mean = np.convolve(np.pad(curve, width, mode="edge"), np.ones(2 * width + 1) / (2 * width + 1), "valid")
    inner = np.pad(curve, 1)
    candidates = np.flatnonzero((curve >= inner[:-2]) & (curve > inner[2:]) & (curve > ABOVE_NEIGHBOURS * mean))
    free, kept = np.ones(len(curve), bool), list[int]()
    for frame in candidates[np.argsort(-curve[candidates])]:
        if free[frame]:
            kept.append(int(frame))
            free[max(0, frame - apart) : frame + apart + 1] = False
    return np.array(sorted(kept), np.int64)


def _start(samples: FloatArray, near: int, sample_rate: int) -> int:
    """The millisecond in which the sound around ``near`` rises most steeply."""
    step = max(1, sample_rate // 1000)
    first = max(0, near - 30 * step)
    piece = samples[:, first : near + 15 * step]
    count = piece.shape[1] // step
    if count < 3:
        return first
    energy = (piece[:, : count * step].reshape(len(piece), count, step) ** 2).sum((0, 2)) + 1e-12
    steepest = int(np.diff(np.sqrt(energy)).argmax())
    return first + step * (steepest + 1)


def slice_of(samples: FloatArray, hits: Hits, index: int, sample_rate: int) -> FloatArray:
    """A hit until the next one, faded at both ends, beginning `LEAD_S` before its transient."""
    lead, fade = round(LEAD_S * sample_rate), round(FADE_S * sample_rate)
    start = max(0, int(hits.starts[index]) - lead)
    stop = int(hits.starts[index + 1]) - lead if index + 1 < len(hits) else samples.shape[1]
    piece = samples[:, start : min(stop, start + round(LONGEST_HIT_S * sample_rate))].copy()
    fade = min(fade, piece.shape[1] // 2)
    if fade:
        piece[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
        rise = min(lead // 2, fade)
        piece[:, :rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    return piece


def place(out: FloatArray, start: int, piece: FloatArray, gain: float, until: int, sample_rate: int) -> None:
    """Add a slice, its transient at ``start``, choked soon after ``until`` where the next one plays."""
    begin = start - round(LEAD_S * sample_rate)
    fade = round(FADE_S * sample_rate)
    length = min(piece.shape[1], max(0, until + fade - begin), out.shape[1] - begin)
    skip = max(0, -begin)
    if length <= skip:
        return
    piece = piece[:, :length].copy()
    if begin + length > until and length > fade:
        piece[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    out[:, begin + skip : begin + length] += np.float32(gain) * piece[:, skip:]
