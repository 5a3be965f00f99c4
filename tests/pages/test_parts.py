import json
from html.parser import HTMLParser

import numpy as np
import pytest

from backend.audio import io
from backend.audio.waveform import Waveform
from backend.contract import Failed, Loading, Progress, Provenance, Queued
from backend.errors import AudioError, NeuromuseError, RequestError
from backend.instruments.text_to_music.request import TextToMusicRequest
from pages.exports import Clip, Saved
from pages.parts import Story, card, players, provenance_line, restore, sentence

REQUEST = TextToMusicRequest(prompt='<b>"loud"</b> piano', seed=7, duration_s=4.5, variations=2, stages="package")
PROVENANCE = Provenance(
    "text_to_music", REQUEST.to_dict(), 7, {"text_to_music.codec": "0123456789ab" * 5}, "cpu", 4.2, "0.1.0"
)


class Reader(HTMLParser):
    """Attributes of every element, and all text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def test_an_error_is_shown_as_text_and_never_as_markup():
    shown = Reader(sentence(RequestError("prompt", "<script>alert(1)</script>", "English words")))
    assert shown.all("script") == []
    assert "prompt" in shown.text and "<script>" in shown.text and "English words" in shown.text
    assert shown.all("p")[0]["role"] == "alert"


def test_a_job_tells_place_stages_percent_and_time_left():
    story = Story()
    assert "2 ahead of you, about 12 s left" in Reader(story.tell(Queued(2, 12))).text
    assert "next in line" in Reader(story.tell(Queued(0))).text
    assert "Loading the model" in Reader(story.tell(Loading())).text
    shown = Reader(story.tell(Progress(30, 120, "Composing", eta_s=200.0)))
    bar = next(a for _, a in shown.elements if a.get("role") == "progressbar")
    assert bar["aria-valuenow"] == "25"
    assert "25%" in shown.text and "about 3 min left" in shown.text
    assert "Waiting" in shown.text and "Loading the model" in shown.text  # the stages behind it


@pytest.mark.parametrize("event", [Progress(5, 0, "x"), Progress(9, 3, "x"), Progress(-1, 3, "x"), Loading()])
def test_odd_progress_never_breaks_the_bar(event):
    bar = next(a for _, a in Reader(Story().tell(event)).elements if a.get("role") == "progressbar")
    assert 0 <= int(bar.get("aria-valuenow") or 0) <= 100


def test_a_failure_is_its_sentence():
    assert "no room" in Reader(Story().tell(Failed(NeuromuseError("There is no room.")))).text


def test_players_name_length_downloads_and_variation():
    saved = Saved("t", (Clip("exports/t/1", 4.5, (1, 2)), Clip("exports/t/2", 4.5, (3, 4))))
    shown = Reader(players(saved, PROVENANCE))
    assert [p["src"] for p in shown.all("nm-player")] == ["exports/t/1.wav", "exports/t/2.wav"]
    assert [p["label"] for p in shown.all("nm-player")] == ["Variation 1", "Variation 2"]
    links = shown.all("a")
    assert [a["href"].rpartition(".")[2] for a in links] == ["wav", "flac", "mp3"] * 2
    assert links[4]["download"] == "neuromuse-text_to_music-seed-7-2.flac"
    assert len({a["aria-label"] for a in links}) == 6


def test_players_are_never_patched_into_those_before_and_titles_stay_text():
    saved = Saved("t", (Clip("exports/t/1", 4.5, (1, 2)),))
    one, two = Reader(players(saved, PROVENANCE)), Reader(players(saved, PROVENANCE))
    assert one.elements[0][0] != two.elements[0][0] and one.elements[0][0].startswith("nm-made-")
    shown = Reader(card(saved.clips[0], 'My "<b>tune</b>"', 'a"b', stays="calm"))
    assert shown.all("b") == [] and shown.all("nm-player")[0]["label"] == 'My "<b>tune</b>"'
    assert shown.all("nm-player")[0]["stays"] == "calm" and shown.all("a")[0]["download"] == 'a"b.wav'
    assert Reader(card(saved.clips[0], "Silent")).all("a") == []


def test_the_provenance_line_copies_everything_and_shows_the_essentials():
    shown = Reader(provenance_line(PROVENANCE))
    assert json.loads(shown.all("button")[0]["data-copy"]) == PROVENANCE.to_dict()
    for fact in ("7", "4.2 s on cpu", "codec 01234567", "0.1.0"):
        assert fact in shown.text
    assert provenance_line(None) == ""


def exported(tmp_path, provenance, kind="wav"):
    waveform = Waveform(0.1 * np.sin(np.arange(24_000) / 9), 24_000)
    return io.write(waveform, tmp_path / f"clip.{kind}", kind, provenance)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg"])
def test_a_dropped_export_gives_its_request_back_and_is_deleted(tmp_path, kind):
    path = exported(tmp_path, PROVENANCE.to_dict(), kind)
    assert restore(str(path), TextToMusicRequest) == REQUEST
    assert not path.exists()


def test_a_dropped_file_of_another_kind_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(AudioError, match="holds no Neuromuse settings"):
        restore(str(exported(tmp_path, None)), TextToMusicRequest)
    with pytest.raises(AudioError, match="made by 'violin'"):
        restore(str(exported(tmp_path, {"instrument_id": "violin", "request": {}})), TextToMusicRequest)
    with pytest.raises(AudioError, match="damaged"):
        restore(str(exported(tmp_path, {"instrument_id": "text_to_music", "request": "x"})), TextToMusicRequest)
    text = tmp_path / "notes.wav"
    text.write_text("not sound")
    with pytest.raises(AudioError):
        restore(str(text), TextToMusicRequest)


@pytest.mark.parametrize(
    "change", [{"duration_s": 1e9}, {"seed": -1}, {"surprise": 1}, {"prompt": 5}, {"prompt": None}]
)
def test_hostile_settings_in_a_dropped_file_are_refused(tmp_path, change):
    provenance = {"instrument_id": "text_to_music", "request": REQUEST.to_dict() | change}
    with pytest.raises(RequestError, match=next(iter(change))):
        restore(str(exported(tmp_path, provenance)), TextToMusicRequest)


def test_settings_without_a_prompt_are_refused_and_not_a_crash(tmp_path):
    path = exported(tmp_path, {"instrument_id": "text_to_music", "request": {"seed": 3}})
    with pytest.raises(NeuromuseError):
        restore(str(path), TextToMusicRequest)
