"""What a console can send: checked on construction, exact through JSON, absurd numbers refused or absorbed."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from backend.errors import RequestError
from backend.instruments.neurons.settings import KNOBS, MAX_LEARNING_RATE, MAX_TARGETS, Settings, Target

TARGET = Target(layer="encoder3b", channel=7, pitch=(2, 5), time=(0.75, 0.25), weight=-2.0)


def test_settings_come_back_from_json() -> None:
    settings = Settings(targets=(TARGET, Target(layer="context0")), parameterisation="waveform", eq_high=-0.3)
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_every_knob_is_a_field_whose_default_lies_in_its_range() -> None:
    settings = Settings(targets=(TARGET,))
    assert all(knob.low <= getattr(settings, name) <= knob.high for name, knob in KNOBS.items())
    continuous = {name for name, value in settings.to_dict().items() if isinstance(value, float)}
    assert continuous == set(KNOBS)


@pytest.mark.parametrize("name", sorted(set(KNOBS) - {"learning_rate"}))
@pytest.mark.parametrize("value", [1e9, -1e9, math.nan, math.inf, "loud", None])
def test_a_knob_out_of_its_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(RequestError, match=f"^{name}: "):
        Settings(targets=(TARGET,), **{name: value})


@pytest.mark.parametrize("value", [1e9, math.inf])
def test_a_learning_rate_of_a_billion_is_the_largest_one(value: float) -> None:
    assert Settings(targets=(TARGET,), learning_rate=value).learning_rate == MAX_LEARNING_RATE


@pytest.mark.parametrize("value", [math.nan, -1.0])
def test_a_learning_rate_that_is_no_rate_is_refused(value: float) -> None:
    with pytest.raises(RequestError, match=r"^learning_rate: "):
        Settings(targets=(TARGET,), learning_rate=value)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("targets", {"targets": ()}),
        ("targets", {"targets": (TARGET,) * (MAX_TARGETS + 1)}),
        ("targets", {"targets": "all"}),
        ("targets", {"targets": [{"channel": 3}]}),
        ("targets", {"targets": [{"layer": "z", "colour": 3}]}),
        ("layer", {"targets": [{"layer": 3}]}),
        ("channel", {"targets": [{"layer": "z", "channel": -1}]}),
        ("channel", {"targets": [{"layer": "z", "channel": 1.5}]}),
        ("pitch", {"targets": [{"layer": "z", "pitch": [5, 5]}]}),
        ("pitch", {"targets": [{"layer": "z", "pitch": 5}]}),
        ("time", {"targets": [{"layer": "z", "time": [0.5, 0.5]}]}),
        ("time", {"targets": [{"layer": "z", "time": [0.0, 1.5]}]}),
        ("weight", {"targets": [{"layer": "z", "weight": math.nan}]}),
        ("batch", {"targets": [{"layer": "z"}], "batch": 9}),
        ("parameterisation", {"targets": [{"layer": "z"}], "parameterisation": "wavelet"}),
        ("settings", {"targets": [{"layer": "z"}], "volume": 11}),
    ],
)
def test_what_is_wrong_is_refused_by_name(field: str, values: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=f"^{field}: "):
        Settings.from_dict(values)
