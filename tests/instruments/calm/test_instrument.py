"""The instrument with a miniature model: roads, relatives, sessions, uploads, refusals, stopping."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.audio.midi import make_notes, to_midi
from backend.audio.synth import find_soundfont
from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.contract import Provenance, Result
from backend.errors import AudioError, Cancelled, CheckpointError, DeadlineExceeded, RequestError
from backend.instruments.calm import instrument as calm
from backend.instruments.calm.model import TINY, CalmVAE
from backend.instruments.calm.request import CalmRequest, Upload
from backend.instruments.calm.sheet import session_sheet
from backend.instruments.calm.sound import Player
from backend.job import Job, Step
from backend.metrics.calmness import CUES

TUNE = make_notes(
    [(0.5 * i, 0.5 * i + 0.45, 60 + 2 * (i % 5), 80, 0, False, 0) for i in range(40)]
    + [(2.0 * i, 2.0 * i + 1.9, 48, 60, 0, False, 1) for i in range(10)]
)
UPLOAD = Upload(to_midi(TUNE), "A <tune>")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CheckpointStore:
    """A store with a model of random weights that expects a dozen notes a bar."""
    folder = tmp_path_factory.mktemp("store")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CalmVAE(TINY)
    with torch.no_grad():
        model.floor.fill_(0.0)
        model.bank.normal_(generator=torch.Generator().manual_seed(1))
        model.directions.normal_(generator=torch.Generator().manual_seed(2))
    CheckpointStore(folder).save("calm.model", model.state_dict(), dataclasses.asdict(TINY), {"f1": 0.0}, force=True)
    return CheckpointStore(folder)


@pytest.fixture(scope="module")
def instrument(store: CheckpointStore) -> Iterator[calm.Calm]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calm, "Player", lambda: Player(find_soundfont(folders=())))  # small and always there
        loaded = calm.Calm()
        loaded.load(store, torch.device("cpu"))
        yield loaded


def play(instrument: calm.Calm, job: Job | None = None, **changes: Any) -> Result:
    return instrument.generate(CalmRequest(**changes), job or Job())


def sounds(result: Result) -> list[bytes]:
    return [waveform.samples.tobytes() for waveform in result.waveforms]


def test_a_path_is_a_waveform_and_notes_for_every_step_each_a_preview_in_turn(instrument: calm.Calm) -> None:
    steps: list[Step] = []
    result = play(instrument, Job(steps.append), steps=3, bars=4, sound="celesta")
    previews = [step.preview for step in steps if step.preview is not None]
    assert [p.samples.tobytes() for p in previews] == sounds(result) and len(result.notes) == 3
    assert [step.done for step in steps[1:]] == sorted(step.done for step in steps[1:])
    assert set(result.notes[0]["program"]) == {8, 46}  # the MIDI export sounds alike
    for waveform, notes in zip(result.waveforms, result.notes, strict=True):
        assert waveform.sample_rate == 44_100 and waveform.n_channels == 2
        assert len(notes) and notes["end_s"].max() < waveform.duration_s
    shapes = {name: array.shape for name, array in result.arrays.items()}
    assert shapes["map_path"] == (3, 2) and shapes["map_anchors"] == (2, 2) and shapes["map_corpus"] == (4, 2)
    assert shapes["piece_cues"] == (3, len(CUES)) and shapes["piece_attributes"] == (3, 4)
    assert list(result.arrays["anchor_titles"]) == ["Lullaby", "Nocturne"]
    assert result.arrays["piece_tempo_bpm"][[0, -1]] == pytest.approx([66, 63])


def test_the_same_request_gives_the_same_samples_and_what_is_asked_matters(instrument: calm.Calm) -> None:
    base: dict[str, Any] = {"steps": 2, "bars": 4}
    first = sounds(play(instrument, **base))
    assert sounds(play(instrument, **base)) == first
    for change in (
        {"seed": 1},
        {"sound": "harp"},
        {"treble": 0.5},
        {"density": 2.0},
        {"anchors": ("tide", "nocturne")},
    ):
        assert sounds(play(instrument, **{**base, **change})) != first, change


def test_samples_are_new_pieces_or_relatives_of_one(instrument: calm.Calm) -> None:
    new = play(instrument, mode="sample", anchors=(), bars=4, variations=2)
    assert len(set(sounds(new))) == 2 and new.arrays["map_anchors"].shape == (0, 2)
    near = play(instrument, mode="sample", anchors=("tide",), bars=4, variations=2, radius=1)
    assert len(set(sounds(near))) == 2 and len(near.arrays["anchor_titles"]) == 1
    same = play(instrument, mode="sample", anchors=("tide",), bars=4, variations=2, radius=0)
    assert len({table["pitch"].tobytes() for table in same.notes}) == 1


def test_a_session_is_exact_level_and_prints_its_sheet(instrument: calm.Calm) -> None:
    previews: list[Waveform] = []

    def report(step: Step) -> None:
        if step.preview is not None:
            previews.append(step.preview)

    request = CalmRequest(mode="session", anchors=("lullaby", UPLOAD.key), uploads=(UPLOAD,), minutes=1, seed=5)
    result = instrument.generate(request, Job(report))
    waveform = result.waveforms[0]
    assert waveform.duration_s == 60 and len(result.notes) == 1
    assert np.abs(waveform.samples[:, : 44_100 * 3 // 2]).max() < 1e-6 and not waveform.samples[:, -1].any()
    assert float(result.arrays["integrated_lufs"]) == pytest.approx(-23, abs=0.5)
    assert float(result.arrays["true_peak_dbtp"]) <= -2 and float(result.arrays["repeat_share"]) <= 0.05
    assert float(result.arrays["onset_jump_db"]) <= 3 and float(result.arrays["tempo_jump_bpm"]) < 0.5
    assert [p.duration_s for p in previews] == [8.0, 24.0]
    route = result.arrays["route"]
    assert route[0, 0] == pytest.approx(2.0) and np.array_equal(route[1:, 0], route[:-1, 1])
    made = Provenance("calm", request.to_dict(), request.seed, {"calm.model": "00"}, "cpu", 1.0, "0")
    sheet = session_sheet(dataclasses.replace(result, provenance=made))
    assert "A &lt;tune&gt;" in sheet and ">5<" in sheet and "not treatment" in sheet


def test_an_uploaded_file_is_read_said_and_kept_out_of_provenance(instrument: calm.Calm) -> None:
    request = CalmRequest(anchors=("tide", UPLOAD.key), uploads=(UPLOAD,), steps=2, bars=4)
    result = instrument.generate(request, Job())
    assert result.arrays["map_anchors"].shape == (2, 2)
    assert list(result.arrays["remarks"]) == ["A <tune>: The file has 10 bars; the first 4 were taken."]
    stored = json.loads(json.dumps(request.to_dict()))
    assert "uploads" not in stored and UPLOAD.title not in json.dumps(stored)
    assert CalmRequest.from_dict(stored, (UPLOAD,)) == request
    with pytest.raises(RequestError, match="to be uploaded again"):
        CalmRequest.from_dict(stored)
    broken = Upload(b"hello, I am a text file", "notes.mid")
    with pytest.raises(AudioError, match="not a MIDI file"):
        play(instrument, anchors=("tide", broken.key), uploads=(broken,))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"minutes": 0}, "minutes: got 0, expected a number from 1 to 60"),
        ({"minutes": 600}, "minutes: got 600, expected a number from 1 to 60"),
        ({"mode": "dream"}, "mode: got 'dream', expected one of path, sample, session"),
        ({"anchors": ("tide",)}, "2 pieces for a path"),
        ({"mode": "session", "anchors": ()}, "1 to 8 pieces for a session"),
        ({"anchors": ("tide", "polka")}, "anchors: got 'polka', expected an uploaded MIDI file or one of lullaby"),
        ({"steps": 1}, "steps: got 1, expected a whole number from 2 to 33"),
        ({"density": 9}, "density: got 9, expected a number from -3 to 3"),
        ({"sound": "drums"}, "one of felt_piano, harp"),
        ({"loudness_lufs": 0}, "loudness_lufs: got 0, expected a number from -36 to -16"),
        ({"end_bpm": 200}, "end_bpm: got 200, expected a number from 40 to 90"),
        ({"in_scale": "yes"}, "in_scale: got 'yes', expected true or false"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_the_range(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError) as caught:
        CalmRequest(**changes)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("changes", [{"steps": 3, "bars": 4}, {"mode": "session", "minutes": 2}])
def test_stop_and_deadline_end_the_job_and_the_next_one_is_whole(
    instrument: calm.Calm, changes: dict[str, Any]
) -> None:
    seen: list[Step] = []

    def report(step: Step) -> None:
        seen.append(step)
        if len(seen) == 4:
            job.cancel()

    job = Job(report)
    with pytest.raises(Cancelled):
        play(instrument, job, **changes)
    assert len(seen) == 4
    with pytest.raises(DeadlineExceeded):
        play(instrument, Job(deadline_s=-1), **changes)
    assert len(sounds(play(instrument, steps=2, bars=4))) == 2


def test_without_its_model_the_instrument_says_so(
    store: CheckpointStore, instrument: calm.Calm, tmp_path: Path
) -> None:
    unloaded = calm.Calm()
    with pytest.raises(CheckpointError, match="not loaded"):
        play(unloaded)
    with pytest.raises(CheckpointError, match=r"no checkpoint 'calm\.model'"):
        unloaded.load(CheckpointStore(tmp_path), torch.device("cpu"))
    unloaded.load(store, torch.device("cpu"))
    unloaded.unload()
    with pytest.raises(CheckpointError, match="not loaded"):
        play(unloaded)
