"""Targets: what exactly is measured, and what is refused."""

from __future__ import annotations

import pytest
import torch

from backend.errors import RequestError
from backend.instruments.neurons.objective import LayerSize, Objective, coverage, layer_sizes
from backend.instruments.neurons.settings import Target
from tests.instruments.neurons.listening import Plain, StandIn, tone

NETWORK = StandIn()
LOOP = torch.from_numpy(tone().samples)
SIZES = layer_sizes(NETWORK, NETWORK.scalogram(torch.zeros_like(LOOP)))
FOUND = NETWORK.respond(NETWORK.scalogram(LOOP))


def objective(*targets: Target) -> Objective:
    return Objective(NETWORK, Plain(), targets, SIZES)


def test_sizes_are_those_of_the_activations() -> None:
    assert {name: LayerSize(*value.shape[1:]) for name, value in FOUND.items()} == SIZES


@pytest.mark.parametrize(
    ("target", "region"),
    [
        (Target(layer="first"), FOUND["first"][0]),
        (Target(layer="second", channel=3), FOUND["second"][0, 3]),
        (Target(layer="second", channel=3, pitch=(4, 9)), FOUND["second"][0, 3, 4:9]),
        (Target(layer="second", channel=0, pitch=(7, 8), time=(0.5, 1.0)), FOUND["second"][0, 0, 7, 50:]),
        (Target(layer="third", channel=9, time=(0.9, 0.1)), FOUND["third"][0, 9, 0, [*range(90, 100), *range(10)]]),
    ],
)
def test_a_target_is_the_mean_activation_of_its_region(target: Target, region: torch.Tensor) -> None:
    assert SIZES["second"].steps == 100
    assert float(objective(target)(LOOP).total) == pytest.approx(float(region.mean()), rel=1e-4)


def test_several_targets_are_weighted_by_their_share_of_all_weights() -> None:
    targets = (Target(layer="first", channel=1, weight=3.0), Target(layer="third", channel=2, weight=-1.0))
    response = objective(*targets)(LOOP)
    first, third = response.targets[0]
    assert float(response.total) == pytest.approx(float((3 * first - third) / 4), rel=1e-5)


def test_others_are_the_rectified_channels_that_no_target_names() -> None:
    response = objective(Target(layer="second", channel=3), Target(layer="second", channel=5))(LOOP)
    unnamed = [channel for channel in range(8) if channel not in (3, 5)]
    assert float(response.others) == pytest.approx(float(FOUND["second"][0, unnamed].relu().mean()), rel=1e-5)
    assert float(objective(Target(layer="second"))(LOOP).others) == 0


def test_coverage_has_the_regions_area_and_follows_a_shift() -> None:
    assert coverage(0.25, 0.5, [0.0], 4).tolist() == [[0.0, 1.0, 0.0, 0.0]]
    assert coverage(0.25, 0.5, [0.5], 4).tolist() == [[0.0, 0.0, 0.0, 1.0]]
    assert coverage(0.25, 0.5, [0.625], 4).tolist() == [[0.5, 0.0, 0.0, 0.5]]
    assert coverage(0.9, 0.1, [0.0], 10).tolist()[0] == pytest.approx([1.0] + 8 * [0.0] + [1.0], abs=1e-6)
    assert coverage(0.3, 0.31, [0.2, 0.995], 7).sum(1).tolist() == pytest.approx([0.07, 0.07], abs=1e-6)


def test_a_time_region_moves_along_with_a_shifted_loop() -> None:
    target = objective(Target(layer="first", channel=2, time=(0.2, 0.4)))
    moved = NETWORK.scalogram(LOOP.roll(2000, 1))  # a quarter of the loop
    shifted = target.respond(moved, [0.25]).total
    assert float(shifted) == pytest.approx(float(target(LOOP).total), rel=1e-3)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (Target(layer="fourth"), "layer: got 'fourth', expected one of first, second, third"),
        (Target(layer="second", channel=8), "channel: got 8, expected a whole number from 0 to 7"),
        (Target(layer="third", pitch=(0, 2)), "pitch: got .0, 2., expected a region within 0 to 1"),
    ],
)
def test_a_target_that_does_not_exist_is_refused_with_what_does(target: Target, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        objective(target)
