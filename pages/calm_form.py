"""The settings of Calm: what the page asks, as fields, as a request, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import gradio as gr

from backend.instruments.calm.recipes import RECIPES
from backend.instruments.calm.request import MAX_ANCHORS, OWN_MODEL, CalmRequest, Upload
from backend.instruments.calm.room import SOUNDS
from pages.parts import SeedRow

PREFIX = "calm"
WHAT = {"path": "The road between the two", "sample": "New pieces", "session": "A whole session"}
ACTIONS = {"path": "Make the road", "sample": "Make new pieces", "session": "Build the session"}
NEAR = {"first": "Like the first piece", "second": "Like the second piece", "none": "Something new"}
FIRST, SECOND = tuple(RECIPES)[:2]

Uploads = Mapping[str, Upload]


@dataclass(frozen=True)
class Form:
    """The fields, in the order of `make_request`; ``panels`` belong to one kind of result each."""

    what: gr.Radio
    near: gr.Radio
    radius: gr.Slider
    temperature: gr.Slider
    variations: gr.Slider
    through: gr.Dropdown
    minutes: gr.Number
    start_bpm: gr.Number
    end_bpm: gr.Slider
    lowest: gr.Radio
    highest: gr.Radio
    sound: gr.Dropdown
    treble: gr.Slider
    loudness: gr.Slider
    density: gr.Slider
    register: gr.Slider
    brightness: gr.Slider
    rhythm: gr.Slider
    bars: gr.Radio
    method: gr.Radio
    in_scale: gr.Checkbox
    model: gr.Dropdown
    panels: dict[str, gr.Group]
    seed: SeedRow

    @property
    def inputs(self) -> list[Any]:
        """What `make_request` takes after the seed, the two pieces, the uploads and what was imported."""
        return [getattr(self, field.name) for field in fields(self) if field.name not in ("panels", "seed")]


def pieces(uploads: Uploads) -> list[tuple[str, str]]:
    """Choices of a piece: what was uploaded first, then the bundled ones."""
    own = [(f"{upload.title} (yours)", key) for key, upload in reversed(list(uploads.items()))]
    return own + [(f"{recipe.title}: {recipe.character}", name) for name, recipe in RECIPES.items()]


def build(models: list[tuple[str, str]]) -> Form:
    """Lay out the settings; ``models`` are the choices of a model."""
    found: dict[str, Any] = {}
    found["what"] = gr.Radio(
        [(title, mode) for mode, title in WHAT.items()], value="path", label="What shall be made?",
        elem_id=f"{PREFIX}-what", elem_classes=["nm-chips", "nm-few"],
    )  # fmt: skip
    panels = {}
    with gr.Group(elem_classes="nm-plain", elem_id=f"{PREFIX}-path") as panels["path"]:
        gr.Markdown("Nine steps lead from the first piece to the second. Slide along them while they play.")
    with gr.Group(visible=False, elem_classes="nm-plain", elem_id=f"{PREFIX}-sample") as panels["sample"]:
        _sampling(found)
    with gr.Group(visible=False, elem_classes="nm-plain", elem_id=f"{PREFIX}-session") as panels["session"]:
        _session(found)
    with gr.Row():
        sounds = [(sound.title, name) for name, sound in SOUNDS.items()]
        found["sound"] = gr.Dropdown(sounds, value="felt_piano", label="Instrument", elem_id=f"{PREFIX}-sound")
        found["treble"] = _slider("treble", 0.3, 2, 1, 0.05, "Bright or dark", "1 is its own sound")
    with gr.Accordion("Change the pieces", open=False, elem_id=f"{PREFIX}-attributes"):
        with gr.Row():
            found["density"] = _slider("density", -3, 3, 0, 0.25, "Notes", "fewer to more")
            found["register"] = _slider("register", -3, 3, 0, 0.25, "Height", "lower to higher")
        with gr.Row():
            found["brightness"] = _slider("brightness", -3, 3, 0, 0.25, "Mood", "minor to major")
            found["rhythm"] = _slider("rhythm", -3, 3, 0, 0.25, "Rhythm", "on the beat to off the beat")
    with gr.Accordion("Advanced", open=False, elem_id=f"{PREFIX}-advanced"):
        with gr.Row():
            found["bars"] = gr.Radio([4, 8, 16], value=8, label="Bars of a piece", elem_id=f"{PREFIX}-bars")
            found["loudness"] = _slider("loudness", -36, -16, -23, 1, "Loudness", "LUFS; −23 is broadcast level")
        found["method"] = gr.Radio(
            [("Straight (thins the music on the way)", "lerp"), ("Around (keeps it as full)", "slerp")], value="lerp",
            label="Way through the model", elem_id=f"{PREFIX}-method",
        )  # fmt: skip
        found["in_scale"] = gr.Checkbox(True, label="Keep to the scale of the key", elem_id=f"{PREFIX}-scale")
        found["model"] = gr.Dropdown(models, value=OWN_MODEL, label="Model", elem_id=f"{PREFIX}-model")
        seed = SeedRow.build(PREFIX)
    return Form(**found, panels=panels, seed=seed)


def _sampling(found: dict[str, Any]) -> None:
    found["near"] = gr.Radio(
        [(title, key) for key, title in NEAR.items()], value="first", label="New pieces", elem_id=f"{PREFIX}-near"
    )
    with gr.Row():
        found["radius"] = _slider("radius", 0, 2, 0.5, 0.05, "How different", "from the piece it is like")
        found["temperature"] = _slider("temperature", 0, 2, 0.6, 0.05, "How free", "for something new")
    found["variations"] = _slider("variations", 1, 4, 2, 1, "How many", "made at once")


def _session(found: dict[str, Any]) -> None:
    found["through"] = gr.Dropdown(
        pieces({}), value=[FIRST, SECOND], multiselect=True, max_choices=MAX_ANCHORS, label="Pieces, in this order",
        info="1 to 8; the session passes through them and through relatives of them", elem_id=f"{PREFIX}-through",
    )  # fmt: skip
    with gr.Row():
        found["minutes"] = gr.Number(20, label="Minutes", info="1 to 60", elem_id=f"{PREFIX}-minutes")
        found["end_bpm"] = _slider("end", 40, 90, 60, 1, "Tempo at the end", "beats a minute")
    with gr.Accordion("Limits of the session", open=False, elem_id=f"{PREFIX}-limits"):
        found["start_bpm"] = gr.Number(
            None, label="Tempo at the start", info="40 to 90; empty takes that of the first piece",
            elem_id=f"{PREFIX}-start",
        )  # fmt: skip
        with gr.Row():
            low = [("C1, deep", 24), ("C2", 36), ("C3, no deep notes", 48)]
            found["lowest"] = gr.Radio(low, value=36, label="Lowest note", elem_id=f"{PREFIX}-lowest")
            high = [("C5, no high notes", 72), ("C6", 84), ("C7, high", 96)]
            found["highest"] = gr.Radio(high, value=84, label="Highest note", elem_id=f"{PREFIX}-highest")


def _slider(name: str, low: float, high: float, value: float, step: float, label: str, info: str) -> gr.Slider:
    return gr.Slider(low, high, value, step=step, label=label, info=info, elem_id=f"{PREFIX}-{name}")


def make_request(
    seed: Any, first: Any, second: Any, uploads: Uploads, imported: Mapping[str, str], what: Any, near: Any,
    radius: Any, temperature: Any, variations: Any, through: Any, minutes: Any, start_bpm: Any, end_bpm: Any,
    lowest: Any, highest: Any, sound: Any, treble: Any, loudness: Any, density: Any, register: Any, brightness: Any,
    rhythm: Any, bars: Any, method: Any, in_scale: Any, model: Any,
) -> CalmRequest:  # fmt: skip
    """The request for the raw values of the page.

    Raises:
        RequestError: for the first value that is wrong.
    """
    anchors: tuple[Any, ...] = (first, second)
    if what == "session":
        anchors = tuple(through or ())
    elif what == "sample":
        anchors = {"first": (first,), "second": (second,)}.get(near, ())
    return CalmRequest(
        seed=seed, mode=what, anchors=anchors, uploads=used(anchors, uploads), bars=bars, method=method,
        in_scale=in_scale, density=density, register=register, brightness=brightness, rhythm=rhythm, radius=radius,
        temperature=temperature, variations=variations, minutes=minutes, start_bpm=start_bpm, end_bpm=end_bpm,
        lowest=lowest, highest=highest, sound=sound, treble=treble, loudness_lufs=loudness,
        model=model, weights=Path(imported[model]) if model in imported else None,
    )  # fmt: skip


def used(anchors: tuple[Any, ...], uploads: Uploads) -> tuple[Upload, ...]:
    """The uploads that are among the anchors."""
    return tuple(uploads[key] for key in dict.fromkeys(anchors) if key in uploads)


def values(request: CalmRequest, first: str, second: str, through: list[str]) -> list[Any]:
    """A request as the fields of the page: the two pieces, then `Form.inputs`.

    Args:
        request: what to show.
        first: the first piece as it is chosen now, which a request may not name …
        second: … nor the second …
        through: … nor those of a session.
    """
    near = "first"
    if request.mode == "session":
        through = list(request.anchors)
    elif request.mode == "sample":
        near, first = ("first", request.anchors[0]) if request.anchors else ("none", first)
    else:
        first, second = request.anchors[0], request.anchors[-1]
    return [
        first, second, request.mode if request.mode in WHAT else "path", near, request.radius, request.temperature,
        request.variations, through, request.minutes, request.start_bpm, request.end_bpm, request.lowest,
        request.highest, request.sound, request.treble, request.loudness_lufs, request.density, request.register,
        request.brightness, request.rhythm, request.bars, request.method, request.in_scale,
        request.model,
    ]  # fmt: skip
