"""What a visitor does on the Calm tab: over the fake engine, and once with the real model from upload to download."""

from __future__ import annotations

import io

import numpy as np
import pyloudnorm
import pytest
import soundfile

from backend.audio.midi import make_notes, read_midi, to_midi
from tests.browser.test_page import violations

JOB_MS = 240_000  # generous: a test machine may be busy; speed is measured by the benchmarks

HEARD = """() => {
    const road = document.querySelector("nm-road");
    const voices = road.voices.map((voice) => voice.audio);
    return {step: road.dataset.step, src: road.current.audio.src, at: road.current.audio.currentTime,
            sounding: voices.filter((audio) => !audio.paused).length, gain: road.current.gain?.gain.value ?? 1};
}"""
SLIDE = """(step) => {
    const slider = document.querySelector("nm-road input");
    slider.value = step;
    slider.dispatchEvent(new Event("input", {bubbles: true}));
}"""


def opened(visitor, **where):
    page = visitor(**where).open("/?tab=calm")
    page.wait_for_selector("#calm-first-view nm-player .nm-play")
    page.wait_for_selector("#calm-second-view nm-player .nm-play")
    return page


def make(page, what):
    page.click(f"#calm-what label:has(input[value='{what}'])")
    page.wait_for_selector(f"#calm-{what}")
    page.click("#calm-generate:not([disabled])")


def tune(up: int, tempo_bpm: float) -> bytes:
    """Eight bars: a melody of crotchets over held fifths, transposed by ``up``."""
    beat = 60 / tempo_bpm
    scale = (0, 2, 4, 5, 7, 9, 11, 12)
    rows = [(i * beat, (i + 1) * beat, 60 + up + scale[(3 * i + i // 4) % 8], 70, 0, False, 0) for i in range(32)]
    for bar in range(8):
        rows += [(4 * bar * beat, 4 * (bar + 1) * beat, 48 + up + above, 60, 0, False, 1) for above in (0, 7)]
    return to_midi(make_notes(rows), tempo_bpm)


def test_the_slider_plays_another_step_from_the_same_place_with_its_roll_and_downloads(visitor):
    page = opened(visitor)
    make(page, "path")
    page.wait_for_selector("#calm-map-path .js-plotly-plot")
    page.click("nm-road .nm-play")
    page.wait_for_function("document.querySelector('nm-road').current.audio.currentTime > 0.3")
    before = page.evaluate(HEARD)
    page.evaluate(SLIDE, 5)
    page.wait_for_function("document.querySelector('nm-road').index === 4")
    page.wait_for_function(
        f"(({HEARD})().sounding === 1) && ({HEARD})().gain > 0.95"
    )  # faded over, the other is silent
    after = page.evaluate(HEARD)
    assert (before["step"], after["step"]) == ("1", "5") and after["src"] != before["src"]
    assert before["at"] < after["at"] < 20  # from the same place
    step = page.locator("#calm-made-path .nm-step:visible")
    assert step.count() == 1 and step.get_attribute("data-step") == "5"
    assert float(step.locator("nm-roll").get_attribute("data-now")) > 0.3  # the playhead goes along
    assert step.locator("a[download]").first.get_attribute("href") in after["src"]
    page.click("#calm-first-view .nm-play")  # one sounds at a time
    page.wait_for_function("!document.querySelector('nm-road').playing")


def test_a_piece_is_changed_by_choice_and_new_pieces_and_a_session_stay_beside_the_road(visitor, server):
    page = opened(visitor)
    page.click("#calm-first input")
    page.click("[role=option]:has-text('Tide')")
    page.wait_for_selector("#calm-first-view h3:has-text('Tide')")
    page.wait_for_selector("#calm-first-view .nm-play")
    make(page, "path")
    page.wait_for_selector("nm-road .nm-play")
    assert server.engine.started[-1].anchors == ("tide", "nocturne")
    make(page, "sample")
    page.wait_for_selector("#calm-made-sample .nm-play")
    assert page.locator("#calm-made-sample nm-player").count() == server.engine.started[-1].variations == 2
    page.click("#calm-what label:has(input[value='path'])")
    page.wait_for_selector("nm-road .nm-play")  # nothing was lost


def test_an_exported_midi_dropped_back_restores_pieces_settings_and_seed(visitor, server, tmp_path):
    first = opened(visitor)
    first.click("#calm-first input")
    first.click("[role=option]:has-text('Tide')")
    first.wait_for_selector("#calm-first-view h3:has-text('Tide')")
    make(first, "path")
    first.wait_for_selector("nm-road .nm-play")
    made = server.engine.started[-1]
    path = tmp_path / "step.mid"
    path.write_bytes(fetch(first, f"{server.url}/{first.get_attribute('.nm-step:visible a[href$=mid]', 'href')}"))

    other = opened(visitor)
    other.set_input_files("#calm-restore input[type=file]", str(path))
    other.wait_for_selector("#calm-status :text('restored')")
    other.wait_for_selector("#calm-first-view h3:has-text('Tide')")
    other.click("#calm-generate:not([disabled])")
    other.wait_for_selector("nm-road .nm-play")
    assert server.engine.started[-1] == made


def test_minutes_out_of_range_are_one_sentence_and_reach_no_engine(visitor, server):
    page = opened(visitor)
    page.click("#calm-what label:has(input[value='session'])")
    page.wait_for_selector("#calm-minutes input")
    for minutes in ("0", "600"):
        asked = len(server.engine.started)
        page.fill("#calm-minutes input", minutes)
        page.press("#calm-minutes input", "Tab")
        page.click("#calm-generate:not([disabled])")
        page.wait_for_selector(f"#calm-status [role=alert]:has-text('got {minutes}, expected a number from 1 to 60')")
        assert len(server.engine.started) == asked


def test_calm_has_no_serious_accessibility_findings_before_and_after(visitor):
    page = opened(visitor)
    for accordion in ("attributes", "advanced", "magenta", "about"):
        page.click(f"#calm-{accordion} button")
    page.wait_for_timeout(500)
    assert violations(page) == []
    make(page, "path")
    page.wait_for_selector("#calm-map-path .js-plotly-plot")
    page.click("#calm-made-path .nm-step:visible summary")
    page.wait_for_timeout(300)
    assert violations(page) == []


def test_two_uploads_become_a_road_and_a_session_that_downloads_as_sound_notes_and_a_sheet(visitor, real_app, tmp_path):
    visit = visitor(url=real_app.url)
    visit.page.set_default_timeout(JOB_MS)
    page = visit.open("/?tab=calm")
    page.wait_for_selector("#calm-first-view .nm-play")
    page.wait_for_selector("#calm-second-view .nm-play")
    for place, up, tempo_bpm in (("first", 0, 66), ("second", 5, 72)):
        path = tmp_path / f"{place}_tune.mid"
        path.write_bytes(tune(up, tempo_bpm))
        page.set_input_files(f"#calm-{place}-file input[type=file]", str(path))
        page.wait_for_selector(f"#calm-{place}-view h3:has-text('{place} tune')")
    bad = tmp_path / "letter.mid"
    bad.write_text("Dear reader, this is no music.")
    page.set_input_files("#calm-second-file input[type=file]", str(bad))
    page.wait_for_selector("#calm-second-said [role=alert]:has-text('not a MIDI file')")
    assert page.inner_text("#calm-second-view h3") == "second tune"  # nothing was lost

    page.click("#calm-generate:not([disabled])")
    page.wait_for_selector("nm-road .nm-play")
    page.wait_for_selector("#calm-status :text('Done in')")
    steps = page.evaluate("document.querySelector('nm-road').voices.map((voice) => voice.audio.src)")
    assert len(set(steps)) == 9
    first, middle = (sound_of(page, steps[index])[0] for index in (0, 4))
    assert not np.array_equal(first, middle)
    notes = [read_midi(fetch(page, src.replace(".wav", ".mid"))) for src in (steps[0], steps[4], steps[8])]
    assert len({(n["pitch"].tobytes(), n["start_s"].tobytes()) for n in notes}) == 3 and min(map(len, notes)) > 8
    page.evaluate(SLIDE, 5)
    page.wait_for_function("document.querySelector('nm-road').index === 4 && document.querySelector('nm-road').playing")
    assert page.evaluate(HEARD)["src"] == steps[4]

    page.click("#calm-what label:has(input[value='session'])")
    page.fill("#calm-minutes input", "2")
    page.press("#calm-minutes input", "Tab")
    page.click("#calm-generate:not([disabled])")
    page.wait_for_selector("#calm-made-session h3:has-text('Your session')")
    check_session(page, f"{real_app.url}/{page.get_attribute('#calm-made-session nm-player', 'src')}")


def check_session(page, wav):
    """Length, loudness, silence at both ends, notes and sheet of a session of two minutes."""
    for kind in ("wav", "mp3"):
        sound, rate = sound_of(page, wav.replace(".wav", f".{kind}"))
        assert len(sound) / rate == pytest.approx(120, abs=0.1)
        assert np.isfinite(sound).all() and np.abs(sound).max() < 1
        assert pyloudnorm.Meter(rate).integrated_loudness(sound) == pytest.approx(-23, abs=1)
        assert max(np.abs(sound[: rate // 2]).max(), np.abs(sound[-rate // 10 :]).max()) < 1e-3
    notes = read_midi(fetch(page, wav.replace(".wav", ".mid")))
    assert len(notes) > 100 and 1 < notes["start_s"].min() < 4 and 100 < notes["end_s"].max() < 120
    assert notes["pitch"].min() >= 36 and notes["pitch"].max() <= 84
    sheet = fetch(page, wav.replace(".wav", ".html")).decode()
    assert "Calm session, 2:00 min" in sheet and "first tune → second tune" in sheet and "not treatment" in sheet


def fetch(page, url: str) -> bytes:
    answer = page.request.get(url, timeout=JOB_MS)
    assert answer.ok, url
    content: bytes = answer.body()
    return content


def sound_of(page, url: str):
    return soundfile.read(io.BytesIO(fetch(page, url)))
