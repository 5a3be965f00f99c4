"""Evaluation: what is held out, what roads are measured against, and that perfect and useless models score as such."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.instruments.calm import evaluate as evaluation
from backend.instruments.calm import latent, pieces
from backend.instruments.calm.held_out import BARS, HeldOut, excerpt, of_bundle
from backend.instruments.calm.model import TINY, CalmVAE
from backend.instruments.calm.piece import CalmPiece, roll
from backend.instruments.calm.roads import crossfade, interpolation, pairs_of, road_figures
from backend.instruments.calm.session import build_session, session_repeat_share


class Perfect(CalmVAE):
    """A model whose latent is the roll itself; half-way between two rolls it is sure of nothing."""

    def __init__(self) -> None:
        super().__init__(replace(TINY, latent_dim=2 * 16 * 88))
        self.attribute_sd.fill_(1.0)

    def encode(self, rolls: Tensor) -> tuple[Tensor, Tensor]:
        z = rolls.permute(0, 2, 1, 3, 4).flatten(2)
        return z, torch.zeros_like(z)

    def decode(self, z: Tensor) -> Tensor:
        return (20 * (z - 0.5)).view(*z.shape[:2], 2, 16, 88).permute(0, 2, 1, 3, 4)


class Silent(Perfect):
    def decode(self, z: Tensor) -> Tensor:
        return super().decode(torch.zeros_like(z))


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    model = Perfect()
    model.bank = torch.stack([latent.latent_of(model, pieces.bundled(name).first_bars(BARS)) for name in pieces.NAMES])
    model.bank_major = torch.tensor([float(pieces.bundled(name).mode == "major") for name in pieces.NAMES])
    return of_bundle(model)


def test_the_bundled_pieces_are_held_out_in_parts_that_lose_no_onset(held_out: HeldOut) -> None:
    assert {piece.bars for piece in held_out.pieces} == {BARS} and set(held_out.sources) == set(pieces.NAMES)
    whole = roll(pieces.bundled("lullaby"))[0]
    parts = [excerpt(pieces.bundled("lullaby"), first) for first in (0, 8)]
    assert (np.concatenate([roll(part)[0] for part in parts]) == whole).all()
    assert all(piece.bars == 16 for piece in held_out.long) and len(held_out.training) == len(held_out.calm)


def test_what_comes_back_whole_scores_one_and_silence_nothing(held_out: HeldOut) -> None:
    figures = evaluation.reconstruction(Perfect(), held_out, 0)
    tokens = figures["step_token_accuracy"]
    assert figures["reconstruction_note_f1"] == figures["reconstruction_note_f1_16_bars"] == 1.0
    assert tokens["melody"] == tokens["all_voices"] == tokens["melody_16_bars"] == 1.0
    assert 0 < figures["reconstruction_note_f1_copy"] < 0.6 and tokens["copy"] < 1.0
    silent = evaluation.reconstruction(Silent(), held_out, 0)
    assert silent["reconstruction_note_f1"] == 0.0
    assert silent["step_token_accuracy"]["melody"] == pytest.approx(tokens["always_hold"])


def test_a_crossfade_turns_every_sixteenth_once_and_pairs_are_of_two_pieces(held_out: HeldOut) -> None:
    a, b = held_out.pieces[0], held_out.pieces[-1]
    onsets, _, shares = crossfade(a, b, 9, seed=0)
    assert (onsets[0] == roll(a)[0]).all() and (onsets[-1] == roll(b)[0]).all() and shares[4] == 0.5
    turned = (onsets == roll(b)[0]).all(-1) & ~(roll(a)[0] == roll(b)[0]).all(-1)
    assert (np.diff(turned.astype(int), axis=0) >= 0).all()
    assert len(pairs_of([a, b], ["x", "y"], 5, 0)) == 5
    with pytest.raises(ValueError, match="at least two pieces"):
        pairs_of([a, b], ["x", "x"], 5, 0)


def test_one_jump_on_a_road_of_nine_steps_is_eight_times_the_mean(held_out: HeldOut) -> None:
    a, b = held_out.pieces[0], held_out.pieces[2]
    ends = [np.stack([x, y]) for x, y in zip(roll(a), roll(b), strict=True)]
    late = np.array([0] * 8 + [1])
    figures = road_figures([(a, b)], [(ends[0][late], ends[1][late], np.linspace(0, 1, 9))])
    assert figures["step_max_over_mean"] == pytest.approx(8.0) == figures["step_max_over_mean_p95"]
    assert figures["endpoint_similarity"] == 1.0 and figures["silent"] == 0.0


def test_every_way_is_measured_on_the_same_pairs(held_out: HeldOut) -> None:
    pairs = pairs_of(held_out.pieces, held_out.sources, 2, 0)
    figures = json.loads(json.dumps(interpolation(Perfect(), Perfect(), pairs, 0)))
    names = {"lerp", "slerp", "lerp_in_scale", "slerp_even_shares", "crossfade", "plain_slerp_even_shares"}
    assert names <= set(figures["interpolation"]) and figures["interpolation"]["pairs"] == 2
    assert figures["endpoint_similarity"] == 1.0 == figures["interpolation"]["crossfade"]["endpoint_similarity"]
    assert figures["interpolation"]["lerp_in_scale"]["in_scale"] == 1.0


def test_samples_and_sliders_of_a_model_that_is_silent_are_counted_and_not_scored(held_out: HeldOut) -> None:
    figures = evaluation.sampling(Silent(), held_out, 3)
    assert figures["samples"] == {"count": 3, "empty": 3, "nearest_training_note_f1": 0.0}
    assert figures["calm_score"]["samples"] == 0.0 < figures["calm_score"]["training_median"] <= 1.0
    assert set(evaluation.sliders(Silent(), held_out.pieces[:1])["attribute_correlation"].values()) == {0.0}


def test_a_loop_of_one_piece_repeats_all_but_its_first_time() -> None:
    piece: CalmPiece = pieces.bundled("still_water")
    made = build_session([piece], lambda a, b, n: [a] * n, 3)
    looped = evaluation._loop(made, [piece])
    spans = made.bars - 1
    assert session_repeat_share(looped) >= 1 - (piece.bars + 1) / spans
