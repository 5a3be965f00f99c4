"""From a BIDS folder to sound, and nothing left behind."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.contract import Result
from backend.errors import RequestError
from backend.instruments.brain.instrument import Brain
from backend.instruments.brain.layout import Event
from backend.instruments.brain.request import BrainRequest
from backend.instruments.brain.tracks import embed_windows, heard_clip, read_track
from backend.job import Job
from tests.instruments.brain.miniature import write_dataset, write_tracks


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tracks(tmp_path_factory.mktemp("gtzan"))


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory, tracks: Path, brain: Brain) -> Path:
    """A brain that follows MuLan's own embedding: easy to read."""
    kept: dict[str, np.ndarray] = {}

    def respond(event: Event) -> np.ndarray:
        if event.clip not in kept:
            sound = heard_clip(tracks, event)
            assert sound is not None and brain._models is not None
            kept[event.clip] = embed_windows(brain._models.mulan, sound, [(0.0, 15.0)])[0]
        mean = np.mean(list(kept.values()), 0)
        return (kept[event.clip] - 0 * mean) * 3

    return write_dataset(tmp_path_factory.mktemp("bids"), respond)


def listen(brain: Brain, folder: Path, tracks: Path, **changes: Any) -> Result:
    values: dict[str, Any] = {
        "source": "scan", "consent": True, "bids": folder, "stimuli": tracks, "decoder": "ridge", "duration_s": 4,
        "candidates": 1, "controls": False, "region": "cortex", **changes,
    }  # fmt: skip
    return brain.generate(BrainRequest(**values), Job())


def test_a_folder_becomes_a_decoder_and_then_sound(brain: Brain, bids: Path, tracks: Path) -> None:
    result = listen(brain, bids, tracks, clip=2)
    assert bool(result.arrays["reliable"]) and result.arrays["names"].tolist() == [
        "original", "reconstruction", "retrieval",
    ]  # fmt: skip
    assert int(result.arrays["n_test"]) == 6 and str(result.arrays["label"]) == ""
    assert result.arrays["genres"].tolist() == ["blues", "jazz", "rock"]
    assert "Jane" not in str(result.arrays) and str(bids) not in str(result.arrays)


@pytest.mark.parametrize("pairing", ["ten_windows", "four_windows"])
def test_the_other_pairings_work_too(brain: Brain, bids: Path, tracks: Path, pairing: str) -> None:
    assert len(listen(brain, bids, tracks, pairing=pairing).waveforms) >= 1


def test_a_missing_track_is_named_and_its_clip_left_out(brain: Brain, bids: Path, tracks: Path, tmp_path: Path) -> None:
    fewer = shutil.copytree(tracks, tmp_path / "fewer")
    (fewer / "genres" / "jazz" / "jazz.00001.wav").unlink()
    remarks = listen(brain, bids, fewer).arrays["remarks"].tolist()
    assert any("jazz.00001" in remark and "1 clips" in remark for remark in remarks)


def test_a_job_leaves_nothing_behind_and_an_upload_is_deleted_even_when_it_is_refused(
    brain: Brain, bids: Path, tracks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)
    run = bids / "sub-001" / "func" / "sub-001_task-Test_run-01_bold.nii.gz"
    before = sorted(path.name for path in run.parent.iterdir())
    upload = tmp_path / "mine.nii.gz"
    shutil.copy(run, upload)
    with caplog.at_level(logging.DEBUG):
        listen(brain, bids, tracks, upload=upload)
    assert not upload.exists() and list(scratch.iterdir()) == []
    assert sorted(path.name for path in run.parent.iterdir()) == before
    assert "mine" not in caplog.text and "Jane" not in caplog.text
    shutil.copy(run, upload)
    with pytest.raises(RequestError, match="a decoder fits one brain"):
        listen(brain, bids, tracks, bids=None, upload=upload)
    assert not upload.exists()
    assert brain._simulated is None or brain._simulated[1].recording.simulated  # nobody's scan is kept in memory


def test_a_subject_without_training_runs_is_told_that_a_decoder_fits_one_brain(
    brain: Brain, bids: Path, tracks: Path, tmp_path: Path
) -> None:
    alone = shutil.copytree(bids, tmp_path / "alone")
    for path in (alone / "sub-001" / "func").glob("*Training*"):
        path.unlink()
    with pytest.raises(RequestError, match="fits one brain"):
        listen(brain, alone, tracks)


def test_au_files_of_gtzan_are_read(tmp_path: Path) -> None:
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(22050) / 22050)).astype(">i2")
    head = np.array([0x2E736E64, 24, tone.nbytes, 3, 22050, 1], ">u4").tobytes()
    (tmp_path / "rock.00000.au").write_bytes(head + tone.tobytes())
    sound = read_track(tmp_path / "rock.00000.au")
    assert sound.sample_rate == 24000 and sound.duration_s == pytest.approx(1.0, abs=0.01)
    spectrum = np.abs(np.fft.rfft(sound.samples[0]))
    assert spectrum.argmax() / sound.duration_s == pytest.approx(440, abs=2)
