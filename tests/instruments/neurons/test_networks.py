from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from backend.checkpoints import CheckpointStore
from backend.errors import CheckpointError, RequestError
from backend.instruments.neurons import networks
from backend.instruments.neurons.networks import OpenNetwork, open_network
from backend.instruments.neurons.vision import PictureEar

CPU = torch.device("cpu")


class SmallVgg(nn.Module):
    """Five stages as VGG16 has, of few channels."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, 4, 5, 6, 7, 8]
        stages = [[nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2)] for a, b in pairwise(widths)]
        self.features = nn.Sequential(*(module for stage in stages for module in stage))


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenNetwork]:
    hub = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path_factory.mktemp("hub")))
    yield open_network("resnet18", CheckpointStore(tmp_path_factory.mktemp("none")), CPU)
    torch.hub.set_dir(hub)


def vgg() -> PictureEar:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PictureEar(SmallVgg(), "Small VGG")


def loop(samples: int = 32_000) -> torch.Tensor:
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(0)) * 0.1


def test_a_picture_network_without_its_weights_says_so(resnet: OpenNetwork) -> None:
    assert resnet.label == "ResNet18 (untrained)"


def test_the_untrained_network_is_the_same_every_time(resnet: OpenNetwork, tmp_path: Path) -> None:
    again = open_network("resnet18", CheckpointStore(tmp_path), CPU)
    first, second = (n.activations(loop(), ["conv1"])["conv1"] for n in (resnet, again))
    assert torch.equal(first, second)


def test_picture_networks_have_the_layers_that_the_map_draws(resnet: OpenNetwork) -> None:
    for network in (resnet, vgg()):
        found = network.activations(loop())
        assert tuple(found) == network.layers
        pitch = {shape.name: shape.pitch for shape in network.shapes}
        for shape in network.shapes:
            assert found[shape.name].shape[1:3] == (shape.channels, shape.pitch)
            assert found[shape.name].shape[3] >= 1 and network.layer_rate_hz(shape.name) > 0
            for link in shape.links:
                assert (shape.pitch - 1) * link.stride - link.padding < pitch[link.source]
    assert resnet.layers[-1] == "layer4_1b" and vgg().layers[1:] == (
        "conv1_1",
        "conv2_1",
        "conv3_1",
        "conv4_1",
        "conv5_1",
    )


def test_every_neuron_of_an_opened_network_has_a_scale(resnet: OpenNetwork) -> None:
    for shape in resnet.shapes:
        assert resnet.normaliser.deviation[shape.name].shape == (shape.channels, shape.pitch)


def test_a_loop_is_a_circle_for_picture_networks_too(resnet: OpenNetwork) -> None:
    whole = loop(256 * 250)  # twice the columns that the last layers pool
    for network in (resnet, vgg()):
        before, after = (network.activations(x) for x in (whole, whole.roll(128 * 250, 1)))
        for name in network.layers:
            half = before[name].shape[-1] // 2
            assert torch.allclose(after[name], before[name].roll(half, -1), atol=2e-3 * float(before[name].abs().max()))


def test_gradients_reach_the_sound(resnet: OpenNetwork) -> None:
    sound = loop().requires_grad_()
    resnet.activations(sound, ["layer2_0a"])["layer2_0a"].sum().backward()
    assert sound.grad is not None and sound.grad.isfinite().all() and sound.grad.abs().max() > 0


def test_weights_on_this_disk_are_used_and_altered_ones_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    file = tmp_path / "checkpoints" / "resnet18-f37072fd.pth"
    file.parent.mkdir()
    file.write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="altered"):
        open_network("resnet18", CheckpointStore(tmp_path), CPU)
    from torchvision.models import resnet18

    state = resnet18(weights=None).state_dict()
    monkeypatch.setattr(networks, "_hub_weights", lambda path: state)
    assert open_network("resnet18", CheckpointStore(tmp_path), CPU).label == "ResNet18 (ImageNet)"


def test_unknown_networks_and_missing_ears_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="ear:score"):
        open_network("ear:opera", CheckpointStore(tmp_path), CPU)
    with pytest.raises(CheckpointError, match=r"neurons\.score"):
        open_network("ear:score", CheckpointStore(tmp_path), CPU)


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RequestError, match="conv1_1"):
        vgg().activations(loop(), ["conv9"])
