from __future__ import annotations

import numpy as np
import pytest

from backend.instruments.genre_transfer.overlap import assemble, in_windows, windows

RATE = 1000


@pytest.mark.parametrize("length", [1, 500, 12_000, 61_234])
def test_windows_of_a_sound_put_it_together_again(length: int) -> None:
    sound = np.random.default_rng(0).standard_normal((2, length)).astype(np.float32)
    plan = windows(length, RATE, np.arange(0, 70, 0.5))
    made = assemble(length, [(w, sound[:, w.start : w.stop]) for w in plan])
    np.testing.assert_allclose(made, sound, atol=1e-5)


def test_windows_begin_on_beats_and_stay_short() -> None:
    beats = np.arange(0.13, 70, 0.6)
    plan = windows(60_000, RATE, beats)
    assert len(plan) == 5
    for window in plan[1:]:
        assert np.abs(beats - (window.start + window.fade_in) / RATE).min() < 1e-3
    assert max(w.stop - w.start for w in plan) < 1.6 * 12 * RATE


def test_a_long_sound_is_changed_in_pieces() -> None:
    sound = np.random.default_rng(0).standard_normal((2, 95_000)).astype(np.float32)
    sizes = list[int]()

    def change(piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        sizes.append(piece.shape[1])
        return 2 * piece, -piece

    doubled, negative = in_windows(sound, RATE, change)
    np.testing.assert_allclose(doubled, 2 * sound, atol=1e-5)
    np.testing.assert_allclose(negative, -sound, atol=1e-5)
    assert max(sizes) < 46_000
