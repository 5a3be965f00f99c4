"""The artificial ear: a residual encoder over a scalogram and an autoregressive model over its encodings (seed 004).

Time is the last axis everywhere. A loop is circular in every layer; a sound is surrounded by zeros, and the
autoregressive model is causal: its convolutions read backwards only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.errors import RequestError
from backend.instruments.neurons.architecture import (
    BASE,
    LIGHT,
    TINY,
    ContextBlock,
    EarConfig,
    EncoderBlock,
    config_of,
)
from backend.instruments.neurons.graph import LayerShape, Link
from backend.instruments.neurons.scalogram import Scalogram

__all__ = ["BASE", "LIGHT", "SCALOGRAM", "TINY", "Ear", "EarConfig", "LayerTiming", "config_of"]

SCALOGRAM = "scalogram"


def _convolve(x: Tensor, convolution: nn.Conv2d, pitch_padding: int, circular: bool) -> Tensor:
    """Convolution that is "same" along time: of a loop, or of a sound between zeros."""
    side = convolution.kernel_size[1] // 2
    if circular and side:
        x = torch.cat([x[..., -side:], x, x[..., :side]], -1)  # keeps channels last, which padding does not
    return functional.conv2d(x, convolution.weight, padding=(pitch_padding, 0 if circular else side))


class Encoding(nn.Module):
    """One `EncoderBlock`: ``[batch, channels, pitch, time]`` → what its two convolutions compute, not yet rectified.

    The shortcut is pooled like the first convolution, keeps the lowest row that a kernel along pitch looks at (its
    fundamental; of a kernel that ends the axis, the middle one), and is projected where the channels differ.
    """

    def __init__(self, channels: int, block: EncoderBlock) -> None:
        super().__init__()
        self.block = block
        self.first = nn.Conv2d(channels, block.channels, block.first, bias=False)
        self.first_norm = nn.BatchNorm2d(block.channels)
        self.second = nn.Conv2d(block.channels, block.channels, block.second, bias=False)
        self.second_norm = nn.BatchNorm2d(block.channels)
        same = channels == block.channels
        self.project = nn.Identity() if same else nn.Conv2d(channels, block.channels, 1, bias=False)

    def forward(self, x: Tensor, circular: bool) -> tuple[Tensor, Tensor]:
        """Both convolutions' sums."""
        block = self.block
        first: Tensor = self.first_norm(_convolve(x, self.first, block.first[0] // 2, circular))
        shortcut = x
        if block.pool != (1, 1):
            first, shortcut = functional.max_pool2d(first, block.pool), functional.max_pool2d(shortcut, block.pool)
        second: Tensor = self.second_norm(
            _convolve(functional.relu(first), self.second, block.second_padding, circular)
        )
        lowest = block.second[0] // 2 if block.collapse else 0
        shortcut = shortcut[:, :, lowest : lowest + second.shape[2]]
        return first, second + self.project(shortcut)

    def shapes(self, source: str, name: str, rows: int) -> list[LayerShape]:
        """The block's two layers for the map, ``source`` being what it reads."""
        block = self.block
        pooled, left = block.pitches(rows)
        first = Link(source, block.first[0], 1, block.first[0] // 2).then(block.pool[0], block.pool[0])
        second = Link(f"{name}a", block.second[0], 1, block.second_padding)
        lowest = block.second[0] // 2 if block.collapse else 0
        skip = Link(source, channelwise=isinstance(self.project, nn.Identity)).then(block.pool[0], block.pool[0])
        skip = dataclasses.replace(skip, padding=-lowest * block.pool[0])
        return [
            LayerShape(f"{name}a", block.channels, pooled, (first,)),
            LayerShape(f"{name}b", block.channels, left, (second, skip)),
        ]


class Remembering(nn.Module):
    """One `ContextBlock`: ``[batch, channels, time]`` → its sum, not yet rectified."""

    def __init__(self, channels: int, block: ContextBlock) -> None:
        super().__init__()
        self.block = block
        self.convolution = nn.Conv1d(channels, block.channels, block.kernel, bias=False)
        self.norm = nn.BatchNorm1d(block.channels)
        same = channels == block.channels
        self.project = nn.Identity() if same else nn.Conv1d(channels, block.channels, 1, bias=False)

    def forward(self, x: Tensor, circular: bool) -> Tensor:
        """The sum, pooled."""
        reach, steps = self.block.kernel - 1, x.shape[-1]
        if circular and reach:
            past = x[..., torch.arange(-reach, steps, device=x.device) % steps]
        else:
            past = functional.pad(x, (reach, 0))
        sums: Tensor = self.norm(self.convolution(past)) + self.project(x)
        return sums if self.block.pool == 1 else functional.max_pool1d(sums, self.block.pool)


@dataclass(frozen=True)
class LayerTiming:
    """How a layer hears: samples between its steps, and samples that one step depends on."""

    hop: int
    receptive_field: int


class Ear(nn.Module):
    """Audio → encodings z and contexts c, and the activations of every layer on the way.

    Layers are ``scalogram``, ``encoder0a`` (first convolution, pooled), ``encoder0b`` (second plus shortcut), … and
    ``context0``, …. Activations are taken before each layer's rectifier: a silent neuron still has a gradient there.
    """

    def __init__(self, config: EarConfig) -> None:
        super().__init__()
        self.config = config
        self.scalogram = Scalogram(config.cqt, config.z_hop * config.context_hop)
        widths = [2, *(block.channels for block in config.encoder)]
        self.encoder = nn.ModuleList(Encoding(n, b) for n, b in zip(widths, config.encoder, strict=False))
        widths = [config.z_channels, *(block.channels for block in config.context)]
        self.context = nn.ModuleList(Remembering(n, b) for n, b in zip(widths, config.context, strict=False))
        encoder: Any = self.encoder  # the types of nn.Module.to know no memory format
        encoder.to(memory_format=torch.channels_last)  # 1.4 times faster on a CPU than channels first

    @property
    def layers(self) -> tuple[str, ...]:
        """Names from the input to the output."""
        encoder = [f"encoder{i}{part}" for i in range(len(self.encoder)) for part in "ab"]
        return (SCALOGRAM, *encoder, *(f"context{i}" for i in range(len(self.context))))

    def forward(self, audio: Tensor, circular: bool = False) -> tuple[Tensor, Tensor]:
        """Audio ``[batch, samples]`` → z ``[batch, channels, steps]``, c ``[batch, channels, steps / context_hop]``."""
        z = self.encode(self.scalogram(audio, circular), circular)
        return z, self.remember(z, circular)

    def encode(self, scalogram: Tensor, circular: bool = False) -> Tensor:
        """Scalogram ``[batch, 2, bins, frames]`` → z ``[batch, channels, steps]``."""
        x = self._pooled(scalogram)
        for index, block in enumerate(self.encoder):
            x = block(x if index == 0 else functional.relu(x), circular)[1]
        return x.squeeze(2)

    def remember(self, z: Tensor, circular: bool = False) -> Tensor:
        """Encodings → contexts."""
        for index, block in enumerate(self.context):
            z = block(z if index == 0 else functional.relu(z), circular)
        return z

    def respond(
        self, scalogram: Tensor, names: Sequence[str] | None = None, circular: bool = True
    ) -> dict[str, Tensor]:
        """Activations ``[batch, channels, pitch, time]`` of the named layers; stops after the last of them.

        Raises:
            RequestError: there is no such layer.
        """
        wanted = set(self.layers if names is None else names)
        if unknown := wanted - set(self.layers):
            raise RequestError("layer", min(unknown), f"one of {', '.join(self.layers)}")
        found: dict[str, Tensor] = {}
        for name, value in self._walk(scalogram, circular):
            if name in wanted:
                found[name] = value
            if len(found) == len(wanted):
                break
        return found

    def activations(
        self, audio: Tensor, names: Sequence[str] | None = None, circular: bool = True
    ) -> dict[str, Tensor]:
        """`respond` to audio ``[batch, samples]``."""
        return self.respond(self.scalogram(audio, circular), names, circular)

    @property
    def shapes(self) -> tuple[LayerShape, ...]:
        """Every layer's neurons and what they read, for the map."""
        rows, source = self.config.cqt.bins, SCALOGRAM
        found = [LayerShape(SCALOGRAM, 2, rows)]
        encoder: Any = self.encoder
        context: Any = self.context
        for index, block in enumerate(encoder):
            found += block.shapes(source, f"encoder{index}", rows)
            rows, source = found[-1].pitch, found[-1].name
        for index, block in enumerate(context):
            skip = Link(source, channelwise=isinstance(block.project, nn.Identity))
            links = (Link(source), skip) if skip.channelwise else (Link(source),)
            found.append(LayerShape(f"context{index}", block.block.channels, 1, links))
            source = found[-1].name
        return tuple(found)

    @property
    def timing(self) -> dict[str, LayerTiming]:
        """Hop and receptive field of every layer."""
        hop, c = self.config.cqt.hop, self.config
        steps, reach = 1, 2  # in frames: between steps, and that a step depends on (the phase difference reads two)
        found: dict[str, LayerTiming] = {}
        window = round(c.cqt.longest_s * c.cqt.sample_rate)

        def note(name: str) -> None:
            found[name] = LayerTiming(steps * hop, (reach - 1) * hop + window)

        note(SCALOGRAM)
        reach, steps = reach + c.input_pool - 1, c.input_pool
        for index, block in enumerate(c.encoder):
            reach += (block.first[1] - 1) * steps + (block.pool[1] - 1) * steps
            steps *= block.pool[1]
            note(f"encoder{index}a")
            reach += (block.second[1] - 1) * steps
            note(f"encoder{index}b")
        for index, past in enumerate(c.context):
            reach += (past.kernel - 1) * steps + (past.pool - 1) * steps
            steps *= past.pool
            note(f"context{index}")
        return found

    def layer_rate_hz(self, name: str) -> float:
        """Steps a second of a layer."""
        return self.config.cqt.sample_rate / self.timing[name].hop

    def _walk(self, scalogram: Tensor, circular: bool) -> Iterator[tuple[str, Tensor]]:
        """Layer by layer, each computed when it is asked for."""
        yield SCALOGRAM, scalogram
        x = self._pooled(scalogram)
        for index, block in enumerate(self.encoder):
            first, x = block(x if index == 0 else functional.relu(x), circular)
            yield f"encoder{index}a", first
            yield f"encoder{index}b", x
        x = x.squeeze(2)
        for index, block in enumerate(self.context):
            x = block(x if index == 0 else functional.relu(x), circular)
            yield f"context{index}", x.unsqueeze(2)

    def _pooled(self, scalogram: Tensor) -> Tensor:
        pooled = functional.max_pool2d(scalogram, (1, self.config.input_pool))
        return pooled.contiguous(memory_format=torch.channels_last)
