"""Which job belongs to which browser session. The engine owns the jobs; this keeps the thread by which to stop one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

from backend.contract import Event, Request
from backend.engine import Engine, EventStream


class Jobs:
    """Starts jobs and stops them by session, so that nobody's Stop reaches somebody else's job.

    Args:
        engine: where jobs run.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str, str], OwnedStream] = {}

    def run(self, session: str, request: Request, place: str = "") -> OwnedStream:
        """Start a job now; the session's earlier job on the same instrument and place, if any, is stopped first.

        A place is a part of a page with a job of its own. The events end without `Done` or `Failed` when the job was
        stopped. Close them when they are read no further.
        """
        key = (session, request.instrument_id, place)
        self.stop(*key)
        stream = OwnedStream(self.engine.run(request.instrument_id, request), lambda: self._forget(key, stream))
        with self._lock:
            self._running[key] = stream
        return stream

    def stop(self, session: str, instrument_id: str, place: str = "") -> bool:
        """Cancel the session's job on this instrument and place; False if there is none."""
        with self._lock:
            stream = self._running.get((session, instrument_id, place))
        if stream is not None:
            stream.close()
        return stream is not None

    def close(self, session: str) -> None:
        """Cancel every job of a session whose page was closed."""
        with self._lock:
            running = [stream for (owner, *_), stream in self._running.items() if owner == session]
        for stream in running:
            stream.close()

    def _forget(self, key: tuple[str, str, str], stream: OwnedStream) -> None:
        with self._lock:
            if self._running.get(key) is stream:
                del self._running[key]


class OwnedStream:
    """An engine's event stream that tells its owner when it is over.

    Args:
        events: the engine's stream.
        over: called once or more, after the last event or `close`.
    """

    def __init__(self, events: EventStream, over: Callable[[], None]) -> None:
        self._events, self._over = events, over

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        try:
            return next(self._events)
        except StopIteration:
            self._over()
            raise

    def close(self) -> None:
        """Cancel the job if it has not ended; from any thread, any number of times."""
        self._events.close()
        self._over()
