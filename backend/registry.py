"""Which instruments there are, without importing them: an instrument's code (and torch) is read when first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from backend.contract import Instrument
from backend.errors import RequestError


@dataclass(frozen=True)
class Entry:
    """One instrument.

    Attributes:
        id: folder, page, URL and checkpoint prefix.
        title: what the tab says.
        source: ``"module:Class"``, imported on demand, or a factory.
    """

    id: str
    title: str
    source: str | Callable[[], Instrument]


INSTRUMENTS = (
    Entry("text_to_music", "Text to music", "backend.instruments.text_to_music.instrument:TextToMusic"),
    Entry("violin", "Violin", "backend.instruments.violin.instrument:Violin"),
    Entry("brain", "Brain", "backend.instruments.brain.instrument:Brain"),
    Entry("genre_transfer", "Genre transfer", "backend.instruments.genre_transfer.instrument:GenreTransfer"),
    Entry("calm", "Calm", "backend.instruments.calm.instrument:Calm"),
    Entry("neurons", "Neurons", "backend.instruments.neurons.instrument:Neurons"),
)


class Registry:
    """The instruments a server offers, in tab order."""

    def __init__(self, entries: Iterable[Entry] = INSTRUMENTS) -> None:
        self._entries = {entry.id: entry for entry in entries}

    @property
    def ids(self) -> tuple[str, ...]:
        """Every instrument's id, in tab order."""
        return tuple(self._entries)

    def entry(self, instrument_id: str) -> Entry:
        """The line of one instrument.

        Raises:
            RequestError: there is no such instrument.
        """
        if instrument_id not in self._entries:
            raise RequestError("instrument", instrument_id, f"one of {', '.join(self._entries)}")
        return self._entries[instrument_id]

    def create(self, instrument_id: str) -> Instrument:
        """A new, unloaded instrument; imports its module.

        Raises:
            RequestError: there is no such instrument.
        """
        source = self.entry(instrument_id).source
        if callable(source):
            return source()
        module, _, name = source.partition(":")
        instrument: Instrument = getattr(importlib.import_module(module), name)()
        return instrument
