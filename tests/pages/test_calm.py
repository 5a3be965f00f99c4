from __future__ import annotations

import dataclasses
import json
import re
from html import unescape

import gradio as gr
import numpy as np
import pytest

from backend.audio import io
from backend.contract import Done, Failed, Progress, Queued
from backend.errors import AudioError, CheckpointError, RequestError
from backend.instruments.calm.recipes import RECIPES
from backend.instruments.calm.request import CalmRequest, Upload
from backend.instruments.calm.sheet import session_sheet
from backend.settings import Settings
from pages import calm, calm_anchors, calm_form, calm_magenta, calm_show
from pages.exports import Exports
from pages.jobs import Jobs
from pages.parts import Desk
from tests.pages.calm_result import calm_result
from tests.pages.streams import Stream

GOOD = {
    "seed": 3, "first": "tide", "second": "candle", "uploads": {}, "imported": {}, "what": "path", "near": "first",
    "radius": 0.4, "temperature": 0.7, "variations": 3, "through": ["tide", "candle", "lullaby"], "minutes": 2,
    "start_bpm": None, "end_bpm": 58, "lowest": 48, "highest": 72, "sound": "harp", "treble": 0.8, "loudness": -26,
    "density": 1, "register": -1, "brightness": 0.5, "rhythm": -0.5, "bars": 4, "method": "slerp", "in_scale": False,
    "model": "calm",
}  # fmt: skip
UPLOAD = Upload(b"MThd bytes", "My <b>tune</b>")


class Engine:
    """Answers every request at once, or fails with what it is given."""

    def __init__(self, error=None):
        self.error, self.asked = error, []

    def run(self, instrument_id, request):
        self.asked.append(request)
        end = Failed(self.error) if self.error else Done(calm_result(request))
        return Stream([Queued(0), Progress(1, 2, "Playing"), end])


@pytest.fixture
def desk(tmp_path):
    return Desk(Jobs(Engine()), Exports(tmp_path), Settings())


def asked(desk):
    return desk.jobs.engine.asked[-1]


def test_raw_page_values_become_the_request_of_each_kind():
    common = dict(
        seed=3, bars=4, method="slerp", in_scale=False, density=1, register=-1, brightness=0.5, rhythm=-0.5,
        radius=0.4, temperature=0.7, variations=3, minutes=2, end_bpm=58, lowest=48, highest=72, sound="harp",
        treble=0.8, loudness_lufs=-26,
    )  # fmt: skip
    make = calm_form.make_request
    assert make(**GOOD) == CalmRequest(mode="path", anchors=("tide", "candle"), **common)
    session = make(**GOOD | {"what": "session"})
    assert session == CalmRequest(mode="session", anchors=("tide", "candle", "lullaby"), **common)
    for near, anchors in (("first", ("tide",)), ("second", ("candle",)), ("none", ())):
        assert make(**GOOD | {"what": "sample", "near": near}).anchors == anchors


def test_an_upload_goes_with_the_request_that_names_it_and_with_no_other():
    uploads = {UPLOAD.key: UPLOAD}
    with_it = calm_form.make_request(**GOOD | {"first": UPLOAD.key, "uploads": uploads})
    assert with_it.uploads == (UPLOAD,) and "uploads" not in with_it.to_dict()
    assert calm_form.make_request(**GOOD | {"uploads": uploads}).uploads == ()


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("minutes", 0, "minutes: got 0, expected a number from 1 to 60"),
        ("minutes", 600, "from 1 to 60"), ("minutes", None, "from 1 to 60"), ("through", [], "1 to 8 pieces"),
        ("through", None, "1 to 8 pieces"), ("start_bpm", 10, "from 40 to 90"), ("seed", 0.5, "whole number"),
        ("sound", "kazoo", "felt_piano"), ("model", "hierdec-mel_16bar", "'calm' for a session"),
        ("model", "gpt", "hierdec-trio_16bar"), ("lowest", 2, "from 24 to 48"), ("bars", "many", "from 4 to 16"),
    ],
)  # fmt: skip
def test_bad_values_are_one_sentence_with_the_range(field, value, says):
    with pytest.raises(RequestError, match=re.escape(says)):
        calm_form.make_request(**GOOD | {"what": "session", field: value})


@pytest.mark.parametrize("what", ["path", "sample", "session"])
def test_an_export_dropped_back_fills_every_field_and_locks_its_seed(tmp_path, what):
    request = calm_form.make_request(**GOOD | {"what": what})
    made = calm_result(request)
    path = io.write(made.waveforms[0].slice(0, 1), tmp_path / "a.flac", "flac", made.provenance.to_dict())
    restored = calm._restore(str(path), "pastoral", "tide", ["tide"], {}, {}, Settings())
    *fields, seed, locked, status, dropped = restored
    first, second, *values = fields
    again = calm_form.make_request(seed, first, second, {}, {}, *values)
    assert again == request and (locked, dropped) == (True, None) and "restored" in status
    if what != "path":
        assert second == "tide"  # what the export does not name stays


def test_an_export_of_an_upload_or_of_an_import_that_is_gone_asks_for_it_and_changes_nothing(tmp_path):
    for changes, says in (
        ({"first": UPLOAD.key, "uploads": {UPLOAD.key: UPLOAD}}, "uploaded again"),
        ({"model": "hierdec-mel_16bar"}, "imported again"),
    ):
        made = calm_result(calm_form.make_request(**GOOD | changes))
        path = io.write(made.waveforms[0], tmp_path / "a.wav", "wav", made.provenance.to_dict())
        *fields, status, _ = calm._restore(str(path), "tide", "candle", [], {}, {}, Settings())
        assert "tide" not in str(fields) and says in status
    path = io.write(made.waveforms[0], tmp_path / "a.wav", "wav", made.provenance.to_dict())
    imported = {"hierdec-mel_16bar": "somewhere"}
    *_, status, _ = calm._restore(str(path), "tide", "candle", [], {}, imported, Settings())
    assert "restored" in status


def listen(desk, name="tide", uploads=None):
    anchor = calm_anchors.Anchor("first", *"csfv")

    class Visit:
        session_hash = "me"

    return list(calm_anchors._listen(desk, anchor, name, uploads or {}, 8, "harp", Visit()))


def test_a_chosen_piece_is_played_with_its_roll_its_score_and_what_the_reader_said(desk):
    last = listen(desk, UPLOAD.key, {UPLOAD.key: UPLOAD})[-1]
    assert asked(desk).mode == "listen" and asked(desk).sound == "harp"
    view = last["v"]
    assert view.count("<nm-player") == view.count("<nm-roll") == 1 and "Calm score 50 of 100" in view
    assert 'notes="10 90 72 0 10 190 48 1"' in view
    assert "<b>tune" not in view and "My &lt;b&gt;tune" in view
    assert "5/8 &lt;so&gt;" in last["f"]


def test_a_piece_that_cannot_be_read_is_said_and_the_one_before_stays(desk):
    desk.jobs.engine.error = AudioError("The file is not a MIDI file; a Standard MIDI File works.")
    updates = listen(desk)
    assert all("v" not in update for update in updates) and "not a MIDI file" in updates[-1]["f"]
    assert "piece" in listen(desk, "polka")[-1]["f"] or "polka" in listen(desk, "polka")[-1]["f"]


def test_a_road_is_one_card_whose_slider_knows_every_step(desk):
    request = CalmRequest(anchors=("tide", "candle"), steps=9)
    result = calm_result(request)
    text = calm_show.road(desk.exports.save("me", result, shelf="path"), result)
    data = json.loads(unescape(re.search(r'data-road="([^"]*)"', text)[1]))
    assert len(data["steps"]) == len({step["src"] for step in data["steps"]}) == 9
    assert data["ends"] == ["Tide", "Candle"] and (data["lead"], data["ring"]) == (0.1, 3.0)
    assert text.count("<nm-roll") == 9 and text.count("hidden") >= 8
    assert text.count(">MIDI</a>") == 9 and "66 beats a minute" in text and "63 beats a minute" in text


def test_the_score_says_what_lowers_it_where_it_is_from_and_no_more():
    cues = np.ones(8)
    assert "100 of 100" in calm_show.score(cues) and "a minor mode" not in calm_show.score(cues)
    cues[0] = 0
    assert "80 of 100" in calm_show.score(cues) and "−20: a minor mode" in calm_show.score(cues)
    assert "10.3389/fpsyg.2013.00487" in calm_show.score(cues) and "no effect on anybody" in calm_show.score(cues)
    assert "nothing to score" in calm_show.score(np.full(8, np.nan))


def test_a_session_has_downloads_with_its_sheet_and_previews_play_on(desk):
    request = CalmRequest(mode="session", anchors=("tide", "candle"), minutes=1)
    result = calm_result(request)
    saved = desk.exports.save("me", result, shelf="session", sheet=session_sheet(result))
    text = calm_show.session(saved, result)
    assert "Calm score 75 of 100" in text
    for kind in ("wav", "flac", "mp3", "mid", "html"):
        assert f".{kind}" in text
    assert "not treatment" in desk.exports.path(saved.token, 1, "html").read_text()
    assert 'stays="calm-session"' in text and 'stays="calm-session"' in calm_show.beginning(saved)


def test_each_kind_of_result_is_delivered_where_it_is_seen(desk):
    shown = {mode: calm.Shown(f"{mode}-c", f"{mode}-h", f"{mode}-m") for mode in calm_form.WHAT}
    for mode, anchors in (("path", ("tide", "candle")), ("sample", ("tide",)), ("session", ("tide", "candle"))):
        request = CalmRequest(mode=mode, anchors=anchors, minutes=1, variations=2)
        update = calm._deliver(desk, shown, "me", request, calm_result(request))
        assert set(update) == {f"{mode}-h", f"{mode}-m"} and "nm-" in update[f"{mode}-h"]
        assert update[f"{mode}-m"]["visible"]
    result = calm_result(CalmRequest(anchors=("tide", "candle")))
    plain = {k: v for k, v in result.arrays.items() if not k.startswith("map_")}
    update = calm._deliver(desk, shown, "me", CalmRequest(), dataclasses.replace(result, arrays=plain))
    assert update["path-m"]["visible"] is False  # an imported model has no map
    assert calm._preview(desk, shown, "me", CalmRequest(), result.waveforms[0]) == {}
    session = CalmRequest(mode="session", minutes=1)
    assert "The first 23 seconds" in calm._preview(desk, shown, "me", session, result.waveforms[0])["session-h"]


def test_switching_shows_one_panel_and_one_result():
    seen = calm._switch("session")
    assert [update["visible"] for update in seen[:6]] == [False, False, True] * 2
    assert seen[6]["value"] == "Build the session"


def test_an_uploaded_file_becomes_bytes_with_a_title_and_is_deleted(tmp_path):
    path = tmp_path / "x.mid"
    path.write_bytes(b"MThd")
    upload = calm_anchors.take({"path": str(path), "orig_name": "my_first_song.mid"})
    assert (upload.data, upload.title) == (b"MThd", "my first song") and not path.exists()
    path.write_bytes(bytes(2_000_001))
    with pytest.raises(RequestError, match="2,000,000 bytes"):
        calm_anchors.take({"path": str(path), "orig_name": "big.mid"})
    assert not path.exists()


def test_dropped_checkpoint_files_are_gathered_under_one_prefix_or_refused(tmp_path):
    def dropped(*names):
        files = []
        for name in names:
            path = tmp_path / f"upload-{len(files)}"
            path.write_bytes(b"x")
            files.append({"path": str(path), "orig_name": name})
        return files

    whole = dropped("model.ckpt.index", "model.ckpt.data-00000-of-00001", "model.ckpt.meta")
    assert calm_magenta.gathered(whole, tmp_path / "a") == tmp_path / "a" / "model.ckpt"
    assert (tmp_path / "a" / "model.ckpt.index").is_file()
    assert calm_magenta.gathered(dropped("hier.tar"), tmp_path / "b").name == "hier.tar"
    assert calm_magenta.gathered(dropped("../../evil.tar"), tmp_path / "c").parent == tmp_path / "c"
    for number, names in enumerate(((), ("a.index", "b.index"), ("a.tar", "b.tar"))):
        with pytest.raises(CheckpointError, match="no checkpoint together"):
            calm_magenta.gathered(dropped(*names), tmp_path / f"d{number}")


def test_models_are_ours_and_what_was_imported(tmp_path):
    assert [name for _, name in calm_magenta.models(Settings(), {})] == ["calm"]
    known = calm_magenta.models(Settings(), {"hierdec-mel_16bar": "x"})
    assert [name for _, name in known] == ["calm", "hierdec-mel_16bar"]


def test_the_tab_says_what_it_is_and_warns():
    assert "Calm-styled music, not treatment." in calm.INTRO
    for caution in ("Start softly", "stop at once", "do harm", "Not while driving"):
        assert caution in calm.INTRO.replace("\n", " ")
    assert set(calm_show.CUE_TITLES) == set(calm_show.CUES)


def test_the_page_builds_with_a_label_on_every_field(desk):
    with gr.Blocks() as blocks, gr.Tabs(), gr.Tab("Calm", id="calm"):
        calm.build(desk)
    fields = [b for b in blocks.blocks.values() if isinstance(b, (gr.Slider, gr.Radio, gr.Dropdown, gr.Number))]
    assert len(fields) > 20 and all(field.label for field in fields)
    choices = [value for _, value in next(b for b in fields if b.elem_id == "calm-first").choices]
    assert choices == list(RECIPES)
