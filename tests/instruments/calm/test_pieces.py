"""The bundled pieces: calm by the score, different, whole, and the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from backend.errors import RequestError
from backend.instruments.calm.piece import STEPS_PER_BAR, midi_of_piece
from backend.instruments.calm.pieces import FIGURES, NAMES, RHYTHMS, bundled, compose
from backend.instruments.calm.recipes import RECIPES
from backend.metrics.calmness import calm_cues, weighted

WHITE = [0, 2, 4, 5, 7, 9, 11]


def test_there_are_at_least_twelve_in_both_modes_with_titles_of_their_own() -> None:
    assert len(NAMES) >= 12 and {recipe.mode for recipe in RECIPES.values()} == {"major", "minor"}
    assert len({recipe.title for recipe in RECIPES.values()}) == len(NAMES)
    assert len({bundled(name).notes.tobytes() for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_piece_is_calm_in_form_in_scale_and_ends_on_its_tonic(name: str) -> None:
    piece = bundled(name)
    cues = calm_cues(midi_of_piece(piece), piece.tempo_bpm, piece.mode)
    assert weighted(cues) >= (0.9 if piece.mode == "major" else 0.7)
    assert min(value for cue, value in cues.items() if cue != "mode") >= 0.6
    assert 8 <= piece.bars <= 16 and 60 <= piece.tempo_bpm <= 76
    assert np.isin(piece.notes["pitch"] % 12, WHITE).all()
    last = piece.notes[piece.notes["step"] == (piece.bars - 1) * STEPS_PER_BAR]
    tonic = 0 if piece.mode == "major" else 9
    assert last["pitch"].min() % 12 == tonic == last["pitch"].max() % 12
    assert set(piece.notes["hand"]) == {0, 1}
    assert len(np.unique(piece.notes["step"] // STEPS_PER_BAR)) == piece.bars  # no empty bar


def test_composing_again_gives_the_same_notes() -> None:
    assert all(np.array_equal(compose(RECIPES[name]).notes, bundled(name).notes) for name in NAMES)


def test_every_figure_and_rhythm_fills_its_bar() -> None:
    assert all(step + length <= 16 for figure in FIGURES.values() for step, length, _ in figure)
    assert all(sum(bar) == 16 for rhythm in RHYTHMS.values() for bar in rhythm)


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(RequestError, match="'polka', expected one of lullaby"):
        bundled("polka")
