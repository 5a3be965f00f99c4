"""A stand-in ear for the optimiser's tests: a fixed random convolutional network on a small scalogram, and loops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from backend.audio.waveform import Waveform
from backend.instruments.neurons.cqt import TINY
from backend.instruments.neurons.optimise import Optimiser
from backend.instruments.neurons.scalogram import Scalogram
from backend.instruments.neurons.settings import KNOBS, Settings, Target

RATE = TINY.sample_rate
SECOND = RATE
CPU = torch.device("cpu")


class StandIn:
    """Three layers, circular in time; activations before the rectifier."""

    label = "Stand-in"
    sample_rate = RATE
    bins_per_octave = TINY.bins_per_octave
    layers = ("first", "second", "third")

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._scalogram = Scalogram(TINY, 2)
        self._kernels = [
            torch.randn(6, 2, 3, 3, generator=generator) / 3,
            torch.randn(8, 6, 5, 3, generator=generator) / 6,
            torch.randn(10, 8, 22, 1, generator=generator) / 10,  # no pitch axis is left
        ]

    def scalogram(self, audio: Tensor) -> Tensor:
        found: Tensor = self._scalogram(audio, circular=True)
        return found

    def respond(self, scalogram: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        value = scalogram
        for name, kernel in zip(self.layers, self._kernels, strict=True):
            if name != "first":
                value = nn.functional.max_pool2d(value.relu(), (2, 1)) if name == "second" else value.relu()[:, :, :22]
            if kernel.shape[3] == 3:
                value = nn.functional.pad(value, (1, 1, 0, 0), mode="circular")
            value = nn.functional.conv2d(value, kernel, padding=(kernel.shape[2] // 2 if name != "third" else 0, 0))
            found[name] = value
        return found if names is None else {name: found[name] for name in names}


class Plain:
    """No scale: activations as they are."""

    def apply(self, name: str, activation: Tensor) -> Tensor:
        return activation


class Spoiled(StandIn):
    """Its second layer answers NaN."""

    def respond(self, scalogram: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        found = super().respond(scalogram, names)
        return {name: value * torch.nan if name == "second" else value for name, value in found.items()}


def plain(*targets: Target, **knobs: object) -> Settings:
    """Settings with every regulariser off but those named."""
    off: dict[str, object] = dict.fromkeys(KNOBS, 0.0) | {"mix": 1.0, "learning_rate": 0.005, "batch": 1}
    return Settings(targets=targets or (Target(layer="second", channel=3),), **(off | knobs))  # type: ignore[arg-type]


def tone(hertz: float = 440.0, seconds: float = 1.0, amplitude: float = 0.3, rate: int = RATE) -> Waveform:
    t = np.arange(round(seconds * rate)) / rate
    return Waveform((amplitude * np.sin(2 * np.pi * hertz * t)).astype(np.float32), rate)


def noise(seconds: float = 1.0, rms: float = 0.1, seed: int = 0) -> Waveform:
    values = np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * rms
    return Waveform(np.clip(values, -1, 1).astype(np.float32), RATE)


def optimiser(
    settings: Settings, start: Waveform | None = None, seed: int = 0, network: StandIn | None = None
) -> Optimiser:
    return Optimiser(network or StandIn(), start or tone(), settings, seed, normaliser=Plain())
