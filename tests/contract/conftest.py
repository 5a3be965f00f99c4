from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.engine import Engine
from backend.engine.local import LocalEngine
from backend.settings import Settings
from tests.contract.fakes import Stage, make_registry, make_store

MakeEngine = Callable[..., Engine]


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.release.set()
    stage.endless_load = ""


@pytest.fixture(params=["local"])
def make_engine(request: pytest.FixtureRequest, stage: Stage, tmp_path: Path) -> Iterator[MakeEngine]:
    """A factory of engines over the fake instruments; every kind of engine passes the same tests."""
    engines: list[Engine] = []

    def make(**settings: object) -> Engine:
        values = {"device": "cpu", "threads": 1, "queue_size": 3, "deadline_s": 60.0, "memory_mb": 1000, **settings}
        store = make_store(tmp_path)
        assert request.param == "local"
        engines.append(LocalEngine(make_registry(stage), store, Settings(**values)))  # type: ignore[arg-type]
        return engines[-1]

    yield make
    stage.release.set()
    stage.endless_load = ""
    for engine in engines:
        engine.shutdown()


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    return make_engine()
