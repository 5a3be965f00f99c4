from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.errors import CheckpointError
from backend.instruments.genre_transfer import classic, random_conv
from backend.instruments.genre_transfer.classic import LIL_DATA, VGG_19, Recipe, gram, losses, stylise, vgg_features
from backend.instruments.genre_transfer.lil_data import TINY, LilData
from tests.instruments.genre_transfer.sounds import notes, song, stereo

SMALL = Recipe(("a",), (1.0,), "a", 50.0, 500.0)


def image(seed: int, size: int = 32) -> Tensor:
    return torch.rand(size, size, generator=torch.Generator().manual_seed(seed))


def features(picture: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    kernel = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    return dict.fromkeys(names, torch.relu(torch.nn.functional.conv2d(picture, kernel)))


def test_the_recipes_are_the_seeds() -> None:
    assert Recipe(("conv1", "conv2", "conv3", "conv4"), (0.3, 0.4, 0.2, 0.1), "conv4", 50.0, 500.0) == LIL_DATA
    assert VGG_19.content == "block5_conv1"
    assert (VGG_19.alpha, VGG_19.beta) == (100.0, 1000.0)


def test_the_losses_are_the_seeds_formulas() -> None:
    a, b = torch.arange(8.0).reshape(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    j_content, j_style = losses({"a": a}, b, {"a": gram(b)}, SMALL)
    assert float(j_content) == pytest.approx(0.5 * float(((a - b) ** 2).sum()))
    flat = a[0].flatten(1)
    assert float(j_style) == pytest.approx(float(((flat @ flat.T - 4) ** 2).sum()) / (2 * 2 * 2 * 2) ** 2)


def test_style_transfer_lowers_the_loss_and_keeps_pixels_in_range() -> None:
    seen = list[float]()
    made = stylise(image(0), image(1) ** 3, features, SMALL, 40, lambda index, loss, pixels: seen.append(loss))
    assert seen[-1] < seen[0]
    assert 0.0 <= float(made.min()) <= float(made.max()) <= 1.0


def test_the_style_of_itself_changes_nothing() -> None:
    assert torch.equal(stylise(image(0), image(0), features, SMALL, 3), image(0))


def test_sound_comes_back_at_its_length_from_several_images() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = LilData(TINY).eval()
    content = song(6.0)
    done = list[tuple[int, int]]()
    made = classic.transfer(
        content, song(3.0, 90, 0.8), net.activations, LIL_DATA, 1, lambda k, n, picture: done.append((k, n))
    )
    assert made.shape == (1, round(6.0 * 22_050))
    assert np.isfinite(made).all()
    assert done == [(1, 2), (2, 2)]


def test_vgg_without_weights_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="VGG-19 needs"):
        vgg_features(tmp_path)


def test_random_filters_are_fitted_and_sound_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_conv.RandomConv.draw.__func__, "__defaults__", (64,))
    content, style = song(1.5), stereo(notes([300, 400], 1.0, 0.8))
    model = random_conv.RandomConv.draw(0)
    start = random_conv.log_magnitude(content)
    wanted = model.gram(model.features(random_conv.log_magnitude(style)))
    seen = list[float]()
    made = random_conv.transfer(
        content, style, 0, 8,
        lambda n, frames: seen.append(float(random_conv.loss(model, frames, model.features(start), wanted))),
    )  # fmt: skip
    assert made.shape == (1, round(1.5 * 22_050))
    assert np.isfinite(made).all()
    assert seen[-1] < seen[0]
