"""Trainings in processes of their own."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.engine import background
from backend.engine.background import Program, Report, Trainings
from backend.errors import Busy, NeuromuseError
from backend.settings import Settings

MODULE = "tests.engine.training_program"
ENDLESS = "1000000"


@pytest.fixture
def trainings(tmp_path: Path) -> Iterator[Trainings]:
    made = Trainings(Settings(threads=3), tmp_path, stop_s=0.5)
    yield made
    for folder in tmp_path.glob(f"{background.PREFIX}*"):
        made.delete(folder.name.removeprefix(background.PREFIX))


def program(count: str = "1", manners: str = "good") -> Program:
    return Program(MODULE, ("--count", count, "--manners", manners), ("clips", "secret.npz"), ("made.txt", "s-*.wav"))


def until(trainings: Trainings, token: str, *states: str) -> Report:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        report = trainings.status(token)
        if report.state in states and report.alive == (report.state not in background.ENDED):
            return report
        time.sleep(0.02)
    raise AssertionError(f"{report} never became {states}")


def test_a_training_runs_quietly_to_its_end_and_what_is_private_goes(trainings: Trainings) -> None:
    token = trainings.open()
    folder = trainings.folder(token)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and len(token) == 22
    assert trainings.status(token) == Report()
    (folder / "clips").mkdir()
    (folder / "clips" / "mine.wav").write_bytes(b"private")
    (folder / "secret.npz").write_bytes(b"private")
    trainings.start(token, program())
    report = until(trainings, token, "done")
    assert report.message == "Ready."
    assert report.said["niceness"] == background.NICE and report.said["threads"] == "2"
    assert not (folder / "clips").exists() and not (folder / "secret.npz").exists()
    with pytest.raises(NeuromuseError, match="has ended"):
        trainings.resume(token)


def test_only_what_is_public_is_given_out(trainings: Trainings) -> None:
    token = trainings.open()
    assert trainings.file(token, "made.txt") is None
    trainings.start(token, program())
    until(trainings, token, "done")
    assert trainings.file(token, "made.txt") == trainings.folder(token) / "made.txt"
    for name in ("counted", "status.json", "../made.txt", "s-1.wav"):
        assert trainings.file(token, name) is None
    assert trainings.file("x" * 22, "made.txt") is None and trainings.file("../..", "made.txt") is None


def test_one_runs_at_a_time_and_the_next_when_it_was_stopped(trainings: Trainings) -> None:
    one, two = trainings.open(), trainings.open()
    trainings.start(one, program(ENDLESS))
    with pytest.raises(Busy, match="one at a time"):
        trainings.start(two, program())
    until(trainings, one, "training")
    trainings.stop(one)
    until(trainings, one, "stopped")
    trainings.start(two, program())
    until(trainings, two, "done")


def test_a_stopped_training_goes_on_where_it_was(trainings: Trainings) -> None:
    token = trainings.open()
    (trainings.folder(token) / "clips").mkdir()
    trainings.start(token, program("40"))
    until(trainings, token, "training")
    trainings.stop(token)
    until(trainings, token, "stopped")
    assert (trainings.folder(token) / "clips").exists()
    reached = int((trainings.folder(token) / "counted").read_text())
    trainings.resume(token)
    assert trainings.status(token).state != "stopped"
    until(trainings, token, "done")
    assert reached < 40 and (trainings.folder(token) / "counted").read_text() == "40"


def test_one_that_does_not_obey_is_killed_and_can_be_resumed(trainings: Trainings) -> None:
    token = trainings.open()
    trainings.start(token, program(ENDLESS, "deaf"))
    until(trainings, token, "training")
    trainings.stop(token)
    assert "resumed" in until(trainings, token, "stopped").message


def test_one_that_dies_without_a_word_is_said_to_have_failed_and_resumes(trainings: Trainings) -> None:
    token = trainings.open()
    trainings.start(token, program("4", "crash"))
    assert "resume" in until(trainings, token, "failed").message
    trainings.resume(token)
    until(trainings, token, "done")


def test_deleting_ends_the_process_and_leaves_nothing(trainings: Trainings, tmp_path: Path) -> None:
    token = trainings.open()
    trainings.start(token, program(ENDLESS))
    until(trainings, token, "training")
    trainings.delete(token)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NeuromuseError, match="no longer kept"):
        trainings.status(token)
    trainings.delete(token)
    trainings.start(other := trainings.open(), program())
    until(trainings, other, "done")


def test_the_next_server_finds_what_runs_and_the_rest_is_deleted(trainings: Trainings, tmp_path: Path) -> None:
    idle, running = trainings.open(), trainings.open()
    trainings.start(running, program(ENDLESS))
    until(trainings, running, "training")
    trainings.shutdown()
    with pytest.raises(NeuromuseError):
        trainings.status(idle)
    after = Trainings(Settings(), tmp_path, stop_s=0.5)
    assert after.status(running).alive
    with pytest.raises(Busy):
        after.start(after.open(), program())
    after.stop(running)
    trainings._processes[running].wait(30)
    until(after, running, "stopped")


def test_what_nobody_asked_for_is_deleted_and_what_is_asked_for_stays(trainings: Trainings) -> None:
    tokens = fresh, unused, started, old = [trainings.open() for _ in range(4)]
    for token in (started, old):
        (trainings.folder(token) / background.PLAN).write_text('{"program": {}, "pid": 1, "born": 0}')
    for token, hours in zip(tokens, (0.5, 1.5, 1.5, 25), strict=True):
        past = time.time() - 3600 * hours
        os.utime(trainings.folder(token) / background.SEEN, (past, past))
    trainings.sweep()
    (trainings.folder(started) / "secret.npz").write_bytes(b"private")
    for name, text in (
        (background.PLAN, '{"program": {"private": ["secret.npz"]}}'),
        (background.STATUS, '{"state": "done"}'),
    ):
        (trainings.folder(started) / name).write_text(text)
    trainings.sweep()
    assert not (trainings.folder(started) / "secret.npz").exists()
    for token, there in ((fresh, True), (unused, False), (started, True), (old, False)):
        assert trainings._path(token).exists() == there


def test_a_token_that_is_none_or_a_link_opens_nothing(trainings: Trainings, tmp_path: Path) -> None:
    link = tmp_path / f"{background.PREFIX}{'l' * 22}"
    link.symlink_to(tmp_path)
    for token in ("", "../etc", "l" * 22, "x" * 22):
        with pytest.raises(NeuromuseError, match="no longer kept"):
            trainings.folder(token)
    link.unlink()
