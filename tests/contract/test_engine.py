"""What every engine promises; see `backend.engine`."""

from __future__ import annotations

import gc
import logging
import random
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from backend.contract import Done, Failed, Loading, Progress, Queued
from backend.engine import Engine
from backend.errors import Busy, CheckpointError, DeadlineExceeded, NeuromuseError, OutOfMemoryError, RequestError
from backend.settings import __version__
from tests.contract.conftest import MakeEngine
from tests.contract.fakes import PATIENCE_S, DrumRequest, Stage, ToneRequest, audio, kinds, make_store, wait_until


def hold(engine: Engine, stage: Stage):  # type: ignore[no-untyped-def]
    """A job that runs until the stage releases it."""
    stage.started.clear()
    stream = engine.run("tone", ToneRequest(act="hold"))
    assert stage.started.wait(PATIENCE_S)
    return stream


def failure(engine: Engine, act: str) -> NeuromuseError:
    last = list(engine.run("tone", ToneRequest(act=act)))[-1]
    assert isinstance(last, Failed)
    return last.error


def test_a_job_is_queued_loads_progresses_and_is_done(engine: Engine) -> None:
    events = list(engine.run("tone", ToneRequest()))
    order = {Queued: 0, Loading: 1, Progress: 2, Done: 3}
    places = [order[type(event)] for event in events]
    assert places == sorted(places)
    assert isinstance(events[0], Queued)
    assert isinstance(events[-1], Done)
    last = next(event for event in reversed(events) if isinstance(event, Progress))
    assert (last.done, last.total, last.message) == (3, 3, "step 3")


def test_provenance_is_enough_to_make_the_result_again(engine: Engine, tmp_path: Path) -> None:
    events = list(engine.run("tone", ToneRequest(seed=7, steps=2)))
    provenance = events[-1].result.provenance  # type: ignore[union-attr]
    assert provenance.instrument_id == "tone"
    assert provenance.seed == 7
    assert provenance.checkpoints == {"tone.weights": make_store(tmp_path).digest("tone.weights")}
    assert provenance.device == "cpu"
    assert 0 <= provenance.seconds < PATIENCE_S
    assert provenance.app_version == __version__
    again = list(engine.run("tone", ToneRequest.from_dict(provenance.request)))
    assert np.array_equal(audio(events), audio(again))


def test_weights_are_read_once_for_many_jobs(engine: Engine, stage: Stage) -> None:
    first, second = (list(engine.run("tone", ToneRequest(seed=seed))) for seed in (1, 2))
    assert Loading() in first
    assert Loading() not in second
    assert stage.loads == ["tone"]


def test_preloading_spares_the_first_user_the_wait(engine: Engine, stage: Stage) -> None:
    engine.preload("tone")
    engine.preload("bagpipe")  # a hint that cannot be followed harms nothing
    wait_until(lambda: engine.health()["models"] == ["tone"] and engine.health()["running"] == 0)
    assert Loading() not in list(engine.run("tone", ToneRequest()))
    assert stage.loads == ["tone"]


@pytest.mark.parametrize("instrument_id", ["bagpipe", "drum", ""])
def test_an_unknown_instrument_or_anothers_request_is_refused_and_not_queued(
    engine: Engine, stage: Stage, instrument_id: str
) -> None:
    (event,) = engine.run(instrument_id, ToneRequest())
    assert isinstance(event, Failed)
    assert isinstance(event.error, RequestError)
    assert engine.health()["queue"] == 0
    assert stage.played == []


def test_a_full_queue_says_busy_as_only_event_and_queues_nothing(engine: Engine, stage: Stage) -> None:
    holding = hold(engine, stage)
    waiting = [engine.run("tone", ToneRequest(seed=seed)) for seed in (1, 2, 3)]
    (event,) = engine.run("tone", ToneRequest(seed=4))
    assert isinstance(event, Failed)
    assert isinstance(event.error, Busy)
    assert engine.health()["queue"] == 3
    holding.close()
    assert all(isinstance(list(stream)[-1], Done) for stream in waiting)
    assert stage.played == [1, 2, 3]
    assert isinstance(list(engine.run("tone", ToneRequest(seed=5)))[-1], Done)


def test_cancelled_jobs_leave_their_place_in_the_queue(engine: Engine, stage: Stage) -> None:
    holding = hold(engine, stage)
    for _ in range(50):
        engine.run("tone", ToneRequest()).close()
        engine.run("tone", ToneRequest())  # dropped at once
    gc.collect()
    last = engine.run("tone", ToneRequest(seed=9))
    assert next(last) == Queued(0, None)
    holding.close()
    assert isinstance(list(last)[-1], Done)
    assert stage.played == [9]


def test_stop_while_generating_ends_the_stream_and_frees_the_worker(engine: Engine, stage: Stage) -> None:
    stream = hold(engine, stage)
    began = time.monotonic()
    stream.close()
    assert list(stream) == []
    assert isinstance(list(engine.run("tone", ToneRequest(seed=1)))[-1], Done)
    assert time.monotonic() - began < PATIENCE_S / 2
    assert not stage.release.is_set()


def test_stop_while_queued_never_starts_the_job_and_moves_the_others_up(engine: Engine, stage: Stage) -> None:
    holding = hold(engine, stage)
    first, second = (engine.run("tone", ToneRequest(seed=seed)) for seed in (1, 2))
    assert [next(first), next(second)] == [Queued(0), Queued(1)]
    first.close()
    assert next(second) == Queued(0)
    holding.close()
    assert isinstance(list(second)[-1], Done)
    assert list(first) == []
    assert stage.played == [2]


def test_stop_while_loading_frees_the_worker_between_two_files(engine: Engine, stage: Stage) -> None:
    stage.endless_load = "tone"
    stream = engine.run("tone", ToneRequest(seed=1))
    wait_until(lambda: stage.files_read > 2)
    stream.close()
    assert list(stream) == []
    assert isinstance(list(engine.run("drum", DrumRequest()))[-1], Done)
    assert stage.unloads == ["tone"]  # nothing stays half loaded
    assert engine.health()["models"] == ["drum"]
    stage.endless_load = ""
    assert isinstance(list(engine.run("tone", ToneRequest(seed=2)))[-1], Done)
    assert stage.played == [2]


def test_a_stream_that_is_dropped_unread_cancels_its_job(engine: Engine, stage: Stage) -> None:
    stream = engine.run("tone", ToneRequest(act="hold"))
    assert stage.started.wait(PATIENCE_S)
    del stream
    gc.collect()
    assert isinstance(list(engine.run("tone", ToneRequest()))[-1], Done)


def test_close_may_come_at_any_time_and_often(engine: Engine, stage: Stage) -> None:
    finished = engine.run("tone", ToneRequest())
    assert isinstance(list(finished)[-1], Done)
    refused = engine.run("bagpipe", ToneRequest())
    never_started = engine.run("tone", ToneRequest(act="hold"))
    for stream in (finished, refused, never_started) * 2:
        stream.close()
        assert list(stream) == []
    assert isinstance(list(engine.run("tone", ToneRequest()))[-1], Done)


def test_close_from_another_thread_wakes_the_reader(engine: Engine, stage: Stage) -> None:
    holding = hold(engine, stage)
    waiting = engine.run("tone", ToneRequest())
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(list, stream) for stream in (waiting, holding)]
        time.sleep(0.05)
        waiting.close()
        holding.close()
        for reader in readers:
            assert not any(isinstance(event, (Done, Failed)) for event in reader.result(PATIENCE_S))


def test_two_users_at_once_each_hear_their_own(make_engine: MakeEngine) -> None:
    engine = make_engine(queue_size=50)
    alone = {seed: audio(list(engine.run("tone", ToneRequest(seed=seed)))) for seed in range(8)}
    with ThreadPoolExecutor(8) as pool:
        together = pool.map(lambda seed: list(engine.run("tone", ToneRequest(seed=seed, steps=5))), range(8))
    for seed, events in enumerate(together):
        assert np.array_equal(audio(events), alone[seed])
        assert events[-1].result.provenance.seed == seed  # type: ignore[union-attr]


def test_a_slow_reader_gets_a_bounded_backlog_with_the_last_preview(engine: Engine) -> None:
    stream = engine.run("tone", ToneRequest(act="hurry", steps=5000))
    wait_until(lambda: engine.health()["running"] == 0 and engine.health()["queue"] == 0)
    time.sleep(0.05)
    events = list(stream)
    assert kinds(events) == ["Queued", "Loading", "Progress", "Done"]
    assert len(events) == 4
    progress = events[2]
    assert isinstance(progress, Progress)
    assert (progress.done, progress.preview) == (5000, "first")


def test_progress_tells_the_seconds_left(engine: Engine, stage: Stage) -> None:
    stream = hold(engine, stage)
    wait_until(lambda: isinstance(event := next(stream), Progress) and (event.eta_s or 0) > 0)


def test_the_deadline_ends_a_job_and_frees_the_worker(make_engine: MakeEngine, stage: Stage) -> None:
    engine = make_engine(deadline_s=0.3)
    list(engine.run("tone", ToneRequest(seed=1)))  # loads, so that the deadline falls into generating
    assert isinstance(failure(engine, "hold"), DeadlineExceeded)
    wait_until(lambda: isinstance(list(engine.run("tone", ToneRequest(seed=2)))[-1], Done))


def test_the_deadline_does_not_count_waiting(make_engine: MakeEngine, stage: Stage) -> None:
    engine = make_engine(deadline_s=0.4)

    def the_second_succeeds() -> bool:
        first, second = (engine.run("tone", ToneRequest(act=act)) for act in ("hold", "play"))
        assert isinstance(list(first)[-1], Failed)
        return isinstance(list(second)[-1], Done)  # it waited as long as its deadline

    wait_until(the_second_succeeds)


@pytest.mark.parametrize("act", ["out_of_memory", "torch_out_of_memory", "allocator"])
def test_running_out_of_memory_is_said_and_the_models_are_freed(engine: Engine, stage: Stage, act: str) -> None:
    list(engine.run("drum", DrumRequest()))
    error = failure(engine, act)
    assert isinstance(error, OutOfMemoryError)
    assert "Tone ran out of memory on cpu" in str(error)
    assert sorted(stage.unloads) == ["drum", "tone"]
    assert isinstance(list(engine.run("tone", ToneRequest()))[-1], Done)


@pytest.mark.parametrize("act", ["crash", "exit", "nothing"])
def test_an_unexpected_error_is_one_sentence_and_the_next_job_starts_clean(
    engine: Engine, stage: Stage, act: str
) -> None:
    error = failure(engine, act)
    assert type(error) is NeuromuseError
    assert "\n" not in str(error)
    assert "secret wish" not in str(error)
    assert stage.unloads == ["tone"]
    assert isinstance(list(engine.run("tone", ToneRequest()))[-1], Done)


def test_the_log_has_the_traceback_of_a_crash_and_one_line_a_job(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "backend"):
        failure(engine, "crash")
        assert any(record.exc_info for record in caplog.records)
        caplog.clear()
        list(engine.run("tone", ToneRequest()))
        list(engine.run("tone", ToneRequest()))
        lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("job")]
    assert len(lines) == 2
    assert not any("secret wish" in line for line in lines)


def test_an_instruments_own_sentence_reaches_the_user_without_its_traceback(engine: Engine, stage: Stage) -> None:
    error = failure(engine, "refuse")
    assert isinstance(error, CheckpointError)
    assert (error.__traceback__, error.__context__) == (None, None)
    assert stage.unloads == []


def test_an_altered_checkpoint_fails_its_instrument_and_the_others_live_on(engine: Engine, tmp_path: Path) -> None:
    path = next((tmp_path / "tone").iterdir())
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    error = failure(engine, "play")
    assert isinstance(error, CheckpointError)
    assert path.name in str(error)
    assert isinstance(list(engine.run("drum", DrumRequest()))[-1], Done)


def test_the_least_recently_used_instrument_makes_room(make_engine: MakeEngine, stage: Stage) -> None:
    engine = make_engine(memory_mb=150)  # each of the two takes 100
    for instrument_id, request in (("tone", ToneRequest()), ("drum", DrumRequest()), ("tone", ToneRequest())):
        assert isinstance(list(engine.run(instrument_id, request))[-1], Done)
        assert engine.health()["models"] == [instrument_id]
    assert stage.loads == ["tone", "drum", "tone"]
    assert stage.unloads == ["tone", "drum"]


def test_a_waiting_user_hears_place_and_expected_wait(engine: Engine, stage: Stage) -> None:
    list(engine.run("tone", ToneRequest()))  # teaches the engine how long a tone takes
    holding = hold(engine, stage)
    first, second = (engine.run("tone", ToneRequest()) for _ in range(2))
    one, two = next(first), next(second)
    assert isinstance(one, Queued)
    assert isinstance(two, Queued)
    assert (one.position, two.position) == (0, 1)
    assert one.eta_s is not None
    assert two.eta_s is not None
    assert two.eta_s >= one.eta_s >= 0
    holding.close()
    assert isinstance(list(second)[-1], Done)


def test_a_delivered_result_is_not_kept(engine: Engine) -> None:
    events = list(engine.run("tone", ToneRequest()))
    waveform = weakref.ref(events[-1].result.waveforms[0])  # type: ignore[union-attr]
    wait_until(lambda: engine.health()["running"] == 0)
    del events
    gc.collect()
    assert waveform() is None


def test_health_says_what_runs_and_what_waits(engine: Engine, stage: Stage) -> None:
    wait_until(lambda: bool(engine.health()["ready"]))
    assert engine.health() == {
        "live": True, "ready": True, "queue": 0, "running": 0, "models": [], "device": "cpu", "version": __version__,
    }  # fmt: skip
    streams = [hold(engine, stage), engine.run("tone", ToneRequest())]
    health = engine.health()
    assert (health["queue"], health["running"], health["models"]) == (1, 1, ["tone"])
    for stream in streams:
        stream.close()
    wait_until(lambda: engine.health()["running"] == 0)


def test_shutdown_ends_waiting_and_running_jobs_and_refuses_new_ones(engine: Engine, stage: Stage) -> None:
    streams = [hold(engine, stage), engine.run("tone", ToneRequest())]
    engine.shutdown()
    engine.shutdown()
    streams.append(engine.run("tone", ToneRequest()))
    for stream in streams:
        last = list(stream)[-1]
        assert isinstance(last, Failed)
        assert "shutting down" in str(last.error)
    assert engine.health()["live"] is False
    assert stage.unloads == ["tone"]
    assert not any(thread.name.startswith("neuromuse") for thread in threading.enumerate())


def test_many_users_who_stop_at_random_leave_an_idle_engine(make_engine: MakeEngine, stage: Stage) -> None:
    engine = make_engine(queue_size=1000)

    def user(number: int) -> bool:
        """Whether this user's job ended as it must."""
        chance = random.Random(number)
        stream = engine.run("tone", ToneRequest(seed=number, steps=chance.randrange(1, 50)))
        stop_after = chance.choice([0, 1, 2, 3, 10_000])
        for seen, event in enumerate(stream, 1):
            if isinstance(event, Done):
                return event.result.provenance is not None and event.result.provenance.seed == number
            if seen >= stop_after:
                break
        stream.close()
        return list(stream) == []

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(user, range(150)))
    wait_until(lambda: engine.health()["running"] == 0)
    assert engine.health()["queue"] == 0
    assert isinstance(list(engine.run("tone", ToneRequest()))[-1], Done)
