"""From beats to seconds as a player would: accents, phrase arcs, articulation, a few milliseconds of looseness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backend.corpus.arrangement import CLIP_S, Arrangement, Part
from backend.corpus.instruments import Instrument

LEAD_IN_S = 0.1  # silence before the first beat, so that its attack is whole
SHORTEST_S = 0.06

PERFORMED = np.dtype([("onset_s", "f4"), ("duration_s", "f4"), ("pitch", "u1"), ("velocity", "u1")])
_LEVEL = {"soft": 52.0, "medium": 78.0, "loud": 102.0}


@dataclass(frozen=True)
class PerformedPart:
    """One part in seconds; ``notes`` has dtype `PERFORMED` and is sorted by onset."""

    instrument: Instrument
    role: str
    notes: npt.NDArray[np.void]


def perform(arrangement: Arrangement, rng: np.random.Generator) -> list[PerformedPart]:
    """Play every part of an arrangement.

    Returns:
        Parts in the arrangement's order, times in seconds from the start of the clip.
    """
    articulation = float(rng.choice([0.97, 0.9, 0.8, 0.6], p=[0.35, 0.35, 0.2, 0.1]))
    looseness_s = float(rng.uniform(0.0, 0.006))
    return [perform_part(part, arrangement, articulation, looseness_s, rng) for part in arrangement.parts]


def perform_part(
    part: Part, arrangement: Arrangement, articulation: float, looseness_s: float, rng: np.random.Generator
) -> PerformedPart:
    """Play one part.

    Args:
        part: in beats.
        arrangement: which it belongs to.
        articulation: sounding share of the written durations.
        looseness_s: spread of the onsets.
        rng: source of randomness.
    """
    beat_s = 60.0 / arrangement.tempo_bpm
    notes = part.notes
    onset, duration = notes[:, 0], notes[:, 1]
    in_bar = (onset - arrangement.first_downbeat) % arrangement.beats_per_bar
    level = _LEVEL[arrangement.dynamics] + rng.normal(0, 4)
    if part.performed:
        # Real playing keeps its accents and timing; only the overall level follows the clip's dynamics.
        velocity = notes[:, 3] * (0.6 + 0.4 * level / 90)
        onset_s = onset * beat_s
        duration_s = duration * beat_s
    else:
        phrase = 2 * np.pi * (onset / (4 * arrangement.beats_per_bar) + rng.uniform())
        written = (notes[:, 3] - 80.0) * 0.6
        accent = np.where(np.abs(in_bar) < 0.05, 10.0, np.where(np.abs(onset - np.round(onset)) < 0.05, 5.0, -4.0))
        velocity = level + written + accent + 6 * np.sin(phrase) + rng.normal(0, 4, len(notes))
        jitter = np.clip(rng.normal(0, looseness_s, len(notes)), -0.012, 0.012)
        onset_s = onset * beat_s + jitter
        held = part.role == "pad" or part.instrument.family in ("organ",)
        duration_s = np.maximum(duration * beat_s * (0.98 if held else articulation), SHORTEST_S)
    onset_s = onset_s + LEAD_IN_S
    keep = (onset_s < CLIP_S - 0.05) & (onset_s >= 0)
    out = np.zeros(int(keep.sum()), PERFORMED)
    out["onset_s"] = onset_s[keep]
    out["duration_s"] = np.minimum(duration_s[keep], CLIP_S - onset_s[keep])
    out["pitch"] = np.clip(notes[keep, 2], 0, 127)
    out["velocity"] = np.clip(velocity[keep], 12, 127)
    out = out[np.lexsort((out["pitch"], out["onset_s"]))]
    return PerformedPart(part.instrument, part.role, _free_keys(out))


def _free_keys(notes: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Notes that end before their key is struck again: a key cannot be held twice. Sorted by onset in and out."""
    last: dict[int, int] = {}
    keep = np.ones(len(notes), bool)
    for i, pitch in enumerate(notes["pitch"]):
        before = last.get(int(pitch))
        if before is not None:
            gap = notes["onset_s"][i] - notes["onset_s"][before]
            if gap < 0.03:
                keep[i] = False
                notes["duration_s"][before] = max(notes["duration_s"][before], notes["duration_s"][i])
                continue
            notes["duration_s"][before] = min(notes["duration_s"][before], gap - 0.005)
        last[int(pitch)] = i
    return notes[keep]
