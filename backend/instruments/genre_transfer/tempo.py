"""Beats of a clip, and the style's beats counted at the level that is nearest to the content's.

Tempo from `backend.metrics.rhythm`, beats by dynamic programming over the onset curve (Ellis, "Beat tracking by dynamic
programming", 2007). Produced music keeps its tempo, so beats that lie within `STEADY_S` of a line are put on it: a
groove that follows tracked beats frame by frame would limp by the frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from backend.audio.waveform import Waveform
from backend.metrics.rhythm import CURVE_RATE, estimate_tempo, onset_curves

Times = npt.NDArray[np.float64]

TIGHTNESS = 100.0
STEADY_S = 0.025
KICK_FRAMES = 4
SHORTEST_S, LONGEST_S = 2.0, 30.0
"""Nothing is tracked in less; of more, the tempo is estimated on so much from the middle."""


@dataclass(frozen=True)
class Beats:
    """Beat times in seconds, increasing, from the first before or at 0 to the first after the end; none without a beat.

    Attributes:
        times_s: ``[beats]``.
        tempo_bpm: 0 where there is no beat.
    """

    times_s: Times
    tempo_bpm: float

    def __len__(self) -> int:
        return len(self.times_s)

    @property
    def period_s(self) -> float:
        """Median distance of two beats."""
        return 60.0 / self.tempo_bpm if self.tempo_bpm else 0.0


NO_BEATS = Beats(np.zeros(0), 0.0)


def track(waveform: Waveform) -> Beats:
    """Beats of the whole clip; `NO_BEATS` for what is silent, shorter than two seconds or without onsets."""
    duration_s = waveform.duration_s
    if duration_s < SHORTEST_S:
        return NO_BEATS
    skipped = max(0.0, (duration_s - LONGEST_S) / 2)
    tempo = estimate_tempo(waveform.slice(skipped, skipped + LONGEST_S))
    curve = onset_curves(waveform)[0]
    if tempo <= 0 or len(curve) < CURVE_RATE or curve.max() <= 0:
        return NO_BEATS
    frames = _best_path(curve / max(float(curve.std()), 1e-9), CURVE_RATE * 60.0 / tempo)
    if len(frames) < 4:
        return NO_BEATS
    # the curve's frame k holds the rise from k to k + 2, whose window of 1024 samples reaches ahead of the onset
    return _to_the_ends(_on_the_kick(_steadied((frames + 2.0) / CURVE_RATE), waveform), duration_s)


def _on_the_kick(times: Times, waveform: Waveform) -> Times:
    """The beats, or the points half-way between them where the bass strikes on nearly all of those, and harder.

    Hats like to play off-beat, four kicks a bar do not; a syncopated kick strikes between beats now and then.
    """
    bass = onset_curves(waveform)[2]
    width = np.arange(-KICK_FRAMES, KICK_FRAMES + 1)

    def strength(moments: Times, share: float) -> float:
        frames = np.round(moments * CURVE_RATE - 2.0).astype(int)
        near = (frames[:, None] + width).clip(0, len(bass) - 1)
        return float(np.quantile(bass[near].max(1), share))

    between = (times[:-1] + times[1:]) / 2
    return between if strength(between, 0.25) > strength(times, 0.5) else times


def _best_path(curve: npt.NDArray[np.float64], period: float) -> Times:
    """Frames of the beats: the sum of onset strengths less a penalty on the squared log of each step to the period."""
    steps = np.arange(-round(2 * period), -round(period / 2) + 1)
    penalty = TIGHTNESS * np.log(-steps / period) ** 2
    score, back = curve.copy(), np.full(len(curve), -1)
    for frame in range(len(curve)):
        reach = frame + steps
        inside = reach >= 0
        if not inside.any():
            continue
        candidates = score[reach[inside]] - penalty[inside]
        best = int(candidates.argmax())
        if candidates[best] > 0:
            score[frame] += candidates[best]
            back[frame] = reach[inside][best]
    tail = max(0, len(curve) - round(period))
    frame, path = tail + int(score[tail:].argmax()), list[int]()
    while frame >= 0:
        path.append(frame)
        frame = int(back[frame])
    return np.array(path[::-1], np.float64)


def _steadied(times: Times) -> Times:
    """The beats on their line when they lie near one; the line is robust to a few strays."""
    index = np.arange(len(times))
    kept = np.ones(len(times), bool)
    for _ in range(3):
        slope, start = np.polyfit(index[kept], times[kept], 1)
        off = np.abs(times - (start + slope * index))
        kept = off <= max(STEADY_S, float(np.median(off)) * 2)
    if kept.mean() > 0.6 and float(np.median(off)) < STEADY_S:
        return cast("Times", start + slope * index)
    return times


def _to_the_ends(times: Times, duration_s: float) -> Beats:
    period = float(np.median(np.diff(times)))
    before = int(np.ceil(max(0.0, times[0]) / period))
    after = int(np.ceil(max(0.0, duration_s - times[-1]) / period))
    first, last = times[0] - period * np.arange(before, 0, -1), times[-1] + period * np.arange(1, after + 1)
    return Beats(np.concatenate((first, times, last)), 60.0 / period)


def at_the_level_of(beats: Beats, tempo_bpm: float) -> Beats:
    """The same beats counted at double or half time where that is nearer to a tempo (in octaves).

    Stretching a drum loop of 174 beats a minute to 90 makes mud of it; counted as 87 it fits as it is.
    """
    if not len(beats) or tempo_bpm <= 0:
        return beats
    level = round(np.clip(np.log2(tempo_bpm / beats.tempo_bpm), -2, 2))
    for _ in range(abs(level)):
        beats = _doubled(beats) if level > 0 else Beats(beats.times_s[::2], beats.tempo_bpm / 2)
    return beats


def _doubled(beats: Beats) -> Beats:
    half = (beats.times_s[:-1] + beats.times_s[1:]) / 2
    times = np.empty(2 * len(beats) - 1)
    times[::2], times[1::2] = beats.times_s, half
    return Beats(times, 2 * beats.tempo_bpm)
