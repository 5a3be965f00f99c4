"""Loaded instruments of one device: read when first asked for, dropped least-recently-used within a memory budget."""

from __future__ import annotations

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.checkpoints import CheckpointStore
from backend.contract import Instrument
from backend.engine.devices import free_caches
from backend.registry import Registry

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """An instrument with its weights on the device, and the store it reads them from."""

    instrument: Instrument
    store: CheckpointStore


class ModelCache:
    """Instruments of one device. Used by that device's worker thread only, so what is in use is never evicted.

    Args:
        registry: makes instruments.
        store: their weights.
        device: where they go.
        budget_mb: what all together may hold by their ``spec.memory_mb``; a larger one is still loaded, but alone.
        check: called before every weight file is read; raises to stop a load (the job was cancelled, or is late).
    """

    def __init__(
        self,
        registry: Registry,
        store: CheckpointStore,
        device: torch.device,
        budget_mb: int,
        check: Callable[[], None],
    ) -> None:
        self._registry, self._store, self._device = registry, store, device
        self._budget_mb, self._check = budget_mb, check
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()

    @property
    def ids(self) -> tuple[str, ...]:
        """What is loaded, least recently used first. Safe from any thread."""
        return tuple(self._loaded.copy())

    def __contains__(self, instrument_id: object) -> bool:
        return instrument_id in self._loaded

    def get(self, instrument_id: str) -> Loaded:
        """The instrument, loaded; makes room first.

        Raises:
            RequestError: there is no such instrument.
            CheckpointError: its weights cannot be read.
            Cancelled, DeadlineExceeded: from ``check``, between two files; nothing stays half loaded.
        """
        if instrument_id not in self._loaded:
            instrument = self._registry.create(instrument_id)
            self._make_room(instrument.spec.memory_mb)
            store = self._store.watched(self._check)
            try:
                instrument.load(store, self._device)
            except BaseException:
                with contextlib.suppress(
                    Exception
                ):  # half loaded; why it failed matters more than why it cannot unload
                    instrument.unload()
                raise
            self._loaded[instrument_id] = Loaded(instrument, store)
            logger.info("%s loaded on %s", instrument_id, self._device)
        self._loaded.move_to_end(instrument_id)
        return self._loaded[instrument_id]

    def drop(self, instrument_id: str) -> None:
        """Unload one instrument, if it is loaded."""
        loaded = self._loaded.pop(instrument_id, None)
        if loaded is not None:
            try:
                loaded.instrument.unload()
            except Exception:  # it is forgotten all the same, and the worker lives on
                logger.exception("%s did not unload cleanly", instrument_id)
            logger.info("%s unloaded from %s", instrument_id, self._device)

    def clear(self) -> None:
        """Unload everything and give the memory back."""
        for instrument_id in self.ids:
            self.drop(instrument_id)
        free_caches(self._device)

    def _make_room(self, needed_mb: int) -> None:
        """Drop the least recently used until ``needed_mb`` fits."""
        dropped = False
        while self._loaded and needed_mb + self._held_mb() > self._budget_mb:
            self.drop(next(iter(self._loaded)))
            dropped = True
        if dropped:
            free_caches(self._device)

    def _held_mb(self) -> int:
        return sum(loaded.instrument.spec.memory_mb for loaded in self._loaded.values())
