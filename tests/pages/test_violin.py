import dataclasses
import itertools
import json
import re
import zipfile
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest

from backend.audio import io
from backend.audio.midi import make_notes
from backend.audio.waveform import Waveform
from backend.contract import Done, Failed, Provenance, Queued, Result
from backend.engine.background import Report, Trainings
from backend.errors import AudioError, CheckpointError, RequestError
from backend.instruments.violin.request import ViolinRequest
from backend.settings import Settings
from pages import (
    violin,
    violin_adapters,
    violin_bench,
    violin_clips,
    violin_form,
    violin_measures,
    violin_train,
    violin_training,
    violin_words,
)
from pages.exports import Exports
from pages.jobs import Jobs
from pages.parts import Desk
from pages.violin_adapters import Own
from tests.pages.streams import Stream

RATE = 24_000
GOOD = {
    "seed": 3, "prompt": "slow line", "negative": "drums", "duration_s": 8, "variations": 2, "guidance": 2.5,
    "temperature": 0.8, "adapter": "violin", "strength": 0.75, "second": "", "second_strength": 0.5, "part": "sound",
    "compare": True, "adherence": 0.5, "melody": None, "owned": {},
}  # fmt: skip
SETTINGS = [name for name in GOOD if name not in ("seed", "melody", "owned")]


class Kept:
    """Trainings with one that says what a test wants."""

    def __init__(self, folder, report=None):
        self.place, self.report, self.started = folder, report or Report(), []

    def status(self, token):
        return self.report

    def folder(self, token):
        return self.place

    def start(self, token, program):
        self.started.append(program)


def tone(seconds=1.0):
    return Waveform((0.3 * np.sin(np.arange(round(seconds * RATE)) / 8)).astype(np.float32), RATE)


def recording(path, seconds=1.0):
    return {"path": str(io.write(tone(seconds), path, "wav")), "orig_name": path.name}


def upload(path, content, name):
    path.write_bytes(content)
    return {"path": str(path), "orig_name": name}


@pytest.fixture
def desk(tmp_path):
    trainings = Trainings(Settings(), tmp_path)
    (tmp_path / "exports").mkdir()
    return Desk(Jobs(None), Exports(tmp_path / "exports"), Settings(), (), trainings)


@pytest.fixture
def page(desk):
    with gr.Blocks(), gr.Tabs(), gr.Tab("Violin", id="violin"):
        token = gr.BrowserState("")
        form, bench, _ = violin._play(desk)
        panel = violin_train.TrainPanel.build(desk, token)
    return SimpleNamespace(form=form, bench=bench, panel=panel, steps=panel.steps, watch=panel.watch, token=token)


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


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    """The two files of an adapter of the bundled base, as bytes."""
    import torch

    from backend.checkpoints import CheckpointStore
    from backend.instruments.violin.adapter import Adapter, base_of

    tensors = {"semantic.x.lora_A.weight": torch.ones(2, 3), "semantic.x.lora_B.weight": torch.ones(3, 2)}
    folder = tmp_path_factory.mktemp("made")
    made = Adapter("Ada", tensors, 2.0, base_of(CheckpointStore()), "CC0", {"loss": 3.0, "base_loss": 4.0}, {"rank": 2})
    made.save(folder / "own")
    dataclasses.replace(made, base={"text_to_music.semantic": "another"}).save(folder / "strange")
    names = (violin_adapters.CONFIG, violin_adapters.WEIGHTS)
    return {kind: {name: (folder / kind / name).read_bytes() for name in names} for kind in ("own", "strange")}


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return {"path": str(path), "orig_name": "../Ada's.zip"}


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


def test_recordings_are_taken_with_consent_only_and_leave_nothing_behind(desk, page, tmp_path):
    steps, panel = page.steps, page.panel
    update = panel._bring(desk, [recording(tmp_path / "a.wav")], False, "")
    assert "agreed" in update[steps.received] and not list(tmp_path.glob("*.wav"))
    files = [recording(tmp_path / "a.wav"), upload(tmp_path / "b", b"slow", "..\\..\\a.txt")]
    update = panel._bring(desk, [*files, upload(tmp_path / "c", b"id,start", "t.csv")], True, "")
    token = update[panel.token]
    folder = desk.trainings.folder(token)
    assert sorted(p.name for p in (folder / "clips").iterdir()) == ["a.txt", "a.wav"]
    assert (folder / violin_clips.TABLE).exists() and "1 recording, 1 caption file, a table" in update[steps.received]
    assert update[steps.second]["visible"]
    again = panel._bring(desk, [upload(tmp_path / "d", b"MZ", "virus.exe")], True, token)
    assert "virus.exe" in again[steps.received] and "1 recording" in again[steps.received]
    assert again[panel.token] == token and not (tmp_path / "d").exists()


def test_new_recordings_do_not_disturb_a_training_that_can_go_on(desk, tmp_path):
    for state, refused in (("ready", False), ("done", False), ("training", True), ("stopped", True), ("failed", True)):
        kept = Kept(tmp_path, Report(state))
        kept.open = lambda: "new"
        other = dataclasses.replace(desk, trainings=kept)
        if refused:
            with pytest.raises(RequestError, match="delete that first"):
                violin_train.own_token(other, "old")
        else:
            assert violin_train.own_token(other, "old") == ("old" if state == "ready" else "new")


def test_what_was_heard_becomes_a_table_to_edit_and_notes(desk, page, tmp_path):
    result = Result(
        arrays={
            "names": np.array(["a-01", "a-02"]), "seconds": np.array([4.44, 5.0]), "levels": np.array(["-20 LUFS"] * 2),
            "captions": np.array(["slow", "fast"]), "notes": np.array(["bad.wav is <clipped>. It was left out."]),
        }
    )  # fmt: skip
    for answer in (Done(result), Failed(CheckpointError("No models."))):
        asked = []

        def run(_, request, answer=answer, asked=asked):
            asked.append(request)
            return Stream([Queued(0), answer])

        other = dataclasses.replace(desk, jobs=Jobs(SimpleNamespace(run=run)), trainings=Kept(tmp_path))
        (tmp_path / "clips").mkdir(exist_ok=True)
        *_, last = page.panel._check(other, "me", "t")
        assert asked[0].folder == tmp_path / "clips" and asked[0].table is None and asked[0].to_dict() == {}
        assert last[page.steps.check]["interactive"]
        if isinstance(answer, Failed):
            assert "No models" in last[page.steps.found] and page.steps.table not in last
            continue
        assert last[page.steps.table]["value"] == [["a-01", 4.4, "-20 LUFS", "slow"], ["a-02", 5.0, "-20 LUFS", "fast"]]
        assert last[page.steps.proposed] == {"a-01": "slow", "a-02": "fast"} and last[page.steps.third]["visible"]
        assert "&lt;clipped&gt;" in last[page.steps.found]
    (none,) = page.panel._check(dataclasses.replace(desk, trainings=Kept(tmp_path / "x")), "me", "t")
    assert "recordings that were dropped" in none[page.steps.found]
    assert "Nothing had to be cleaned" in violin_clips.notes_html([])


def test_only_captions_that_were_changed_are_kept(tmp_path):
    (tmp_path / "clips").mkdir()
    table = [["a-01", 4, "", "as it was"], ["a-02", 4, "", " mine \n now "], ["b", 4, "", ""], ["../c", 4, "", "x"]]
    violin_clips.write_captions(tmp_path, table, {"a-01": "as it was", "a-02": "x", "b": "y"})
    assert {p.name: p.read_text() for p in tmp_path.rglob("*.txt")} == {"a-02.txt": "mine now"}
    with pytest.raises(RequestError, match="at most 500"):
        violin_clips.write_captions(tmp_path, [["b", 4, "", "y" * 501]], {"b": "y"})


def test_the_command_says_what_the_page_says(tmp_path):
    (tmp_path / "clips").mkdir()
    made = violin_training.program(tmp_path, Settings(device="cpu"), 0.1, " --rank  9 ", 4, 2, "CC0")
    from backend.instruments.violin.train import parser

    options = parser().parse_args([*made.argv, "--out", str(tmp_path)])
    assert (options.minutes, options.name, options.rank, options.replay) == (0.1, "--rank 9", 4, 2)
    assert (options.licence, options.device, options.csv) == ("CC0", "cpu", None)
    assert options.clips == tmp_path / "clips" and "clips" in made.private and "adapter.zip" in made.public


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [(0, 0, "minutes"), (0, None, "minutes"), (1, "", "name"), (1, "x" * 61, "name"), (2, 0, "rank: got 0"),
     (2, 1.5, "whole"), (3, -1, "replay"), (4, "x" * 201, "licence")],
)  # fmt: skip
def test_settings_of_a_training_are_checked_before_it_begins(desk, page, tmp_path, place, value, says):
    (tmp_path / "clips").mkdir()
    chosen = [12, "mine", 8, 48, ""]
    kept = Kept(tmp_path)
    other = dataclasses.replace(desk, trainings=kept)
    assert page.steps.received in page.panel._start(other, "t", [], {}, tuple(chosen)) and len(kept.started) == 1
    chosen[place] = value
    update = page.panel._start(other, "t", [], {}, tuple(chosen))
    assert says in update[page.steps.refused] and len(kept.started) == 1


SAID = {
    "message": "Step 7", "done": 3.0, "total": 12.0, "base_loss": 5.0, "samples": ["sample-00120.wav", "gone.wav"],
    "losses": [[1.0, 4.5, 4.0], [2.0, 4.2, 3.9]], "notes": ["a: Rumble <removed>."],
}  # fmt: skip


def test_a_training_is_seen_live_and_only_what_changed_is_sent(desk, page, tmp_path):
    watch = page.watch
    io.write(tone(), tmp_path / "sample-00120.wav", "wav")
    other = dataclasses.replace(desk, trainings=Kept(tmp_path, Report("training", "Step 7", True, SAID)))
    update = watch.look(other, "t", {})
    assert "Training" in update[watch.status] and "about 9 min left" in update[watch.status]
    assert "close the page" in update[watch.status]
    assert "After 120 steps" in update[watch.samples] and "trainings/t/sample-00120.wav" in update[watch.samples]
    held_out = update[watch.plot]["value"].data[1]
    assert list(held_out.y) == [5.0, 4.0, 3.9] and list(held_out.x) == [0.0, 1.0, 2.0]
    assert "&lt;removed&gt;" in update[watch.notes] and update[watch.stop]["visible"]
    again = watch.look(other, "t", update[watch.seen])
    assert set(again) == {watch.status, watch.seen} and 'role="status"' not in again[watch.status]


def test_a_training_that_ended_can_be_used_or_resumed_as_it_ended(desk, page, tmp_path):
    watch = page.watch

    def look(state):
        report = Report(state, "As <it> is.", False, SAID)
        return watch.look(dataclasses.replace(desk, trainings=Kept(tmp_path, report)), "t", {})

    for state in ("stopped", "failed"):
        update = look(state)
        assert update[watch.resume]["visible"] and not update[watch.use]["visible"]
        assert "&lt;it&gt;" in update[watch.status]
    assert not look("done")[watch.use]["visible"]  # said to be done, but there is no adapter
    (tmp_path / "adapter").mkdir()
    for name in (violin_adapters.CONFIG, violin_adapters.WEIGHTS):
        (tmp_path / "adapter" / name).write_bytes(b"x")
    update = look("done")
    assert update[watch.use]["visible"] and not update[watch.resume]["visible"] and not update[watch.stop]["visible"]
    assert 'href="trainings/t/adapter.zip"' in update[watch.link]
    assert zipfile.ZipFile(tmp_path / "adapter.zip").namelist() == [violin_adapters.CONFIG, violin_adapters.WEIGHTS]
    assert "no longer kept" in watch.look(desk, "x" * 22, {})[watch.status]


def test_a_finished_training_that_the_browser_remembers_is_among_the_choices(desk, page, tmp_path, adapter):
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name, content in adapter["own"].items():
        (folder / name).write_bytes(content)
    other = dataclasses.replace(desk, trainings=Kept(tmp_path, Report("done", "Ready.", False, SAID)))
    update = violin._found(other, page.form, page.panel, "t", {})
    assert list(update[page.form.owned]) == ["Ada"] and update[page.form.adapter].get("value") is None
    assert page.form.owned not in violin._found(other, page.form, page.panel, "t", update[page.form.owned])
    (tmp_path / "clips").mkdir()
    recording(tmp_path / "clips" / "a.wav")
    ready = dataclasses.replace(desk, trainings=Kept(tmp_path))
    update = violin._found(ready, page.form, page.panel, "t", {})
    assert "1 recording" in update[page.steps.received] and update[page.steps.second]["visible"]


def test_measures_are_read_from_the_manifest_however_they_are_nested(monkeypatch):
    metrics = {
        "spectrogram_mse": {"base": 120.0, "adapter": 80.5}, "frechet_to_real_violin.base": 9.0,
        "mulan_cycle_base": 0.4, "violin_probability": {"s1": float("nan")},
    }  # fmt: skip
    assert violin_measures.figure(metrics, "spectrogram_mse", "adapter") == 80.5
    assert violin_measures.figure(metrics, "frechet_to_real_violin", "base") == 9.0
    assert violin_measures.figure(metrics, "mulan_cycle", "base") == 0.4
    assert violin_measures.figure(metrics, "violin_probability", "s1") is None
    entry = SimpleNamespace(metrics=metrics)
    monkeypatch.setattr(violin_measures.CheckpointStore, "entry", lambda self, name: entry)
    text = violin_measures.bundled(Settings())
    assert "80.5" in text and text.count("<section") == 4 and text.count("Not measured") == 1

    def missing(self, name):
        raise CheckpointError("There is no <adapter>.")

    monkeypatch.setattr(violin_measures.CheckpointStore, "entry", missing)
    assert "&lt;adapter&gt;" in violin_measures.bundled(Settings())


def test_own_adapters_are_measured_by_what_was_held_out(desk, tmp_path):
    other = dataclasses.replace(desk, trainings=Kept(tmp_path, Report("done", "", False, SAID)))
    owned = {
        "<b>": Own("a", {"loss": 4.0, "base_loss": 4.0}), "mine": Own("b", {"loss": 1.0, "base_loss": 2.0}, "", "t"),
        "plain": Own("c"),
    }  # fmt: skip
    text = violin_measures.own(other, "t", owned)
    assert text.count("<section") == 2 and "22 % less" in text and "No better" in text and "<b><" not in text
    assert "Train an adapter" in violin_measures.own(desk, "", {})
    assert violin_training.losses({"losses": []}) is None


def test_the_page_builds_with_a_label_on_every_field(desk):
    with gr.Blocks() as blocks, gr.Tabs(), gr.Tab("Violin", id="violin"):
        violin.build(desk)
    kinds = (gr.Slider, gr.Radio, gr.Checkbox, gr.File, gr.Number, gr.Textbox, gr.Dropdown, gr.Audio, gr.Dataframe)
    fields = [b for b in blocks.blocks.values() if isinstance(b, kinds)]
    assert len(fields) > 25 and all(field.label for field in fields)
    json.dumps(blocks.get_config_file(), default=str)
