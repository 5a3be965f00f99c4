"""The running job as an instrument sees it: report a step, or be stopped there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backend.errors import Cancelled, DeadlineExceeded


@dataclass(frozen=True)
class Step:
    """One progress report: ``done`` of ``total`` units, what is being made, and an optional preview object."""

    done: float
    total: float
    message: str = ""
    preview: Any = None


class Job:
    """Cancellation, deadline and progress of one request.

    Args:
        report: called with every `Step`, on the worker's thread; must return quickly.
        deadline_s: seconds from now after which the next `step` raises.
    """

    def __init__(self, report: Callable[[Step], None] | None = None, deadline_s: float | None = None) -> None:
        self._report = report
        self._cancelled = threading.Event()
        self.deadline_s = deadline_s
        self._ends = None if deadline_s is None else time.monotonic() + deadline_s

    def cancel(self) -> None:
        """Make the next `step` raise `Cancelled`. Safe from any thread, any number of times."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """Raise if the job must end.

        Raises:
            Cancelled: the user stopped it.
            DeadlineExceeded: its time is over.
        """
        if self._cancelled.is_set():
            raise Cancelled
        if self._ends is not None and time.monotonic() > self._ends:
            raise DeadlineExceeded(f"The job was stopped after {self.deadline_s:g} s; ask for less at once.")

    def step(self, done: float, total: float, message: str = "", preview: Any = None) -> None:
        """Report progress, then `check`.

        Raises:
            Cancelled, DeadlineExceeded: as `check`.
        """
        self.check()
        if self._report is not None:
            self._report(Step(done, total, message, preview))
