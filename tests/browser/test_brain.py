"""What a visitor does on the Brain tab: the simulated listener to the sound and the surface; a scan that is none."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from backend.instruments.brain.layout import LABEL
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.test_page import violations

JOB_MS = 400_000  # generous: a test machine may be busy; speed is measured by the benchmarks
GPU = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


@pytest.fixture(scope="module")
def painted(browser):
    """A browser that draws surfaces, without a graphics card."""
    flags = [flag for flag in FLAGS if "gpu" not in flag]
    opened = browser.browser_type.launch(executable_path=CHROMIUM, args=flags + GPU)
    yield opened
    opened.close()


def pixels(page, selector: str) -> np.ndarray:
    """The colours of an element as it is seen ``[rows, columns, 3]``."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB"), np.int16)


def test_the_first_click_is_the_simulated_listener_with_controls_and_a_playhead(visitor, server):
    page = visitor().open("/?tab=brain")
    page.click("#brain-genre label:has-text('jazz')")
    page.click("#brain-generate")
    page.wait_for_selector("#brain-status :text('Done')")
    asked = server.engine.started[-1]
    assert (asked.instrument_id, asked.source, asked.clip) == ("brain", "simulated", 1)
    assert page.locator("#brain-made nm-player .nm-play").count() == 6
    assert page.inner_text("#brain-made .nm-simulated") == LABEL
    page.locator("#brain-made nm-player .nm-wave").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("Number(document.querySelector('nm-course').dataset.now) > 0.9")
    page.wait_for_selector("#brain-slices .js-plotly-plot")
    saved = page.request.get(f"{server.url}/{page.get_attribute('#brain-made a[href$=nii]', 'href')}")
    assert LABEL.encode() in saved.body()[:348]


def test_a_bad_scan_is_refused_with_its_reason_and_not_kept(visitor):
    page = visitor().open("/?tab=brain")
    page.click("#brain-scan button")
    page.wait_for_selector("#brain-scan :text('A decoder fits one brain')")
    page.click("#brain-consent input")
    name = "secret_patient_7.nii"
    page.wait_for_selector("#brain-files input[type=file]", state="attached")
    page.set_input_files(
        "#brain-files input[type=file]", {"name": name, "mimeType": "application/octet-stream", "buffer": bytes(4000)}
    )
    page.wait_for_selector("#brain-received [role=alert]:has-text('NIfTI')")
    assert not list(Path(tempfile.gettempdir()).rglob(name))
    page.click("#brain-scan-generate")
    page.wait_for_selector("#brain-scan-status [role=alert]:has-text('ds003720')")


@pytest.mark.parametrize("width", [1280, 390])
def test_brain_fits_and_has_no_serious_accessibility_findings_before_and_after(visitor, width):
    page = visitor(width=width).open("/?tab=brain")
    for accordion in ("settings", "making", "scan", "about"):
        page.click(f"#brain-{accordion} button")
    page.click("#brain-consent input")
    page.wait_for_timeout(500)
    assert violations(page) == [] and page.evaluate("document.documentElement.scrollWidth") <= width
    page.click("#brain-generate")
    page.wait_for_selector("#brain-slices .js-plotly-plot")
    page.wait_for_timeout(500)
    assert violations(page) == [] and page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_simulated_listener_leads_to_sound_and_a_surface_that_is_not_blank(painted, request):
    real_app = request.getfixturevalue("real_app")
    page = painted.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(JOB_MS)
    page.goto(f"{real_app.url}/?tab=brain")
    page.click("#brain-making button")
    for field, value in (("duration", "4"), ("candidates", "1")):
        page.fill(f"#brain-{field} input[type=number]", value)
        page.press(f"#brain-{field} input[type=number]", "Tab")
    page.click("#brain-generate")
    page.wait_for_selector("#brain-status :text('Done')")
    sounds = page.evaluate("[...document.querySelectorAll('#brain-made nm-player')].map((p) => p.getAttribute('src'))")
    assert len(sounds) == 6
    for address in sounds[:2]:
        sound, rate = soundfile.read(io.BytesIO(page.request.get(f"{real_app.url}/{address}", timeout=JOB_MS).body()))
        assert np.isfinite(sound).all() and 0.01 < np.abs(sound).max() <= 1 and len(sound) / rate >= 3.9
    page.wait_for_selector("#brain-surface .js-plotly-plot canvas")
    page.locator("#brain-surface").scroll_into_view_if_needed()
    page.wait_for_timeout(2000)
    seen = pixels(page, "#brain-surface .js-plotly-plot")
    warm = (seen[..., 0] - seen[..., 2] > 60).mean()  # the map's colours; folds are grey
    assert seen.std() > 15 and warm > 1e-4
    page.close()
