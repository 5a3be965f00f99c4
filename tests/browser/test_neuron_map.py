"""The map in a real browser, on a page of its own; both painters."""

from __future__ import annotations

import base64
import mimetypes
from pathlib import Path

import numpy as np
import pytest

from backend.instruments.neurons.chart import NeuronMap
from backend.instruments.neurons.graph import LayerShape
from tests.browser.conftest import CHROMIUM, FLAGS, PAGE_MS
from tests.browser.test_page import violations

HERE = Path(__file__).parent
STATIC = HERE.parent.parent / "pages" / "static"
HOME = "http://map.test/"
LAYERS = (LayerShape("scalogram", 2, 100), LayerShape("encoder0a", 50, 100), LayerShape("context0", 5_000))
NEURONS = sum(shape.neurons for shape in LAYERS)
GPU = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


def spiral(layers: tuple[LayerShape, ...] = LAYERS) -> NeuronMap:
    """Even points, neuron 0 in the middle."""
    number = np.arange(sum(shape.neurons for shape in layers))
    turn, radius = number * np.pi * (3 - np.sqrt(5)), np.sqrt(number / len(number))
    positions = np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1).astype(np.float32)
    return NeuronMap("ear:test", layers, positions, np.ones(len(number), np.float32))


def answer(route) -> None:
    """The test's page and the app's scripts; nothing else exists."""
    name = route.request.url.removeprefix(HOME)
    path = STATIC / name.removeprefix("neuromuse/") if name.startswith("neuromuse/") else HERE / "neuron_map.html"
    if name not in ("", "favicon.ico") and not path.is_file():
        route.fulfill(status=404)
        return
    kind = "text/html" if name == "" else mimetypes.guess_type(path.name)[0]
    route.fulfill(body="" if name == "favicon.ico" else path.read_text("utf-8"), content_type=kind)


def open_map(browser, painter: str | None = None, chart: NeuronMap | None = None):
    """A page with the map on it and a clock that tests set."""
    page = browser.new_page(viewport={"width": 900, "height": 800})
    page.set_default_timeout(PAGE_MS)
    page.complaints = []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.route(f"{HOME}**", answer)
    page.goto(HOME)
    page.wait_for_function("!!customElements.get('nm-neuron-map')")
    page.evaluate(
        """([chart, painter]) => {
            window.map = document.querySelector("nm-neuron-map");
            if (painter) map.setAttribute("painter", painter);
            window.picked = [];
            window.now = 0;
            map.clock = () => window.now;
            map.addEventListener("pick", (event) => picked.push(event.detail));
            map.chart = chart;
        }""",
        [(chart or spiral()).page(), painter],
    )
    page.wait_for_function("map.drawn > 0")
    return page


@pytest.fixture(scope="module", params=["canvas", "webgl"])
def painter(request, browser):
    """A painter and the browser that has it."""
    if request.param == "canvas":
        yield "canvas", browser
        return
    flags = [flag for flag in FLAGS if "gpu" not in flag]
    with_gpu = browser.browser_type.launch(executable_path=CHROMIUM, args=flags + GPU)
    yield "webgl", with_gpu
    with_gpu.close()


@pytest.fixture
def page(painter):
    opened = open_map(painter[1], painter[0])
    if opened.evaluate("map.painter.name") != painter[0]:
        pytest.skip(f"this Chromium has no {painter[0]}")
    yield opened
    opened.close()
    assert opened.complaints == []


def play(page, activity: np.ndarray, start: float = 0.0, duration: float = 4.0) -> bool:
    """Hand activity ``[neurons, frames]`` to the map."""
    return page.evaluate(
        """([data, frames, start, duration]) => map.play({
            activity: Uint8Array.from(atob(data), (c) => c.charCodeAt(0)), frames, start, duration })""",
        [base64.b64encode(np.ascontiguousarray(activity).tobytes()).decode(), activity.shape[1], start, duration],
    )


def brightness(page, neuron: int) -> float:
    """Largest colour of the pixels around a neuron, after the next picture."""
    return page.evaluate(
        """(neuron) => new Promise((done) => {
            map.stale = true;
            requestAnimationFrame(() => requestAnimationFrame(() => {
                map.stale = true;
                map.draw();
                const sharp = map.painter.sharpness, copy = document.createElement("canvas"), r = 2;
                const [x, y] = map.toStage(neuron).map((v) => Math.round(v * sharp));
                Object.assign(copy, { width: 2 * r + 1, height: 2 * r + 1 });
                copy.getContext("2d").drawImage(map.canvas, x - r, y - r, 5, 5, 0, 0, 5, 5);
                done(Math.max(...copy.getContext("2d").getImageData(0, 0, 5, 5).data.filter((_, i) => i % 4 < 3)));
            }));
        })""",
        neuron,
    )


def click_at(page, neuron: int) -> None:
    x, y = page.evaluate("(neuron) => map.toStage(neuron)", neuron)
    box = page.locator("nm-neuron-map .stage").bounding_box()
    page.mouse.click(box["x"] + x, box["y"] + y)


def test_neurons_light_up_in_time_with_the_clock(page):
    activity = np.zeros((NEURONS, 8), np.uint8)
    activity[0, 2] = 255
    assert play(page, activity, start=10.0, duration=4.0)
    seen = {}
    for now in (9.0, 11.0, 12.5, 15.0, 15.5):
        page.evaluate("(now) => { window.now = now; }", now)
        seen[now] = brightness(page, 0)
    dark = max(seen[9.0], seen[12.5], seen[15.5])
    assert min(seen[11.0], seen[15.0]) > dark + 60  # frame 2 begins a quarter into the loop, every time round


def test_the_next_loop_takes_over_at_its_start_and_not_before(page):
    first, second = np.zeros((2, NEURONS, 4), np.uint8)
    first[0], second[1] = 255, 255
    assert play(page, first, start=0.0) and play(page, second, start=4.0)
    lit = page.evaluate(
        """() => [3.9, 4.1, 9.0].map((now) => {
            window.now = now;
            map.draw();
            return [0, 1].map((neuron) => map.lit.rows[map.frame.before * map.count + neuron]);
        })"""
    )
    assert lit == [[255, 0], [0, 255], [0, 255]]


def test_a_late_pass_of_another_network_changes_nothing(page):
    assert play(page, np.zeros((NEURONS - 1, 4), np.uint8)) is False
    assert page.evaluate("map.clips.length") == 0


def test_a_click_picks_the_neuron_under_it(page):
    for neuron, layer, channel, pitch in [(150, "scalogram", 1, 50), (200 + 4_217, "encoder0a", 42, 17)]:
        click_at(page, neuron)
        picked = page.evaluate("picked.at(-1)")
        assert picked["neuron"] == neuron and picked["members"] == [neuron]
        assert picked["targets"] == [{"layer": layer, "channel": channel, "pitch": [pitch, pitch + 1], "weight": 1}]
        assert f"{layer} · channel {channel + 1}" in page.inner_text("nm-neuron-map [role=status]")


def test_a_brush_picks_a_cluster_and_names_regions_that_cover_it(page):
    page.evaluate("map.brush = 0.1")
    before = brightness(page, 3)
    click_at(page, 0)
    picked = page.evaluate("picked.at(-1)")
    distance = np.linalg.norm(spiral().positions - spiral().positions[0], axis=1)
    expected = set(np.flatnonzero(distance < 0.0999).tolist())
    assert expected <= set(picked["members"]) <= set(np.flatnonzero(distance < 0.1001).tolist())
    assert sum(target["weight"] for target in picked["targets"]) == pytest.approx(1, abs=0.01)
    assert brightness(page, 3) > before + 60


def test_a_drag_does_not_pick_and_moves_only_what_is_larger_than_the_stage(page):
    box = page.locator("nm-neuron-map .stage").bounding_box()
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.focus("nm-neuron-map .stage")
    for zoomed in (False, True):
        if zoomed:
            page.mouse.move(*middle)
            page.mouse.wheel(0, -400)
            page.wait_for_function("map.camera.zoom > 3")
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + 60, middle[1], steps=3)
        page.mouse.up()
        assert (page.evaluate("map.camera.x") < 0) is zoomed
    assert page.evaluate("picked.length") == 0


def test_the_keyboard_reaches_neurons_layers_and_clusters(page):
    page.focus("nm-neuron-map .stage")
    page.keyboard.press("PageDown")
    assert page.evaluate("map.cursor") == 200
    page.keyboard.press("End")
    assert page.evaluate("map.cursor") == 200 + 5_000 - 1
    before = spiral().positions[page.evaluate("map.cursor")]
    page.keyboard.press("ArrowLeft")
    moved = spiral().positions[page.evaluate("map.cursor")] - before
    assert moved[0] < 0 and abs(moved[1]) < 0.1
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("Enter")
    assert page.evaluate("picked.length") == 1 and page.evaluate("picked[0].members.length") > 1
    page.keyboard.press("Tab")
    assert page.evaluate("map.shadowRoot.activeElement.type") == "range"


def test_a_layers_button_picks_the_layer(page):
    page.click("nm-neuron-map button:has-text('encoder0a')")
    assert page.evaluate("picked.at(-1).targets") == [{"layer": "encoder0a", "channel": None, "pitch": None}]
    assert page.evaluate("map.marks.filter(Boolean).length") == 5_000


def test_pictures_follow_each_other_while_a_loop_plays_and_rest_when_none_does(page):
    page.wait_for_timeout(300)
    resting = page.evaluate("map.drawn")
    page.wait_for_timeout(300)
    assert page.evaluate("map.drawn") == resting
    page.evaluate("map.clock = () => performance.now() / 1000")
    play(page, np.random.default_rng(0).integers(0, 256, (NEURONS, 40), np.uint8))
    page.wait_for_function(f"map.drawn > {resting} + 10")
    assert page.evaluate("map.fps") > 0


def test_without_a_graphics_processor_the_canvas_paints(browser):
    page = open_map(browser)
    assert page.evaluate("map.painter.name") == "canvas"
    page.close()


def test_the_map_is_accessible(browser):
    page = open_map(browser, "canvas")
    assert violations(page) == []
    page.close()
