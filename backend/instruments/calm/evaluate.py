"""How well the calm model does: ``python -m backend.instruments.calm.evaluate`` ends with one JSON object.

Everything is measured on pieces that took no part in training: with ``--scores DIR`` those of the corpus's test split,
otherwise the pieces that come with the app. Beside each figure stands what it must beat: copying a random training
passage, the published MusicVAE, MusicVAE's way of interpolating (slerp at even shares) with the same weights and with
the same network trained as a plain autoencoder (``--plain DIR``), and a crossfade of the data (arXiv 1803.05428).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from backend.checkpoints import CheckpointStore
from backend.instruments.calm import latent, pieces, session
from backend.instruments.calm.attributes import ATTRIBUTES, attributes_of
from backend.instruments.calm.data import Clips, prepare
from backend.instruments.calm.held_out import BARS, HeldOut, of_bundle, of_clips
from backend.instruments.calm.model import CalmVAE
from backend.instruments.calm.piece import CalmPiece, midi_of_piece, roll
from backend.instruments.calm.roads import interpolation, pairs_of
from backend.instruments.calm.similarity import HOLD, melody_tokens, note_f1
from backend.instruments.calm.train import load_trained
from backend.metrics.calmness import calm_score

logger = logging.getLogger(__name__)

PUBLISHED = {"musicvae_16bar_teacher_forced": 0.919, "musicvae_16bar_sampled": 0.812}
"""Step-token accuracy of the hierarchical 16-bar melody model, arXiv 1803.05428, table 2."""

AMOUNTS = np.linspace(-2, 2, 9)
SESSION_ANCHORS = (
    ("lullaby", "first_snow", "nocturne"), ("pastoral", "candle"), ("distant_bells", "old_photograph", "tide"),
)  # fmt: skip
SESSION_RADIUS = 0.5


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    clips: int = 300
    pairs: int = 200
    samples: int = 200
    moved: int = 60
    session_minutes: float = 20.0


def reconstruction(model: CalmVAE, held_out: HeldOut, seed: int) -> dict[str, Any]:
    """Notes and melody tokens that come back from the posterior mean; nothing of the truth is seen in decoding.

    The published accuracies are of melodies of one voice. Ours is of the melody read off polyphonic music, before and
    after, with the same tokens; most of them say that nothing happens, so what answering that alone and what copying
    would score stand beside it. ``all_voices`` is the share of steps on which every onset is right and none is added.
    """
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, ...]] = []
    for piece in held_out.pieces:
        other = held_out.training[rng.integers(len(held_out.training))]
        truth, line = roll(piece)[0], melody_tokens(piece.notes, piece.steps)
        found, melody, voices = _found_again(model, piece)
        copied = melody_tokens(other.notes, other.steps) == line
        rows.append((found, note_f1(roll(other)[0], truth), melody, copied.mean(), np.mean(line == HOLD), voices))
    found, copy, melody, copied_melody, hold, voices = (float(mean) for mean in np.mean(rows, 0))
    accuracy = {"melody": melody, "copy": copied_melody, "always_hold": hold, "all_voices": voices}
    figures = {"reconstruction_note_f1": found, "reconstruction_note_f1_copy": copy}
    if held_out.long:
        long = np.mean([_found_again(model, piece) for piece in held_out.long], 0)
        figures["reconstruction_note_f1_16_bars"] = float(long[0])
        accuracy |= {"melody_16_bars": float(long[1]), "all_voices_16_bars": float(long[2])}
    return {**figures, "step_token_accuracy": {**accuracy, "published": PUBLISHED}}


def _found_again(model: CalmVAE, piece: CalmPiece) -> tuple[float, float, float]:
    """F1 of the notes, accuracy of the melody's tokens, and share of the steps with all their onsets right."""
    again = latent.piece_of_latent(model, latent.latent_of(model, piece), piece)
    truth, found = roll(piece)[0], roll(again)[0]
    same = melody_tokens(again.notes, piece.steps) == melody_tokens(piece.notes, piece.steps)
    return note_f1(found, truth), float(same.mean()), float((found == truth).all(1).mean())


def sampling(model: CalmVAE, held_out: HeldOut, count: int) -> dict[str, Any]:
    """Calm score of samples beside the training pieces', also by mode, and how near they come to copying one.

    As many samples are in major as training passages are: the score's largest cue is the mode, and a draw of the modes
    would move the median more than the music does.
    """
    known = [roll(piece)[0] for piece in held_out.training]
    in_major = round(count * float(held_out.major.mean()))
    modes = ["major"] * in_major + ["minor"] * (count - in_major)
    samples = [latent.sample(model, BARS, seed=seed, mode=mode) for seed, mode in enumerate(modes)]
    sounding = [piece for piece in samples if len(piece.notes)]
    scores = np.array([calm_score(midi_of_piece(piece), piece.tempo_bpm, piece.mode) for piece in sounding])
    major = np.array([piece.mode == "major" for piece in sounding], bool)
    reference = float(np.median(held_out.calm))
    nearest = [max(note_f1(roll(piece)[0], other) for other in known) for piece in sounding]
    by_mode = {
        mode: {"samples": _median(scores[major == is_major]), "training_median": _median(held_out.calm[held])}
        for mode, is_major in (("major", True), ("minor", False))
        if (held := held_out.major == is_major).any()
    }
    return {
        "calm_score": {
            "samples": _median(scores), "training_median": reference,
            "share_at_or_above": float(np.mean(scores >= reference)) if len(scores) else 0.0,
            "share_in_major": in_major / count,
            **by_mode,
        },
        "samples": {
            "count": count, "empty": count - len(sounding),
            "nearest_training_note_f1": float(np.mean(nearest)) if nearest else 0.0,
        },
    }  # fmt: skip


def _median(values: Any) -> float:
    return float(np.median(values)) if len(values) else 0.0


def sliders(model: CalmVAE, held_out: Sequence[CalmPiece]) -> dict[str, Any]:
    """Spearman's correlation of each slider with the attribute it names, a mean over pieces.

    ``attribute_slope`` is how many of the training bars' standard deviations the attribute moves for one of the slider.
    """
    from scipy.stats import spearmanr

    correlations, slopes = {}, {}
    for name, spread in zip(ATTRIBUTES, model.attribute_sd.tolist(), strict=True):
        rows = []
        for piece in held_out:
            seen = np.array([attributes_of(latent.move(model, piece, {name: float(x)}))[name] for x in AMOUNTS])
            known = np.isfinite(seen)
            moved = known.sum() > 2 and np.ptp(seen[known]) > 0
            rank = float(spearmanr(AMOUNTS[known], seen[known]).statistic) if moved else 0.0
            rows.append((rank, float(np.polyfit(AMOUNTS[known], seen[known] / spread, 1)[0]) if moved else 0.0))
        correlations[name], slopes[name] = (float(mean) for mean in np.mean(rows, 0))
        logger.info("%s %.3f, slope %.2f", name, correlations[name], slopes[name])
    return {"attribute_correlation": correlations, "attribute_slope": slopes}


def sessions(model: CalmVAE, minutes: float, seed: int) -> dict[str, Any]:
    """Worst jumps and literal repetition of sessions through bundled pieces, made as the app makes them.

    ``session_repeat_share_of_a_loop`` is what playing the anchors round and round for as long would score.
    """
    rows = []
    for index, names in enumerate(SESSION_ANCHORS):
        anchors = [pieces.bundled(name) for name in names]

        def relative(piece: CalmPiece, number: int, start: int = seed + 1000 * index) -> CalmPiece:
            return latent.around(model, piece, SESSION_RADIUS, start + number, constrain=True)

        made = session.build_session(
            anchors, lambda a, b, n: latent.path(model, a, b, n, constrain=True), minutes, seed + index, around=relative
        )
        rows.append(
            (
                session.session_onset_jump_db(made), session.session_tempo_jump_bpm(made),
                session.session_repeat_share(made), session.session_repeat_share(_loop(made, anchors)),
            )
        )  # fmt: skip
    onset, tempo, repeated, loop = (float(worst) for worst in np.max(rows, 0))
    return {
        "session_onset_jump_db": onset, "session_tempo_jump_bpm": tempo, "session_repeat_share": repeated,
        "session_repeat_share_of_a_loop": loop, "sessions": {"count": len(rows), "minutes": minutes},
    }  # fmt: skip


def _loop(made: session.Session, anchors: Sequence[CalmPiece]) -> session.Session:
    """The session with the anchors one after another, again and again."""
    parts, first, index = [], 0, 0
    while first < made.bars:
        notes = anchors[index % len(anchors)].notes.copy()
        notes["step"] += 16 * first
        parts.append(notes)
        first, index = first + anchors[index % len(anchors)].bars, index + 1
    grid = np.concatenate(parts)
    return replace(made, grid=grid[grid["step"] < 16 * made.bars])


def evaluate(model: CalmVAE, plain: CalmVAE | None, held_out: HeldOut, sizes: Sizes, seed: int) -> dict[str, Any]:
    """All figures."""
    figures: dict[str, Any] = {"measured_on": dict(held_out.about), **reconstruction(model, held_out, seed)}
    if plain is not None:
        figures["plain_reconstruction_note_f1"] = reconstruction(plain, held_out, seed)["reconstruction_note_f1"]
    logger.info("reconstruction %.3f", figures["reconstruction_note_f1"])
    figures |= interpolation(model, plain, pairs_of(held_out.pieces, held_out.sources, sizes.pairs, seed), seed)
    figures |= sampling(model, held_out, sizes.samples)
    figures |= sliders(model, held_out.pieces[: sizes.moved])
    if sizes.session_minutes:
        figures |= sessions(model, sizes.session_minutes, seed)
    return figures


def _clips(scores: Path, data: Path | None) -> Clips:
    if data is not None:
        return prepare(scores, data)
    with tempfile.TemporaryDirectory() as folder:
        return prepare(scores, Path(folder))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.calm.evaluate", description=__doc__)
    parser.add_argument("--scores", type=Path, help="folder of parsed scores; the bundled pieces if omitted")
    parser.add_argument("--data", type=Path, help="folder with the training's prepared clips; made again if omitted")
    parser.add_argument("--model", type=Path, help="folder of a training; the bundled model if omitted")
    parser.add_argument("--plain", type=Path, help="folder of a training with --plain")
    parser.add_argument("--clips", type=int, default=Sizes.clips)
    parser.add_argument("--pairs", type=int, default=Sizes.pairs)
    parser.add_argument("--samples", type=int, default=Sizes.samples)
    parser.add_argument("--moved", type=int, default=Sizes.moved)
    parser.add_argument("--session-minutes", type=float, default=Sizes.session_minutes, help="0 leaves them out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    model = load_trained(options.model) if options.model else CalmVAE.from_store(CheckpointStore())
    plain = load_trained(options.plain) if options.plain else None
    sizes = Sizes(options.clips, options.pairs, options.samples, options.moved, options.session_minutes)
    if options.scores is None:
        held_out = of_bundle(model)
    else:
        held_out = of_clips(_clips(options.scores, options.data), sizes.clips, options.seed)
    print(json.dumps(evaluate(model, plain, held_out, sizes, options.seed), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
