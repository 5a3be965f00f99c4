"""The inference module: takes a request for an instrument, yields what happens until the result or the failure.

`Engine` is all that pages know. `backend.engine.local` runs jobs in this process; replicas on other machines can stand
behind the same three calls, because requests and events are plain dataclasses and a stream is closed, never shared.
"""

from __future__ import annotations

from typing import Any, Protocol, Self

from backend.contract import Event, Request


class EventStream(Protocol):
    """Events of one job, in order: `Queued`…, `Loading`, `Progress`…, then `Done` or `Failed` and nothing after it.

    A slow consumer misses intermediate `Queued` and `Progress`, never the last ones. One that stops reading must
    `close` (a dropped stream closes itself): the job is cancelled wherever it is, and no further event comes.
    """

    def __iter__(self) -> Self:
        """The stream itself."""
        ...

    def __next__(self) -> Event:
        """Wait for the next event; ends after `Done`, `Failed` or `close`."""
        ...

    def close(self) -> None:
        """Cancel the job if it has not ended. Returns at once; any thread, any number of times, started or not."""
        ...


class Engine(Protocol):
    """Runs jobs. All calls are safe from any thread."""

    def run(self, instrument_id: str, request: Request) -> EventStream:
        """Queue one job now and return its events. Never raises.

        What is refused (`Busy`, an unknown instrument, another instrument's request, a server that shuts down) is a
        `Failed` as the only event, and nothing is queued.
        """
        ...

    def preload(self, instrument_id: str) -> None:
        """Hint that an instrument will be asked for; loads it when nobody waits. May do nothing."""
        ...

    def health(self) -> dict[str, Any]:
        """Plain JSON values: ``live``, ``ready``, ``queue``, ``running``, ``models``, ``device``, ``version``."""
        ...

    def shutdown(self) -> None:
        """Fail what waits, cancel what runs, free everything. Later `run` calls are refused."""
        ...
