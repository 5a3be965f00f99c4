"""Every failure a caller can see. A message is one sentence that says what was found and what would work."""

from __future__ import annotations


class NeuromuseError(Exception):
    """Base of every failure that is told to the user in one sentence."""


class RequestError(NeuromuseError):
    """The request is wrong and the user can mend it.

    Args:
        field: name of the field, as the page and the command line call it.
        value: what was received; shown shortened.
        allowed: the allowed range or form, as a noun phrase ("a number from 4 to 30").
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field, self.value, self.allowed = field, value, allowed
        shown = repr(value)
        if len(shown) > 60:
            shown = shown[:57] + "…"
        super().__init__(f"{field}: got {shown}, expected {allowed}.")


class AudioError(NeuromuseError):
    """A sound file cannot be read or written."""


class CheckpointError(NeuromuseError):
    """A weight file is missing, truncated, altered or of another configuration."""


class OutOfMemoryError(NeuromuseError):
    """The device ran out of memory; the job ended and the worker is free."""


class Busy(NeuromuseError):
    """The queue is full; nothing was queued."""


class DeadlineExceeded(NeuromuseError):
    """The job took longer than its deadline and was stopped."""


class Cancelled(Exception):
    """The user stopped the job. Not a failure, so not a ``NeuromuseError``."""
