"""Picture networks as ears: VGG16 and ResNet18 look at the scalogram of a loop (seed 004, figures 5 and 6).

Any network of convolutions, pools and residual additions over pictures listens here; what classifies is left out. The
scalogram becomes a picture of 96 rows (12 an octave) by 24 columns a second, its channels the level, the phase
difference and the level's change, in the range of ImageNet's colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet

from backend.errors import RequestError
from backend.instruments.neurons.cqt import LIGHT
from backend.instruments.neurons.graph import LayerShape, Link
from backend.instruments.neurons.normalise import NeuronScale
from backend.instruments.neurons.scalogram import Scalogram

POOL = (2, 4)
STRIDE = 32  # of both networks' last layers, in columns
LOUDEST = 4.0  # level of a full-scale sine, the picture's white
SCALOGRAM = "scalogram"


class PictureEar:
    """A picture network over a scalogram.

    Args:
        model: torchvision's VGG or ResNet.
        label: what a page calls it.

    Attributes:
        normaliser: to be measured by whoever opens it.
    """

    normaliser: NeuronScale

    def __init__(self, model: Any, label: str) -> None:
        self.label = label
        self.sample_rate, self.bins_per_octave = LIGHT.sample_rate, LIGHT.bins_per_octave
        self._model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        device = next(model.parameters()).device
        self._scalogram = Scalogram(LIGHT, POOL[1] * STRIDE).to(device)
        self._walk = _resnet if isinstance(model, ResNet) else _vgg
        self.shapes, self._steps = self._describe(device)
        self.layers = tuple(shape.name for shape in self.shapes)

    def scalogram(self, audio: Tensor) -> Tensor:
        """Log power and phase difference ``[batch, 2, bins, frames]`` of loops."""
        out: Tensor = self._scalogram(audio, True)
        return out

    def respond(self, scalogram: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Activations ``[batch, channels, pitch, time]`` of the named layers, before their rectifiers.

        Raises:
            RequestError: there is no such layer.
        """
        wanted = set(self.layers if names is None else names)
        if unknown := wanted - set(self.layers):
            raise RequestError("layer", min(unknown), f"one of {', '.join(self.layers)}")
        return _Walk(wanted).through(self._walk, self._model, scalogram)

    def activations(self, audio: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """`respond` to loops ``[batch, samples]``."""
        return self.respond(self.scalogram(audio), names)

    def layer_rate_hz(self, name: str) -> float:
        """Steps a second of a layer."""
        return self.sample_rate / LIGHT.hop / self._steps[name]

    @torch.no_grad()
    def _describe(self, device: torch.device) -> tuple[tuple[LayerShape, ...], dict[str, int]]:
        """Shapes, and frames a step, from one walk over the shortest loop's silence."""
        walk = _Walk(None)
        frames = POOL[1] * STRIDE
        found = walk.through(self._walk, self._model, torch.zeros(1, 2, LIGHT.bins, frames, device=device))
        shapes = tuple(
            LayerShape(name, value.shape[1], value.shape[2], tuple(walk.links[name])) for name, value in found.items()
        )
        return shapes, {name: frames // value.shape[3] for name, value in found.items()}


class _Done(Exception):
    """Everything that was asked for has been found."""


class _Walk:
    """One pass through a network: keeps what is wanted, and notes what every layer reads."""

    def __init__(self, wanted: set[str] | None) -> None:
        self.wanted = wanted
        self.found: dict[str, Tensor] = {}
        self.links: dict[str, list[Link]] = {}

    def through(self, walk: _Path, model: nn.Module, scalogram: Tensor) -> dict[str, Tensor]:
        """Walk until all is found."""
        try:
            self.keep(SCALOGRAM, scalogram, [])
            walk(self, model, picture(scalogram))
        except _Done:
            pass
        return self.found

    def keep(self, name: str, value: Tensor, links: list[Link]) -> None:
        """A layer has been computed."""
        if self.wanted is None or name in self.wanted:
            self.found[name] = value
        self.links[name] = links
        if self.wanted is not None and len(self.found) == len(self.wanted):
            raise _Done


_Path = Callable[[_Walk, nn.Module, Tensor], None]


def picture(scalogram: Tensor) -> Tensor:
    """Scalogram ``[batch, 2, bins, frames]`` → picture ``[batch, 3, bins / 2, frames / 4]``."""
    level, phase = functional.max_pool2d(scalogram, POOL).unbind(1)
    change = level - level.roll(1, -1)
    colours = torch.stack([level / LOUDEST, 0.5 + phase / 2, 0.5 + change / LOUDEST], 1)
    normal: Tensor = (colours - 0.45) / 0.225  # about the means and deviations that torchvision's weights expect
    return normal.contiguous(memory_format=torch.channels_last)


def circular(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """The convolution with its own padding along pitch; along time, the loop goes on."""
    rows, side = (int(p) for p in convolution.padding)
    if side:
        steps = x.shape[-1]
        x = x[..., torch.arange(-side, steps + side, device=x.device) % steps]
    return functional.conv2d(x, convolution.weight, convolution.bias, convolution.stride, (rows, 0))


def _rows(module: nn.Conv2d | nn.MaxPool2d) -> tuple[int, int, int]:
    """Kernel, stride and padding along pitch."""
    values = (module.kernel_size, module.stride, module.padding)
    kernel, stride, padding = (int(v[0] if isinstance(v, tuple) else v) for v in values)
    return kernel, stride, padding


def _vgg(walk: _Walk, model: Any, x: Tensor) -> None:
    """Convolutions by stage and number, ``conv1_1`` to ``conv5_3``."""
    reading = Link(SCALOGRAM, POOL[0], POOL[0])
    stage, number = 1, 0
    for module in model.features:
        if isinstance(module, nn.Conv2d):
            number += 1
            x, name = circular(x, module), f"conv{stage}_{number}"
            walk.keep(name, x, [reading.then(*_rows(module))])
            reading = Link(name)
        elif isinstance(module, nn.MaxPool2d):
            x, reading = module(x), reading.then(*_rows(module))
            stage, number = stage + 1, 0
        else:
            x = functional.relu(x)


def _resnet(walk: _Walk, model: Any, x: Tensor) -> None:
    """``conv1``, then of every block the first sum and the sum with the shortcut, ``layer1_0a``, ``layer1_0b``, …."""
    x = model.bn1(circular(x, model.conv1))
    walk.keep("conv1", x, [Link(SCALOGRAM, POOL[0], POOL[0]).then(*_rows(model.conv1))])
    x = functional.relu(x)
    x = functional.max_pool2d(torch.cat([x[..., -1:], x], -1), 3, 2, (1, 0))
    reading = Link("conv1").then(3, 2, 1)
    for stage in range(1, 5):
        for number, block in enumerate(getattr(model, f"layer{stage}")):
            name = f"layer{stage}_{number}"
            first = block.bn1(circular(x, block.conv1))
            walk.keep(f"{name}a", first, [reading.then(*_rows(block.conv1))])
            second = block.bn2(circular(functional.relu(first), block.conv2))
            shortcut = x if block.downsample is None else block.downsample(x)
            skip = reading.then(1) if block.downsample is None else reading.then(*_rows(block.downsample[0]))
            own = [Link(f"{name}a").then(*_rows(block.conv2)), _skipped(skip, block.downsample is None)]
            second = second + shortcut
            walk.keep(f"{name}b", second, own)
            x, reading = functional.relu(second), Link(f"{name}b")


def _skipped(link: Link, identity: bool) -> Link:
    """The shortcut's link; one that is not projected keeps channels apart."""
    return Link(link.source, link.kernel, link.stride, link.padding, channelwise=identity)
