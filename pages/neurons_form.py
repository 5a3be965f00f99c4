"""The console of Neurons: which ear, which loop, how far; as fields, as settings, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.neurons.loops import LOOPS
from backend.instruments.neurons.request import NeuronsRequest
from backend.instruments.neurons.settings import KNOBS, PARAMETERISATIONS, Settings, Target

PREFIX = "neurons"
EARS = {
    "ear:beats": "An ear for beats",
    "ear:score": "An ear for scores",
    "vgg16": "VGG16, a network for pictures",
    "resnet18": "ResNet18, a network for pictures",
}
STARTS = {
    **{name: title for name, (title, _) in LOOPS.items()},
    "upload": "My own sound",
    "silence": "Silence",
    "noise": "Noise",
    "last": "The loop as it is now",
}
FIRST_EAR, FIRST_LOOP = "ear:beats", "house"

# Name → label, what it says below, step. The first row is always in sight.
VISIBLE = {
    "learning_rate": ("How far", "size of each step", 0.0005),
    "mix": ("Mix", "0 is the start, 1 what it became", 0.01),
    "time_shift": ("Jitter", "hears the loop shifted in time", 0.01),
    "pitch_shift": ("Pitch jitter", "and in pitch, by so many semitones", 0.05),
}
GROUPS = {
    "Tone": {
        "eq_low": ("Low", "below 250 Hz", 0.02),
        "eq_mid": ("Mid", "between", 0.02),
        "eq_high": ("High", "above 2.5 kHz", 0.02),
    },
    "Keep it musical": {
        "pull": ("Pull to the start", "share of the way back, each step", 0.005),
        "denoise": ("De-noising", "a gate after each step", 0.01),
        "noise_penalty": ("Against noise", "cost of a restless spectrum", 0.05),
        "activation_penalty": ("Quiet the others", "cost of other channels of the same layers", 0.05),
    },
    "Make it robust": {
        "mask_time": ("Hidden time", "largest share of the loop that is not heard", 0.01),
        "mask_pitch": ("Hidden pitch", "largest share of the pitches", 0.01),
        "gradient_noise": ("Restlessness", "noise in each step", 0.02),
        "momentum": ("Momentum", "how much of the last step goes on", 0.01),
    },
}
WAYS = {"spectral": "The spectrum (smoother)", "waveform": "The samples (rougher)"}
KNOB_ORDER = (*VISIBLE, *(name for group in GROUPS.values() for name in group))
PLAIN = Settings(targets=(Target(layer="none"),))
"""The defaults of every knob; its target is never asked for."""

LIVE_PASSES = 30  # a turn; then whoever else waits is served, and the loop goes on after that
UPDATES_PER_PASS = 16
ACTIVITY_FPS = {"ear:beats": 16, "ear:score": 16, "vgg16": 5, "resnet18": 8}  # about a megabyte a loop
MAX_SAID = 100_000  # characters of one message of the page


@dataclass(frozen=True)
class Form:
    """The fields."""

    network: gr.Dropdown
    start: gr.Dropdown
    upload: gr.File
    tempo: gr.Slider
    bars: gr.Radio
    knobs: dict[str, gr.Slider]
    way: gr.Radio

    @property
    def loop(self) -> list[Any]:
        """What decides on the loop to begin with, in the order of `make_request`."""
        return [self.network, self.start, self.tempo, self.bars]

    @property
    def turned(self) -> list[Any]:
        """What may change while the loop plays, in the order of `make_settings`."""
        return [self.way, *(self.knobs[name] for name in KNOB_ORDER)]


def build_loop() -> tuple[gr.Dropdown, gr.Dropdown, gr.File, gr.Slider, gr.Radio]:
    """Lay out ear, start and tempo."""
    with gr.Row():
        start = gr.Dropdown(_choices(STARTS), value=FIRST_LOOP, label="Loop", elem_id=f"{PREFIX}-start")
        network = gr.Dropdown(_choices(EARS), value=FIRST_EAR, label="Who listens", elem_id=f"{PREFIX}-network")
    with gr.Row():
        tempo = gr.Slider(
            60, 180, 120, step=1, label="Tempo", info="beats a minute", elem_id=f"{PREFIX}-tempo", min_width=180
        )
        bars = gr.Radio([1, 2, 4], value=2, label="Bars", elem_id=f"{PREFIX}-bars", min_width=120)
    upload = gr.File(
        label="or drop a sound here: it becomes the loop", type="filepath", height=110, elem_classes="nm-drop",
        file_types=[".wav", ".flac", ".mp3", ".ogg", ".aiff"], elem_id=f"{PREFIX}-upload",
    )  # fmt: skip
    return network, start, upload, tempo, bars


def build_knobs() -> tuple[dict[str, gr.Slider], gr.Radio]:
    """Lay out the knobs: four in sight, the others folded away."""
    knobs: dict[str, gr.Slider] = {}
    _sliders(knobs, VISIBLE)
    with gr.Accordion("More knobs", open=False, elem_id=f"{PREFIX}-more"):
        for title, group in GROUPS.items():
            gr.HTML(f'<h4 class="nm-label">{title}</h4>', apply_default_css=False)
            _sliders(knobs, group)
        way = gr.Radio(
            [(WAYS[name], name) for name in PARAMETERISATIONS], value=PLAIN.parameterisation, label="What is moved",
            elem_id=f"{PREFIX}-way",
        )  # fmt: skip
    return knobs, way


def _sliders(knobs: dict[str, gr.Slider], named: Mapping[str, tuple[str, str, float]]) -> None:
    names = list(named)
    for first in range(0, len(names), 2):
        with gr.Row():
            for name in names[first : first + 2]:
                label, info, step = named[name]
                knobs[name] = gr.Slider(
                    KNOBS[name].low, KNOBS[name].high, getattr(PLAIN, name), step=step, label=label, info=info,
                    elem_id=f"{PREFIX}-{name}", elem_classes="nm-knob", min_width=180,
                )  # fmt: skip


def _choices(named: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(title, name) for name, title in named.items()]


def read_said(said: Any) -> dict[str, Any]:
    """A message of the page's scripts: ``act`` and what belongs to it.

    Raises:
        RequestError: it is none.
    """
    text = said if isinstance(said, str) else ""
    try:
        values = json.loads(text) if len(text) <= MAX_SAID else None
    except ValueError:
        values = None
    if not isinstance(values, dict) or not isinstance(values.get("act"), str):
        raise RequestError("message", text[:40], "a message of this page")
    return values


def make_settings(targets: Sequence[Any], way: Any, *knobs: Any) -> Settings:
    """The settings for the raw values of the page.

    Raises:
        RequestError: for the first value that is wrong.
    """
    values = dict(zip(KNOB_ORDER, knobs, strict=True))
    return Settings.from_dict({"targets": targets, "parameterisation": way, **values})


def make_request(
    network: Any, start: Any, tempo: Any, bars: Any, settings: Settings, sound: Waveform | None, seed: int
) -> NeuronsRequest:
    """A request that only listens; `dataclasses.replace` makes it a live one.

    Raises:
        RequestError: for the first value that is wrong.
    """
    if start == "upload" and sound is None:
        raise RequestError("loop", "no sound", "a sound file dropped into the field below")
    return NeuronsRequest(
        network=network, start=start, sound=sound, tempo_bpm=tempo, bars=bars, settings=settings, seed=seed, passes=0,
        updates_per_pass=UPDATES_PER_PASS, activity_fps=ACTIVITY_FPS.get(str(network), 0),
    )  # fmt: skip


def knob_values(settings: Settings) -> list[Any]:
    """The fields of `Form.turned` that say these settings."""
    return [settings.parameterisation, *(getattr(settings, name) for name in KNOB_ORDER)]
