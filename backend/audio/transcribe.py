"""One voice to notes: a sung, hummed, whistled or bowed line becomes onsets, pitches, durations and levels.

Pitch is tracked by probabilistic YIN (Mauch and Dixon, "pYIN: a fundamental frequency estimator using probabilistic
threshold distributions", ICASSP 2014, as librosa has it). Notes are the best path through a hidden Markov model with a
state for each semitone and one for silence, in the manner of Mauch et al. ("Computer-aided melody note transcription
using the Tony software", TENOR 2015): vibrato, glides and octave slips of a few frames are cheaper to stay through
than to leave a note for. We fit the tuning of the whole recording first, split a held pitch where the level dips, and
where two strings sound together take the upper one, which in bowed music is the melody.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d, median_filter, uniform_filter1d

from backend.audio.io import resample
from backend.audio.upper_voice import semitones_to_upper
from backend.audio.waveform import FloatArray, Waveform
from backend.errors import AudioError

Array = npt.NDArray[Any]

NOTE = np.dtype([("onset_s", "f4"), ("duration_s", "f4"), ("pitch", "u1"), ("velocity", "u1")])
"""A note of one line: seconds, MIDI pitch, MIDI velocity."""

SAMPLE_RATE, HOP, WINDOW = 22_050, 220, 1024
FRAME_RATE = SAMPLE_RATE / HOP
"""Frames a second of contour and voicing: one each 10 ms."""

RESOLUTION = 0.2  # semitones between pYIN's pitch states
SHORTEST_S, SHORTEST_NOTE_S = 0.5, 0.06
SILENT_DB, SILENT_BELOW_PEAK_DB = -70.0, 45.0
"""A frame is silent below -70 dBFS, or 45 dB below the loudest one."""

SIGMA, OUTLIER_COST = 0.4, 4.0  # spread of a note in semitones; most that one frame far off costs
CHANGE_COST, START_COST, UNVOICED_COST = 6.0, 3.1, 1.0
DIP_DB, DIP_REACH_S = 5.0, 0.12
SCOOP_S = 0.13
NEAR_S = 2.5
PITCHED_SHARE, SURE = 0.12, 0.15  # of the sounding frames; median probability of a pitch (mains hum has 0.01 to 0.07)
LOUDEST_VELOCITY = 104.0
FAINT_DB = 24.0
"""A pitch so far below the usual note is the room, a breath or an echo around the melody, not a note of it."""


@dataclass(frozen=True, eq=False)
class Transcription:
    """What was heard.

    Attributes:
        notes: `NOTE` array sorted by onset.
        contour: fractional MIDI pitch ``[frames]``, NaN where there is none.
        frame_rate: frames a second of the contour.
        voiced_share: share of the frames that are not silent in which there is a pitch.
        tempo_bpm: beats a minute (50 to 180) of the grid that fits the onsets best, 100 when none does.
        tempo_fit: how well it fits, 0 to 1.
    """

    notes: npt.NDArray[np.void]
    contour: FloatArray
    frame_rate: float
    voiced_share: float
    tempo_bpm: float
    tempo_fit: float


def track_pitch(
    waveform: Waveform, *, low_hz: float = 65.0, high_hz: float = 2200.0
) -> tuple[FloatArray, FloatArray, float]:
    """Fundamental frequency of one voice.

    Args:
        waveform: mixed to mono, any rate and level.
        low_hz: lowest pitch looked for, 50 or more.
        high_hz: highest, 3000 or less.

    Returns:
        Fractional MIDI pitch ``[frames]`` with NaN where there is none, the probability of a pitch ``[frames]``, and
        frames a second.

    Raises:
        AudioError: shorter than half a second.
    """
    import librosa

    if waveform.duration_s < SHORTEST_S:
        raise AudioError(f"The recording lasts {waveform.duration_s:.2g} seconds; at least {SHORTEST_S} are needed.")
    samples = resample(waveform.mono(), SAMPLE_RATE).samples[0].astype(np.float64)
    samples /= max(float(np.abs(samples).max()), 1e-9)
    hz, voiced, probability = librosa.pyin(
        samples,
        fmin=max(low_hz, 50.0),
        fmax=min(high_hz, 3000.0),
        sr=SAMPLE_RATE,
        frame_length=WINDOW,
        hop_length=HOP,
        resolution=RESOLUTION,
    )
    with np.errstate(invalid="ignore"):
        contour = np.where(voiced, 69.0 + 12.0 * np.log2(np.asarray(hz) / 440.0), np.nan)
    return contour.astype(np.float32), np.asarray(probability, np.float32), FRAME_RATE


def transcribe(waveform: Waveform, *, low_hz: float = 65.0, high_hz: float = 2200.0) -> Transcription:
    """The notes of one voice.

    Args:
        waveform: mixed to mono; half a second or longer.
        low_hz: lowest pitch looked for.
        high_hz: highest; 3000 for the top of a violin.

    Raises:
        AudioError: silence, nothing but breath or noise, or shorter than half a second.
    """
    if waveform.duration_s < SHORTEST_S:
        raise AudioError(f"The recording lasts {waveform.duration_s:.2g} seconds; at least {SHORTEST_S} are needed.")
    level = _level_db(waveform)
    loudest = float(level.max())
    if loudest < SILENT_DB + 10.0:
        raise AudioError("The recording is silent; check the microphone and record it again.")
    contour, probability, rate = track_pitch(waveform, low_hz=low_hz, high_hz=high_hz)
    frames = min(len(contour), len(level))  # one more is centred on the end of some lengths
    contour, probability, level = contour[:frames], probability[:frames], level[:frames]
    sounding = level > max(SILENT_DB, loudest - SILENT_BELOW_PEAK_DB)
    contour[~sounding] = np.nan
    share = float((np.isfinite(contour) & sounding).sum() / max(int(sounding.sum()), 1))
    pitched = np.isfinite(contour)
    sure = float(np.median(probability[pitched])) if pitched.any() else 0.0
    samples = resample(waveform.mono(), SAMPLE_RATE).samples[0].astype(np.float64)
    notes = _notes(contour, level, samples)
    if len(notes) == 0 or share < PITCHED_SHARE or sure < SURE:
        raise AudioError(
            "There is only breath or noise in the recording and no pitch; hum, sing, whistle or play a line."
        )
    tempo_bpm, fit = fit_tempo(notes["onset_s"], notes["duration_s"])
    return Transcription(notes, contour, rate, share, tempo_bpm, fit)


def fit_tempo(onsets_s: Array, durations_s: Array | None = None) -> tuple[float, float]:
    """The beat whose grid the onsets fit best.

    For a beat of ``T`` seconds and ``k`` steps a beat, the mean of ``cos(2π k d / T)`` over the distances ``d`` of
    onsets up to `NEAR_S` apart is 1 when all lie on one grid; distances instead of times, so that the beat may drift.
    Beats, halves, thirds and quarters are weighed together under a broad prior around 100 beats a minute.

    Args:
        onsets_s: seconds ``[notes]``, sorted.
        durations_s: longer notes weigh more, up to one second.

    Returns:
        Beats a minute from 50 to 180, and the fit from 0 (chance) to 1; ``(100.0, 0.0)`` with fewer than four onsets
        or when no grid fits.
    """
    onsets = np.asarray(onsets_s, np.float64)
    if len(onsets) < 4:
        return 100.0, 0.0
    weights = np.ones(len(onsets)) if durations_s is None else np.sqrt(np.clip(np.asarray(durations_s), 0.05, 1.0))
    first, second = np.triu_indices(len(onsets), 1)
    distance = onsets[second] - onsets[first]
    near = (distance > 0.05) & (distance <= max(NEAR_S, 2.0 * float(np.median(np.diff(onsets)))))
    if near.sum() < 3:
        return 100.0, 0.0
    distance, weight = distance[near], (weights[first] * weights[second])[near]
    tempi = np.geomspace(50.0, 180.0, 400)
    turns = 2 * np.pi * np.outer(tempi / 60.0, distance)
    fits = [np.cos(k * turns) @ weight / weight.sum() for k in (1, 2, 3, 4)]
    on_beat, half, third, quarter = (np.sqrt(np.maximum(fit, 0.0)) for fit in fits)
    fit = 0.4 * on_beat + 0.35 * np.maximum(half, 0.75 * third) + 0.25 * np.maximum(quarter, 0.75 * third)
    notes_a_beat = 60.0 / tempi * (len(onsets) - 1) / max(float(onsets[-1] - onsets[0]), 0.1)
    empty = np.maximum(np.log2(1.0 / notes_a_beat), 0.0)  # a beat of a single line is seldom without a note
    prior = np.exp(-0.5 * (np.log2(tempi / 100.0) / 1.2) ** 2 - 0.5 * (empty / 0.8) ** 2)
    best = int((fit * prior).argmax())
    grid = float(np.max([on_beat[best], half[best], 0.75 * third[best], 0.9 * quarter[best]]))
    chance = 1.0 / np.sqrt(len(onsets))
    share = float(np.clip((grid - chance) / (1 - chance), 0.0, 1.0))
    return (float(tempi[best]), share) if share > 0.2 else (100.0, 0.0)


def _level_db(waveform: Waveform) -> Array:
    """Level of frames of 20 ms in dBFS, one each 10 ms in step with the contour."""
    samples = resample(waveform.mono(), SAMPLE_RATE).samples[0].astype(np.float64)
    power = uniform_filter1d(samples**2, 2 * HOP, mode="constant")[::HOP]
    return cast("Array", 10.0 * np.log10(np.maximum(power, 1e-12)))


def _notes(contour: FloatArray, level: Array, samples: Array) -> npt.NDArray[np.void]:
    """Segment, refine and level the notes; where the upper of two strings is taken, the contour is moved there too."""
    voiced = np.isfinite(contour)
    if voiced.sum() < 5:
        return np.zeros(0, NOTE)
    smooth = np.where(voiced, contour, 0.0).astype(np.float64)
    filtered = median_filter(smooth, 5)
    smooth = np.where(voiced & (filtered > 0), filtered, smooth)
    tuning = _tuning(smooth[voiced])
    path = _path(smooth, voiced, tuning)
    rows = []
    for start, stop, pitch in _without_scoops(_segments(path), smooth):
        for a, b in _reattacks(level, start, stop):
            rows.append((a, b, pitch + _raise(contour, samples, a, b)))
    notes: list[tuple[float, float, int, float]] = []
    last_end = 0
    for a, b, pitch in rows:
        loud = float(np.quantile(level[a:b], 0.8))
        if a > last_end + 1 or not notes:
            a = _attack(level, a, last_end, loud)
        while b > a + 1 and level[b - 1] < loud - 15.0:
            b -= 1
        last_end = b
        if b - a >= SHORTEST_NOTE_S * FRAME_RATE:
            notes.append((a / FRAME_RATE, (b - a) / FRAME_RATE, pitch, loud))
    if not notes:
        return np.zeros(0, NOTE)
    usual = float(np.quantile([note[3] for note in notes], 0.8))
    notes = [note for note in notes if note[3] > usual - FAINT_DB]
    loudest = max(note[3] for note in notes)
    out = np.zeros(len(notes), NOTE)
    for i, (onset, duration, pitch, loud) in enumerate(notes):
        velocity = LOUDEST_VELOCITY * 10 ** ((loud - loudest) / 40.0)
        out[i] = (onset, duration, int(np.clip(pitch, 0, 127)), int(np.clip(velocity, 20, 127)))
    return out


def _tuning(pitch: Array) -> float:
    """By how many semitones, -0.5 to 0.5, the recording is above concert pitch: the circular mean of the fractions."""
    return float(np.angle(np.exp(2j * np.pi * pitch).mean()) / (2 * np.pi))


def _path(pitch: Array, voiced: npt.NDArray[np.bool_], tuning: float) -> npt.NDArray[np.int64]:
    """Best path through the semitones: MIDI pitch of each frame, 0 in silence (Viterbi)."""
    low, high = int(pitch[voiced].min()) - 1, int(pitch[voiced].max()) + 2
    centres = np.arange(low, high + 1)
    off = pitch[:, None] - centres - tuning
    cost = np.minimum(0.5 * (off / SIGMA) ** 2, OUTLIER_COST)
    cost[~voiced] = UNVOICED_COST
    cost = np.concatenate([np.where(voiced, UNVOICED_COST, 0.0)[:, None], cost], 1)
    n, k = cost.shape
    change = np.full((k, k), CHANGE_COST)
    change[0, :], change[:, 0] = START_COST, START_COST
    np.fill_diagonal(change, 0.0)
    total, back = cost[0].copy(), np.zeros((n, k), np.int64)
    for t in range(1, n):
        arriving = total[:, None] + change
        back[t] = arriving.argmin(0)
        total = arriving[back[t], np.arange(k)] + cost[t]
    state = int(total.argmin())
    path = np.zeros(n, np.int64)
    for t in range(n - 1, -1, -1):
        path[t] = state
        state = int(back[t, state])
    return np.where(path > 0, low + path - 1, 0)


def _segments(path: npt.NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Runs of one pitch: first frame, frame after the last, MIDI pitch."""
    edges = np.flatnonzero(np.diff(path, prepend=-1, append=-1))
    return [(int(a), int(b), int(path[a])) for a, b in pairwise(edges) if path[a] > 0]


def _without_scoops(segments: list[tuple[int, int, int]], pitch: Array) -> list[tuple[int, int, int]]:
    """Join the slide into the first note of a phrase, a short neighbouring note that never rests, to that note."""
    joined: list[tuple[int, int, int]] = []
    i = 0
    while i < len(segments):
        start, stop, note = segments[i]
        fresh = not joined or start > joined[-1][1] + 2
        if fresh and i + 1 < len(segments) and stop - start <= SCOOP_S * FRAME_RATE:
            onward, after, target = segments[i + 1]
            slid = np.ptp(pitch[start:stop]) > 0.4
            if onward == stop and abs(target - note) <= 2 and after - onward >= stop - start and slid:
                start, stop, note = start, after, target
                i += 1
        joined.append((start, stop, note))
        i += 1
    return joined


def _reattacks(level: Array, start: int, stop: int) -> list[tuple[int, int]]:
    """Parts of one held pitch that are struck, bowed or sung anew: where the level dips and comes back."""
    reach = round(DIP_REACH_S * FRAME_RATE)
    cuts = [start]
    inner = gaussian_filter1d(level[start:stop], 1.0)
    for t in range(4, len(inner) - 4):
        if inner[t] > inner[max(t - 3, 0) : t + 4].min() or start + t - cuts[-1] < 6:
            continue
        before, after = inner[max(t - reach, 0) : t].max(), inner[t + 1 : t + 1 + reach].max()
        if min(before, after) - inner[t] >= DIP_DB:
            cuts.append(start + t)
    return list(zip(cuts, [*cuts[1:], stop], strict=True))


def _raise(contour: FloatArray, samples: Array, start: int, stop: int) -> int:
    """Move a part of the contour to the upper of two strings that sound in it; by how many semitones."""
    heard = contour[start:stop][np.isfinite(contour[start:stop])]
    if len(heard) < 5:
        return 0
    steady = samples[(start + (stop - start) // 4) * HOP : stop * HOP]
    semitones = semitones_to_upper(steady, SAMPLE_RATE, 440.0 * 2 ** ((float(np.median(heard)) - 69.0) / 12))
    contour[start:stop] += np.float32(semitones)
    return round(semitones)


def _attack(level: Array, start: int, earliest: int, loud: float) -> int:
    """First frame of a note after a rest: where the level comes within 12 dB of the note's."""
    a = start
    while a > max(earliest, start - 8) and level[a - 1] > loud - 12.0:
        a -= 1
    while a < start + 5 and level[a] < loud - 12.0:
        a += 1
    return a
