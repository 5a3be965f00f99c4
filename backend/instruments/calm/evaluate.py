"""How well the calm model does: ``python -m backend.instruments.calm.evaluate --scores DIR`` ends with one JSON object.

Everything is measured on pieces that took no part in training. Beside each figure stands what it must beat: copying a
random training passage, the published MusicVAE, MusicVAE's way of interpolating (slerp at even shares) on the same
network trained as a plain autoencoder (``--plain DIR``), and a crossfade of the data (as in arXiv 1803.05428).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.checkpoints import CheckpointStore
from backend.instruments.calm import latent, pieces, session
from backend.instruments.calm.attributes import ATTRIBUTES, attributes_of, in_scale
from backend.instruments.calm.data import TEMPO_BPM, Clips, prepare
from backend.instruments.calm.model import CalmVAE
from backend.instruments.calm.piece import CalmPiece, Roll, midi_of_piece, piece_of_roll, roll
from backend.instruments.calm.similarity import distances, melody_tokens, note_f1
from backend.instruments.calm.train import load_trained
from backend.metrics.calmness import calm_score, dissonance

logger = logging.getLogger(__name__)

BARS, STEPS = 8, 9
PUBLISHED = {"musicvae_16bar_teacher_forced": 0.919, "musicvae_16bar_sampled": 0.812}
"""Step-token accuracy of the hierarchical 16-bar melody model, arXiv 1803.05428, table 2."""

AMOUNTS = np.linspace(-2, 2, 9)
Array = npt.NDArray[np.float64]
Road = tuple[Roll, Roll]
Pair = tuple[CalmPiece, CalmPiece]


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    clips: int = 300
    pairs: int = 200
    samples: int = 100
    moved: int = 60
    session_minutes: float = 20.0


def reconstruction(model: CalmVAE, held_out: list[CalmPiece], training: list[CalmPiece], seed: int) -> dict[str, Any]:
    """Notes and melody tokens that come back from the posterior mean, decoded without the truth at hand."""
    rng = np.random.default_rng(seed)
    back, copied, tokens, copied_tokens = [], [], [], []
    for piece in held_out:
        again = latent.piece_of_latent(model, latent.latent_of(model, piece), piece)
        other = training[rng.integers(len(training))]
        truth, line = roll(piece)[0], melody_tokens(piece.notes, piece.steps)
        back.append(note_f1(roll(again)[0], truth))
        copied.append(note_f1(roll(other)[0][: len(truth)], truth))
        tokens.append(np.mean(melody_tokens(again.notes, piece.steps) == line))
        copied_tokens.append(np.mean(melody_tokens(other.notes, other.steps)[: len(line)] == line))
    return {
        "reconstruction_note_f1": float(np.mean(back)),
        "reconstruction_note_f1_copy": float(np.mean(copied)),
        "step_token_accuracy": {
            "melody": float(np.mean(tokens)), "copy": float(np.mean(copied_tokens)), "published": PUBLISHED,
        },
    }  # fmt: skip


def pairs_of(held_out: list[CalmPiece], sources: Sequence[str], count: int, seed: int) -> list[Pair]:
    """Random pairs of passages from different pieces.

    Raises:
        ValueError: there are no two pieces.
    """
    if len(set(sources)) < 2:
        raise ValueError("pairs need passages of at least two pieces")
    rng = np.random.default_rng(seed)
    pairs: list[Pair] = []
    while len(pairs) < count:
        i, j = rng.integers(len(held_out), size=2)
        if sources[i] != sources[j]:
            pairs.append((held_out[i], held_out[j]))
    return pairs


def crossfade(a: CalmPiece, b: CalmPiece, steps: int, seed: int) -> Road:
    """The baseline in the data: every sixteenth is taken from ``b`` with the probability of its share.

    One draw a sixteenth for the whole road, so that a sixteenth changes over once.
    """
    draw = np.random.default_rng(seed).random(a.steps)
    draw = np.clip(draw, 1e-6, 1 - 1e-6)
    (onset_a, hold_a), (onset_b, hold_b) = roll(a), roll(b)
    turned = (np.linspace(0, 1, steps)[:, None] > draw)[..., None]
    return np.where(turned, onset_b, onset_a), np.where(turned, hold_b, hold_a)


def road_figures(pairs: list[Pair], roads: list[Road]) -> dict[str, float]:
    """What one way of interpolating does, as means over the pairs.

    Returns:
        ``step_max_over_mean`` of the normalised Hamming distances (1 is even, 8 one jump), ``endpoint_similarity`` (F1
        of the ends against the pieces themselves), and of the points between: ``in_scale`` and notes over those of
        the ends (``density``); of the one half-way: ``dissonance``, beside ``dissonance_of_ends``.
    """
    rows: dict[str, list[float]] = {}
    for (a, b), (onsets, holds) in zip(pairs, roads, strict=True):
        steps, middle = distances(onsets, holds), len(onsets) // 2
        halfway = piece_of_roll(onsets[middle], holds[middle], tempo_bpm=TEMPO_BPM)
        count = onsets.sum((1, 2))
        row = {
            "step_max_over_mean": float(steps.max() / max(1e-9, steps.mean())) if steps.any() else 1.0,
            "endpoint_similarity": (note_f1(onsets[0], roll(a)[0]) + note_f1(onsets[-1], roll(b)[0])) / 2,
            "in_scale": float(
                np.mean([in_scale(o, (a if 2 * i < STEPS else b).mode) for i, o in enumerate(onsets)][1:-1])
            ),
            "density": float(count[1:-1].mean() / max(1.0, (count[0] + count[-1]) / 2)),
            "dissonance_of_ends": (_dissonance(a) + _dissonance(b)) / 2,
        }
        if len(halfway.notes):
            row["dissonance"] = _dissonance(halfway)
        for name, value in row.items():
            rows.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in rows.items()}


def _dissonance(piece: CalmPiece) -> float:
    return dissonance(midi_of_piece(piece))


def interpolation(model: CalmVAE, plain: CalmVAE | None, pairs: list[Pair], seed: int) -> dict[str, Any]:
    """Our road and the ways it is measured against."""

    def by(network: CalmVAE, method: latent.Method, even: bool, constrain: bool = False) -> Callable[[Pair], Road]:
        return lambda pair: latent.road(network, *pair, STEPS, method, even=even, constrain=constrain)[:2]

    ways: dict[str, Callable[[Pair], Road]] = {
        "lerp": by(model, "lerp", True),
        "slerp": by(model, "slerp", True),
        "lerp_in_scale": by(model, "lerp", True, True),
        "slerp_even_shares": by(model, "slerp", False),
        "crossfade": lambda pair: crossfade(*pair, STEPS, seed),
    }
    if plain is not None:
        ways["plain_slerp_even_shares"] = by(plain, "slerp", False)
    figures = {}
    for name, way in ways.items():
        figures[name] = road_figures(pairs, [way(pair) for pair in pairs])
        logger.info("%s %s", name, figures[name])
    ours = figures["lerp"]
    return {
        "interpolation_step_max_over_mean": ours["step_max_over_mean"],
        "endpoint_similarity": ours["endpoint_similarity"],
        "in_scale": ours["in_scale"],
        "dissonance": {"midpoints": ours.get("dissonance", float("nan")), "anchors": ours["dissonance_of_ends"]},
        "interpolation": {"pairs": len(pairs), "steps": STEPS, **figures},
    }


def sampling(model: CalmVAE, training: Clips, copies: list[CalmPiece], count: int) -> dict[str, Any]:
    """Calm score of samples beside the training pieces', and how near they come to copying one."""
    scores, nearest, empty = [], [], 0
    known = [roll(piece)[0] for piece in copies]
    for seed in range(count):
        piece = latent.sample(model, BARS, seed=seed)
        if not len(piece.notes):
            empty += 1
            continue
        scores.append(calm_score(midi_of_piece(piece), piece.tempo_bpm, piece.mode))
        onset = roll(piece)[0]
        nearest.append(max(note_f1(onset, other[: len(onset)]) for other in known))
    reference = float(np.median(training.calm))
    return {
        "calm_score": {
            "samples": float(np.median(scores)) if scores else 0.0,
            "training_median": reference,
            "share_at_or_above": float(np.mean(np.array(scores) >= reference)) if scores else 0.0,
        },
        "samples": {
            "count": count, "empty": empty,
            "nearest_training_note_f1": float(np.mean(nearest)) if nearest else 0.0,
        },
    }  # fmt: skip


def sliders(model: CalmVAE, held_out: list[CalmPiece]) -> dict[str, Any]:
    """Spearman's correlation of each slider with the attribute it names, a mean over pieces."""
    from scipy.stats import spearmanr

    figures = {}
    for name in ATTRIBUTES:
        rows = []
        for piece in held_out:
            seen = np.array([attributes_of(latent.move(model, piece, {name: float(x)}))[name] for x in AMOUNTS])
            known = np.isfinite(seen)
            moved = known.sum() > 2 and np.ptp(seen[known]) > 0
            rows.append(float(spearmanr(AMOUNTS[known], seen[known]).statistic) if moved else 0.0)
        figures[name] = float(np.mean(rows))
        logger.info("%s %.3f", name, figures[name])
    return {"attribute_correlation": figures}


def sessions(model: CalmVAE, minutes: float, seed: int) -> dict[str, Any]:
    """Jumps and literal repetition of a session through three bundled pieces."""
    anchors = [pieces.bundled(name) for name in pieces.NAMES[:3]]
    made = session.build_session(anchors, lambda a, b, n: latent.path(model, a, b, n), minutes, seed)
    return {
        "session_onset_jump_db": session.session_onset_jump_db(made),
        "session_tempo_jump_bpm": session.session_tempo_jump_bpm(made),
        "session_repeat_share": session.session_repeat_share(made),
    }


def evaluate(model: CalmVAE, plain: CalmVAE | None, clips: Clips, sizes: Sizes, seed: int) -> dict[str, Any]:
    """All figures."""
    rng = np.random.default_rng(seed)
    test, train = clips.split("test"), clips.split("train")
    picks = rng.permutation(len(test))[: sizes.clips]
    held_out = [test.piece(int(i), BARS) for i in picks]
    training = [train.piece(int(i), BARS) for i in rng.permutation(len(train))[:600]]
    figures: dict[str, Any] = {
        "clips": {"train": len(train), "test": len(test), "test_pieces": len(np.unique(test.source))},
    }
    figures |= reconstruction(model, held_out, training, seed)
    if plain is not None:
        figures["plain_reconstruction_note_f1"] = reconstruction(plain, held_out, training, seed)[
            "reconstruction_note_f1"
        ]
    logger.info("reconstruction %.3f", figures["reconstruction_note_f1"])
    sources = [str(test.source[i]) for i in picks]
    figures |= interpolation(model, plain, pairs_of(held_out, sources, sizes.pairs, seed), seed)
    figures |= sampling(model, train, training, sizes.samples)
    figures |= sliders(model, held_out[: sizes.moved])
    if sizes.session_minutes:
        figures |= sessions(model, sizes.session_minutes, seed)
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.calm.evaluate", description=__doc__)
    parser.add_argument("--scores", type=Path, required=True, help="folder of parsed scores")
    parser.add_argument("--data", type=Path, required=True, help="folder with the prepared clips, or where to put them")
    parser.add_argument("--model", type=Path, help="folder of a training; the bundled model if omitted")
    parser.add_argument("--plain", type=Path, help="folder of a training with --plain")
    parser.add_argument("--clips", type=int, default=Sizes.clips)
    parser.add_argument("--pairs", type=int, default=Sizes.pairs)
    parser.add_argument("--samples", type=int, default=Sizes.samples)
    parser.add_argument("--moved", type=int, default=Sizes.moved)
    parser.add_argument("--session-minutes", type=float, default=Sizes.session_minutes, help="0 leaves it out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    model = load_trained(options.model) if options.model else CalmVAE.from_store(CheckpointStore())
    plain = load_trained(options.plain) if options.plain else None
    sizes = Sizes(options.clips, options.pairs, options.samples, options.moved, options.session_minutes)
    print(json.dumps(evaluate(model, plain, prepare(options.scores, options.data), sizes, options.seed), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
