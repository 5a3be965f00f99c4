"""Two tiny instruments and the means to hold, watch and break them from a test."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.contract import Event, Instrument, InstrumentSpec, Request, Result
from backend.errors import CheckpointError
from backend.job import Job
from backend.registry import Entry, Registry

RATE = 24_000
PATIENCE_S = 60.0  # for a busy machine; nothing waits this long unless it is broken


@dataclass(frozen=True, kw_only=True)
class ToneRequest(Request):
    instrument_id: ClassVar[str] = "tone"
    prompt: str = "a secret wish"
    steps: int = 3
    act: str = "play"


@dataclass(frozen=True, kw_only=True)
class DrumRequest(Request):
    instrument_id: ClassVar[str] = "drum"


@dataclass
class Stage:
    """What a test sees and controls of the instruments behind an engine."""

    started: threading.Event = field(default_factory=threading.Event)
    loading: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    endless_load: str = ""
    played: list[int] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    unloads: list[str] = field(default_factory=list)
    files_read: int = 0


class _Fake(Instrument):
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.weights: dict[str, torch.Tensor] = {}

    def load(self, store: CheckpointStore, device: torch.device) -> None:
        self.stage.loading.set()
        while True:
            self.weights = store.load(self.spec.checkpoints[0])
            self.stage.files_read += 1
            if self.stage.endless_load != self.spec.id:
                break
            time.sleep(0.002)
        self.stage.loads.append(self.spec.id)

    def unload(self) -> None:
        self.weights = {}
        self.stage.unloads.append(self.spec.id)


class Tone(_Fake):
    spec = InstrumentSpec("tone", "Tone", RATE, ("tone.weights",), memory_mb=100)
    request_type = ToneRequest

    def generate(self, request: ToneRequest, job: Job) -> Result:
        self.stage.started.set()
        acts: dict[str, Callable[[], Any]] = {
            "out_of_memory": lambda: _raise(MemoryError()),
            "torch_out_of_memory": lambda: _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")),
            "allocator": lambda: _raise(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")),
            "crash": lambda: _raise(ZeroDivisionError(request.prompt)),
            "exit": lambda: _raise(SystemExit(3)),
            "refuse": lambda: _raise(CheckpointError("tone.weights is of another configuration.")),
            "nothing": lambda: None,
        }
        if request.act == "hold":
            step = 0
            while not self.stage.release.is_set():
                step += 1
                job.step(step % 100, 100, "holding")
                time.sleep(0.002)
        elif request.act == "hurry":
            for step in range(request.steps):
                job.step(step, request.steps, "hurrying", preview="first" if step == 0 else None)
        elif request.act != "play":
            return acts[request.act]()  # type: ignore[no-any-return]
        for step in range(request.steps):
            job.step(step + 1, request.steps, f"step {step + 1}")
        self.stage.played.append(request.seed)
        gain = float(self.weights["gain"])
        noise = np.random.default_rng(request.seed).uniform(-gain, gain, (1, 240)).astype(np.float32)
        return Result(waveforms=(Waveform(noise, RATE),))


class Drum(_Fake):
    spec = InstrumentSpec("drum", "Drum", RATE, ("drum.weights",), memory_mb=100)
    request_type = DrumRequest

    def generate(self, request: DrumRequest, job: Job) -> Result:
        job.step(1, 1)
        return Result(waveforms=(Waveform(np.ones((1, 10), np.float32), RATE),))


def _raise(error: BaseException) -> None:
    raise error


def make_registry(stage: Stage) -> Registry:
    return Registry([Entry("tone", "Tone", lambda: Tone(stage)), Entry("drum", "Drum", lambda: Drum(stage))])


def make_store(root: Path) -> CheckpointStore:
    store = CheckpointStore(root)
    for name in ("tone.weights", "drum.weights"):
        store.save(name, {"gain": torch.tensor(0.5)}, {"gain": 0.5}, {"loss": 1.0}, force=True)
    return store


def audio(events: list[Event]) -> np.ndarray:
    """Samples of the first variation of a finished job."""
    samples: np.ndarray = events[-1].result.waveforms[0].samples  # type: ignore[union-attr]
    return samples


def kinds(events: list[Event]) -> list[str]:
    """Event type names, consecutive repetitions once."""
    names = [type(event).__name__ for event in events]
    return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]


def wait_until(true: Callable[[], bool]) -> None:
    """Return when ``true()``; fail after `PATIENCE_S`."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.002)
