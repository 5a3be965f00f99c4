"""Live changes: how a page turns knobs of a loop that is being optimised, and hears of it.

How a page uses it, within the house's contract (the engine owns the job, the page owns the stream)::

    console = Console()                                   # keep it with the browser session, never in the page's HTML
    request = NeuronsRequest(..., settings=settings, console=console.token)
    for event in jobs.run(session, request):                # as for every instrument
        if isinstance(event, Progress) and isinstance(event.preview, LoopPass):
            ...                                           # next loop for the player, activity for the map
    # in any other handler of the same session, from any thread, before or while the job runs:
    console.send(settings)                                # heard at the next update; of several, the last

The token is 128 random bits and names one console; a page only ever holds its own, so nobody can turn another's knobs,
and a token says nothing about anybody. Provenance does not store it. The console belongs to the page: when the page
drops it, it is forgotten here, and the job goes on with the settings it has. A job checks what arrives (`Settings` has
checked the form, the network knows whether the target exists); what it refuses is in `LoopPass.refused` of the next
pass and changes nothing.

Consoles live in this process. An engine that runs its jobs elsewhere finds none, and ``console.attached`` stays False;
a page then applies a change by starting a new job from the last loop, which every engine can do.
"""

from __future__ import annotations

import secrets
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.neurons.settings import Settings

if TYPE_CHECKING:
    from backend.instruments.neurons.chart import NeuronMap

TOKEN_BYTES = 16


@dataclass(frozen=True, eq=False)
class Listener:
    """Who listens, for what a page says and draws.

    Attributes:
        label: of the network, which says whether it was trained.
        chart: where its neurons lie.
        checkpoints: name → digest of the weights in use, for the provenance of a loop that is kept.
    """

    label: str
    chart: NeuronMap
    checkpoints: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class LoopPass:
    """What a running job shows after every pass; the preview of its `Progress`.

    Attributes:
        number: from 0, which is the start before any update.
        loop: to be played next; levelled, limited, seamless.
        updates: made so far.
        activation: weighted mean of the targets in deviations, on this loop.
        targets: of each target.
        change_rms: distance from the start, in full scale.
        skipped: updates of this pass left out because their gradient was not a number.
        settings: that hold now.
        activity: every neuron over the loop, uint8 ``[neurons, frames]``, see `activity`; None if not asked for.
        refused: why the last change was not taken; empty if it was.
        listener: of this job, the same object in every pass; None if no activity was asked for.
    """

    number: int
    loop: Waveform
    updates: int
    activation: float
    targets: tuple[float, ...]
    change_rms: float
    skipped: int
    settings: Settings
    activity: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    refused: str = ""
    listener: Listener | None = field(default=None, repr=False)


class Console:
    """One job's letter box: `send` from any thread, the last value wins, `take` by the job."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self._lock = threading.Lock()
        self._pending: Settings | None = None
        self._attached = False
        _OPEN[self.token] = self

    @property
    def attached(self) -> bool:
        """Whether a job in this process has looked into it."""
        return self._attached

    def send(self, settings: Settings) -> None:
        """Settings for the next update; replaces what was not yet taken. Never waits.

        Raises:
            RequestError: they are not settings.
        """
        if not isinstance(settings, Settings):
            raise RequestError("settings", type(settings).__name__, "settings of neurons")
        with self._lock:
            self._pending = settings

    def take(self) -> Settings | None:
        """What was sent since the last time, or None."""
        with self._lock:
            self._attached = True
            taken, self._pending = self._pending, None
            return taken

    def __deepcopy__(self, memo: dict[int, Any]) -> Console:
        return self  # pages copy the state of a session; a console is an identity


_OPEN: weakref.WeakValueDictionary[str, Console] = weakref.WeakValueDictionary()


def find_console(token: str | None) -> Console | None:
    """The console with this token while its page keeps it; None otherwise."""
    return None if token is None else _OPEN.get(token)
