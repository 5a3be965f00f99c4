from __future__ import annotations

import numpy as np
import pytest

from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.genre_transfer.request import GenreTransferRequest

SOUND = Waveform(np.random.default_rng(0).uniform(-0.1, 0.1, (2, 44_100)).astype(np.float32), 44_100)


def silence(seconds: float, constant: float = 0.0) -> Waveform:
    return Waveform(np.full((1, round(seconds * 8000)), constant, np.float32), 8000)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"method": "magic"}, "method"),
        ({"network": "resnet"}, "network"),
        ({"strength": 1.5}, "strength"),
        ({"harmony": float("nan")}, "harmony"),
        ({"iterations": 0}, "iterations"),
        ({"rhythm_donor": 1}, "rhythm_donor"),
        ({"content": "Polka 9"}, "content"),
        ({"content": "upload"}, "content"),
        ({"style": "upload", "style_sound": silence(1.0)}, "style"),
        ({"style": "upload", "style_sound": silence(1.0, 0.5)}, "style"),
        ({"content": "upload", "content_sound": SOUND.slice(0, 0.05)}, "content"),
        ({"content": "upload", "content_sound": silence(301.0)}, "content"),
        ({"method": "classic", "content": "upload", "content_sound": silence(61.0)}, "content"),
    ],
)
def test_what_is_wrong_is_refused_by_name(values: dict[str, object], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        GenreTransferRequest(**values)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_request_comes_back_from_its_provenance_with_its_sounds() -> None:
    request = GenreTransferRequest(content="upload", content_sound=SOUND, rhythm_donor=True, seed=7)
    values = request.to_dict()
    assert "content_sound" not in values
    assert GenreTransferRequest.from_dict(values, content_sound=SOUND) == request
    with pytest.raises(RequestError, match="uploaded again"):
        GenreTransferRequest.from_dict(values)


def test_a_continuation_needs_no_style() -> None:
    GenreTransferRequest(method="continuation", style="upload")
