import base64
import dataclasses
import json
import re
import zlib
from html import unescape

import gradio as gr
import numpy as np
import pytest

from backend import plots
from backend.audio import io
from backend.audio.waveform import Waveform
from backend.contract import Done, Failed, Queued, Result
from backend.errors import AudioError, CheckpointError, RequestError
from backend.instruments.genre_transfer.genres import EXAMPLES, GENRES
from backend.instruments.genre_transfer.request import SLIDERS, UPLOAD, GenreTransferRequest
from backend.settings import Settings
from pages import genre_transfer, genre_transfer_clips, genre_transfer_form, genre_transfer_show
from pages.exports import Exports
from pages.genre_transfer_form import Own
from pages.jobs import Jobs
from pages.parts import Desk, links
from tests.pages.genre_transfer_events import Look, genre_transfer_result, tone
from tests.pages.streams import Stream

GOOD = {
    "seed": 3, "content": "Trap 2", "style": "Noise 1", "owned": {}, "strength": 0.5, "timbre": 0.25, "rhythm": 1,
    "harmony": 0, "rhythm_donor": True, "method": "classic", "network": "vgg19", "iterations": 20,
}  # fmt: skip


class Engine:
    """Answers every request at once, or fails with what it is given."""

    def __init__(self, error=None):
        self.error, self.asked = error, []

    def run(self, instrument_id, request):
        self.asked.append(request)
        return Stream([Queued(0), Failed(self.error) if self.error else Done(genre_transfer_result(request))])


@pytest.fixture
def desk(tmp_path):
    return Desk(Jobs(Engine()), Exports(tmp_path), Settings())


def own(desk, hertz=300.0, seconds=2.0):
    saved = desk.exports.save("me", Result((tone(hertz, seconds),)))
    return Own(saved.token, saved.clips[0], "My <b>tune</b>")


def place(desk, bring, owned=()):
    chooser = genre_transfer_clips.Chooser("content", *"cvsf")
    return list(genre_transfer_clips._place(desk, "me", chooser, dict(owned), "o", bring))


def listen(desk, name="Trap 1", owned=()):
    chooser = genre_transfer_clips.Chooser("content", *"cvsf")
    return list(genre_transfer_clips._listen(desk, "me", chooser, name, dict(owned)))


def written(tmp_path, samples, rate, name="my_song.wav"):
    path = io.write(Waveform(np.asarray(samples, np.float32), rate), tmp_path / "upload", "wav")
    return {"path": str(path), "orig_name": name}


def test_raw_page_values_become_the_request(desk):
    made = genre_transfer_form.make_request(desk.exports, **GOOD)
    assert made == GenreTransferRequest(**{name: value for name, value in GOOD.items() if name != "owned"})
    assert genre_transfer_form.values(made) == [0.5, 0.25, 1, 0, True, "classic", "vgg19", 20]


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("strength", 1.5, "strength: got 1.5, expected a number from 0 to 1"), ("timbre", None, "from 0 to 1"),
        ("content", "polka", "Lo-fi 1"), ("style", UPLOAD, "uploaded again"), ("method", "magic", "studio"),
        ("network", "gpt", "vgg19"), ("iterations", 501, "from 1 to 500"), ("seed", 0.5, "whole number"),
        ("rhythm_donor", "yes", "true or false"),
    ],
)  # fmt: skip
def test_bad_values_are_one_sentence_with_the_range(desk, field, value, says):
    with pytest.raises(RequestError, match=re.escape(says)):
        genre_transfer_form.make_request(desk.exports, **GOOD | {field: value})


def test_an_own_sound_goes_with_the_request_that_chooses_it_and_with_no_other(desk):
    owned = {"content": own(desk)}
    with_it = genre_transfer_form.make_request(desk.exports, **GOOD | {"content": UPLOAD, "owned": owned})
    assert with_it.content_sound.duration_s == pytest.approx(2) and "content_sound" not in with_it.to_dict()
    assert genre_transfer_form.make_request(desk.exports, **GOOD | {"owned": owned}).content_sound is None
    desk.exports.clear()
    with pytest.raises(RequestError, match="uploaded again"):
        genre_transfer_form.make_request(desk.exports, **GOOD | {"content": UPLOAD, "owned": owned})


def test_a_dropped_sound_becomes_the_choice_and_can_be_heard_whatever_its_rate_and_channels(desk, tmp_path):
    for rate, channels in ((8_000, 1), (96_000, 2), (44_100, 6)):
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, (channels, rate))
        file = written(tmp_path, noise, rate)
        update, *_, heard = place(desk, lambda file=file: genre_transfer_clips.take(file, "content"))
        assert "The classifier hears" in heard["s"] and "v" not in heard
        mine = update["o"]["content"]
        assert update["c"]["value"] == UPLOAD and update["c"]["choices"][0] == ("my song (yours)", UPLOAD)
        assert "nm-player" in update["v"] and update["s"] == ""
        kept = io.read(desk.exports.path(mine.token, 1, "wav"))
        assert kept.sample_rate <= 48_000 and kept.n_channels <= 2 and kept.duration_s == pytest.approx(1, abs=0.01)
        assert not (tmp_path / "upload").exists()


def test_a_chosen_clip_is_played_with_what_the_classifier_hears_in_it(desk):
    last = listen(desk)[-1]
    assert (desk.jobs.engine.asked[-1].method, desk.jobs.engine.asked[-1].content) == ("listen", "Trap 1")
    assert "<nm-player" in last["v"] and "Trap 1" in last["v"] and last["s"].count("<li>") == len(GENRES)
    desk.jobs.engine.error = CheckpointError("The classifier is not there.")
    failed = listen(desk)
    assert all("v" not in update for update in failed) and "not there" in failed[-1]["s"]
    assert "polka" in listen(desk, "polka")[-1]["s"]


@pytest.mark.parametrize("case", ["silence", "constant", "short", "hours", "video", "broken"])
def test_what_cannot_be_used_is_one_sentence_and_the_choice_before_stays(desk, tmp_path, case):
    sounds = {
        "silence": np.zeros((1, 8_000)), "constant": np.full((1, 8_000), 0.5),
        "short": np.random.default_rng(0).uniform(-0.5, 0.5, (1, 400)), "hours": np.zeros((1, 8_000 * 301)),
    }  # fmt: skip
    if case in sounds:
        file = written(tmp_path, sounds[case], 8_000)
    else:
        content = {"video": b"\x00\x00\x00\x20ftypisom" + bytes(400), "broken": b"ID3\x04" + bytes(400)}[case]
        (tmp_path / "upload").write_bytes(content)
        file = {"path": str(tmp_path / "upload"), "orig_name": f"a.{case}"}
    (update,) = place(desk, lambda: genre_transfer_clips.take(file, "content"))
    assert desk.jobs.engine.asked == []
    assert set(update) == {"s"} and 'role="alert"' in update["s"] and "Traceback" not in update["s"]
    assert not (tmp_path / "upload").exists()


def test_a_result_of_another_tab_is_taken_by_its_address_and_nothing_else_is(desk):
    saved = desk.exports.save("me", Result((tone(200, 1), tone(300, 2))))
    sound, title = genre_transfer_clips.sent(desk, json.dumps({"url": saved.clips[1].url, "title": "Variation 2"}))
    assert (sound.duration_s, title) == (pytest.approx(2), "Variation 2")
    said = links(saved.clips[1], 'a "song"', "stem")
    assert f'data-send="{saved.clips[1].url}"' in said and "&quot;song&quot;" in said
    for wrong in ("", "[]", "nonsense", None, json.dumps({"url": "exports/../1"}), json.dumps({"url": "exports/x/1"})):
        with pytest.raises(AudioError, match="no longer kept"):
            genre_transfer_clips.sent(desk, wrong)


def test_the_result_has_three_level_tracks_one_set_of_downloads_and_every_genre(desk):
    request = GenreTransferRequest(seed=5)
    result = genre_transfer_result(request)
    text = genre_transfer_show.made(desk.exports.save("me", result), result, {"content": "A <b>", "style": "B"})
    tracks = json.loads(unescape(re.search(r'data-ab="([^"]*)"', text)[1]))["tracks"]
    assert [track["id"] for track in tracks] == ["content", "style", "result"]
    assert [track["src"][-5:] for track in tracks] == ["2.wav", "3.wav", "1.wav"]
    assert "A <b>" not in text
    assert re.findall(r'download="([^"]*)"', text) == [
        f"neuromuse-genre_transfer-seed-5.{kind}" for kind in ("wav", "flac", "mp3")
    ]
    assert text.count('<th scope="row">') == len(GENRES) and text.count("data-of=") == 3 * len(GENRES)


def test_a_continuation_has_no_style_to_compare(desk):
    result = genre_transfer_result(GenreTransferRequest(method="continuation"))
    text = genre_transfer_show.made(desk.exports.save("me", result), result, {})
    assert text.count("&quot;src&quot;") == 2 and text.count("data-of=") == 2 * len(GENRES)


def test_work_in_progress_is_a_picture_with_low_frequencies_at_the_bottom():
    image = np.zeros((4, 6), np.float32)
    image[0] = 1.0
    data = base64.b64decode(genre_transfer_show.png(image).partition(",")[2])
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[16:24] == bytes((0, 0, 0, 6, 0, 0, 0, 4))
    at = data.index(b"IDAT")
    rows = np.frombuffer(zlib.decompress(data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at])]), np.uint8)
    assert rows.reshape(4, 7)[:, 1:].mean(1).tolist() == [0, 0, 0, 255]
    shown = genre_transfer_show.work(Look(image * np.nan, None, "<now>"), None)
    assert "<now>" not in shown and "&lt;now&gt;" in shown and "nm-player" not in shown


def test_previews_and_results_are_delivered_where_they_are_seen_and_pictures_are_drawn_once(desk):
    request = GenreTransferRequest()
    look = Look(np.ones((8, 8), np.float32), tone(200, 1), "Drums")
    assert "nm-player" in genre_transfer._preview(desk, "w", "me", request, look)["w"]
    update = genre_transfer._deliver(desk, "w", "m", "f", "me", request, genre_transfer_result(request))
    assert update["w"] == "" and "Lo-fi 1" in update["m"]
    shown, figure, drawn = genre_transfer._pictures(update["f"], None)
    assert shown["visible"] and len(figure.data) == 3
    assert genre_transfer._pictures(update["f"], drawn)[1] == gr.skip()


def test_the_difference_is_averaged_and_centred_on_nothing_changed():
    before, after = np.full((128, 900), -40.0), np.full((128, 900), -40.0)
    after[:, 450:] = -60.0
    figure = plots.transfer_spectrograms(before, after, after - before, 9.0)
    shown = np.asarray(figure.data[2].z)
    assert shown.shape == (128, 300) and (figure.data[2].zmin, figure.data[2].zmax) == (-40, 40)
    assert (shown[:, :150] == 0).all() and (shown[:, 150:] == -20).all()


@pytest.mark.parametrize("method", genre_transfer_form.METHODS)
def test_an_export_dropped_back_fills_every_field_and_locks_its_seed(desk, tmp_path, method):
    request = GenreTransferRequest(seed=9, content="Trap 1", style="Noise 1", method=method, harmony=0.5)
    result = genre_transfer_result(request)
    path = io.write(result.waveforms[0], tmp_path / "a.mp3", "mp3", result.provenance.to_dict())
    content, style, *fields, seed, locked, status, dropped = genre_transfer._restore(
        desk, str(path), "House 1", "House 2", {}
    )
    again = genre_transfer_form.make_request(desk.exports, seed, content, style, {}, *fields)
    assert again == request and (locked, dropped) == (True, None) and "restored" in status


def test_an_export_of_an_own_sound_asks_for_it_and_keeps_everything_else(desk, tmp_path):
    owned = {"content": own(desk)}
    sound = tone(300, 2)
    request = GenreTransferRequest(content=UPLOAD, content_sound=sound, style="Trap 1", timbre=0.1)
    result = genre_transfer_result(request)
    for known, expected, says in (({}, "House 2", "drop it again"), (owned, UPLOAD, "makes the same")):
        path = io.write(result.waveforms[0], tmp_path / "a.wav", "wav", result.provenance.to_dict())
        content, style, *fields, status, _ = genre_transfer._restore(desk, str(path), "House 2", "House 1", known)
        assert (content, style, fields[SLIDERS.index("timbre")]) == (expected, "Trap 1", 0.1) and says in status
    damaged = dataclasses.replace(result.provenance, request={"content": "Trap 1", "strength": 9})
    path = io.write(result.waveforms[0], tmp_path / "a.wav", "wav", damaged.to_dict())
    assert "from 0 to 1" in genre_transfer._restore(desk, str(path), "House 2", "House 1", {})[-2]


def test_switching_the_method_shows_its_knobs_and_names_what_the_button_does():
    seen = {method: genre_transfer_form.switch(method) for method in genre_transfer_form.METHODS}
    assert [update["visible"] for update in seen["studio"][:2]] == [True, False]
    assert [update["visible"] for update in seen["classic"][:2]] == [False, True]
    assert len({update[2]["value"] for update in seen.values()}) == len(genre_transfer_form.METHODS)


def test_the_page_builds_with_two_clips_chosen_and_a_label_on_every_field(desk):
    with gr.Blocks() as blocks, gr.Tabs(), gr.Tab("Genre transfer", id="genre_transfer"):
        genre_transfer.build(desk)
    fields = [b for b in blocks.blocks.values() if isinstance(b, (gr.Slider, gr.Radio, gr.Checkbox, gr.File))]
    assert len(fields) > 12 and all(field.label for field in fields)
    chosen = {b.elem_id: b for b in fields}
    assert chosen["genre-content"].value == "Lo-fi 1" and chosen["genre-style"].value == "House 1"
    assert [value for _, value in chosen["genre-content"].choices] == list(EXAMPLES)
