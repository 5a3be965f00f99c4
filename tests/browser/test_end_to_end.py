"""The real thing: the app's own process and the bundled weights, from a typed prompt to sound that decodes."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from backend.checkpoints import CheckpointStore
from backend.instruments.text_to_music.request import TextToMusicRequest

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "slow, sad violin over soft piano, minor key, 70 bpm"
START_S, JOB_MS = 120, 240_000  # generous: a test machine may be busy; speed is measured by the benchmarks
BUNDLED = any(name.startswith(TextToMusicRequest.instrument_id) for name in CheckpointStore().names())

pytestmark = pytest.mark.skipif(not BUNDLED, reason="the manifest has no checkpoint of text_to_music")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``python app.py`` in a process of its own, on a free port."""
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
        yield url
    finally:
        process.terminate()
        process.wait(30)
    assert PROMPT not in log.read_text()  # prompts are not logged


def test_a_typed_prompt_becomes_music_and_stop_ends_the_second_job(visitor, address):
    page = visitor(url=address).open()
    page.fill("#ttm-prompt textarea", PROMPT)
    page.click("#ttm-generate")
    page.wait_for_selector("nm-player .nm-play", timeout=JOB_MS)
    source = page.locator("nm-player").get_attribute("src")
    sound, rate = soundfile.read(io.BytesIO(page.request.get(f"{address}/{source}").body()))
    assert rate == 24_000
    assert len(sound) / rate == pytest.approx(10, abs=0.1)
    assert np.isfinite(sound).all() and np.abs(sound).max() <= 1.0
    second_rms = np.sqrt(np.mean(np.square(sound[: 10 * rate].reshape(10, -1)), axis=1))
    assert second_rms.max() > 0.01 and np.median(second_rms) > 0.001  # music, not a click in silence
    assert len(set(page.inner_text(".nm-provenance").split())) > 6

    page.fill("#ttm-prompt textarea", "fast rock band")
    for slider, value in (("duration", "30"), ("variations", "4")):  # long enough to be stopped
        page.fill(f"#ttm-{slider} input[type=number]", value)
        page.press(f"#ttm-{slider} input[type=number]", "Tab")
    page.click("#ttm-generate:not([disabled])")
    page.click("#ttm-stop:not([disabled])", timeout=JOB_MS)
    page.wait_for_selector("#ttm-status :text('Stopped')")
    assert page.locator("nm-player").get_attribute("src") == source
