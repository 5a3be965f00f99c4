from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.contract import MAX_SEED, Instrument, Provenance, Request, check_number
from backend.errors import RequestError


@dataclass(frozen=True, kw_only=True)
class Bell(Request):
    instrument_id: ClassVar[str] = "bell"
    strokes: int = 1

    def validate(self) -> None:
        check_number("strokes", self.strokes, 1, 12, integer=True)


@pytest.mark.parametrize("value", [4, 30, 4.5, np.float32(7), np.int64(8)])
def test_finite_numbers_in_range_pass(value: float) -> None:
    assert check_number("duration_s", value, 4, 30) == float(value)


@pytest.mark.parametrize("value", [3.999, 1e9, float("nan"), float("inf"), -float("inf"), None, "10", True, [10], 10j])
def test_anything_else_is_refused_by_name_value_and_range(value: object) -> None:
    with pytest.raises(RequestError) as caught:
        check_number("duration_s", value, 4, 30)
    assert str(caught.value) == f"duration_s: got {value!r}, expected a number from 4 to 30."
    assert (caught.value.field, caught.value.value is value) == ("duration_s", True)


@given(st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none(), st.lists(st.integers())))
def test_no_value_gets_past_the_range(value: object) -> None:
    try:
        number = check_number("x", value, -1, 1, integer=True)
    except RequestError:
        return
    assert number in (-1, 0, 1)


def test_a_whole_number_too_large_for_a_float_is_refused_like_any_other() -> None:
    with pytest.raises(RequestError, match="variations: got 1000"):
        check_number("variations", 10**400, 1, 4, integer=True)


def test_a_long_value_is_shown_shortened() -> None:
    assert len(str(RequestError("prompt", "la" * 5000, "less"))) < 120


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 0.5, "seven", None])
def test_every_request_checks_its_seed(seed: object) -> None:
    with pytest.raises(RequestError, match="seed"):
        Bell(seed=seed)  # type: ignore[arg-type]


def test_a_request_survives_json() -> None:
    bell = Bell(seed=MAX_SEED, strokes=12)
    assert Bell.from_dict(json.loads(json.dumps(bell.to_dict()))) == bell


@pytest.mark.parametrize(
    ("values", "field"), [({"strokes": 13}, "strokes"), ({"pitch": 1}, "pitch"), ({"seed": "x"}, "seed")]
)
def test_restored_values_are_validated_and_unknown_ones_refused(values: dict[str, object], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        Bell.from_dict(values)
    assert caught.value.field == field


def test_requests_cannot_be_changed_after_validation() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Bell().strokes = 99  # type: ignore[misc]


def test_provenance_is_plain_json() -> None:
    provenance = Provenance("bell", Bell().to_dict(), 0, {"bell.model": "ab"}, "cpu", 1.5, "0.1.0")
    assert json.loads(json.dumps(provenance.to_dict()))["request"] == {"seed": 0, "strokes": 1}


def test_an_instrument_must_load_and_generate() -> None:
    with pytest.raises(TypeError, match="generate"):
        type("Mute", (Instrument,), {"load": lambda *_: None})()
