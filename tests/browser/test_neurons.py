"""What a player does on the Neurons tab: over a fake ear that answers at once, and once with the real one."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import soundfile

from backend.audio.spectral import multi_resolution_log_mel_l1
from tests.browser.test_page import violations
from tests.pages.neuron_passes import AMPLITUDE, CYCLES_A_BEAT

RATE = 24_000
RECORDED_S = 30
PASS_MS = 240_000  # generous: a test machine may be busy; speed is measured by the benchmarks
STAGE = "document.querySelector('nm-stage')"
KNOB = """([name, value]) => {
    const input = document.querySelector(`#neurons-${name} input[type=range]`);
    input.value = value;
    input.dispatchEvent(new Event("input", { bubbles: true }));
}"""
BYTES = """async (address) => {
    const data = new Uint8Array(await (await fetch(address)).arrayBuffer());
    let text = "";
    for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
    return btoa(text);
}"""


def opened(visitor, width=1280, **where):
    page = visitor(width=width, **where).open("/?tab=neurons")
    page.wait_for_function(f"{STAGE}?.player?.clip && {STAGE}.map.count > 0", timeout=PASS_MS)
    return page


def short_loops(page):
    """One bar at 180: a boundary every 1.3 s."""
    page.click("#neurons-bars label:has(input[value='1'])")
    page.wait_for_function(f"{STAGE}.player.clip.samples.length === 48000")
    page.fill("#neurons-tempo input[type=number]", "180")
    page.press("#neurons-tempo input[type=number]", "Tab")
    page.wait_for_function(f"{STAGE}.player.clip.samples.length === 32000")


def click_map(page, neuron):
    x, y = page.evaluate(
        f"(neuron) => {{ const map = {STAGE}.map; map.scrollIntoView({{block: 'center', behavior: 'instant'}});"
        "const box = map.stage.getBoundingClientRect();"
        "const [x, y] = map.toStage(neuron); return [box.left + x, box.top + y]; }",
        neuron,
    )
    page.mouse.click(x, y)


def passes(page, count, timeout=PASS_MS):
    page.wait_for_function(f"{STAGE}.curve.length >= {count}", timeout=timeout)


def recording(page):
    """The newest recording as samples."""
    address = page.get_attribute("nm-recordings a", "href")
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(page.evaluate(BYTES, address))))
    assert rate == RATE
    return sound


def test_thirty_seconds_of_changing_loops_have_no_silence_and_no_click(visitor):
    page = opened(visitor)
    page.click(".nm-first")
    short_loops(page)
    click_map(page, 300)
    passes(page, 3)
    page.wait_for_timeout(1500)
    page.click("[data-do=record]")
    page.wait_for_timeout(1000 * RECORDED_S)
    changed = page.evaluate(f"{STAGE}.curve.length")
    page.click("[data-do=record]")
    page.wait_for_selector("nm-recordings a")
    sound = recording(page)
    assert len(sound) / RATE > 0.9 * RECORDED_S and changed > 10
    parts = sound[: len(sound) // 480 * 480].reshape(-1, 480)
    level = np.sqrt(np.mean(parts**2, axis=1))
    assert level.min() > 0.2 * AMPLITUDE  # 20 ms without sound would be nearly 0
    hertz = max(CYCLES_A_BEAT) * 3  # beats a second at 180
    steepest = AMPLITUDE * (2 * np.pi * hertz / RATE) ** 2
    bend = np.abs(np.diff(sound, 2))
    assert bend.max() < 1.3 * steepest + 6 / 32768  # a step at a boundary would be far above what the tones do


def test_the_first_click_plays_and_a_click_on_the_map_morphs_until_it_is_held(visitor, server):
    page = opened(visitor)
    assert not page.evaluate(f"{STAGE}.player.playing") and page.inner_text("[data-do=play].nm-main") == "Play the loop"
    page.click(".nm-first")
    page.wait_for_selector(".nm-hint:has-text('click anywhere on the map')")
    page.wait_for_function(f"{STAGE}.player.level() > 0.01 && {STAGE}.map.frame", timeout=PASS_MS)
    click_map(page, 300)
    passes(page, 2)
    asked = server.engine.started[-1]
    assert asked.live and asked.start == "last" and asked.settings.targets[0].layer == "encoder0a"
    page.evaluate(KNOB, ["mix", "0.25"])
    page.click("nm-stage [data-do=keep]")
    page.wait_for_selector("[data-return]")
    page.click("nm-stage [data-do=morph]")
    page.wait_for_selector("#neurons-status :text('Held')")
    held = page.evaluate(f"{STAGE}.curve.length")
    page.wait_for_timeout(4500)
    assert page.evaluate(f"{STAGE}.curve.length") == held and page.evaluate(f"{STAGE}.player.level()") > 0.01
    page.click("[data-return]")
    page.wait_for_selector("#neurons-status :text('Back at Loop 1')")


def test_the_next_loop_waits_for_the_boundary_and_the_map_for_the_loop(visitor):
    page = opened(visitor)
    page.click(".nm-first")
    short_loops(page)
    page.evaluate(f"window.starts = []; {STAGE}.player.addEventListener('next', (e) => starts.push(e.detail.start))")
    click_map(page, 300)
    passes(page, 6)
    starts = np.array(page.evaluate("starts"))[1:] * RATE
    assert len(starts) >= 3 and np.allclose(np.diff(starts), 32_000 * np.round(np.diff(starts) / 32_000), atol=1)
    clip = page.evaluate(f"({{lit: {STAGE}.map.lit.start, heard: {STAGE}.player.heard().start}})")
    assert clip["lit"] == pytest.approx(clip["heard"], abs=1e-6)


def test_a_stalled_network_and_a_refused_target_leave_the_loop_playing(visitor):
    visit = visitor()
    page = visit.open("/?tab=neurons")
    page.wait_for_function(f"{STAGE}?.player?.clip && {STAGE}.map.count > 0")
    page.click(".nm-first")
    click_map(page, 300)
    passes(page, 2)
    page.route("**/exports/**", lambda route: route.abort())
    order = page.evaluate(f"{STAGE}.order")
    page.wait_for_function(f"{STAGE}.order > {order + 1}", timeout=PASS_MS)
    page.wait_for_function(f"{STAGE}.player.level() > 0.01")
    page.unroute("**/exports/**")
    page.evaluate(f"{STAGE}.say({{act: 'aim', targets: [{{layer: 'nowhere', weight: 1}}]}})")
    page.wait_for_selector("#neurons-status :text('nowhere')", timeout=PASS_MS)
    page.evaluate(f"{STAGE}.say({{act: 'aim', targets: [{{layer: 'context0', weight: 99}}]}})")
    page.wait_for_selector("#neurons-status [role=alert]:has-text('weight: got 99')")
    page.wait_for_function(f"{STAGE}.player.level() > 0.01")
    visit.complaints[:] = [said for said in visit.complaints if "ERR_FAILED" not in said]  # those of the stall


def test_controllers_and_keys_turn_knobs_and_an_unplugged_one_is_absorbed(visitor, server):
    page = opened(visitor)
    page.click(".nm-first")
    click_map(page, 300)
    passes(page, 1)
    page.click("#neurons-midi button")
    page.wait_for_selector(".nm-midi-said")
    page.evaluate(
        """async () => {
            const input = { name: "Box", state: "connected" };
            window.access = { inputs: new Map([["1", input]]) };
            navigator.requestMIDIAccess = async () => access;
            await document.querySelector("nm-stage").controls.open();
            input.onmidimessage({ data: [0xb0, 82, 0] });
            input.state = "disconnected";
            access.onstatechange();
        }"""
    )
    assert page.evaluate("document.querySelector('#neurons-mix input[type=range]').value") == "0"
    assert "No controller is plugged in" in page.evaluate("document.querySelector('.nm-midi-said').textContent")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("f")
    page.wait_for_function("Number(document.querySelector('#neurons-mix input[type=range]').value) > 0")
    page.keyboard.press(" ")
    page.wait_for_function(f"!{STAGE}.player.playing")


@pytest.mark.parametrize("width", [1280, 390])
def test_neurons_fits_the_screen_and_has_no_serious_accessibility_findings(visitor, width):
    page = opened(visitor, width)
    for accordion in ("more", "midi", "about"):
        page.click(f"#neurons-{accordion} button")
    page.click("nm-targets summary")
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
    page.click(".nm-first")
    click_map(page, 300)
    passes(page, 1)
    page.click("nm-stage [data-do=keep]")
    page.wait_for_selector("[data-return]")
    page.click("#neurons-why button")
    page.wait_for_selector("#neurons-scalograms .js-plotly-plot")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []


def test_the_bundled_ear_changes_a_loop_over_several_passes_and_the_loop_is_exported(visitor, request):
    visit = visitor(url=request.getfixturevalue("real_app").url)
    visit.page.set_default_timeout(PASS_MS)
    page = visit.open("/?tab=neurons")
    page.wait_for_function(f"{STAGE}?.player?.clip && {STAGE}.map.count > 10000")
    start = samples(page)
    page.click(".nm-first")
    page.wait_for_function(f"{STAGE}.map.frame")
    page.evaluate(KNOB, ["learning_rate", "0.02"])
    click_map(page, page.evaluate(f"{STAGE}.map.layers.find((layer) => layer.name === 'encoder4a').first + 200"))
    distances = []
    for count in (2, 4, 6):
        passes(page, count)
        distances.append(multi_resolution_log_mel_l1(start, samples(page)))
    activation = page.evaluate(f"{STAGE}.curve")
    assert 0 < distances[0] < distances[1] < distances[2] and activation[-1] > activation[0] + 0.3
    page.click("nm-stage [data-do=morph]")
    page.wait_for_selector("#neurons-status :text('Held')")
    page.click("nm-stage [data-do=keep]")
    address = page.get_attribute("#neurons-kept a[href$=flac]", "href")
    sound, rate = soundfile.read(io.BytesIO(page.request.get(f"{visit.url}/{address}").body()))
    assert (rate, len(sound)) == (RATE, 4 * RATE) and 0.01 < np.abs(sound).max() < 1


def samples(page) -> np.ndarray:
    """The loop that the player has now."""
    text = page.evaluate(
        f"""() => {{
            const data = new Uint8Array({STAGE}.player.clip.samples.buffer);
            let text = "";
            for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
            return btoa(text);
        }}"""
    )
    return np.frombuffer(base64.b64decode(text), np.float32).copy()
