"""What is true of a clip, measured from the notes that sound and the choices that made it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from backend.corpus.arrangement import CLIP_S, Arrangement
from backend.corpus.perform import PerformedPart
from backend.corpus.theory import tempo_class

_MOODS: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("minor", "slow"): {
        "soft": ("sad", "melancholic"),
        "medium": ("sad", "melancholic", "dark"),
        "loud": ("dark", "dramatic", "solemn"),
    },
    ("minor", "medium"): {"soft": ("melancholic",), "medium": ("melancholic", "dark"), "loud": ("dramatic", "dark")},
    ("minor", "fast"): {
        "soft": ("tense",),
        "medium": ("tense", "dramatic"),
        "loud": ("dramatic", "tense", "energetic"),
    },
    ("major", "slow"): {
        "soft": ("calm", "peaceful", "gentle"),
        "medium": ("calm", "peaceful", "warm"),
        "loud": ("majestic",),
    },
    ("major", "medium"): {
        "soft": ("gentle", "warm"),
        "medium": ("happy", "warm", "bright"),
        "loud": ("happy", "bright"),
    },
    ("major", "fast"): {
        "soft": ("happy", "bright"),
        "medium": ("happy", "bright"),
        "loud": ("energetic", "happy", "bright"),
    },
    ("ambiguous", "slow"): {"soft": ("calm",)},
    ("ambiguous", "fast"): {"loud": ("energetic",)},
}
PROMINENCE = ("lead", "chords", "drums", "counter", "bass", "pad")


def mood(mode: str, speed: str, dynamics: str, rng: np.random.Generator) -> str:
    """One mood word that mode, tempo class and dynamics allow; empty when they say nothing definite."""
    words = _MOODS.get((mode, speed), {}).get(dynamics, ())
    return words[rng.integers(len(words))] if words else ""


def density(parts: Sequence[PerformedPart]) -> str:
    """``sparse``, ``moderate`` or ``busy`` by distinct onsets a second (below 1.8, above 6)."""
    onsets = np.concatenate([p.notes["onset_s"] for p in parts])
    rate = len(np.unique(np.round(onsets * 25))) / CLIP_S
    return "sparse" if rate < 1.8 else "busy" if rate > 6 else "moderate"


def register(part: PerformedPart) -> str:
    """``low``, ``middle`` or ``high`` by the mean pitch of the most prominent part (below 52, above 76)."""
    if part.instrument.is_drum:
        return "middle"
    mean = float(part.notes["pitch"].mean())
    return "low" if mean < 52 else "high" if mean > 76 else "middle"


def clip_metadata(
    arrangement: Arrangement,
    parts: Sequence[PerformedPart],
    gains_db: Sequence[float],
    rng: np.random.Generator,
) -> dict[str, Any]:
    """The musical fields of a clip's metadata line.

    ``mode`` is ``ambiguous`` where the notes fit neither mode clearly better, ``none`` without pitches;
    ``tempo_felt`` says whether a beat tracker's prior would choose the stated tempo's class.
    """
    key = arrangement.key()
    pitched = any(not p.instrument.is_drum for p in parts)
    mode = "none" if not pitched else key.mode if key.clear else "ambiguous"
    speed = tempo_class(arrangement.tempo_bpm)
    prominent = min(parts, key=lambda p: PROMINENCE.index(p.role))
    return {
        "source": arrangement.source,
        "licence": arrangement.licence,
        "title": arrangement.title,
        "kind": arrangement.kind,
        "ensemble": arrangement.ensemble,
        "style": arrangement.style,
        "progression": arrangement.progression,
        "instruments": [
            {
                "program": p.instrument.program,
                "name": p.instrument.name,
                "family": p.instrument.family,
                "role": p.role,
                "gain_db": round(gain, 1),
            }
            for p, gain in zip(parts, gains_db, strict=True)
        ],
        "lead_family": prominent.instrument.family,
        "families": sorted({p.instrument.family for p in parts}),
        "tempo_bpm": round(arrangement.tempo_bpm, 2),
        "tempo_class": speed,
        "tempo_felt": arrangement.tempo_clarity() >= 1.0,
        "key": key.name if pitched and key.clear else "",
        "mode": mode,
        "meter": arrangement.meter,
        "mood": mood(mode, speed, arrangement.dynamics, rng),
        "density": density(parts),
        "register": register(prominent),
        "dynamics": arrangement.dynamics,
    }
