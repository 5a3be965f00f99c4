import itertools
import json
import re
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from backend.audio import io
from backend.audio.midi import make_notes
from backend.contract import Provenance, Result
from backend.errors import AudioError, RequestError
from backend.instruments.violin.request import ViolinRequest
from pages import (
    violin,
    violin_adapters,
    violin_bench,
    violin_form,
    violin_words,
)
from pages.violin_adapters import Own
from tests.pages.violin.violin_tab import GOOD, SETTINGS, recording, tone, upload, zipped


def test_raw_page_values_become_the_request_and_go_back():
    made = violin_form.make_request(**GOOD)
    assert made == ViolinRequest(
        seed=3, prompt="slow line", negative_prompt="drums", duration_s=8, variations=2, guidance_scale=2.5,
        temperature=0.8, strengths={"violin": 0.75}, part="sound", compare=True, adherence=0.5,
    )  # fmt: skip
    assert violin_form.values(made) == [GOOD[name] for name in SETTINGS]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("prompt", "", "English"), ("prompt", None, "at most 500"), ("strength", 1.6, "strength of violin: got 1.6"),
        ("strength", None, "from 0 to 1.5"), ("adapter", "stolen", "adapter: got 'stolen'"), ("part", "all", "both"),
        ("second", "violin", "another than the first"), ("seed", 0.5, "whole number"), ("adherence", 2, "from 0 to 1"),
        ("variations", 9, "from 1 to 4"), ("duration_s", float("nan"), "from 4 to 30"),
    ],
)  # fmt: skip
def test_bad_values_are_one_sentence_with_the_range(field, value, says):
    with pytest.raises(RequestError, match=re.escape(says)):
        violin_form.make_request(**GOOD | {field: value})


def test_own_adapters_go_with_the_request_that_chooses_them(tmp_path):
    owned = {"mine": Own(str(tmp_path)), "other": Own(str(tmp_path))}
    made = violin_form.make_request(**GOOD | {"adapter": "mine", "second": "violin", "owned": owned})
    assert made.strengths == {"mine": 0.75, "violin": 0.5} and made.adapter_paths == {"mine": tmp_path}
    assert violin_form.values(made)[6:10] == ["mine", 0.75, "violin", 0.5]
    assert "adapter_paths" not in made.to_dict()


def test_a_melody_is_read_and_one_that_cannot_be_used_is_a_sentence(tmp_path):
    made = violin_form.make_request(**GOOD | {"melody": recording(tmp_path / "hum.wav", 2)})
    assert made.melody.duration_s == pytest.approx(2) and made.to_dict()["has_melody"] is True
    with pytest.raises(RequestError, match=r"31\.0 s.*at most 30 s"):
        violin_form.make_request(**GOOD | {"melody": recording(tmp_path / "long.wav", 31)})
    with pytest.raises(RequestError, match=r"0\.5 to 30 s"):
        violin_form.make_request(**GOOD | {"melody": recording(tmp_path / "short.wav", 0.2)})
    with pytest.raises(AudioError):
        violin_form.make_request(**GOOD | {"melody": upload(tmp_path / "x", b"not a sound" * 9, "x.wav")})
    with pytest.raises(AudioError, match="record it again"):
        violin_form.make_request(**GOOD | {"melody": {"path": str(tmp_path / "gone.wav")}})


def test_presets_are_requests_and_chips_can_be_taken_out_one_by_one():
    for preset in violin_words.PRESETS:
        ViolinRequest(prompt=preset.prompt)
    words = [word for group in violin_words.CHIPS for word in group.words]
    for a, b in itertools.permutations(words, 2):
        assert not re.search(rf"\b{re.escape(a)}\b", b)


def test_players_are_named_by_what_plays(page):
    two = Result((tone(), tone()))
    for changes, names in (
        ({}, ["Violin", "Base"]),
        ({"compare": False}, ["Violin 1", "Violin 2"]),
        ({"strengths": {"violin": 0.0}, "compare": False}, ["Base 1", "Base 2"]),
        ({"strengths": {"violin": 1, "mine": 1}, "adapter_paths": {"mine": Path("x")}}, ["Violin + mine", "Base"]),
    ):
        asked = ViolinRequest(**{"prompt": "a line", "compare": True, **changes})
        assert page.bench.labels(asked, two) == names


def test_a_melody_is_drawn_over_what_was_made_of_it(desk, page):
    request = ViolinRequest(prompt="a line")
    arrays = {"contour": np.linspace(60, 64, 50), "contour_rate": np.array(100.0)}
    result = Result((tone(),), arrays, (make_notes([(0, 1, 60, 90, 40, False, 0)]),))
    update = page.bench._deliver(desk, "me", request, result)
    shown = violin_bench._melody(desk.exports, update[page.bench.heard])
    assert shown["visible"] and len(shown["value"].data) == 2 and "Violin" in update[page.bench.players]
    plain = page.bench._deliver(desk, "me", request, Result((tone(),)))
    assert plain[page.bench.heard] is None and not violin_bench._melody(desk.exports, None)["visible"]


def exported(path, request):
    made = Provenance("violin", request.to_dict(), request.seed, {}, "cpu", 1.0, "0.1.0")
    return str(io.write(tone(), path, "flac", made.to_dict()))


def test_an_export_dropped_back_fills_every_field_and_locks_its_seed(tmp_path):
    request = violin_form.make_request(**GOOD)
    *values, melody, seed, locked, status, dropped = violin._restore(exported(tmp_path / "a.flac", request), {})
    assert values == violin_form.values(request) and melody is None
    assert (seed, locked, dropped) == (3, True, None) and "restored" in status


def test_what_an_export_does_not_hold_is_asked_for(tmp_path):
    owned = {"mine": Own(str(tmp_path / "there"))}
    changes = {"adapter": "mine", "owned": owned, "melody": recording(tmp_path / "hum.wav")}
    request = violin_form.make_request(**GOOD | changes)
    *values, _, _, _, status, _ = violin._restore(exported(tmp_path / "a.flac", request), {})
    assert values[6:8] == ["violin", 1.0] and "not in the file" in status and "mine" in status
    *values, _, _, _, status, _ = violin._restore(exported(tmp_path / "a.flac", request), owned)
    assert values[6:8] == ["mine", 0.75] and "mine" not in status
    (tmp_path / "b.wav").write_bytes(b"RIFF nothing")
    assert 'role="alert"' in violin._restore(str(tmp_path / "b.wav"), {})[-2]


def test_an_adapter_is_taken_as_a_zip_or_as_its_two_files_and_becomes_the_choice(desk, page, tmp_path, adapter):
    form = page.form
    one = violin._take(desk, form, "me", [zipped(tmp_path / "u.zip", adapter["own"])], {})
    assert one[form.adapter]["value"] == "Ada" and one[form.owned]["Ada"].licence == "CC0"
    files = [upload(tmp_path / name, content, name) for name, content in adapter["own"].items()]
    two = violin._take(desk, form, "me", files, one[form.owned])
    assert [value for _, value in two[form.adapter]["choices"]] == ["violin", "Ada", "Ada 2"]
    assert [value for _, value in two[form.second]["choices"]] == ["", "violin", "Ada", "Ada 2"]
    assert not list(tmp_path.glob("u.zip")) and not (tmp_path / violin_adapters.CONFIG).exists()


def test_adapters_that_cannot_be_used_are_refused_in_one_sentence(desk, page, tmp_path, adapter):
    config, weights = adapter["own"].items()

    def says(files):
        update = violin._take(desk, page.form, "me", files, {})
        assert page.form.owned not in update and update[page.form.files] is None
        return update[page.form.said]

    def part(name, content):
        return upload(tmp_path / f"up-{name}", content, name)

    assert "another base" in says([zipped(tmp_path / "u.zip", adapter["strange"])])
    assert "pickled" in says([part("adapter_model.bin", b"x"), part(*config)])
    assert "pickled" in says([zipped(tmp_path / "u.zip", {"pytorch_model.bin": b"x"})])
    assert "both at once" in says([part(*weights)]) and "both at once" in says([])
    assert "no archive" in says([upload(tmp_path / "v", b"no zip", "a.zip")])
    assert 'role="alert"' in says([part(config[0], b"{}"), part(*weights)])
    assert 'role="alert"' in says([part(*config), part(weights[0], weights[1][:50])])
    assert not list(tmp_path.glob("up-*"))


def test_names_of_adapters_are_unique_plain_and_not_the_bundled_ones():
    owned, first = violin_adapters.added({}, "violin", Own("a"))
    owned, second = violin_adapters.added(owned, " vio\nlin ", Own("b"))
    owned, third = violin_adapters.added(owned, "x" * 200, Own("c"))
    owned, again = violin_adapters.added(owned, "violin", Own("a"))
    assert (first, second, len(third), again) == ("violin 2", "vio lin", 60, "violin 2")
    assert violin_adapters.added({}, "", Own("a"))[1] == "my violin"


def test_the_page_builds_with_a_label_on_every_field(desk):
    with gr.Blocks() as blocks, gr.Tabs(), gr.Tab("Violin", id="violin"):
        violin.build(desk)
    kinds = (gr.Slider, gr.Radio, gr.Checkbox, gr.File, gr.Number, gr.Textbox, gr.Dropdown, gr.Audio, gr.Dataframe)
    fields = [b for b in blocks.blocks.values() if isinstance(b, kinds)]
    assert len(fields) > 25 and all(field.label for field in fields)
    json.dumps(blocks.get_config_file(), default=str)
