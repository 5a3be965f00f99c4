from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backend.contract import InstrumentSpec
from backend.engine.models import ModelCache
from backend.errors import Cancelled, CheckpointError
from backend.registry import Entry, Registry
from tests.contract.fakes import Stage, Tone, make_store


def make_cache(root: Path, stage: Stage, sizes_mb: dict[str, int], budget_mb: int) -> ModelCache:
    """A cache over instruments of the given sizes, which all read the same small weights."""
    store = make_store(root)

    def entry(name: str, size_mb: int) -> Entry:
        spec = InstrumentSpec(name, name, 24_000, ("tone.weights",), size_mb)
        return Entry(name, name, lambda: type(name, (Tone,), {"spec": spec})(stage))

    registry = Registry([entry(name, size) for name, size in sizes_mb.items()])
    return ModelCache(registry, store, torch.device("cpu"), budget_mb, lambda: None)


def test_the_least_recently_used_go_first_and_only_as_many_as_needed(tmp_path: Path) -> None:
    stage = Stage()
    cache = make_cache(tmp_path, stage, {"a": 100, "b": 100, "c": 100, "d": 150}, 300)
    for name in ("a", "b", "c", "a", "d"):
        cache.get(name)
    assert stage.unloads == ["b", "c"]
    assert cache.ids == ("a", "d")


def test_what_is_larger_than_the_budget_is_loaded_alone(tmp_path: Path) -> None:
    stage = Stage()
    cache = make_cache(tmp_path, stage, {"a": 100, "huge": 9000}, 300)
    cache.get("a")
    cache.get("huge")
    assert cache.ids == ("huge",)
    cache.get("a")
    assert cache.ids == ("a",)


def test_each_instrument_remembers_the_digests_of_what_it_read(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, Stage(), {"a": 1}, 10)
    assert cache.get("a").store.opened == {"tone.weights": make_store(tmp_path).digest("tone.weights")}


def test_a_load_that_fails_or_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    stage = Stage()
    cache = make_cache(tmp_path, stage, {"a": 1}, 10)

    def stop() -> None:
        raise Cancelled

    cache._check = stop
    with pytest.raises(Cancelled):
        cache.get("a")
    next((tmp_path / "tone").iterdir()).unlink()
    cache._check = lambda: None
    with pytest.raises(CheckpointError):
        cache.get("a")
    assert stage.unloads == ["a", "a"]
    assert "a" not in cache


def test_an_instrument_that_cannot_unload_is_forgotten_all_the_same(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, Stage(), {"a": 1}, 10)

    def fail() -> None:
        raise RuntimeError("still in use")

    cache.get("a").instrument.unload = fail  # type: ignore[method-assign]
    cache.clear()
    assert cache.ids == ()
