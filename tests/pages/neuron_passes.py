"""What Neurons would show of a job, at once: tones that change from pass to pass, and a small map."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

from backend.audio.waveform import Waveform
from backend.contract import Done, Event, Progress, Result
from backend.instruments.neurons.console import Listener, LoopPass, find_console
from backend.instruments.neurons.graph import LayerShape
from backend.instruments.neurons.request import NeuronsRequest
from backend.instruments.neurons.rings import rings

RATE = 24_000
SHAPES = (LayerShape("scalogram", 2, 50), LayerShape("encoder0a", 20, 40), LayerShape("context0", 500))
FRAMES = 32
CYCLES_A_BEAT = (70, 110)  # of two tones: whole ones, so that the loop has no seam
AMPLITUDE = 0.2


def tone_loop(number: int, seconds: float, beats: int) -> Waveform:
    """Two tones whose balance and phase are those of one pass."""
    turn = np.arange(round(seconds * RATE)) / round(seconds * RATE)
    low, high = (2 * np.pi * beats * cycles * turn for cycles in CYCLES_A_BEAT)
    share = 0.5 + 0.4 * np.sin(number)
    mixed = share * np.sin(low + number) + (1 - share) * np.sin(high - 2 * number)
    return Waveform((AMPLITUDE * mixed).astype(np.float32), RATE)


def neuron_passes(request: NeuronsRequest, cancelled: threading.Event) -> Iterator[Event]:
    """The start, then a pass every loop until cancelled or done; a console is heard, layer ``nowhere`` is refused."""
    settings, console = request.settings, find_console(request.console)
    who = Listener("A fake ear", rings(request.network, SHAPES), {"neurons.beats": "ab" * 32})
    rng = np.random.default_rng(int(request.seed))
    rows = sum(shape.neurons for shape in SHAPES)
    for number in range(int(request.passes) + 1):
        if number and cancelled.wait(request.meter.seconds):
            return
        sent, refused = console.take() if console is not None else None, ""
        if sent is not None and sent.targets[0].layer == "nowhere":
            refused = "layer: got 'nowhere', expected a layer of the ear."
        elif sent is not None:
            settings = sent
        loop = tone_loop(number, request.meter.seconds, 4 * int(request.bars))
        lit = (255 * rng.random((rows, FRAMES)) ** 3).astype(np.uint8)
        level = 0.4 * number
        shown = LoopPass(number, loop, 16 * number, level, (level,), 0.01 * number, 0, settings, lit, refused, who)
        yield Progress(number, max(1, int(request.passes)), f"Pass {number}", shown)
    yield Done(Result((tone_loop(0, request.meter.seconds, 4 * int(request.bars)),)))
