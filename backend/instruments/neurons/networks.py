"""Networks by name: the ears of this project, and picture networks that look at a scalogram.

``ear:score`` and ``ear:beats`` are checkpoints. ``vgg16`` and ``resnet18`` are torchvision's: with the weights of its
hub if their files are already on this disk, otherwise with random weights and labelled so. Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from backend.errors import CheckpointError, RequestError
from backend.instruments.neurons.cpc import Cpc
from backend.instruments.neurons.ear import Ear
from backend.instruments.neurons.graph import LayerShape
from backend.instruments.neurons.loops import LOOPS, Meter, make_loop
from backend.instruments.neurons.normalise import NeuronScale, measure
from backend.instruments.neurons.objective import Network

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore
    from backend.instruments.neurons.vision import PictureEar

logger = logging.getLogger(__name__)

EARS = {"ear:score": ("neurons.score", "Ear for scores"), "ear:beats": ("neurons.beats", "Ear for beats")}
"""Name → checkpoint and label."""

CHECKPOINTS = tuple(checkpoint for checkpoint, _ in EARS.values())
PICTURES = {"vgg16": "VGG16", "resnet18": "ResNet18"}
NETWORKS = (*EARS, *PICTURES)


class OpenNetwork(Network, Protocol):
    """A network with its scale and its architecture."""

    @property
    def normaliser(self) -> NeuronScale:
        """Scale of every neuron."""

    @property
    def shapes(self) -> tuple[LayerShape, ...]:
        """Neurons and what they read, for the map."""

    def activations(self, audio: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """`respond` to loops ``[batch, samples]``."""

    def layer_rate_hz(self, name: str) -> float:
        """Steps a second of a layer, nearly: a loop holds a whole number of them."""


class EarNetwork:
    """A trained ear as a network.

    Args:
        ear: the model, whose parameters no longer learn.
        label: what a page calls it.
        normaliser: its scale; measured over the bundled loops where there is none.
    """

    def __init__(self, ear: Ear, label: str, normaliser: NeuronScale | None = None) -> None:
        self.ear, self.label = ear.eval().requires_grad_(False), label
        self.sample_rate = ear.config.cqt.sample_rate
        self.bins_per_octave = ear.config.cqt.bins_per_octave
        self.layers, self.shapes = ear.layers, ear.shapes
        self.normaliser = normaliser or measure_over_loops(self, next(ear.parameters()).device)

    def scalogram(self, audio: Tensor) -> Tensor:
        """Log power and phase difference ``[batch, 2, bins, frames]`` of loops."""
        out: Tensor = self.ear.scalogram(audio, True)
        return out

    def respond(self, scalogram: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Activations of the named layers."""
        return self.ear.respond(scalogram, names, True)

    def activations(self, audio: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """`respond` to loops ``[batch, samples]``."""
        return self.respond(self.scalogram(audio), names)

    def layer_rate_hz(self, name: str) -> float:
        """Steps a second of a layer."""
        return self.ear.layer_rate_hz(name)


def measure_over_loops(network: Network, device: torch.device) -> NeuronScale:
    """A network's scale over the bundled starting loops, for networks that have no data of their own."""
    sounds = (make_loop(name, Meter(), network.sample_rate).mono().samples for name in LOOPS)
    return measure(network, (torch.from_numpy(sound) for sound in sounds), device)


def load_ear(store: CheckpointStore, checkpoint: str, device: torch.device) -> tuple[Cpc, NeuronScale]:
    """A stored ear with its predictors, and its scale.

    Raises:
        CheckpointError: it is not there, or of another architecture.
    """
    model = Cpc.from_config(store.config(checkpoint))
    tensors = store.load(checkpoint)
    scale = NeuronScale.from_tensors(tensors, model.ear.layers)
    try:
        model.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("scale.")})
    except RuntimeError as error:
        raise CheckpointError(
            f"{checkpoint} is of another architecture: {str(error).splitlines()[-1].strip()}"
        ) from None
    return model.to(device).eval(), scale.to(device)


def open_network(name: str, store: CheckpointStore, device: torch.device) -> OpenNetwork:
    """The network of this name, ready to listen.

    Raises:
        RequestError: there is no such network.
        CheckpointError: its weights are missing or damaged.
    """
    if name in EARS:
        checkpoint, label = EARS[name]
        model, scale = load_ear(store, checkpoint, device)
        return EarNetwork(model.ear, label, scale)
    if name in PICTURES:
        return _open_picture(name, device)
    raise RequestError("network", name, f"one of {', '.join(NETWORKS)}")


def _open_picture(name: str, device: torch.device) -> PictureEar:
    from torchvision import models

    from backend.instruments.neurons.vision import PictureEar

    weights = models.get_model_weights(name).DEFAULT
    with torch.random.fork_rng(devices=[]):  # the untrained one is the same every time
        torch.manual_seed(0)
        model = models.get_model(name, weights=None)
    for part in ("avgpool", "classifier", "fc"):  # what names pictures hears nothing, and is most of VGG16
        if hasattr(model, part):
            setattr(model, part, torch.nn.Identity())
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    trained = file.is_file()
    if trained:
        state = _hub_weights(file)
        model.load_state_dict({key: state[key] for key in model.state_dict()})
    label = PICTURES[name] + (" (ImageNet)" if trained else " (untrained)")
    logger.info("opened %s", label)
    network = PictureEar(model.to(device), label)
    network.normaliser = measure_over_loops(network, device)
    return network


def _hub_weights(file: Path) -> dict[str, Tensor]:
    """A state dict of torchvision's hub; the end of the file's name is the beginning of its sha256.

    Raises:
        CheckpointError: the file is damaged.
    """
    data = file.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if not digest.startswith(file.stem.rpartition("-")[2]):
        raise CheckpointError(f"{file} is altered: its sha256 is {digest}.")
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)
    return state
