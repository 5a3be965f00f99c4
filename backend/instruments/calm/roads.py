"""How good a road between two pieces is, whichever way it was made: ours, MusicVAE's, a crossfade of the data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.instruments.calm import latent
from backend.instruments.calm.attributes import in_scale
from backend.instruments.calm.model import CalmVAE
from backend.instruments.calm.piece import CalmPiece, Roll, midi_of_piece, piece_of_roll, roll
from backend.instruments.calm.similarity import distances, note_f1
from backend.metrics.calmness import dissonance

logger = logging.getLogger(__name__)

STEPS = 9
Road = tuple[Roll, Roll, npt.NDArray[np.float64]]
"""Onsets and holds of every point, and the share of the second piece at each."""

Pair = tuple[CalmPiece, CalmPiece]
Way = Callable[[Pair], Road]


def pairs_of(pieces: Sequence[CalmPiece], sources: Sequence[str], count: int, seed: int) -> list[Pair]:
    """Random pairs of passages from different pieces.

    Raises:
        ValueError: there are no two pieces.
    """
    if len(set(sources)) < 2:
        raise ValueError("pairs need passages of at least two pieces")
    rng = np.random.default_rng(seed)
    pairs: list[Pair] = []
    while len(pairs) < count:
        i, j = rng.integers(len(pieces), size=2)
        if sources[i] != sources[j]:
            pairs.append((pieces[i], pieces[j]))
    return pairs


def crossfade(a: CalmPiece, b: CalmPiece, steps: int, seed: int) -> Road:
    """The baseline in the data (arXiv 1803.05428, section 5.2): a sixteenth is taken from ``b`` with its share.

    One draw a sixteenth for the whole road, so that a sixteenth changes over once; the paper draws anew at every point,
    which jumps more.
    """
    draw = np.random.default_rng(seed).random(a.steps)
    draw = np.clip(draw, 1e-6, 1 - 1e-6)
    (onset_a, hold_a), (onset_b, hold_b) = roll(a), roll(b)
    shares = np.linspace(0, 1, steps)
    turned = (shares[:, None] > draw)[..., None]
    return np.where(turned, onset_b, onset_a), np.where(turned, hold_b, hold_a), shares


def ways(model: CalmVAE, plain: CalmVAE | None, seed: int) -> Mapping[str, Way]:
    """Name → how a road is made; ``lerp`` is what the app does, without its constraint to the scale."""

    def by(network: CalmVAE, method: latent.Method, *, even: bool, constrain: bool = False) -> Way:
        return lambda pair: latent.road(network, *pair, STEPS, method, even=even, constrain=constrain)

    found: dict[str, Way] = {
        "lerp": by(model, "lerp", even=True),
        "slerp": by(model, "slerp", even=True),
        "lerp_in_scale": by(model, "lerp", even=True, constrain=True),
        "slerp_even_shares": by(model, "slerp", even=False),
        "crossfade": lambda pair: crossfade(*pair, STEPS, seed),
    }
    if plain is not None:
        found["plain_slerp_even_shares"] = by(plain, "slerp", even=False)
    return found


def road_figures(pairs: Sequence[Pair], roads: Sequence[Road]) -> dict[str, float]:
    """What one way of interpolating does, as means over the pairs.

    Returns:
        ``step_max_over_mean`` of the normalised Hamming distances (1 is even, 8 one jump) and its 95th percentile,
        ``endpoint_similarity`` (F1 of the ends against the pieces themselves), and of the points between: ``in_scale``
        of the nearer end's mode, notes over those of the ends (``density``) and the share that is silent; of the one
        half-way: ``dissonance``, beside ``dissonance_of_ends`` of the same pairs.
    """
    rows: dict[str, list[float]] = {}
    for (a, b), (onsets, holds, shares) in zip(pairs, roads, strict=True):
        steps, middle = distances(onsets, holds), len(onsets) // 2
        halfway = piece_of_roll(onsets[middle], holds[middle], tempo_bpm=a.tempo_bpm)
        modes = [(a if share < 0.5 else b).mode for share in shares]
        count = onsets.sum((1, 2))
        row = {
            "step_max_over_mean": float(steps.max() / steps.mean()) if steps.any() else 1.0,
            "endpoint_similarity": (note_f1(onsets[0], roll(a)[0]) + note_f1(onsets[-1], roll(b)[0])) / 2,
            "in_scale": float(np.mean([in_scale(o, mode) for o, mode in zip(onsets, modes, strict=True)][1:-1])),
            "density": float(count[1:-1].mean() / max(1.0, (count[0] + count[-1]) / 2)),
            "silent": float(np.mean(count[1:-1] == 0)),
        }
        if len(halfway.notes):
            row["dissonance"] = dissonance(midi_of_piece(halfway))
            row["dissonance_of_ends"] = (dissonance(midi_of_piece(a)) + dissonance(midi_of_piece(b))) / 2
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    figures = {name: float(np.mean(values)) for name, values in rows.items()}
    return {**figures, "step_max_over_mean_p95": float(np.quantile(rows["step_max_over_mean"], 0.95))}


def interpolation(model: CalmVAE, plain: CalmVAE | None, pairs: Sequence[Pair], seed: int) -> dict[str, Any]:
    """Our road and the ways it is measured against, all over the same pairs."""
    figures = {}
    for name, way in ways(model, plain, seed).items():
        figures[name] = road_figures(pairs, [way(pair) for pair in pairs])
        logger.info("%s %s", name, figures[name])
    ours, nothing = figures["lerp"], float("nan")
    ends = [in_scale(roll(piece)[0], piece.mode) for pair in pairs for piece in pair]
    return {
        "interpolation_step_max_over_mean": ours["step_max_over_mean"],
        "endpoint_similarity": ours["endpoint_similarity"],
        "in_scale": ours["in_scale"],
        "in_scale_of_ends": float(np.mean(ends)),
        "dissonance": {
            "midpoints": ours.get("dissonance", nothing), "anchors": ours.get("dissonance_of_ends", nothing),
        },
        "interpolation": {"pairs": len(pairs), "steps": STEPS, **figures},
    }  # fmt: skip
