"""One job's way through the engine: the ticket that waits, and the channel between its worker and its reader."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Self

from backend.contract import Done, Event, Failed, Progress, Queued, Request
from backend.job import Job, Step

HEARTBEAT_S = 1.0  # how often a waiting reader hears its place, so that an expected wait counts down


class Channel:
    """Thread-safe events from worker to reader, bounded: of consecutive events of one kind only the last is kept."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._open = True

    def put(self, event: Event) -> None:
        """Add an event; ignored after a `Done`, a `Failed` or `close`."""
        with self._changed:
            if not self._open:
                return
            if self._events and type(self._events[-1]) is type(event):
                stale = self._events.pop()
                if isinstance(event, Progress) and isinstance(stale, Progress) and event.preview is None:
                    event = dataclasses.replace(event, preview=stale.preview)
            self._events.append(event)
            self._open = not isinstance(event, (Done, Failed))
            self._changed.notify_all()

    def get(self, timeout_s: float) -> Event | None:
        """The next event, or None when none came in time.

        Raises:
            StopIteration: there will be no more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._events or not self._open, timeout_s)
            if self._events:
                return self._events.popleft()
            if not self._open:
                raise StopIteration
            return None

    def close(self) -> None:
        """Drop what was not read and wake the reader."""
        with self._changed:
            self._events.clear()
            self._open = False
            self._changed.notify_all()


class Ticket:
    """One job of the queue.

    Attributes:
        number: for the log.
        instrument_id: whose job.
        request: what to make; None only loads the instrument.
        channel: where its events go.
        cancelled: nobody wants it any more.
        started_at: `time.monotonic` when a worker took it.
    """

    def __init__(self, number: int, instrument_id: str, request: Request | None) -> None:
        self.number, self.instrument_id, self.request = number, instrument_id, request
        self.channel = Channel()
        self.cancelled = False
        self.started_at: float | None = None
        self._job: Job | None = None

    def start(self, job: Job) -> None:
        """Bind the running job, cancelled at once if the ticket was."""
        # No lock: `start` writes the job, then reads the flag; `cancel` writes the flag, then reads the job. One sees.
        self._job = job
        if self.cancelled:
            job.cancel()

    def cancel(self) -> None:
        """Stop the job at its next step, or before it starts."""
        if self.cancelled:
            return  # keeps a finaliser that interrupts this very call from waiting for itself
        self.cancelled = True
        if self._job is not None:
            self._job.cancel()

    def reporter(self) -> Reporter:
        """What the ticket's job calls with every step."""
        return Reporter(self.channel)


class Reporter:
    """Turns steps into `Progress` with the expected seconds left, assuming an even pace since the first step."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._first: tuple[float, float] | None = None

    def __call__(self, step: Step) -> None:
        """Report one step; runs on the worker's thread and does not wait for the reader."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, step.done)
        since, base = self._first
        eta_s = (now - since) * (step.total - step.done) / (step.done - base) if step.done > base else None
        self._channel.put(Progress(step.done, step.total, step.message, step.preview, eta_s))


class LocalStream:
    """Events of one ticket. See `backend.engine.EventStream`.

    Args:
        ticket: the job.
        place: its place in the queue now, or None when it waits no more.
        cancel: tells the queue that the ticket is cancelled.
    """

    def __init__(
        self, ticket: Ticket, place: Callable[[Ticket], Queued | None], cancel: Callable[[Ticket], None]
    ) -> None:
        self._ticket, self._place, self._cancel = ticket, place, cancel

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while True:
            event = self._ticket.channel.get(HEARTBEAT_S)
            if event is None:
                event = self._place(self._ticket)
            if event is not None:
                return event

    def close(self) -> None:
        """Cancel the job if it has not ended, and end the iteration."""
        self._ticket.channel.close()
        self._cancel(self._ticket)

    def __del__(self) -> None:
        # Runs wherever the collector happens to run, perhaps inside a lock, so it takes none; the queue skips it later.
        self._ticket.cancel()
