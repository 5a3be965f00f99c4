"""Identification against hand-made cases: perfect, chance, ties, and the permutation test's calibration."""

from __future__ import annotations

import numpy as np
import pytest

from backend.metrics.identification import correlation, identify, scores


def test_correlation_equals_numpys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((4, 9)), rng.standard_normal((5, 9))
    assert np.allclose(correlation(a, b), np.corrcoef(a, b)[:4, 4:])


def test_the_truth_is_always_identified() -> None:
    true = np.random.default_rng(1).standard_normal((12, 8))
    found = identify(2 * true + 3, true, 200)
    assert found.accuracy == found.top1 == 1.0 and found.p == pytest.approx(1 / 201) and (found.rank == 1).all()


def test_the_opposite_is_never_identified_and_one_embedding_for_all_is_chance() -> None:
    true = np.random.default_rng(2).standard_normal((12, 8))
    assert identify(-true, true, 10).top1 == 0.0
    same = identify(np.tile(true.mean(0), (12, 1)), true, 50)
    assert same.accuracy == pytest.approx(0.5) and same.null_sd == pytest.approx(0, abs=1e-12)


def test_constant_predictions_tie_with_everything_and_win_nothing() -> None:
    true = np.random.default_rng(3).standard_normal((6, 4))
    found = identify(np.ones((6, 4)), true, 10)
    assert found.accuracy == 0.5 and found.top1 == 0.0 and (found.rank == 6).all()


def test_a_share_of_the_others_is_what_is_scored() -> None:
    similarity = np.array([[0.5, 0.1, 0.9, 0.2]])
    assert scores(similarity, np.array([0])) == pytest.approx([2 / 3])


def test_p_is_uniform_where_there_is_nothing_to_find() -> None:
    rng = np.random.default_rng(4)
    p = [identify(rng.standard_normal((10, 6)), rng.standard_normal((10, 6)), 99).p for _ in range(60)]
    assert 0.35 < np.mean(p) < 0.65


def test_the_null_deviation_for_sixty_clips_is_that_of_the_field() -> None:
    rng = np.random.default_rng(5)
    found = identify(rng.standard_normal((60, 128)), rng.standard_normal((60, 128)), 500)
    assert found.null_sd == pytest.approx(0.036, abs=0.006)


@pytest.mark.parametrize("bad", [np.ones(3), np.ones((3, 1)), np.full((3, 4), np.nan)])
def test_what_cannot_be_correlated_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError):
        correlation(bad, np.ones((3, 4)))
