"""The real thing: the app's own process and the bundled weights, from a typed prompt to sound that decodes."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

PROMPT = "slow, sad violin over soft piano, minor key, 70 bpm"
JOB_MS = 240_000  # generous: a test machine may be busy; speed is measured by the benchmarks


def test_a_typed_prompt_becomes_music_and_stop_ends_the_second_job(visitor, real_app):
    page = visitor(url=real_app.url).open()
    page.fill("#ttm-prompt textarea", PROMPT)
    page.click("#ttm-generate")
    page.wait_for_selector("nm-player .nm-play", timeout=JOB_MS)
    source = page.locator("nm-player").get_attribute("src")
    sound, rate = soundfile.read(io.BytesIO(page.request.get(f"{real_app.url}/{source}").body()))
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
    assert PROMPT not in real_app.log.read_text()  # prompts are not logged
