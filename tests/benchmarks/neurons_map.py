"""Pictures a second of the neuron map: ``python -m tests.benchmarks.neurons_map`` ends with one JSON object.

In headless Chromium a loop of four seconds plays, every neuron with activity of its own, on maps of 12,000 neurons and
of as many as the paper's ear has. ``map_fps`` is that of the smaller one with the painter that the map chooses itself
(the canvas, where WebGL would be computed by the processor); ``draw_ms`` is what one picture costs the page's thread.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from backend.instruments.neurons.graph import LayerShape
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.test_neuron_map import open_map, play, spiral

SIZES = {"": 12_000, "paper_": 34_608}
FRAMES = 80


def measure(seconds: float = 4.0, painter: str | None = None) -> dict[str, Any]:
    """All figures; none without a Chromium.

    Args:
        seconds: that pictures are counted over.
        painter: ``webgl`` or ``canvas``; the map's own choice when None.
    """
    if CHROMIUM is None:
        return {"map_fps": None}
    from playwright.sync_api import sync_playwright

    figures: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for prefix, neurons in SIZES.items():
            page = open_map(browser, painter, spiral((LayerShape("all", neurons // 12, 12),)))
            page.evaluate("map.clock = () => performance.now() / 1000")
            activity = (np.random.default_rng(0).random((neurons, FRAMES)) ** 3 * 255).astype(np.uint8)
            assert play(page, activity)
            page.wait_for_function("map.drawn > 5")
            drawn, took = page.evaluate(
                """(seconds) => new Promise((done) => {
                    const drawn = map.drawn, began = performance.now();
                    setTimeout(() => done([map.drawn - drawn, performance.now() - began]), 1000 * seconds);
                })""",
                seconds,
            )
            cost = page.evaluate(
                """() => {
                    const began = performance.now();
                    for (let i = 0; i < 20; i++) map.draw();
                    return (performance.now() - began) / 20;
                }"""
            )
            figures |= {
                f"{prefix}neurons": neurons,
                f"{prefix}map_fps": round(1000 * drawn / took, 1),
                f"{prefix}draw_ms": round(cost, 2),
                "painter": page.evaluate("map.painter.name"),
            }
            page.close()
        browser.close()
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--painter", choices=["webgl", "canvas"])
    options = parser.parse_args(arguments)
    print(json.dumps(measure(options.seconds, options.painter), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
