"""Melodic contour."""

import numpy as np
import pytest

from backend.metrics.contour import FRAME_RATE, at_frame_rate, contour_correlation, contour_of_notes

TUNE = contour_of_notes(np.arange(8) * 0.5, np.full(8, 0.45), np.array([60, 62, 64, 67, 65, 64, 62, 60]), 4.0)


def test_a_transposed_tune_moves_alike() -> None:
    assert contour_correlation(TUNE, TUNE + 17) == pytest.approx(1.0)


def test_an_inverted_tune_does_not() -> None:
    assert contour_correlation(TUNE, 124 - TUNE) < -0.5


def test_unrelated_tunes_are_uncorrelated_on_the_whole() -> None:
    rng = np.random.default_rng(0)
    tunes = [contour_of_notes(np.arange(16) * 0.5, np.full(16, 0.5), rng.integers(55, 80, 16), 8.0) for _ in range(60)]
    figures = [contour_correlation(a, b) for a, b in zip(tunes[::2], tunes[1::2], strict=True)]
    assert abs(np.mean(figures)) < 0.1


def test_too_little_in_common_counts_as_nothing() -> None:
    assert contour_correlation(TUNE, np.full(80, np.nan)) == 0.0


def test_a_faster_curve_is_read_at_the_common_rate() -> None:
    fine = np.repeat(TUNE, 5)
    assert np.allclose(at_frame_rate(fine, 5 * FRAME_RATE), TUNE, equal_nan=True)
