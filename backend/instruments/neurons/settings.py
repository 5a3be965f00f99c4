"""What can be turned while the ear listens: targets and knobs. No torch here, so pages and requests stay light."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from backend.contract import check_number
from backend.errors import RequestError

PARAMETERISATIONS = ("spectral", "waveform")
MAX_TARGETS = 64
MAX_LEARNING_RATE = 0.05
"""Largest root mean square of one update, in full scale. A higher learning rate is absorbed, not obeyed."""

Made = TypeVar("Made", "Target", "Settings")


@dataclass(frozen=True)
class Knob:
    """Range of one continuous control, for validation, sliders and MIDI alike; ``label`` is what a console says."""

    label: str
    low: float
    high: float


KNOBS: Mapping[str, Knob] = {
    "learning_rate": Knob("Learning rate", 0.0, MAX_LEARNING_RATE),
    "momentum": Knob("Momentum", 0.0, 0.95),
    "mix": Knob("Mix", 0.0, 1.0),
    "time_shift": Knob("Time shift", 0.0, 1.0),
    "pitch_shift": Knob("Pitch shift (semitones)", 0.0, 4.0),
    "mask_time": Knob("Masked time", 0.0, 0.5),
    "mask_pitch": Knob("Masked pitch", 0.0, 0.5),
    "gradient_noise": Knob("Gradient noise", 0.0, 2.0),
    "denoise": Knob("De-noising", 0.0, 1.0),
    "pull": Knob("Pull to the start", 0.0, 1.0),
    "eq_low": Knob("Low", -1.0, 1.0),
    "eq_mid": Knob("Mid", -1.0, 1.0),
    "eq_high": Knob("High", -1.0, 1.0),
    "activation_penalty": Knob("Quiet other neurons", 0.0, 10.0),
    "noise_penalty": Knob("Noise penalty", 0.0, 10.0),
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """A region of the network whose activation is to rise.

    Attributes:
        layer: name of a layer.
        channel: one of its channels; None for all.
        pitch: first index and one past the last on the layer's pitch axis; None for all.
        time: from and to, in shares of the loop, 0 to 1; from > to reaches over the seam. None for the whole loop.
        weight: of several targets; negative silences. -10 to 10.

    Raises:
        RequestError: a value of the wrong form. Whether the network has such a region, the objective checks.
    """

    layer: str
    channel: int | None = None
    pitch: tuple[int, int] | None = None
    time: tuple[float, float] | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.layer, str):
            raise RequestError("layer", self.layer, "the name of a layer")
        if self.channel is not None:
            object.__setattr__(self, "channel", int(check_number("channel", self.channel, 0, 1e6, integer=True)))
        if self.pitch is not None:
            low, high = (int(check_number("pitch", v, 0, 1e6, integer=True)) for v in _pair("pitch", self.pitch))
            if low >= high:
                raise RequestError("pitch", self.pitch, "a first index below the one past the last")
            object.__setattr__(self, "pitch", (low, high))
        if self.time is not None:
            start, stop = (check_number("time", v, 0, 1) for v in _pair("time", self.time))
            if start == stop:
                raise RequestError("time", self.time, "two different shares of the loop")
            object.__setattr__(self, "time", (start, stop))
        check_number("weight", self.weight, -10, 10)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that may change between two updates. All knobs at 0 (but learning rate and mix) is plain ascent.

    Attributes:
        targets: 1 to 64 regions.
        parameterisation: ``waveform`` moves samples; ``spectral`` moves the loop's Fourier coefficients, low ones more.
        learning_rate: root mean square of one update, in full scale; absorbed above `MAX_LEARNING_RATE`.
        momentum: share of the last update's direction that is kept.
        mix: 0 plays the start, 1 the optimised loop.
        time_shift: largest circular shift, as a share of the loop.
        pitch_shift: largest shift up or down, in semitones.
        mask_time, mask_pitch: largest share of the scalogram's frames or bins that is hidden.
        gradient_noise: noise in the update relative to the gradient, both as root mean squares.
        denoise: strength of the spectral gate after each update.
        pull: share of the way back to the start after each update.
        eq_low, eq_mid, eq_high: cut or boost below 250 Hz, between, and above 2.5 kHz.
        activation_penalty: cost of the activation of the other channels of the targets' layers.
        noise_penalty: cost of the scalogram's total variation.
        batch: versions of the loop heard in each update; the first is left as it is, the others are transformed.

    Raises:
        RequestError: naming the field, the value and the allowed range.
    """

    targets: tuple[Target, ...]
    parameterisation: str = "spectral"
    learning_rate: float = 0.008
    momentum: float = 0.5
    mix: float = 1.0
    time_shift: float = 1.0
    pitch_shift: float = 1.0
    mask_time: float = 0.1
    mask_pitch: float = 0.1
    gradient_noise: float = 0.1
    denoise: float = 0.05
    pull: float = 0.005
    eq_low: float = 0.0
    eq_mid: float = 0.0
    eq_high: float = 0.0
    activation_penalty: float = 0.3
    noise_penalty: float = 0.05
    batch: int = 3

    def __post_init__(self) -> None:
        targets = tuple(self.targets) if isinstance(self.targets, (tuple, list)) else ()
        if not 1 <= len(targets) <= MAX_TARGETS or not all(isinstance(target, Target) for target in targets):
            raise RequestError("targets", self.targets, f"1 to {MAX_TARGETS} regions of the network")
        object.__setattr__(self, "targets", targets)
        if self.parameterisation not in PARAMETERISATIONS:
            raise RequestError("parameterisation", self.parameterisation, f"one of {', '.join(PARAMETERISATIONS)}")
        for name, knob in KNOBS.items():
            high = math.inf if name == "learning_rate" else knob.high
            check_number(name, getattr(self, name), knob.low, high)
        object.__setattr__(self, "learning_rate", min(float(self.learning_rate), MAX_LEARNING_RATE))
        object.__setattr__(self, "batch", int(check_number("batch", self.batch, 1, 8, integer=True)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Settings:
        """The settings that `to_dict` described.

        Raises:
            RequestError: an unknown key or a wrong value.
        """
        targets = values.get("targets", ())
        if not isinstance(targets, (tuple, list)):
            raise RequestError("targets", targets, "a list of regions")
        built = tuple(_build(Target, target, "targets") for target in targets)
        return _build(Settings, {**values, "targets": built}, "settings")


def _build(kind: type[Made], values: object, field: str) -> Made:
    """A dataclass from a mapping that has its fields and no others."""
    if isinstance(values, kind):
        return values
    fields = dataclasses.fields(kind)
    needed = {f.name for f in fields if f.default is dataclasses.MISSING}
    known = {f.name for f in fields}
    if not isinstance(values, Mapping) or not needed <= set(values) <= known:
        raise RequestError(field, values, f"the fields {', '.join(sorted(known))}")
    return kind(**values)


def _pair(name: str, value: object) -> tuple[Any, Any]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise RequestError(name, value, "a pair of numbers")
    return value[0], value[1]
