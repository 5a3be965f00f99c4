from __future__ import annotations

import subprocess
import sys

import pytest

from backend.contract import Instrument, Request
from backend.errors import RequestError
from backend.registry import INSTRUMENTS, Entry, Registry
from tests.contract.fakes import Stage, Tone


def test_an_unknown_instrument_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"'kazoo', expected one of text_to_music"):
        Registry().create("kazoo")


def test_a_factory_or_an_import_path_makes_a_new_instrument_each_time() -> None:
    registry = Registry([Entry("tone", "Tone", lambda: Tone(Stage()))])
    assert registry.ids == ("tone",)
    assert registry.entry("tone").title == "Tone"
    assert registry.create("tone") is not registry.create("tone")


def test_titles_are_known_without_importing_an_instrument() -> None:
    code = (
        "import sys; from backend.registry import Registry; r = Registry(); print([r.entry(i).title for i in r.ids]); "
    )
    code += "print([m for m in sys.modules if m == 'torch' or m.startswith('backend.instruments')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    titles, imported = done.stdout.splitlines()
    assert "Text to music" in titles
    assert imported == "[]"


@pytest.mark.parametrize("entry", INSTRUMENTS, ids=lambda entry: entry.id)
def test_every_listed_instrument_is_what_its_line_says(entry: Entry) -> None:
    instrument = Registry().create(entry.id)
    assert isinstance(instrument, Instrument)
    assert (instrument.spec.id, instrument.spec.title) == (entry.id, entry.title)
    assert issubclass(instrument.request_type, Request)
    assert instrument.request_type.instrument_id == entry.id
    assert instrument.spec.memory_mb > 0
    shared = "text_to_music."  # the generator, which several instruments play on
    assert all(name.startswith((f"{entry.id}.", shared)) for name in instrument.spec.checkpoints)
