from __future__ import annotations

import json
import re
from html import unescape

import numpy as np
import pytest

from backend.audio import io
from backend.audio.waveform import Waveform
from backend.contract import Done, Failed, Progress, Queued, Result
from backend.errors import AudioError, CheckpointError, DeadlineExceeded, RequestError
from backend.instruments.neurons.console import Listener, LoopPass
from backend.instruments.neurons.graph import LayerShape
from backend.instruments.neurons.request import NeuronsRequest
from backend.instruments.neurons.rings import rings
from backend.instruments.neurons.settings import KNOBS
from backend.settings import Settings as ServerSettings
from pages import neurons, neurons_form, neurons_hands, neurons_live, neurons_show
from pages.exports import Exports
from pages.jobs import Jobs
from pages.neurons_form import KNOB_ORDER, PLAIN, knob_values, make_request, make_settings
from pages.neurons_live import Live
from pages.parts import Desk
from tests.pages.streams import Stream

RATE = 24_000
SHAPES = (LayerShape("first", 2, 10), LayerShape("second", 5))
TARGET = {"layer": "second", "channel": 1, "pitch": None, "time": None, "weight": 1.0}
TURNED = knob_values(PLAIN)


class Engine:
    """Plays ``passes`` passes of a request, then ends with ``end``."""

    def __init__(self):
        self.asked, self.ends, self.passes = [], [], 2

    def run(self, instrument_id, request):
        self.asked.append(request)
        who = Listener("Stand-in", rings(request.network, SHAPES), {"neurons.beats": "ab" * 32})
        events = [Queued(0)]
        for number in range(1 if request.passes == 0 else self.passes):
            loop = Waveform(np.full((1, 4 * RATE), 0.01 * number, np.float32), RATE)
            lit = np.full((25, 8), number, np.uint8)
            shown = LoopPass(number, loop, number, 0.5 * number, (0.5,), 0.0, 0, request.settings, lit, "", who)
            events.append(Progress(number, 10, "Pass", shown))
        default = Done(Result()) if request.passes == 0 else None
        end = self.ends.pop(0) if request.passes and self.ends else default
        return Stream([*events, *([end] if end else [])])

    def health(self):
        return {"device": "cpu"}


@pytest.fixture
def desk(tmp_path):
    return Desk(Jobs(Engine()), Exports(tmp_path), ServerSettings())


def ask(**changes):
    values = {"network": "ear:beats", "start": "house", "tempo": 120, "bars": 2, "sound": None, "seed": 1}
    return make_request(settings=PLAIN, **values | changes)


def told(html):
    return json.loads(unescape(re.search(r'data-pass="([^"]*)"', html)[1]))


def started(desk):
    live = Live()
    list(neurons_live.begin(desk, "me", live, ask()))
    live.targets, live.settings = (TARGET,), make_settings([TARGET], *TURNED)
    return live


def test_raw_knobs_become_settings_and_back():
    assert set(KNOB_ORDER) == set(KNOBS)
    settings = make_settings([TARGET], "waveform", *(KNOBS[name].high for name in KNOB_ORDER))
    assert settings.targets[0].channel == 1 and settings.parameterisation == "waveform"
    assert make_settings([TARGET], *knob_values(settings)) == settings


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tempo": 20}, "from 60 to 180"), ({"bars": 4, "tempo": 60}, "a loop of 1 to 8 s"),
        ({"network": "cat"}, "ear:score"), ({"start": "upload"}, "dropped into the field below"),
        ({"start": "polka"}, "house"), ({"bars": None}, "1 to 4"),
    ],
)  # fmt: skip
def test_bad_values_are_one_sentence(change, says):
    with pytest.raises(RequestError, match=re.escape(says)):
        ask(**change)


def test_a_learning_rate_of_a_milliard_is_absorbed_and_a_wrong_target_refused():
    values = dict(zip(KNOB_ORDER, TURNED[1:], strict=True)) | {"learning_rate": 1e9}
    assert make_settings([TARGET], "spectral", *values.values()).learning_rate == KNOBS["learning_rate"].high
    for wrong in ([{"channel": 1}], ["x"], "x", [TARGET] * 65, [TARGET | {"time": [0, 9]}]):
        with pytest.raises(RequestError):
            make_settings(wrong, *TURNED)


@pytest.mark.parametrize("said", [None, "", "{", "[]", '{"act": 3}', "x" * 200_000])
def test_a_message_that_is_none_is_refused(said):
    with pytest.raises(RequestError):
        neurons_form.read_said(said)


def test_the_loop_sounds_before_the_ear_has_heard_it_and_the_map_follows(desk):
    live = Live()
    first, *_, last = list(neurons_live.begin(desk, "me", live, ask()))
    assert told(first["heard"])["fresh"] and told(first["heard"])["duration"] == 4
    assert "data-chart" in last["chart"] and "Click the map" in last["status"]
    heard = told(last["heard"])
    token = heard["token"]
    assert heard["count"] == 8 and desk.exports.path(token, 1, "u8").read_bytes() == bytes(200)
    assert live.chart == "ear:beats" and desk.jobs.engine.asked[-1].passes == 0


def test_an_ear_that_is_missing_is_said_and_the_loop_plays(desk, monkeypatch):
    failed = lambda *_: Stream([Failed(CheckpointError("There is no checkpoint."))])  # noqa: E731
    monkeypatch.setattr(desk.jobs.engine, "run", failed)
    updates = list(neurons_live.begin(desk, "me", Live(), ask()))
    assert "heard" in updates[0] and "no checkpoint" in updates[-1]["status"]


def test_morphing_goes_on_from_the_last_loop_after_a_turn_or_a_deadline_and_ends_when_stopped(desk):
    live = started(desk)
    engine = desk.jobs.engine
    engine.ends = [Done(Result()), Failed(DeadlineExceeded("The job was stopped after 600 s."))]  # then it is stopped
    updates = list(neurons_live.run(desk, "me", live))
    asked = engine.asked[1:]
    assert len(asked) == 3 and all(one.start == "last" and one.live for one in asked)
    assert asked[1].sound.samples[0, 0] == np.float32(0.01)  # what the turn before ended with
    assert not any("stopped after" in one.get("status", "") for one in updates)  # silently
    assert len(live.curve) == 6 and not live.running


def test_a_failure_ends_it_with_a_sentence(desk):
    live = started(desk)
    desk.jobs.engine.ends = [Failed(RequestError("channel", 99, "0 to 4"))]
    assert "got 99" in list(neurons_live.run(desk, "me", live))[-1]["status"]
    assert len(desk.jobs.engine.asked) == 2 and not live.running


def test_hold_silences_the_generator_that_runs(desk):
    live = started(desk)
    desk.jobs.engine.ends = [Done(Result())] * 9
    updates = neurons_live.run(desk, "me", live)
    next(updates)
    assert live.running
    neurons_live.hold(desk, "me", live)
    assert list(updates) == [] and not live.running


def test_a_newer_choice_is_not_stopped_by_an_older_one_that_comes_late(desk):
    live = Live()
    older = neurons_live.begin(desk, "me", live, ask())
    next(older)  # its loop plays, its job has not begun
    newer = list(neurons_live.begin(desk, "me", live, ask(start="pad")))
    assert list(older) == [] and len(desk.jobs.engine.asked) == 1 and "chart" in newer[-1]


def test_a_kept_loop_exports_with_its_settings_and_is_returned_to(desk):
    live = started(desk)
    list(neurons_live.run(desk, "me", live))
    shown = neurons_live.keep(desk, "me", live)
    token = re.search(r'data-return="([^"]*)"', shown["kept"])[1]
    assert {"wav", "flac", "mp3"} <= set(re.findall(r'\.(\w+)" download', shown["kept"]))
    made = io.read_provenance(desk.exports.path(token, 1, "flac"))
    again = NeuronsRequest.from_dict(made["request"], sound=live.loop)
    assert again.settings == live.settings and made["checkpoints"] == {"neurons.beats": "ab" * 32}
    live.loop, live.targets = None, ()
    back, settings = neurons_live.come_back(desk, "me", live, token)
    assert told(back["heard"])["chosen"] == [TARGET] and settings == live.settings and live.loop is not None
    with pytest.raises(RequestError, match="still kept"):
        neurons_live.come_back(desk, "me", live, "no")


def test_visitors_share_nothing(desk):
    mine, yours = started(desk), Live()
    list(neurons_live.begin(desk, "you", yours, ask(start="pad")))
    assert mine.console.token != yours.console.token and yours.targets == () and yours.asked.start == "pad"
    with pytest.raises(RequestError, match="a click on the map"):
        yours.morphs()


def test_an_upload_becomes_the_loop_and_an_export_brings_its_settings_back(tmp_path):
    def dropped(waveform, provenance=None):
        return {"path": str(io.write(waveform, tmp_path / "a.wav", "wav", provenance)), "orig_name": "a.wav"}

    long = Waveform(np.zeros((2, 20 * 8000), np.float32), 8000)
    sound, made = neurons_hands.take(dropped(long))
    assert (sound.n_channels, sound.duration_s, made) == (1, 12.0, None) and not (tmp_path / "a.wav").exists()
    asked = ask(tempo=100)
    provenance = {"instrument_id": "neurons", "request": asked.to_dict()}
    assert neurons_hands.take(dropped(long, provenance))[1].tempo_bpm == 100
    (tmp_path / "b.wav").write_bytes(b"RIFF no sound")
    with pytest.raises(AudioError):
        neurons_hands.take({"path": str(tmp_path / "b.wav")})


def test_figures_explain_the_loop_once_there_is_one(desk):
    assert neurons._pictures(None)[0]["visible"] is False
    live = started(desk)
    live.loop = live.start
    group, curve, scalograms = neurons._pictures(live)
    assert group["visible"] and curve["visible"] is False and len(scalograms.data) == 2
    live.curve = [0.5, 1.5]
    assert neurons._pictures(live)[1]["value"].data[0].y == (0.5, 1.5)


def test_the_help_names_every_key_and_every_controller():
    text = neurons_show.help_tables()
    assert text.count("data-learn=") == len(neurons_show.CONTROLLERS) and ">81<" in text
    knobs = {
        name for name, _ in [*neurons_show.CONTROLLERS.values(), *neurons_show.KEYS.values()] if name[0] not in "!h"
    }
    assert knobs <= set(KNOBS)
