"""Recordings before training: what cannot be used goes with a sentence, the rest is captioned and measured."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backend.audio.io import write
from backend.errors import AudioError, Cancelled, RequestError
from backend.instruments.violin.instrument import Violin
from backend.instruments.violin.listen import listen
from backend.instruments.violin.request import ListenRequest
from backend.job import Job
from tests.instruments.violin.bowed import bowed


def folder_of(path: Path, *names: str) -> Path:
    path.mkdir()
    for number, name in enumerate(names):
        write(bowed(number)[0], path / name, "wav")
    return path


def test_the_violin_listens_without_its_models(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "clips", "one.wav", "two.wav")
    (folder / "bad.wav").write_bytes(b"RIFF nothing")
    steps = []
    job = Job(lambda step: steps.append(step.message))
    found = Violin().generate(ListenRequest(folder=folder), job).arrays
    assert found["names"].tolist() == ["one", "two"] and (found["seconds"] > 4).all()
    assert all(level.endswith("LUFS, good") for level in found["levels"]) and all(found["captions"])
    assert found["notes"][0].startswith("bad.wav") and found["notes"][0].endswith("It was left out.")
    assert not (folder / "bad.wav").exists() and {"Listening to the clips", "Measuring levels"} <= set(steps)


def test_when_too_few_are_left_it_is_said_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path / "clips", "a.wav")

    def read_clips(folder: Path, table: Any, report: Any) -> list[Any]:
        report(0, 1)
        if list(folder.iterdir()):
            raise AudioError("a.wav: no pitch.")
        raise RequestError("clips", 0, "at least 2")

    monkeypatch.setattr("backend.instruments.violin.listen.read_clips", read_clips)
    with pytest.raises(RequestError, match=r"at least 2\. a\.wav: no pitch\. It was left out"):
        listen(ListenRequest(folder=folder), Job())
    with pytest.raises(RequestError, match="recordings that were dropped"):
        ListenRequest(folder=tmp_path / "nowhere")


def test_it_can_be_stopped_between_two_recordings(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "clips", "one.wav", "two.wav")

    def report(step: SimpleNamespace) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        listen(ListenRequest(folder=folder), Job(report))  # type: ignore[arg-type]
