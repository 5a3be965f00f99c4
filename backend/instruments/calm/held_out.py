"""What the calm model is measured on: passages that took no part in its training, and training passages beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from backend.instruments.calm import latent, pieces
from backend.instruments.calm.data import TEMPO_BPM, Clips
from backend.instruments.calm.model import CalmVAE
from backend.instruments.calm.piece import MAX_BARS, STEPS_PER_BAR, CalmPiece, midi_of_piece, tidy
from backend.metrics.calmness import calm_score

BARS = 8
REMEMBERED = 600  # training passages to copy from, and to look for among the samples
SAME = 0.5  # F1 of equal onsets from which on two passages are one in two editions; other music stays below .48


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Passages to measure on.

    Attributes:
        pieces: eight bars each.
        sources: the piece each of them is from.
        long: sixteen bars each.
        training: passages of eight bars that the model was trained on.
        calm: calm scores of training passages ``[passages]``.
        major: which of those are in major ``[passages]``.
        about: what they are and how many, for the report.
    """

    pieces: list[CalmPiece]
    sources: list[str]
    long: list[CalmPiece]
    training: list[CalmPiece]
    calm: npt.NDArray[np.float64]
    major: npt.NDArray[np.bool_]
    about: Mapping[str, str | int]


def of_clips(clips: Clips, count: int, seed: int) -> HeldOut:
    """At most ``count`` passages of the test pieces, without those of which the training has another edition."""
    rng = np.random.default_rng(seed)
    test, train = clips.split("test"), clips.split("train")
    seen = most_alike(test, train) > SAME
    picks = [i for i in rng.permutation(len(test)).tolist() if not seen[i]][:count]
    about: dict[str, str | int] = {
        "held_out": "test pieces of the corpus", "training_passages": len(train), "passages": len(picks),
        "pieces": len(np.unique(test.source[picks])), "left_out_as_other_editions": int(seen.sum()),
    }  # fmt: skip
    return HeldOut(
        [test.piece(i, BARS) for i in picks],
        [str(test.source[i]) for i in picks],
        [test.piece(i) for i in picks if test.bars[i] == MAX_BARS],
        [train.piece(int(i), BARS) for i in rng.permutation(len(train))[:REMEMBERED]],
        train.calm,
        train.major,
        about,
    )


def most_alike(clips: Clips, others: Clips, batch: int = 256) -> npt.NDArray[np.float32]:
    """Of each clip's first eight bars, the best F1 of exactly equal onsets with any of the others' ``[clips]``."""
    mine, best = _onsets(clips, slice(None)), np.zeros(len(clips), np.float32)
    for start in range(0, len(others), batch):
        theirs = _onsets(others, slice(start, start + batch))
        total = mine.sum(1)[:, None] + theirs.sum(1)
        best = np.maximum(best, (2 * mine @ theirs.T / np.maximum(total, 1)).max(1))
    return best


def _onsets(clips: Clips, which: slice) -> npt.NDArray[np.float32]:
    rolls = clips.rolls(which)
    return rolls[:, 0, :BARS].reshape(len(rolls), -1).astype(np.float32)


def of_bundle(model: CalmVAE) -> HeldOut:
    """The pieces that come with the app, none of which the model was trained on.

    They need no corpus, but they are composed by rule and simpler than scores. Training passages are those that the
    model remembers, as it plays them: the calmest of theirs.
    """
    whole = {name: pieces.bundled(name) for name in pieces.NAMES}
    parts = [
        (replace(excerpt(piece, first), tempo_bpm=TEMPO_BPM), name)
        for name, piece in whole.items()
        for first in range(0, piece.bars - BARS + 1, BARS)
    ]
    training = [
        latent.piece_of_latent(model, z, mode="major" if major else "minor")
        for z, major in zip(model.bank, model.bank_major.tolist(), strict=True)
    ]
    training = [piece for piece in training if len(piece.notes)]
    about: dict[str, str | int] = {
        "held_out": "bundled pieces, composed by rule", "training_passages": len(training), "passages": len(parts),
        "pieces": len(whole),
    }  # fmt: skip
    return HeldOut(
        [part for part, _ in parts],
        [name for _, name in parts],
        [piece for piece in whole.values() if piece.bars == MAX_BARS],
        training,
        np.array([calm_score(midi_of_piece(piece), piece.tempo_bpm, piece.mode) for piece in training]),
        np.array([piece.mode == "major" for piece in training]),
        about,
    )


def excerpt(piece: CalmPiece, first: int, bars: int = BARS) -> CalmPiece:
    """Bars ``first`` on, without what still sounds from before."""
    low, steps = first * STEPS_PER_BAR, bars * STEPS_PER_BAR
    notes = piece.notes[(piece.notes["step"] >= low) & (piece.notes["step"] < low + steps)].copy()
    notes["step"] -= low
    return replace(piece, notes=tidy(notes, steps), bars=bars)
