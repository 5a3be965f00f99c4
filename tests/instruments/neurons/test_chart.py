from __future__ import annotations

import base64
import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from backend.checkpoints import CheckpointStore
from backend.errors import CheckpointError, NeuromuseError
from backend.instruments.neurons.chart import NeuronMap, draw, map_name
from backend.instruments.neurons.graph import LayerShape, Link
from backend.instruments.neurons.layout import TINY
from tests.instruments.neurons.test_graph import SMALL

NEURONS = sum(shape.neurons for shape in SMALL)


@pytest.fixture(scope="module")
def drawn():
    return draw("ear:tiny", SMALL, None, np.random.default_rng(0), TINY)


def test_neurons_are_in_the_order_of_their_activity(drawn):
    from backend.instruments.neurons.activity import index
    from backend.instruments.neurons.objective import LayerSize

    sizes = {shape.name: LayerSize(shape.channels, shape.pitch, 1) for shape in SMALL}
    chart = drawn[0]
    for row in range(NEURONS):
        layer = SMALL[chart.layer[row]].name
        assert index(sizes, layer, int(chart.channel[row]), int(chart.pitch[row])) == row


def test_neighbours_in_pitch_lie_nearer_than_strangers():
    line = (LayerShape("low", 2, 40), LayerShape("high", 2, 40, (Link("low", 3, 1, 1),)))
    chart = draw("ear:tiny", line, None, np.random.default_rng(0), TINY)[0]
    own = chart.positions[chart.layer == 0].reshape(2, 40, 2)
    step = np.linalg.norm(np.diff(own, axis=1), axis=-1).mean()
    across = np.linalg.norm(own[:, :20] - own[:, 20:], axis=-1).mean()
    assert step < 0.2 * across


def test_a_stored_map_comes_back_within_a_step_of_a_pixel(drawn, tmp_path):
    chart, figures = drawn
    store = CheckpointStore(tmp_path)
    chart.save(store, figures)
    loaded = NeuronMap.from_store(store, "ear:tiny")
    np.testing.assert_allclose(loaded.positions, chart.positions, atol=1 / 32_767)
    np.testing.assert_allclose(loaded.weight, chart.weight, rtol=1e-3)
    assert loaded.layers == chart.layers and loaded.network == "ear:tiny"
    assert sum(file.bytes for file in store.entry(map_name("ear:tiny")).files) < 6 * NEURONS + 300


def test_a_map_is_replaced_only_by_one_with_shorter_edges(drawn, tmp_path):
    chart, figures = drawn
    store = CheckpointStore(tmp_path)
    chart.save(store, figures)
    with pytest.raises(CheckpointError, match="edge_length"):
        chart.save(store, {**figures, "edge_length": figures["edge_length"] * 1.1})
    chart.save(store, {**figures, "edge_length": figures["edge_length"] * 1.1}, force=True)


def test_the_page_gets_every_neuron(drawn):
    page = drawn[0].page()
    positions = np.frombuffer(base64.b64decode(page["positions"]), "<i2").reshape(-1, 2) / 32_767
    np.testing.assert_allclose(positions, drawn[0].positions, atol=1 / 32_767)
    assert len(base64.b64decode(page["sizes"])) == NEURONS
    assert [layer["channels"] * layer["pitch"] for layer in page["layers"]] == [shape.neurons for shape in SMALL]


def test_a_neuron_weighs_its_deviation_within_its_layer():
    deviation = {shape.name: np.ones((shape.channels, shape.pitch)) for shape in SMALL}
    deviation["input"] = np.full((2, 12), 1e-3)
    deviation["wide"][4, 2] = 10
    chart = draw("ear:tiny", SMALL, deviation, np.random.default_rng(0), dataclasses.replace(TINY, steps=1))[0]
    np.testing.assert_allclose(chart.weight[:24], 1)
    assert int(np.argmax(chart.weight)) == 24 + 4 * 6 + 2
    deviation["wide"] = deviation["wide"][:3]
    with pytest.raises(NeuromuseError, match="6 × 6"):
        draw("ear:tiny", SMALL, deviation, np.random.default_rng(0), TINY)


def test_the_command_line_draws_a_network_with_its_deviations(tmp_path, monkeypatch, capsys):
    import torch

    from backend.instruments.neurons import chart, networks

    deviation = {shape.name: torch.rand(shape.channels, shape.pitch) + 0.5 for shape in SMALL}
    opened = SimpleNamespace(shapes=SMALL, normaliser=SimpleNamespace(deviation=deviation))
    monkeypatch.setattr(networks, "open_network", lambda name, store, device: opened)
    assert chart.main(["--network", "ear:score", "--out", str(tmp_path)]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["map"] == "neurons.map_ear_score" and figures["neurons"] == NEURONS
    stored = NeuronMap.from_store(CheckpointStore(tmp_path), "ear:score")
    expected = deviation["wide"] / deviation["wide"].mean()
    np.testing.assert_allclose(stored.weight[24:60], expected.flatten(), rtol=2e-3)


def test_a_map_that_contradicts_itself_is_refused(drawn, tmp_path):
    store = CheckpointStore(tmp_path)
    broken = dataclasses.replace(drawn[0], layers=SMALL[:2])
    broken.save(store, drawn[1])
    with pytest.raises(CheckpointError, match=f"{NEURONS} positions for {24 + 36} neurons"):
        NeuronMap.from_store(store, "ear:tiny")


def test_networks_have_a_checkpoint_name_each():
    assert map_name("ear:score") == "neurons.map_ear_score"
    assert map_name("vgg16") == "neurons.map_vgg16"
