"""How calm notes are styled: a transparent, linear sum of eight cues, each from 0 to 1 with 1 for calm.

Tempo, mode, register, dynamics and articulation follow Eerola, Friberg and Bresin ("Emotional expression in music:
contribution, linearity, and additivity of primary musical cues", Frontiers in Psychology 4:487, 2013): listeners'
ratings are explained by cues that are linear and simply add up, ranked mode, tempo, register, dynamics, articulation
(timbre, their sixth, is not in the notes). Dissonance, density and regularity come from the review of Gabrielsson and
Lindström ("The role of structure in the musical expression of emotions", in Handbook of Music and Emotion, 2010). The
ranking is theirs; the size of each weight and the ends of each scale are ours and stand in `CUES`.

The score describes a style. It was fitted to nobody's ratings, measures no effect on a listener and claims none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backend.audio.midi import Notes
from backend.errors import AudioError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Cue:
    """One cue: its weight, what is measured, the readings that count as 1 and as 0, and what a low value means."""

    weight: float
    unit: str
    calm: float
    restless: float
    lowered_by: str


CUES: Mapping[str, Cue] = {
    "mode": Cue(0.20, "0 minor, 1 major", 1.0, 0.0, "a minor mode"),
    "tempo": Cue(0.19, "beats a minute", 60.0, 140.0, "a fast tempo"),
    "register": Cue(0.14, "semitones from E4, less an octave", 0.0, 20.0, "very low or very high notes"),
    "dynamics": Cue(0.12, "mean MIDI velocity", 52.0, 112.0, "loud playing"),
    "articulation": Cue(0.10, "sounding share of the time to the next note", 0.95, 0.25, "detached notes"),
    "dissonance": Cue(0.10, "mean dyadic consonance (Huron 1994)", 0.74, -0.30, "dissonant intervals"),
    "density": Cue(0.09, "notes a second", 2.0, 10.0, "many notes a second"),
    "regularity": Cue(0.06, "pairwise variability of onsets, nPVI", 15.0, 120.0, "an irregular rhythm"),
}
"""Weights add up to 1."""

CONSONANCE = np.array([-1.428, -0.582, 0.594, 0.386, 1.240, -0.453])
"""Of interval classes 1 to 6: Huron, "Interval-class content in equally tempered pitch-class sets", 1994."""

CENTRE_PITCH, FREE_SEMITONES = 64.0, 12.0  # E4; a mean within an octave of it costs nothing
CHORD_S = 0.04  # onsets closer than this are one: a rolled or humanised chord


@dataclass(frozen=True)
class Reading:
    """One bar of the explanation: cue, value 0 to 1, weight, points lost, what was measured, and a sentence."""

    cue: str
    value: float
    weight: float
    lost: float
    measured: float
    sentence: str


def calm_cues(notes: Notes, tempo_bpm: float, mode: str) -> dict[str, float]:
    """Every cue from 0 to 1, in the order of `CUES`; linear between its two ends and flat beyond them.

    Args:
        notes: table of `backend.audio.midi.NOTE`; drums are ignored.
        tempo_bpm: of the felt beat.
        mode: ``major`` or ``minor``.

    Raises:
        AudioError: no pitched notes.
    """
    return {name: _value(name, reading) for name, reading in measure(notes, tempo_bpm, mode).items()}


def calm_score(notes: Notes, tempo_bpm: float, mode: str) -> float:
    """Weighted sum of `calm_cues`, 0 to 1.

    Raises:
        AudioError: no pitched notes.
    """
    return weighted(calm_cues(notes, tempo_bpm, mode))


def weighted(cues: Mapping[str, float]) -> float:
    """The score of cues that are already known, 0 to 1."""
    return float(sum(cue.weight * cues[name] for name, cue in CUES.items()))


def explain(notes: Notes, tempo_bpm: float, mode: str) -> tuple[Reading, ...]:
    """What makes up the score, the cue that lowers it most first; ``1 - sum(lost)`` is `calm_score`.

    Raises:
        AudioError: no pitched notes.
    """
    readings = []
    for name, measured in measure(notes, tempo_bpm, mode).items():
        cue, value = CUES[name], _value(name, measured)
        lost = cue.weight * (1.0 - value)
        shown = f"{name}: {measured:.3g} ({cue.unit})"
        sentence = f"{shown}; lowered by {cue.lowered_by}." if lost >= 0.005 else f"{shown}; calm."
        readings.append(Reading(name, value, cue.weight, lost, measured, sentence))
    return tuple(sorted(readings, key=lambda reading: -reading.lost))


def measure(notes: Notes, tempo_bpm: float, mode: str) -> dict[str, float]:
    """What each cue reads, in the unit that `CUES` names.

    Raises:
        AudioError: no pitched notes.
    """
    notes = notes[~notes["is_drum"]]
    if not len(notes):
        raise AudioError("There are no pitched notes to judge.")
    lengths = (notes["end_s"] - notes["start_s"]).astype(np.float64)
    height = float(np.average(notes["pitch"], weights=lengths)) - CENTRE_PITCH
    span_s = float(notes["end_s"].max() - notes["start_s"].min())
    return {
        "mode": float(mode == "major"),
        "tempo": float(tempo_bpm),
        "register": max(0.0, abs(height) - FREE_SEMITONES),
        "dynamics": float(notes["velocity"].mean()),
        "articulation": articulation(notes),
        "dissonance": consonance(notes),
        "density": len(notes) / max(span_s, 1.0),
        "regularity": variability(notes),
    }


def articulation(notes: Notes) -> float:
    """Mean share of the time to the next onset of the same part that a note sounds, at most 1; 1 when alone."""
    shares: list[Array] = []
    for part in np.unique(notes["part"]):
        mine = notes[notes["part"] == part]
        onsets = _onsets(mine)
        if len(onsets) < 2:
            continue
        following = np.searchsorted(onsets, mine["start_s"] + CHORD_S, side="right")
        known = following < len(onsets)
        wait_s = onsets[np.minimum(following, len(onsets) - 1)] - mine["start_s"]
        length_s = mine["end_s"] - mine["start_s"]
        shares.append(np.minimum(length_s[known] / np.maximum(wait_s[known], 1e-6), 1.0))
    return float(np.concatenate(shares).mean()) if shares else 1.0


def consonance(notes: Notes) -> float:
    """Mean consonance of the intervals that sound together, over the time at which any do; an octave is no interval.

    Each sonority counts with its length and with the mean of its pitch-class pairs. A major or minor triad reads 0.74,
    a semitone -1.43, silence and single notes that of a triad.
    """
    times = np.concatenate((notes["start_s"], notes["end_s"]))
    change = np.concatenate((np.ones(len(notes)), -np.ones(len(notes))))
    pitch_class = np.tile(notes["pitch"].astype(np.int64) % 12, 2)
    points, place = np.unique(times, return_inverse=True)
    if len(points) < 2:
        return CUES["dissonance"].calm
    counts = np.zeros((len(points), 12))
    np.add.at(counts, (place, pitch_class), change)
    sounding = np.cumsum(counts, axis=0)[:-1] > 0.5
    pairs = np.stack([(sounding & np.roll(sounding, -k, axis=1)).sum(1) for k in range(1, 7)], axis=1).astype(
        np.float64
    )
    pairs[:, 5] /= 2  # a tritone is found from both of its notes
    total = pairs.sum(1)
    seconds = np.diff(points) * (total > 0)
    if seconds.sum() <= 0:
        return CUES["dissonance"].calm
    return float((pairs @ CONSONANCE / np.maximum(total, 1.0) * seconds).sum() / seconds.sum())


def dissonance(notes: Notes) -> float:
    """0 for the consonance of a triad or better, rising linearly to 1; what the calm score's cue leaves out."""
    return 1.0 - _value("dissonance", consonance(notes))


def variability(notes: Notes) -> float:
    """Normalised pairwise variability index of the times between onsets (Grabe and Low 2002): 0 even, at most 200."""
    waits = np.diff(_onsets(notes))
    if len(waits) < 2:
        return 0.0
    return float(200.0 * np.mean(np.abs(np.diff(waits)) / (waits[1:] + waits[:-1])))


def _onsets(notes: Notes) -> Array:
    """Times at which something begins, in order, those of one chord merged into its first."""
    starts = np.sort(notes["start_s"].astype(np.float64))
    kept = [float(starts[0])] if len(starts) else []
    for start in starts[1:]:
        if start - kept[-1] > CHORD_S:
            kept.append(float(start))
    return np.array(kept)


def _value(name: str, measured: float) -> float:
    cue = CUES[name]
    return float(np.clip((measured - cue.restless) / (cue.calm - cue.restless), 0.0, 1.0))
