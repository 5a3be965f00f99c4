import threading
import time

import pytest

from backend.contract import Done, Progress, Result
from backend.instruments.text_to_music.request import TextToMusicRequest
from pages.jobs import Jobs


class Stream:
    """Reports until closed, as an engine's stream does."""

    def __init__(self):
        self.closed = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        if self.closed.wait(0.005):
            raise StopIteration
        return Progress(1, 2)

    def close(self):
        self.closed.set()


class Engine:
    def __init__(self):
        self.streams = []

    def run(self, instrument_id, request):
        self.streams.append(Stream())
        return self.streams[-1]


class Finished(Engine):
    def run(self, instrument_id, request):
        self.streams.append(event for event in (Progress(1, 2), Done(Result())))
        return self.streams[-1]


REQUEST = TextToMusicRequest(prompt="piano")


def consume(events):
    thread = threading.Thread(target=lambda: list(events))
    thread.start()
    return thread


def until(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_two_places_of_one_page_have_a_job_each():
    engine = Engine()
    jobs = Jobs(engine)
    jobs.run("me", REQUEST)
    jobs.run("me", REQUEST, "anchor")
    assert not engine.streams[0].closed.is_set()
    jobs.run("me", REQUEST, "anchor")
    assert [stream.closed.is_set() for stream in engine.streams] == [False, True, False]
    assert jobs.stop("me", "text_to_music", "anchor") and not engine.streams[0].closed.is_set()
    jobs.close("me")
    assert engine.streams[0].closed.is_set()


def test_stop_ends_the_job_of_that_session_only():
    jobs = Jobs(engine := Engine())
    mine, theirs = consume(jobs.run("me", REQUEST)), consume(jobs.run("them", REQUEST))
    until(lambda: len(engine.streams) == 2)
    assert jobs.stop("me", "text_to_music")
    until(lambda: not mine.is_alive() or not theirs.is_alive())
    mine.join(60)
    assert theirs.is_alive()
    jobs.close("them")
    theirs.join(60)
    assert not theirs.is_alive()


def test_a_second_job_of_one_session_stops_the_first():
    jobs = Jobs(engine := Engine())
    first = consume(jobs.run("me", REQUEST))
    until(lambda: len(engine.streams) == 1)
    second = consume(jobs.run("me", REQUEST))
    first.join(60)
    assert not first.is_alive() and second.is_alive()
    jobs.close("me")
    second.join(60)


def test_stop_without_a_job_is_no_error_and_says_so():
    assert Jobs(Engine()).stop("nobody", "text_to_music") is False


def test_a_finished_job_is_forgotten():
    jobs = Jobs(Finished())
    assert isinstance(list(jobs.run("me", REQUEST))[-1], Done)
    assert jobs.stop("me", "text_to_music") is False


@pytest.mark.parametrize("read", [0, 1])
def test_an_abandoned_stream_cancels_its_job_read_from_or_not(read):
    jobs = Jobs(engine := Engine())
    events = jobs.run("me", REQUEST)
    for _ in range(read):
        next(events)
    events.close()
    assert engine.streams[0].closed.is_set()
    assert jobs.stop("me", "text_to_music") is False


def test_an_engine_that_fails_to_start_leaves_no_job_behind():
    class Broken(Engine):
        def run(self, instrument_id, request):
            raise RuntimeError("no")

    jobs = Jobs(Broken())
    with pytest.raises(RuntimeError):
        jobs.run("me", REQUEST)
    assert jobs.stop("me", "text_to_music") is False
