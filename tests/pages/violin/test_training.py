import dataclasses
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from backend.audio import io
from backend.contract import Done, Failed, Queued, Result
from backend.engine.background import Report
from backend.errors import CheckpointError, RequestError
from backend.settings import Settings
from pages import (
    violin,
    violin_adapters,
    violin_clips,
    violin_measures,
    violin_train,
    violin_training,
)
from pages.jobs import Jobs
from pages.violin_adapters import Own
from tests.pages.streams import Stream
from tests.pages.violin.violin_tab import Kept, recording, tone, upload


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
