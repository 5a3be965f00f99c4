"""Every bad value is refused with its field, what was received and what is allowed; good ones survive provenance."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from backend.errors import RequestError
from backend.instruments.text_to_music.request import MAX_PROMPT, TextToMusicRequest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "   \n"),
        ("prompt", "x" * 10_000),
        ("prompt", "🎻🎹🥁"),
        ("prompt", "медленная скрипка"),
        ("prompt", "悲しいバイオリン"),
        ("prompt", "1234 !?"),
        ("prompt", None),
        ("prompt", 7),
        ("negative_prompt", "x" * (MAX_PROMPT + 1)),
        ("negative_prompt", None),
        ("duration_s", 0),
        ("duration_s", 1e9),
        ("duration_s", -10),
        ("duration_s", math.nan),
        ("duration_s", "10"),
        ("duration_s", 30.01),
        ("variations", 0),
        ("variations", 5),
        ("variations", 1.5),
        ("variations", True),
        ("guidance_scale", math.nan),
        ("guidance_scale", math.inf),
        ("guidance_scale", 0.5),
        ("guidance_scale", None),
        ("temperature", 0),
        ("temperature", math.nan),
        ("temperature", 9),
        ("stages", "soundstream"),
        ("stages", None),
        ("seed", -1),
        ("seed", 2**32),
        ("seed", 0.5),
        ("seed", math.nan),
        ("seed", "7"),
    ],
)
def test_a_bad_value_is_refused_with_its_field_and_what_is_allowed(field: str, value: Any) -> None:
    with pytest.raises(RequestError) as caught:
        TextToMusicRequest(**{"prompt": "calm solo piano", field: value})
    error, message = caught.value, str(caught.value)
    assert (error.field, error.value is value) == (field, True)
    assert message.startswith(f"{field}: got ") and error.allowed in message and len(message) < 250


@pytest.mark.parametrize(
    "prompt",
    ["calm solo piano", "🎻 sad violin 🎻", "Für Elise on a music box", "x" * MAX_PROMPT, "a", "70 bpm, très doux"],
)
def test_words_in_latin_letters_are_taken_whatever_is_around_them(prompt: str) -> None:
    assert TextToMusicRequest(prompt=prompt).prompt == prompt


def test_the_limits_themselves_are_allowed() -> None:
    for changes in (
        {"duration_s": 4, "variations": 1, "guidance_scale": 1, "temperature": 0.3, "seed": 0},
        {"duration_s": 30, "variations": 4, "guidance_scale": 8, "temperature": 1.5, "seed": 2**32 - 1},
    ):
        TextToMusicRequest(prompt="harp", **changes)  # type: ignore[arg-type]


def test_a_request_comes_back_from_json_and_unknown_fields_are_refused() -> None:
    request = TextToMusicRequest(prompt="harp", negative_prompt="drums", seed=9, variations=3, stages="package")
    assert TextToMusicRequest.from_dict(json.loads(json.dumps(request.to_dict()))) == request
    with pytest.raises(RequestError, match="tempo"):
        TextToMusicRequest.from_dict({**request.to_dict(), "tempo": 90})
