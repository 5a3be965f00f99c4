"""Runs one job after another on one device, and turns every way of failing into one sentence."""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING

from backend.checkpoints import CheckpointStore
from backend.contract import Done, Failed, Loading, Provenance, Request
from backend.engine.devices import free_memory_mb, is_out_of_memory, model_budget_mb, precision
from backend.engine.models import ModelCache
from backend.engine.stream import Ticket
from backend.errors import Cancelled, CheckpointError, NeuromuseError, OutOfMemoryError
from backend.job import Job
from backend.registry import Registry
from backend.settings import Settings, __version__

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


class Worker:
    """One device with its loaded instruments. Only its own thread calls `execute` and `close`."""

    def __init__(self, registry: Registry, store: CheckpointStore, device: torch.device, settings: Settings) -> None:
        self.device = device
        self._registry, self._settings = registry, settings
        budget_mb = settings.memory_mb or model_budget_mb(device)
        self._job: Job | None = None
        self.models = ModelCache(registry, store, device, budget_mb, self._check)

    def execute(self, ticket: Ticket) -> Done | Failed | None:
        """Load what the ticket needs, make its result; None when it was cancelled."""
        began = time.monotonic()
        failure: NeuromuseError | None = None
        spoiled = exhausted = False
        self._job = Job(ticket.reporter(), self._settings.deadline_s)
        ticket.start(self._job)
        try:
            done = self._make(ticket, self._job)
            logger.info("job %d: %s took %.1f s", ticket.number, ticket.instrument_id, time.monotonic() - began)
            return done
        except Cancelled:
            logger.info("job %d: %s was cancelled", ticket.number, ticket.instrument_id)
            if not ticket.cancelled:
                failure = NeuromuseError("The job ended before it was done.")
        except NeuromuseError as error:
            # Without its traceback, whose frames would keep tensors alive for as long as somebody looks at the message.
            failure = error.with_traceback(None)
            failure.__cause__ = failure.__context__ = None
            shown = error if isinstance(error, CheckpointError) else type(error).__name__  # others may quote the prompt
            logger.warning("job %d: %s: %s", ticket.number, ticket.instrument_id, shown)
        except BaseException as error:  # an instrument's SystemExit must not end the worker either
            spoiled, exhausted = True, is_out_of_memory(error)
            failure = self._sentence(ticket, error, exhausted)
        finally:
            self._job = None
        if exhausted:
            self.models.clear()
        elif spoiled:
            self.models.drop(ticket.instrument_id)  # whatever state it was left in, the next job starts clean
        return None if failure is None else Failed(failure)

    def close(self) -> None:
        """Unload everything; the process is about to end, so collecting garbage would only delay it."""
        for instrument_id in self.models.ids:
            self.models.drop(instrument_id)

    def _check(self) -> None:
        if self._job is not None:
            self._job.check()

    def _make(self, ticket: Ticket, job: Job) -> Done | None:
        """The result with its provenance; None for a ticket that only loads."""
        job.check()
        if ticket.instrument_id not in self.models:
            ticket.channel.put(Loading())
        loaded = self.models.get(ticket.instrument_id)
        if ticket.request is None:
            return None
        job.check()
        began = time.monotonic()
        with precision(self.device):
            result = loaded.instrument.generate(ticket.request, job)
        seconds = time.monotonic() - began
        provenance = self._provenance(ticket.instrument_id, ticket.request, loaded.store.opened, seconds)
        return Done(dataclasses.replace(result, provenance=provenance))

    def _provenance(
        self, instrument_id: str, request: Request, checkpoints: dict[str, str], seconds: float
    ) -> Provenance:
        return Provenance(
            instrument_id=instrument_id,
            request=request.to_dict(),
            seed=request.seed,
            checkpoints=dict(checkpoints),
            device=str(self.device),
            seconds=round(seconds, 3),
            app_version=__version__,
        )

    def _sentence(self, ticket: Ticket, error: BaseException, exhausted: bool) -> NeuromuseError:
        """What the user is told of an unexpected end; the log gets the traceback."""
        title = self._registry.entry(ticket.instrument_id).title
        if exhausted:
            free = free_memory_mb(self.device)
            logger.warning("job %d: %s ran out of memory, %d MiB free", ticket.number, ticket.instrument_id, free)
            return OutOfMemoryError(
                f"{title} ran out of memory on {self.device} ({free} MiB free); ask for something shorter or for fewer."
            )
        logger.error("job %d: %s failed", ticket.number, ticket.instrument_id, exc_info=error)
        kind = type(error).__name__
        return NeuromuseError(f"{title} stopped on an internal error ({kind}); see job {ticket.number} in the log.")
