"""The engine of one machine: a bounded queue, and one worker thread for each device."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from backend.checkpoints import CheckpointStore
from backend.contract import Done, Failed, Queued, Request
from backend.engine.devices import choose_devices, make_current, set_threads
from backend.engine.stream import LocalStream, Ticket
from backend.engine.worker import Worker
from backend.errors import Busy, NeuromuseError, RequestError
from backend.registry import Registry
from backend.settings import Settings, __version__

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

JOIN_S = 10.0  # how long `shutdown` waits for a job to reach its next step
SHUT = "The server is shutting down."


class LocalEngine:
    """Runs jobs in this process. See `backend.engine.Engine`.

    Starting costs nothing: the devices are chosen on the first worker's thread, which is where torch is imported.

    Args:
        registry: what instruments there are.
        store: their weights.
        settings: queue size, memory budget, deadline, threads and device.
    """

    def __init__(self, registry: Registry, store: CheckpointStore, settings: Settings) -> None:
        self._registry, self._store, self._settings = registry, store, settings
        self._changed = threading.Condition()  # guards everything below
        self._pending: deque[Ticket] = deque()
        self._preloads: deque[Ticket] = deque()
        self._running: set[Ticket] = set()
        self._typical_s: dict[str, float] = {}
        self._workers: list[Worker] = []
        self._threads: list[threading.Thread] = []
        self._refusal: NeuromuseError | None = None
        self._numbers = itertools.count(1)
        self._spawn(None)

    def run(self, instrument_id: str, request: Request) -> LocalStream:
        """Queue one job now and return its events; a refusal is a `Failed` as the only event."""
        ticket = Ticket(next(self._numbers), instrument_id, request)
        with self._changed:
            refusal = self._refuse(instrument_id, request)
            if refusal is not None:
                ticket.channel.put(Failed(refusal))
            else:
                self._pending.append(ticket)
                self._tell_places()
                self._changed.notify()
        return LocalStream(ticket, self._place, self._cancel)

    def preload(self, instrument_id: str) -> None:
        """Load an instrument when nobody waits, so that its first user need not."""
        with self._changed:
            self._preloads.append(Ticket(next(self._numbers), instrument_id, None))
            self._changed.notify()

    def health(self) -> dict[str, Any]:
        """Plain JSON values for ``/healthz``; see `backend.engine.Engine.health`."""
        with self._changed:
            live = self._refusal is None and all(thread.is_alive() for thread in self._threads)
            return {
                "live": live,
                "ready": live and bool(self._workers),
                "queue": sum(not ticket.cancelled for ticket in self._pending),
                "running": len(self._running),
                "models": sorted({name for worker in self._workers for name in worker.models.ids}),
                "device": ", ".join(str(worker.device) for worker in self._workers) or None,
                "version": __version__,
            }

    def shutdown(self) -> None:
        """Fail what waits, cancel what runs, unload, and wait for the workers to end."""
        self._fail_all(NeuromuseError(SHUT))
        for thread in tuple(self._threads):
            if thread is not threading.current_thread():
                thread.join(JOIN_S)

    def _refuse(self, instrument_id: str, request: Request) -> NeuromuseError | None:
        """Why this job is not queued, if so."""
        if self._refusal is not None:
            return self._refusal
        try:
            self._registry.entry(instrument_id)
        except RequestError as error:
            return error.with_traceback(None)
        if not isinstance(request, Request) or request.instrument_id != instrument_id:
            return RequestError("request", type(request).__name__, f"a request of {instrument_id}")
        self._pending = deque(ticket for ticket in self._pending if not ticket.cancelled)
        # Counting running jobs too: a job that an idle worker is about to take does not wait.
        if len(self._pending) + len(self._running) >= self._settings.queue_size + max(1, len(self._workers)):
            return Busy(f"{len(self._pending)} jobs are waiting already; try again in a moment.")
        return None

    def _spawn(self, device: torch.device | None) -> None:
        name = f"neuromuse-{device or 'engine'}"
        thread = threading.Thread(target=self._serve, args=(device,), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _serve(self, device: torch.device | None) -> None:
        """A worker thread's life. The first is given no device: it chooses, and starts a thread for each other one."""
        try:
            if device is None:
                device, *others = choose_devices(self._settings.device)
                logger.info("running on %s, %d CPU threads", device, set_threads(self._settings.threads))
                for other in others:
                    self._spawn(other)
            make_current(device)
            worker = Worker(self._registry, self._store, device, self._settings)
            with self._changed:
                self._workers.append(worker)
            while self._serve_one(worker):
                pass
            worker.close()
        except NeuromuseError as error:
            logger.error("the engine cannot start: %s", error)
            self._fail_all(error.with_traceback(None))
        except BaseException as error:  # a broken driver, say; /healthz then says that the server needs a restart
            logger.exception("the engine stopped")
            self._fail_all(NeuromuseError(f"The engine stopped on an internal error ({type(error).__name__})."))

    def _serve_one(self, worker: Worker) -> bool:
        """Wait for a job and run it; False when the engine shuts down. Returning drops all that the job made."""
        ticket = self._take()
        if ticket is None:
            return False
        event = worker.execute(ticket)  # raises only when the device itself is gone; then `_serve` fails all tickets
        with self._changed:
            self._running.discard(ticket)
            if isinstance(event, Done) and event.result.provenance is not None:
                took_s = event.result.provenance.seconds
                self._typical_s[ticket.instrument_id] = (took_s + self._typical_s.get(ticket.instrument_id, took_s)) / 2
            self._tell_places()
        if event is not None:
            ticket.channel.put(event)
        return True

    def _take(self) -> Ticket | None:
        """The next ticket that somebody still wants; None when the engine shuts down."""
        with self._changed:
            while self._refusal is None:
                for queue in (self._pending, self._preloads):
                    while queue:
                        ticket = queue.popleft()
                        if not ticket.cancelled:
                            ticket.started_at = time.monotonic()
                            self._running.add(ticket)
                            self._tell_places()
                            return ticket
                self._changed.wait()
            return None

    def _cancel(self, ticket: Ticket) -> None:
        """Cancel, and let those behind move up."""
        ticket.cancel()
        with self._changed:
            if ticket in self._pending:
                self._pending.remove(ticket)
                self._tell_places()

    def _fail_all(self, error: NeuromuseError) -> None:
        """Refuse new jobs from now on; end the waiting and the running ones with ``error``."""
        with self._changed:
            self._refusal = self._refusal or error
            tickets = [*self._pending, *self._running]
            self._pending.clear()
            self._preloads.clear()
            self._changed.notify_all()
        for ticket in tickets:
            ticket.channel.put(Failed(error))
            ticket.cancel()

    def _place(self, ticket: Ticket) -> Queued | None:
        """Where the ticket waits now; None when it does not."""
        with self._changed:
            return next((place for waiting, place in self._places() if waiting is ticket), None)

    def _tell_places(self) -> None:
        for ticket, place in self._places():
            ticket.channel.put(place)

    def _places(self) -> Iterator[tuple[Ticket, Queued]]:
        """Everybody's place and expected wait, by playing the queue forward with recent durations."""
        now = time.monotonic()
        typical: dict[str, float | None] = {**self._typical_s}
        unknown = False
        free_at = [0.0] * (max(1, len(self._workers)) - len(self._running))
        for ticket in self._running:
            took_s = typical.get(ticket.instrument_id)
            unknown = unknown or took_s is None
            free_at.append(max(0.0, (took_s or 0.0) - now + (ticket.started_at or now)))
        heapq.heapify(free_at)
        waiting = (ticket for ticket in self._pending if not ticket.cancelled)
        for position, ticket in enumerate(waiting):
            yield ticket, Queued(position, None if unknown else free_at[0])
            took_s = typical.get(ticket.instrument_id)
            unknown = unknown or took_s is None
            heapq.heapreplace(free_at, free_at[0] + (took_s or 0.0))
