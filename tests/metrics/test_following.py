"""How far music follows what was asked for."""

import numpy as np
import pytest

from backend.metrics.following import follow_figures


def test_music_that_always_follows_reaches_one_where_the_codec_loses_nothing() -> None:
    asked = np.array(["slow", "fast"] * 20)
    figures = follow_figures(lambda order: float((asked == asked[order]).mean()), 40, 1.0, np.random.default_rng(0))
    assert figures["hit"] == figures["reached"] == 1.0
    assert figures["chance"] == pytest.approx(0.5, abs=0.05)


def test_music_that_ignores_what_was_asked_reaches_nothing() -> None:
    rng = np.random.default_rng(1)
    heard, asked = rng.integers(0, 2, 4000), rng.integers(0, 2, 4000)
    figures = follow_figures(lambda order: float((heard == asked[order]).mean()), 4000, 0.9, rng)
    assert abs(figures["reached"]) < 0.1
