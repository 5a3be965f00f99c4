"""What is particular to the engine of one machine; what all engines promise is in `tests.contract`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from backend.contract import Done, Failed, Queued
from backend.engine import devices, local, stream
from backend.engine.local import LocalEngine
from backend.errors import NeuromuseError, RequestError
from backend.settings import Settings
from tests.contract.fakes import PATIENCE_S, Stage, ToneRequest, make_registry, make_store, wait_until


def make_engine(root: Path, stage: Stage, **settings: object) -> LocalEngine:
    values = Settings(**{"device": "cpu", "threads": 1, **settings})  # type: ignore[arg-type]
    return LocalEngine(make_registry(stage), make_store(root), values)


def test_a_waiting_reader_hears_its_place_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_S", 0.01)
    stage = Stage()
    engine = make_engine(tmp_path, stage)
    try:
        holding = engine.run("tone", ToneRequest(act="hold"))
        assert stage.started.wait(PATIENCE_S)
        waiting = engine.run("tone", ToneRequest())
        assert [next(waiting) for _ in range(3)] == [Queued(0)] * 3
        holding.close()
        assert isinstance(list(waiting)[-1], Done)
    finally:
        engine.shutdown()


def test_a_device_this_machine_lacks_is_said_to_every_job(tmp_path: Path) -> None:
    engine = make_engine(tmp_path, Stage(), device="cuda:99")
    last = list(engine.run("tone", ToneRequest()))[-1]
    assert isinstance(last, Failed)
    assert isinstance(last.error, RequestError)
    assert "cuda:99" in str(last.error)
    assert engine.health()["live"] is engine.health()["ready"] is False
    engine.shutdown()


def test_a_broken_device_fails_all_jobs_and_shows_in_health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    engine = make_engine(tmp_path, stage)
    running = engine.run("tone", ToneRequest(act="hold"))
    assert stage.started.wait(PATIENCE_S)
    waiting = engine.run("tone", ToneRequest())

    def broken(*_: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("backend.engine.worker.Worker.execute", broken)
    running.close()
    last = list(waiting)[-1]
    assert isinstance(last, Failed)
    assert type(last.error) is NeuromuseError
    wait_until(lambda: engine.health()["live"] is False)
    engine.shutdown()


def test_two_devices_run_two_jobs_at_once_each_with_its_own_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cpu,) = devices.choose_devices("cpu")
    monkeypatch.setattr(local, "choose_devices", lambda wanted: (cpu, cpu))
    stage = Stage()
    engine = make_engine(tmp_path, stage)
    try:
        streams = [engine.run("tone", ToneRequest(seed=seed, act="hold")) for seed in (1, 2)]
        wait_until(lambda: engine.health()["running"] == 2 and len(stage.loads) == 2)
        stage.release.set()
        assert all(isinstance(list(stream)[-1], Done) for stream in streams)
        assert sorted(stage.played) == [1, 2]
    finally:
        engine.shutdown()


def test_starting_the_engine_does_not_wait_for_torch() -> None:
    code = (
        "import sys, backend.engine.local, backend.registry, backend.checkpoints, backend.settings\n"
        "print([name for name in ('torch', 'gradio', 'librosa', 'psutil') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_expected_wait_plays_the_queue_forward(tmp_path: Path) -> None:
    stage = Stage()
    engine = make_engine(tmp_path, stage)
    try:
        list(engine.run("tone", ToneRequest()))
        engine._typical_s["tone"] = 10.0
        stage.started.clear()
        holding = engine.run("tone", ToneRequest(act="hold"))
        assert stage.started.wait(PATIENCE_S)
        began = time.monotonic()
        places = [next(waiting) for waiting in _waiting(engine, 3)]
        slack = time.monotonic() - began + 5
        for position, place in enumerate(places):
            assert isinstance(place, Queued)
            assert place.position == position
            assert place.eta_s == pytest.approx(10 * (position + 1), abs=slack)
        holding.close()
    finally:
        engine.shutdown()


def _waiting(engine: LocalEngine, count: int) -> list[stream.LocalStream]:
    return [engine.run("tone", ToneRequest(seed=seed)) for seed in range(count)]
