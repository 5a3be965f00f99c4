from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch

from backend.checkpoints import CheckpointStore
from backend.instruments.neurons.architecture import TINY
from backend.instruments.neurons.networks import load_ear, open_network
from backend.instruments.neurons.train import load_trained, main
from tests.instruments.neurons.sounds import corpus

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ear")
    corpus(folder / "corpus")
    arguments = ["--ear", "score", "--audio", str(folder / "corpus"), "--out", str(folder / "out"), "--config", "tiny"]
    arguments += ["--batch", "4", "--threads", "1", "--precision", "no", "--cpu", "--warmup", "2"]
    assert main([*arguments, "--minutes", "0.03", "--piece", "0.015", "--validate-every", "0.5"]) == 0
    assert main([*arguments, "--minutes", "0.03", "--validate-every", "0.5"]) == 0
    return folder / "out"


def test_a_training_goes_on_where_it_stopped_and_leaves_its_curve(trained: Path) -> None:
    with (trained / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert len(steps) >= 2 and steps == sorted(set(steps))
    assert {"valid_loss", "valid_accuracy", "valid_accuracy_last", "valid_chance"} <= rows[-1].keys()


def test_a_trained_ear_has_a_scale_of_every_neuron(trained: Path) -> None:
    model, scale, figures = load_trained(trained)
    for shape in model.ear.shapes:
        for values in (scale.silence, scale.deviation):
            assert values[shape.name].shape == (shape.channels, shape.pitch)
        assert (scale.deviation[shape.name] > 0).all()
    assert figures["chance"] == 1 / 2  # two held-out pieces


def test_a_bundled_ear_is_the_trained_one(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = CheckpointStore(tmp_path)
    monkeypatch.setattr("backend.instruments.neurons.train.CheckpointStore", lambda: store)
    assert main(["--ear", "score", "--out", str(trained), "--bundle"]) == 0
    assert json.loads(capsys.readouterr().out) == {"checkpoint": "neurons.score"}
    stored, scale = load_ear(store, "neurons.score", CPU)
    model, own, _ = load_trained(trained)
    loop = torch.randn(1, 32 * TINY.cqt.hop, generator=torch.Generator().manual_seed(0)) * 0.1
    network = open_network("ear:score", store, CPU)
    assert network.label == "Ear for scores" and network.sample_rate == TINY.cqt.sample_rate
    assert torch.allclose(stored.predictors, model.predictors, atol=1e-3)
    for name, value in network.activations(loop).items():
        expected = own.apply(name, model.ear.activations(loop)[name])
        assert (network.normaliser.apply(name, value) - expected).abs().max() < 0.05 * expected.abs().max()
        assert torch.allclose(scale.deviation[name], own.deviation[name], rtol=2e-3, atol=1e-5)


def test_no_audio_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--ear", "beats", "--out", str(tmp_path)])
    assert "--audio" in capsys.readouterr().err
