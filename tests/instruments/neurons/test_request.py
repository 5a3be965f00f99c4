"""What can be asked, what provenance keeps of it, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backend.errors import RequestError
from backend.instruments.neurons.networks import NETWORKS
from backend.instruments.neurons.request import NETWORKS as ASKED
from backend.instruments.neurons.request import NeuronsRequest
from tests.instruments.neurons.listening import plain, tone


def request(**values: Any) -> NeuronsRequest:
    return NeuronsRequest(**{"settings": plain(), **values})


def test_the_networks_that_can_be_asked_for_are_those_that_can_be_opened() -> None:
    assert ASKED == NETWORKS


def test_a_request_comes_back_from_provenance_without_sound_and_console() -> None:
    asked = request(start="upload", sound=tone(), console="secret", tempo_bpm=90.5, seed=7)
    stored = json.loads(json.dumps(asked.to_dict()))
    assert "sound" not in stored and "secret" not in json.dumps(stored) and "secret" not in repr(asked)
    assert NeuronsRequest.from_dict(stored, tone()) == asked
    with pytest.raises(RequestError, match=r"^sound: "):
        NeuronsRequest.from_dict(stored)


def test_the_meter_is_the_loops_length() -> None:
    assert request(tempo_bpm=100, bars=1.0).meter.seconds == pytest.approx(2.4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("network", "ear:mine"),
        ("network", None),
        ("start", "polka"),
        ("sound", None),
        ("tempo_bpm", 1e9),
        ("bars", 5),
        ("bars", 1.5),
        ("settings", {"targets": []}),
        ("settings", 3),
        ("passes", -1),
        ("updates_per_pass", 10_000),
        ("activity_fps", 1000),
        ("live", "yes"),
        ("console", 5),
        ("seed", -1),
    ],
)
def test_what_is_wrong_is_refused_by_name(field: str, value: Any) -> None:
    name = {"settings": "targets|settings"}.get(field, field)
    with pytest.raises(RequestError, match=f"^({name}): "):
        request(**{"start": "last" if field == "sound" else "house", field: value})


def test_a_loop_longer_than_eight_seconds_is_refused() -> None:
    with pytest.raises(RequestError, match=r"^bars: got 4, expected a loop of 1 to 8 s at 60 beats a minute"):
        request(tempo_bpm=60, bars=4)
