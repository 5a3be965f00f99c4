from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.instruments.genre_transfer.refine import Goal, Mixer, balanced, refine
from backend.instruments.genre_transfer.terms import NAMES, Listening, distances
from tests.instruments.genre_transfer.sounds import RATE, song


@pytest.fixture(scope="module")
def listening() -> Listening:
    return Listening(RATE, torch.Generator().manual_seed(0))


def mono(samples: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples.mean(0)))


def test_every_term_is_zero_at_its_goal_and_positive_elsewhere(listening: Listening) -> None:
    dull, bright = (listening.statistics(mono(song(2.0, tempo, b).samples)) for tempo, b in ((120, 0.3), (97, 0.8)))
    at_goal, elsewhere = distances(dull, dull, dull, dull), distances(bright, dull, dull, dull)
    assert set(at_goal) == set(NAMES)
    for name in NAMES:
        assert float(at_goal[name]) == pytest.approx(0.0, abs=2e-3)
        assert float(elsewhere[name]) > 5 * abs(float(at_goal[name]))


def test_a_mixer_without_gains_is_the_sum_of_its_layers() -> None:
    layers = [song(1.0).samples, 0.5 * song(1.0, 90).samples]
    mixer = Mixer(layers, RATE)
    np.testing.assert_allclose(mixer.stereo(), layers[0] + layers[1], atol=1e-5)
    np.testing.assert_allclose(mixer.mono().detach().numpy(), (layers[0] + layers[1]).mean(0), atol=1e-5)


def test_refinement_comes_nearer_to_the_style_within_its_limits(listening: Listening) -> None:
    dull, bright = song(2.0, 120, 0.3).samples, song(2.0, 120, 0.7).samples
    mixer = Mixer([dull, 0.3 * bright], RATE)
    style, content = (listening.statistics(mono(one)) for one in (bright, dull))
    goal = Goal(style, content, content, {"timbre": 1.0, "rhythm": 0.2, "envelope": 0.5, "content": 0.2})
    curve = refine(mixer, listening, goal, 12)
    assert curve[-1]["timbre"] < 0.6 * curve[0]["timbre"]
    assert curve[-1]["envelope"] < curve[0]["envelope"]
    assert float(mixer.gains_db().abs().max()) <= 14.0
    assert np.isfinite(mixer.stereo()).all()


def test_gradients_count_by_their_weights_whatever_their_size() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    terms = {"a": 1e6 * x[0], "b": 1e-6 * x[1]}
    assert balanced(terms, x, {"a": 1.0, "b": 0.5}).tolist() == pytest.approx([1.0, 0.5])
    assert balanced({"a": 0.0 * x[0]}, x, {"a": 1.0}).tolist() == [0.0, 0.0]


def test_no_weight_leaves_the_mix_alone(listening: Listening) -> None:
    mixer = Mixer([song(1.0).samples], RATE)
    here = listening.statistics(mono(song(1.0).samples))
    assert refine(mixer, listening, Goal(here, here, here, dict.fromkeys(NAMES, 0.0)), 5) == []
    assert not mixer.gains_db().any()
