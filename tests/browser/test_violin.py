"""What a visitor does on the Violin tab: over the fake engine, and once the whole way with the bundled adapter."""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.browser.test_page import violations
from tests.instruments.violin.bowed import RATE, bowed

JOB_MS = 400_000  # generous: a test machine may be busy; speed is measured by the benchmarks


def opened(visitor, **where):
    page = visitor(**where).open("/?tab=violin")
    page.wait_for_selector("#violin-generate")
    return page


def inner(page, title):
    page.click(f"#violin-tabs button[role=tab]:visible:has-text('{title}')")
    page.wait_for_timeout(1000)  # fields of a fresh tab take their first values a moment after they show


def number(page, field, value):
    page.fill(f"#violin-{field} input[type=number]", str(value))
    page.press(f"#violin-{field} input[type=number]", "Tab")


def take(seed: int, seconds: float = 4.5) -> bytes:
    written = io.BytesIO()
    soundfile.write(written, bowed(seed, seconds)[0].samples[0], RATE, format="WAV")
    return written.getvalue()


def drop(page, field, *files):
    page.wait_for_selector(f"#violin-{field} input[type=file]", state="attached")
    page.set_input_files(
        f"#violin-{field} input[type=file]",
        [
            {"name": name, "mimeType": "audio/wav" if name.endswith("wav") else "text/plain", "buffer": content}
            for name, content in files
        ],
    )


def made(page):
    """Press Play and wait for a result that was not there before; the addresses of its sounds."""
    before = page.evaluate("document.querySelector('#violin-players nm-player')?.getAttribute('src') ?? ''")
    page.click("#violin-generate:not([disabled])")
    page.wait_for_function(
        "(b) => (document.querySelector('#violin-players nm-player')?.getAttribute('src') ?? b) !== b", arg=before
    )
    page.wait_for_selector("#violin-status :text('Done')")
    page.wait_for_selector("#violin-spectrogram .js-plotly-plot")
    page.wait_for_timeout(1000)  # the job's event ends a moment after its last update; a click before that is not heard
    return page.evaluate(
        "[...document.querySelectorAll('#violin-players nm-player')].map((p) => p.getAttribute('src'))"
    )


def test_the_adapter_plays_at_a_strength_beside_the_base(visitor, server):
    page = opened(visitor)
    number(page, "strength", 0.5)
    page.check("#violin-compare input")
    page.click("#violin-presets button:has-text('Gigue')")
    page.wait_for_function("document.querySelector('#violin-prompt textarea').value.includes('dance')")
    assert len(made(page)) == 2
    assert page.locator("#violin-players h3").all_inner_texts() == ["Violin", "Base"]
    asked = server.engine.started[-1]
    assert (asked.strengths, asked.compare, asked.part) == ({"violin": 0.5}, True, "both")
    page.fill("#violin-prompt textarea", "endless prelude")
    page.click("#violin-generate:not([disabled])")
    page.click("#violin-stop:not([disabled])")
    page.wait_for_selector("#violin-status :text('Stopped')")
    assert "endless prelude" in server.engine.closed


def test_a_melody_and_every_setting_go_along_and_come_back_from_an_export(visitor, server, tmp_path):
    page = opened(visitor)
    page.click("#violin-hum button >> nth=0")
    page.wait_for_selector("#violin-melody")
    page.click("#violin-melody button[aria-label*='pload']")
    drop(page, "melody", ("hum.wav", take(1, 3.0)))
    page.wait_for_selector("#violin-melody button[aria-label='Play']")
    page.click("#violin-part label:has-text('Sound only')")
    number(page, "variations", 2)
    source = made(page)[0]
    asked = server.engine.started[-1]
    assert asked.melody.duration_s == pytest.approx(3.0, abs=0.1) and (asked.part, asked.variations) == ("sound", 2)
    file = tmp_path / "clip.mp3"
    file.write_bytes(page.request.get(f"{server.url}/{source.replace('.wav', '.mp3')}").body())
    other = opened(visitor)
    other.set_input_files("#violin-restore input[type=file]", str(file))
    other.wait_for_selector("#violin-status :text('not in the file')")
    made(other)
    again = server.engine.started[-1]
    assert (again.seed, again.part, again.variations, again.melody) == (asked.seed, "sound", 2, None)


def test_files_that_cannot_be_used_are_refused_and_not_kept(visitor):
    page = opened(visitor)
    page.click("#violin-own button >> nth=0")
    drop(page, "adapter-files", ("adapter_model.bin", b"pickle"))
    page.wait_for_selector("#violin-adapter-said [role=alert]:has-text('pickled')")
    inner(page, "Train your own")
    drop(page, "train-files", ("secret_take_7.wav", take(0)))
    page.wait_for_selector("#violin-train-received [role=alert]:has-text('agreed')")
    assert not list(Path(tempfile.gettempdir()).rglob("secret_take_7*"))


@pytest.mark.parametrize("width", [1280, 390])
def test_violin_fits_and_has_no_serious_accessibility_findings(visitor, width):
    page = opened(visitor, width=width)
    for accordion in ("hum", "words", "advanced", "own"):
        page.click(f"#violin-{accordion} button >> nth=0")
    made(page)
    page.wait_for_timeout(800)
    for title in ("Play", "Train your own", "How good is it"):
        inner(page, title)
        assert violations(page) == [] and page.evaluate("document.documentElement.scrollWidth") <= width


def test_two_strengths_differ_and_an_adapter_is_trained_used_downloaded_and_dropped_again(visitor, request):
    real_app = request.getfixturevalue("real_app")
    page = visitor(url=real_app.url).open("/?tab=violin")
    page.set_default_timeout(JOB_MS)
    page.wait_for_selector("#violin-generate")
    number(page, "duration", 4)
    page.click("#violin-advanced button >> nth=0")
    page.check("#violin-seed-lock input")
    heard = []
    for strength in (0, 1):
        number(page, "strength", strength)
        (source,) = made(page)
        sound, rate = soundfile.read(io.BytesIO(page.request.get(f"{real_app.url}/{source}").body()))
        assert np.isfinite(sound).all() and 0.01 < np.abs(sound).max() <= 1 and len(sound) / rate >= 3.9
        heard.append(sound)
    n = min(map(len, heard))
    assert np.abs(heard[0][:n] - heard[1][:n]).max() > 0.01

    inner(page, "Train your own")
    page.check("#violin-train-consent input")
    drop(page, "train-files", *((f"take {i}.wav", take(i, 3.0)) for i in range(3)), ("take 0.txt", b"slow line"))
    page.wait_for_selector("#violin-train-received .nm-note")
    assert "3 recordings, 1 caption file" in page.inner_text("#violin-train-received")
    page.click("#violin-train-check")
    page.wait_for_selector("#violin-train-table [role=gridcell]:has-text('slow line')")
    page.click("#violin-train-advanced button >> nth=0")
    for field, value in (("minutes", "0.1"), ("rank", "2"), ("replay", "1")):
        page.fill(f"#violin-train-{field} input", value)
        page.press(f"#violin-train-{field} input", "Tab")
    page.fill("#violin-train-name input, #violin-train-name textarea", "mine")
    page.click("#violin-train-start")
    page.wait_for_selector("#violin-train-status [role=progressbar]")
    page.goto(f"{real_app.url}/?tab=violin")  # the page is left, the training goes on
    inner(page, "Train your own")
    page.wait_for_selector("#violin-train-use:visible")
    page.wait_for_selector("#violin-train-loss .js-plotly-plot")
    link = page.get_attribute("#violin-train-link a", "href")
    packed = page.request.get(f"{real_app.url}/{link}").body()
    assert len(zipfile.ZipFile(io.BytesIO(packed)).namelist()) == 2

    page.click("#violin-train-use")
    page.wait_for_selector("#violin-adapter label:has-text('mine') input:checked")
    number(page, "duration", 4)
    made(page)
    assert page.inner_text("#violin-players h3") == "mine"
    page.click("#violin-own button >> nth=0")
    drop(page, "adapter-files", ("mine.zip", packed))
    page.wait_for_selector("#violin-adapter label:has-text('mine 2') input:checked")
    made(page)
    assert page.inner_text("#violin-players h3") == "mine 2"
    inner(page, "Train your own")
    page.click("#violin-train-delete")
    page.wait_for_selector("#violin-train-status :text('Deleted')")
    assert page.request.get(f"{real_app.url}/{link}").status == 404
