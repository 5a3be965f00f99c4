"""A real browser on a real server whose engine is a fake: instant, deterministic, and as slow as a test asks."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn

from backend.audio.waveform import Waveform
from backend.contract import Done, Event, Failed, Loading, Progress, Provenance, Queued, Request, Result
from backend.errors import Busy
from backend.settings import Settings
from tests.pages.brain_result import brain_result
from tests.pages.calm_result import calm_result
from tests.pages.genre_transfer_events import genre_transfer_events
from tests.pages.neuron_passes import neuron_passes

RATE = 24_000
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
]
ROOT = Path(__file__).resolve().parents[2]
START_S = 120  # generous: a test machine may be busy; speed is measured by the benchmarks
PAGE_MS = 45_000  # a busy two-core machine renders slowly


RESULTS: dict[str, Callable[[Any], Result]] = {"brain": brain_result, "calm": calm_result}

STREAMS: dict[str, Callable[[Any, threading.Event], Iterator[Event]]] = {
    "neurons": neuron_passes,
    "genre_transfer": genre_transfer_events,
}
"""Instruments whose job shows more than its result: request and "cancelled" → events."""


def frequency_hz(prompt: str) -> float:
    """The tone the fake plays for a prompt."""
    return 220.0 + zlib.crc32(prompt.encode()) % 400


@dataclass
class FakeEngine:
    """Plays a tone for a prompt. ``endless`` in it runs until closed, ``busy`` finds the queue full.

    Instruments without a prompt are answered by what `RESULTS` holds for them.
    """

    started: list[Request] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def run(self, instrument_id: str, request: Any) -> FakeJob:
        self.started.append(request)
        return FakeJob(self, instrument_id, request)

    def health(self) -> dict[str, object]:
        return {"live": True, "ready": True, "queue": 0, "running": 0, "models": [], "device": "cpu"}


class FakeJob:
    """Events of one job; `close` may come from any thread, as in the real engine."""

    def __init__(self, engine: FakeEngine, instrument_id: str, request: Any) -> None:
        self.engine, self.request, self.instrument_id = engine, request, instrument_id
        self.prompt = str(getattr(request, "prompt", instrument_id))
        self.provenance = Provenance(
            instrument_id, request.to_dict(), request.seed, {f"{instrument_id}.codec": "ab" * 32}, "cpu", 1.25, "0.1.0"
        )
        self.cancelled = threading.Event()
        self.events = self._events()

    def __iter__(self) -> FakeJob:
        return self

    def __next__(self) -> Event:
        return next(self.events)

    def close(self) -> None:
        if not self.cancelled.is_set():
            self.cancelled.set()
            self.engine.closed.append(self.prompt)

    def _events(self) -> Iterator[Event]:
        if "busy" in self.prompt:
            yield Failed(Busy("All seats are taken: 16 jobs wait already; try again in a minute."))
            return
        yield Queued(1, 3.0)
        yield Loading()
        if self.instrument_id in RESULTS:
            yield Done(RESULTS[self.instrument_id](self.request))
            return
        if self.instrument_id in STREAMS:
            yield from STREAMS[self.instrument_id](self.request, self.cancelled)
            return
        endless = "endless" in self.prompt
        for step in range(10_000 if endless else 6):
            if self.cancelled.wait(0.05):
                return
            stage = "Composing" if step < 3 else "Playing"
            yield Progress(step % 100, 100 if endless else 6, stage, eta_s=4.0)
        count = self.request.variations + getattr(self.request, "compare", False)
        yield Done(Result(tuple(self._tone(n) for n in range(count)), provenance=self.provenance))

    def _tone(self, n: int) -> Waveform:
        time_s = np.arange(round(self.request.duration_s * RATE)) / RATE
        swell = np.sin(np.pi * time_s / self.request.duration_s)
        hz = frequency_hz(self.request.prompt) * (1 + n / 4)
        return Waveform((0.5 * swell * np.sin(2 * np.pi * hz * time_s)).astype(np.float32), RATE)


@dataclass
class Server:
    """A page that answers at ``url``."""

    url: str
    engine: FakeEngine
    frequency_hz: Callable[[str], float] = field(default=frequency_hz)
    pause: Callable[[float], None] = field(default=time.sleep)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The page over a fake engine, on a free port."""
    from pages.shell import create_app

    engine = FakeEngine()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(create_app(engine, Settings(port=port)), host="127.0.0.1", port=port, log_level="warning")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not running.started and time.monotonic() < deadline:
        time.sleep(0.05)
    yield Server(f"http://127.0.0.1:{port}", engine)
    running.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, where one is installed."""
    if CHROMIUM is None:
        pytest.skip("no Chromium found (chromium, chromium-browser, google-chrome)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@dataclass
class Visit:
    """One visitor's page, with everything that went wrong on it."""

    page: Any
    url: str
    complaints: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def open(self, path: str = "/?tab=text_to_music") -> Any:
        """Go there and wait for the tab."""
        self.page.goto(self.url + path)
        self.page.wait_for_selector("button[role=tab][aria-selected=true]", timeout=PAGE_MS)
        if "text_to_music" in path:
            self.page.wait_for_selector("#ttm-generate", timeout=PAGE_MS)
        return self.page


@pytest.fixture(scope="session")
def context(browser: Any) -> Iterator[Any]:
    """One profile for all visitors, so that the page's scripts are fetched and compiled once; a page is a session."""
    opened = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    yield opened
    opened.close()


@pytest.fixture
def visitor(context: Any, server: Server) -> Iterator[Any]:
    """Makes visitors: ``visitor(width=390)``. Afterwards every console error and outside request fails the test."""
    visits = []

    def visit(width: int = 1280, height: int = 900, url: str = server.url) -> Visit:
        made = Visit(context.new_page(), url)
        made.page.set_viewport_size({"width": width, "height": height})
        made.page.set_default_timeout(PAGE_MS)
        made.page.on("console", lambda m: made.complaints.append(m.text) if m.type == "error" else None)
        made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
        made.page.on("request", lambda r: made.outside.append(r.url) if outside(r.url, url) else None)
        visits.append(made)
        return made

    yield visit
    for made in visits:
        made.page.close()
        assert made.complaints == []
        assert made.outside == []


def outside(address: str, home: str) -> bool:
    """Whether a request leaves this server."""
    return not address.startswith((home, "data:", "blob:", "about:"))


@dataclass(frozen=True)
class RealApp:
    """``python app.py`` in a process of its own, with the bundled weights."""

    url: str
    log: Path


@pytest.fixture(scope="session")
def real_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApp]:
    """The app as a user starts it, on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("app") / "log.txt"
    environ = os.environ | {"NEUROMUSE_PORT": str(port), "NEUROMUSE_DEVICE": "cpu", "NEUROMUSE_HOST": "127.0.0.1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environ, stdout=output, stderr=subprocess.STDOUT
        )
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    try:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                urllib.request.urlopen(f"{url}/healthz", timeout=5).read()
                break
            except OSError:
                time.sleep(0.25)
        else:
            pytest.fail(f"the app does not answer:\n{log.read_text()}")
        yield RealApp(url, log)
    finally:
        process.terminate()
        process.wait(30)
