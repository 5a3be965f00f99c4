"""Decoders learn what they should, tell clips apart, and come back from their tensors as they were."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from backend.instruments.brain.decoders import ContrastiveDecoder, Decoder, RidgeDecoder, five_folds, info_nce
from backend.instruments.brain.encoding import columnwise_correlation, encode
from backend.instruments.brain.probe import GenreProbe
from backend.instruments.brain.seed_decoders import SeedLinear, SeedMlp
from backend.metrics.identification import identify

MAKERS: list[Callable[[], Decoder]] = [
    RidgeDecoder, lambda: ContrastiveDecoder(steps=20), lambda: SeedLinear(epochs=60), lambda: SeedMlp(epochs=30),
]  # fmt: skip


def brain(noise: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Training voxels and embeddings, then test ones; a few strong directions shared by all clips."""
    rng = np.random.default_rng(0)
    y = rng.standard_normal((140, 12)) * np.geomspace(3, 0.3, 12) + 2
    x = y @ rng.standard_normal((12, 60)) + noise * rng.standard_normal((140, 60))
    x, y = x.astype(np.float32), y.astype(np.float32)
    return x[:100], y[:100], x[100:], y[100:]


@pytest.mark.parametrize("make", MAKERS)
def test_every_decoder_identifies_clips_it_never_saw_and_is_restored_from_its_state(
    make: Callable[[], Decoder],
) -> None:
    x, y, new, true = brain()
    decoder = make().fit(x, y)
    assert identify(decoder.predict(new), true, 50).accuracy > 0.8
    again = make().restore(decoder.state())  # type: ignore[attr-defined]
    assert np.allclose(again.predict(new), decoder.predict(new), atol=1e-4)


def test_contrast_tells_more_clips_apart_than_squared_error() -> None:
    x, y, new, true = brain(noise=8.0)
    ridge, contrastive = (identify(d.fit(x, y).predict(new), true, 10) for d in (RidgeDecoder(), ContrastiveDecoder()))
    assert contrastive.accuracy > ridge.accuracy


def test_held_out_predictions_are_worse_than_fitted_ones() -> None:
    x, y, _, _ = brain(noise=8.0)
    for decoder in (RidgeDecoder().fit(x, y), ContrastiveDecoder(steps=5).fit(x, y)):
        assert decoder.held_out is not None
        assert identify(decoder.held_out, y, 5).accuracy < identify(decoder.predict(x), y, 5).accuracy


def test_infonce_is_the_logarithm_of_the_number_of_clips_when_nothing_is_known() -> None:
    y = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    assert float(info_nce(torch.ones(16, 8), y, 10.0)) == pytest.approx(np.log(16), abs=1e-5)
    assert float(info_nce(y, y, 200.0)) < 0.01


def test_rows_of_one_clip_are_never_on_both_sides_of_a_fold() -> None:
    clips = np.repeat(np.arange(20), 10)
    fold = five_folds(200, clips)
    assert len(np.unique(fold)) == 5 and all(len(set(fold[clips == clip])) == 1 for clip in range(20))


def test_the_encoding_map_finds_the_voxels_that_follow_music_and_hardly_any_other() -> None:
    rng = np.random.default_rng(1)
    y = rng.standard_normal((160, 10)).astype(np.float32)
    x = rng.standard_normal((160, 300)).astype(np.float32)
    x[:, :30] += 2 * y @ rng.standard_normal((10, 30)).astype(np.float32)
    found = encode(y[:100], x[:100], y[100:], x[100:], five_folds(100, None))
    assert found.significant[:30].mean() > 0.9 and found.significant[30:].mean() < 0.05
    assert np.allclose(columnwise_correlation(x[:, :3], x[:, :3]), 1, atol=1e-5)


def test_the_genre_probe_learns_separable_genres_and_gives_probabilities() -> None:
    rng = np.random.default_rng(2)
    genre = np.repeat(np.arange(3), 20)
    x = (np.eye(3)[genre] * 4 + rng.standard_normal((60, 3))).astype(np.float32)
    probe = GenreProbe().fit(x, genre)
    assert probe.accuracy(x, genre) > 0.9 and np.allclose(probe.probabilities(x).sum(1), 1, atol=1e-5)
