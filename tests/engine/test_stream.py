from __future__ import annotations

import pytest

from backend.contract import Done, Failed, Loading, Progress, Queued, Result
from backend.engine.stream import Channel, Reporter, Ticket
from backend.errors import NeuromuseError
from backend.job import Job, Step


def drain(channel: Channel) -> list[object]:
    events: list[object] = []
    try:
        while (event := channel.get(0)) is not None:
            events.append(event)
    except StopIteration:
        events.append("end")
    return events


def test_consecutive_events_of_a_kind_become_the_last_one() -> None:
    channel = Channel()
    for event in (Queued(2), Queued(1), Loading(), Progress(1, 9), Progress(2, 9), Done(Result())):
        channel.put(event)
    assert drain(channel) == [Queued(1), Loading(), Progress(2, 9), Done(Result()), "end"]


def test_merged_progress_keeps_the_newest_preview() -> None:
    channel = Channel()
    for preview in ("old", "new", None):
        channel.put(Progress(1, 3, preview=preview))
    assert drain(channel) == [Progress(1, 3, preview="new")]


def test_nothing_follows_the_last_event_or_a_close() -> None:
    channel, closed = Channel(), Channel()
    channel.put(Failed(error := NeuromuseError("no")))
    channel.put(Progress(1, 2))
    assert drain(channel) == [Failed(error), "end"]
    closed.put(Queued(0))
    closed.close()
    closed.put(Queued(0))
    assert drain(closed) == ["end"]


def test_an_open_channel_without_events_times_out() -> None:
    assert Channel().get(0.01) is None


@pytest.mark.parametrize("cancel_first", [True, False])
def test_a_ticket_cancels_its_job_whichever_comes_first(cancel_first: bool) -> None:
    ticket, job = Ticket(1, "tone", None), Job()
    for act in (ticket.cancel, lambda: ticket.start(job))[:: 1 if cancel_first else -1]:
        act()
    assert job.cancelled


def test_the_expected_rest_assumes_the_pace_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 102.0, 106.0])
    monkeypatch.setattr("backend.engine.stream.time.monotonic", lambda: next(clock))
    channel = Channel()
    report = Reporter(channel)
    etas = []
    for done in (0, 10, 30):
        report(Step(done, 40))
        event = channel.get(0)
        assert isinstance(event, Progress)
        etas.append(event.eta_s)
    assert etas == [None, 6.0, 2.0]
