from __future__ import annotations

import numpy as np
import pytest

from backend.audio.loudness import integrated_lufs
from backend.instruments.genre_transfer.evaluate import FIGURES, MUSIC, Rows, Sizes, _finished, goals, pairs
from backend.instruments.genre_transfer.lil_data import TINY, LilData
from tests.instruments.genre_transfer.sounds import song


def test_pairs_cross_genres_and_are_all_different() -> None:
    found = pairs(42, 0)
    assert found == pairs(42, 0)
    assert all(pair.content != pair.style for pair in found)
    assert len({(pair.content, pair.style) for pair in found}) == len(MUSIC) * (len(MUSIC) - 1)
    assert len(pairs(50, 0)) == 50


def test_every_row_that_was_promised_is_there() -> None:
    assert set(Rows(LilData(TINY), Sizes()).made) == {
        "untouched_content", "untouched_style", "classic", "random_conv", "musaicing", "studio", "studio_rhythm",
    }  # fmt: skip


def test_peers_are_heard_in_stereo_at_the_contents_loudness() -> None:
    content = song(2.0)
    made = _finished(3.0 * song(2.0, brightness=0.7).samples[:1, ::2], 22_050, content)
    assert made.samples.shape == content.samples.shape
    assert integrated_lufs(made) == pytest.approx(integrated_lufs(content), abs=0.5)


def test_goals_compare_the_rows_they_name() -> None:
    rows = {name: dict.fromkeys(FIGURES, 1.0) for name in ("classic", "musaicing", "studio", "studio_rhythm")}
    rows["studio"]["timbre_distance_to_style"] = 0.5
    rows["studio_rhythm"]["rhythm_similarity_to_content"] = 0.4
    found = goals(rows)
    assert found["studio_timbre_to_classic"] == 0.5
    assert found["studio_pitch_to_musaicing"] == 1.0
    assert found["donor_rhythm_style_less_content"] == pytest.approx(0.6)
    assert np.isfinite(list(found.values())).all()
