import numpy as np
import pytest

from backend.audio import io
from backend.audio.waveform import Waveform
from backend.contract import Provenance
from backend.errors import RequestError
from backend.instruments.text_to_music.request import TextToMusicRequest
from pages import text_to_music
from pages.text_to_music import _restore, _values, make_request

GOOD = {
    "seed": 3, "prompt": "calm harp", "negative": "drums", "duration_s": 8, "variations": 2, "guidance": 2.5,
    "temperature": 0.8, "stages": "package",
}  # fmt: skip


def test_raw_page_values_become_the_request():
    assert make_request(**GOOD) == TextToMusicRequest(
        seed=3, prompt="calm harp", negative_prompt="drums", duration_s=8, variations=2, guidance_scale=2.5,
        temperature=0.8, stages="package",
    )  # fmt: skip


def test_the_fields_of_a_request_go_back_to_the_page_in_the_same_order():
    names = ("prompt", "negative", "duration_s", "variations", "guidance", "temperature", "stages")
    assert _values(make_request(**GOOD)) == [GOOD[name] for name in names]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""), ("prompt", "   "), ("prompt", "x" * 10_000), ("prompt", "🎻🎹"), ("prompt", "悲しいバイオリン"),
        ("prompt", None), ("duration_s", 0), ("duration_s", 1e9), ("guidance", float("nan")), ("guidance", None),
        ("seed", -1), ("seed", 2**32), ("seed", 0.5), ("seed", None), ("variations", 5), ("variations", "2"),
        ("temperature", 9), ("stages", "other"), ("negative", "x" * 501),
    ],
)  # fmt: skip
def test_bad_input_is_refused_naming_field_and_range(field, value):
    with pytest.raises(RequestError) as caught:
        make_request(**(GOOD | {field: value}))
    name = {"guidance": "guidance_scale", "negative": "negative_prompt"}.get(field, field)
    assert caught.value.field == name
    assert str(caught.value).startswith(f"{name}: got ")


def test_dropping_an_export_fills_every_field_and_locks_its_seed(tmp_path):
    request = make_request(**GOOD)
    provenance = Provenance("text_to_music", request.to_dict(), 3, {}, "cpu", 1.0, "0.1.0")
    path = io.write(
        Waveform(0.1 * np.sin(np.arange(9_000) / 9), 24_000), tmp_path / "a.flac", "flac", provenance.to_dict()
    )
    *values, seed, locked, status, dropped = _restore(str(path))
    assert values == _values(request)
    assert (seed, locked, dropped) == (3, True, None)
    assert "restored" in status


def test_dropping_something_else_changes_no_field_and_says_why(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF nothing")
    *values, _seed, _locked, status, dropped = _restore(str(path))
    assert all(value == values[0] for value in values) and "prompt" not in str(values[0])
    assert 'role="alert"' in status and dropped is None


def test_the_explanation_has_limits_and_the_model_card_when_there_is_one(tmp_path, monkeypatch):
    assert "Limits" in text_to_music.explanation()
    card = tmp_path / "README.md"
    card.write_text("# Card")
    monkeypatch.setattr(text_to_music, "EXPLANATIONS", (card, tmp_path / "missing.md"))
    assert text_to_music.explanation() == "# Card"
    monkeypatch.setattr(text_to_music, "EXPLANATIONS", ())
    assert "not installed" in text_to_music.explanation()
