from __future__ import annotations

import pytest
import torch

from backend.errors import CheckpointError
from backend.instruments.neurons.normalise import LEAST, NeuronScale, measure
from tests.instruments.neurons.listening import StandIn


def loops() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 8_000, generator=generator) * gain for gain in (0.3, 0.03)]


def test_silence_reads_zero_and_the_data_has_deviation_one() -> None:
    network = StandIn()
    scale = measure(network, loops())
    silence = network.respond(network.scalogram(torch.zeros(1, 8_000)))
    heard = [network.respond(network.scalogram(batch)) for batch in loops()]
    for name in network.layers:
        assert scale.apply(name, silence[name]).abs().max() < 1e-5
        data = torch.cat([scale.apply(name, found[name]) for found in heard])
        deviation = data.transpose(0, 1).transpose(1, 2).flatten(2).std(-1, correction=0)
        assert deviation.median() == pytest.approx(1.0, abs=1e-3)
        assert deviation.max() < 1.01


def test_a_neuron_that_never_fires_is_not_infinitely_easy() -> None:
    network = StandIn()
    network._kernels[0][2] = 0
    deviation = measure(network, loops()).deviation["first"]
    assert torch.allclose(deviation[2], deviation.median() * LEAST)


def test_a_scale_survives_being_stored() -> None:
    scale = measure(StandIn(), loops()[:1])
    again = NeuronScale.from_tensors(scale.tensors(), StandIn.layers)
    for name in StandIn.layers:
        assert torch.equal(again.silence[name], scale.silence[name])
        assert torch.equal(again.deviation[name], scale.deviation[name])


def test_a_missing_layer_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"silence\.third"):
        NeuronScale.from_tensors({"scale.silence.first": torch.zeros(1, 1)}, ["first", "third"])
