"""What the violin is asked to play: the fields, the request they make, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from backend.audio import io
from backend.audio.waveform import Waveform
from backend.errors import AudioError, RequestError
from backend.instruments.violin.request import BUNDLED_NAME, LONGEST_MELODY_S, STRONGEST, ViolinRequest
from pages.parts import SeedRow, html
from pages.runner import QUIET
from pages.violin_adapters import Owned, choices, seconds_of
from pages.violin_words import CHIPS, PRESETS

PREFIX = "violin"
PARTS = (("Notes and sound", "both"), ("Notes only", "notes"), ("Sound only", "sound"))
MELODY = "Sing, whistle or play a melody"


@dataclass(frozen=True)
class Form:
    """The fields, in the order of `make_request`."""

    prompt: gr.Textbox
    negative: gr.Textbox
    duration: gr.Slider
    variations: gr.Slider
    guidance: gr.Slider
    temperature: gr.Slider
    adapter: gr.Radio
    strength: gr.Slider
    second: gr.Dropdown
    second_strength: gr.Slider
    part: gr.Radio
    compare: gr.Checkbox
    melody: gr.Audio
    adherence: gr.Slider
    owned: gr.State
    seed: SeedRow
    files: gr.File
    said: gr.HTML

    @property
    def settings(self) -> list[Any]:
        """The fields that a request goes back to, in the order of `values`."""
        return [
            self.prompt, self.negative, self.duration, self.variations, self.guidance, self.temperature, self.adapter,
            self.strength, self.second, self.second_strength, self.part, self.compare, self.adherence,
        ]  # fmt: skip

    @property
    def inputs(self) -> list[Any]:
        """What `make_request` takes after the seed."""
        return [*self.settings, self.melody, self.owned]


def build() -> Form:
    """Lay out the fields and connect those that belong together."""
    prompt = gr.Textbox(
        PRESETS[0].prompt, label="Prompt", lines=2, max_lines=4, elem_id=f"{PREFIX}-prompt", elem_classes="nm-prompt",
        placeholder="slow baroque prelude, minor key, long bows",
    )  # fmt: skip
    html('<h3 class="nm-label">Presets</h3>')
    with gr.Row(elem_classes="nm-presets", elem_id=f"{PREFIX}-presets"):
        presets = [gr.Button(preset.title, size="sm", min_width=80) for preset in PRESETS]
    adapter = gr.Radio(
        choices({}), value=BUNDLED_NAME, label="Adapter", elem_id=f"{PREFIX}-adapter", elem_classes="nm-chips nm-few"
    )
    strength = gr.Slider(
        0, STRONGEST, 1, step=0.05, label="Strength", elem_id=f"{PREFIX}-strength",
        info="0 is the base to the bit, 1 is as trained, more exaggerates",
    )  # fmt: skip
    compare = gr.Checkbox(
        False, label="Compare with the base", info="the same seed without the adapter, beside it",
        elem_id=f"{PREFIX}-compare",
    )  # fmt: skip
    part = gr.Radio(
        list(PARTS), value="both", label="What the adapter changes", elem_id=f"{PREFIX}-part",
        elem_classes="nm-chips nm-few",
    )  # fmt: skip
    melody, adherence = _melody()
    with gr.Row():
        duration = gr.Slider(
            4, 30, 10, step=1, label="Length", info="seconds; a melody brings its own", elem_id=f"{PREFIX}-duration"
        )
        variations = gr.Slider(1, 4, 1, step=1, label="Variations", info="made at once", elem_id=f"{PREFIX}-variations")
    with gr.Accordion("Words to build a prompt from", open=False, elem_id=f"{PREFIX}-words"):
        groups = _chips()
    guidance, temperature, negative, second, second_strength, seed = _advanced()
    with gr.Accordion("An adapter of your own", open=False, elem_id=f"{PREFIX}-own"):
        files = gr.File(
            label="A .zip made here, or adapter_config.json and adapter_model.safetensors together", type="filepath",
            file_count="multiple", height=120, elem_id=f"{PREFIX}-adapter-files", elem_classes="nm-drop",
        )  # fmt: skip
        said = html("", elem_id=f"{PREFIX}-adapter-said")
    _connect(prompt, presets, groups)
    return Form(
        prompt, negative, duration, variations, guidance, temperature, adapter, strength, second, second_strength,
        part, compare, melody, adherence, gr.State({}), seed, files, said,
    )  # fmt: skip


def _melody() -> tuple[gr.Audio, gr.Slider]:
    with gr.Accordion(MELODY, open=False, elem_id=f"{PREFIX}-hum"):
        melody = gr.Audio(
            sources=["microphone", "upload"], type="filepath", label="Your melody", elem_id=f"{PREFIX}-melody",
            editable=False, show_label=False, buttons=[],
        )  # fmt: skip
        html(
            f'<p class="nm-fact">Up to {LONGEST_MELODY_S:g} seconds, one tone at a time. What you sing is read on this '
            "machine for its notes; the prompt and the adapter decide the sound.</p>"
        )
        adherence = gr.Slider(
            0, 1, 1, step=0.05, label="How closely it is followed", elem_id=f"{PREFIX}-adherence",
            info="0 only takes its length and tempo",
        )  # fmt: skip
    return melody, adherence


def _chips() -> list[gr.CheckboxGroup]:
    words = PRESETS[0].prompt
    return [
        gr.CheckboxGroup(
            list(group.words), value=[word for word in group.words if word in words], label=group.title,
            elem_id=f"{PREFIX}-chips-{group.id}", elem_classes="nm-chips",
        )
        for group in CHIPS
    ]  # fmt: skip


def _advanced() -> tuple[gr.Slider, gr.Slider, gr.Textbox, gr.Dropdown, gr.Slider, SeedRow]:
    with gr.Accordion("Advanced", open=False, elem_id=f"{PREFIX}-advanced"):
        with gr.Row():
            guidance = gr.Slider(
                1, 8, 3, step=0.1, label="Guidance", info="higher keeps closer to the prompt",
                elem_id=f"{PREFIX}-guidance",
            )  # fmt: skip
            temperature = gr.Slider(
                0.3, 1.5, 1, step=0.05, label="Temperature", info="higher is more adventurous",
                elem_id=f"{PREFIX}-temperature",
            )  # fmt: skip
        negative = gr.Textbox(
            "", label="Negative prompt", info="what to steer away from", lines=1, elem_id=f"{PREFIX}-negative"
        )
        with gr.Row():
            second = gr.Dropdown(seconds_of({}), value="", label="Second adapter", elem_id=f"{PREFIX}-second")
            second_strength = gr.Slider(
                0, STRONGEST, 0.5, step=0.05, label="Strength of the second", elem_id=f"{PREFIX}-second-strength",
                info="added to the first",
            )  # fmt: skip
        seed = SeedRow.build(PREFIX)
    return guidance, temperature, negative, second, second_strength, seed


def _connect(prompt: gr.Textbox, presets: list[gr.Button], groups: list[gr.CheckboxGroup]) -> None:
    """Chips and prompt are one thing seen twice, kept together in the browser."""
    for button, preset in zip(presets, PRESETS, strict=True):
        button.click(None, None, [prompt], js=f"() => {json.dumps(preset.prompt)}", **QUIET)
    words = json.dumps([{"words": group.words, "exclusive": group.exclusive} for group in CHIPS])
    for index, group in enumerate(groups):
        group.input(
            None, [prompt, group], [prompt, group],
            js=f"(text, chosen) => neuromuse.toggleWords({words}[{index}], text, chosen)", api_visibility="private",
        )  # fmt: skip
    prompt.change(None, [prompt], groups, js=f"(text) => neuromuse.wordsIn({words}, text)", api_visibility="private")
    prompt.submit(None, js=f"() => document.querySelector('#{PREFIX}-generate').click()")


def make_request(
    seed: Any, prompt: Any, negative: Any, duration_s: Any, variations: Any, guidance: Any, temperature: Any,
    adapter: Any, strength: Any, second: Any, second_strength: Any, part: Any, compare: Any, adherence: Any,
    melody: Any, owned: Owned,
) -> ViolinRequest:  # fmt: skip
    """The request for the raw values of the page.

    Raises:
        RequestError: for the first value that is wrong.
        AudioError: a melody that is no sound.
    """
    strengths = {str(adapter): strength}
    if second:
        if second == adapter:
            raise RequestError("second adapter", second, "another than the first")
        strengths[str(second)] = second_strength
    known = {name: Path(owned[name].path) for name in strengths if name in owned}
    return ViolinRequest(
        seed=seed, prompt=prompt, negative_prompt=negative or "", duration_s=duration_s, variations=variations,
        guidance_scale=guidance, temperature=temperature, strengths=strengths, part=part, compare=bool(compare),
        adherence=adherence, melody=heard(melody), adapter_paths=known,
    )  # fmt: skip


def heard(melody: Any) -> Waveform | None:
    """The recording, if there is one.

    Raises:
        RequestError: it is too long.
        AudioError: it is no sound.
    """
    if not melody:
        return None
    path = Path(melody["path"])
    if not path.is_file():
        raise AudioError("The recording of the melody is no longer kept; record it again.")
    length_s = io.probe(path, max_seconds=3600).duration_s
    if length_s > LONGEST_MELODY_S:
        raise RequestError("melody", f"{length_s:.1f} s", f"at most {LONGEST_MELODY_S:g} s of singing or playing")
    return io.read(path).mono()


def values(request: ViolinRequest) -> list[Any]:
    """A request as `Form.settings`."""
    chosen = [*request.strengths.items(), ("", 0.5)]
    (adapter, strength), (second, second_strength) = (chosen if len(chosen) > 1 else [(BUNDLED_NAME, 0.0), *chosen])[:2]
    return [
        request.prompt, request.negative_prompt, request.duration_s, request.variations, request.guidance_scale,
        request.temperature, adapter, strength, second, second_strength, request.part, request.compare,
        request.adherence,
    ]  # fmt: skip


def restored(values: Mapping[str, Any], owned: Owned) -> tuple[ViolinRequest, list[str]]:
    """The request of an exported file without what has to be given again, and sentences that say what that is.

    Raises:
        RequestError: a value is wrong.
    """
    known, missing = dict(values), list[str]()
    if known.pop("has_melody", False):
        missing.append("It followed a melody of yours, which is not in the file: record or drop it again.")
    strengths = dict(known.get("strengths") or {})
    lost = [name for name in strengths if name != BUNDLED_NAME and name not in owned]
    if lost:
        missing.append(f"Its adapter {lost[0]!r} is not here: drop it under “An adapter of your own”.")
        strengths = {name: value for name, value in strengths.items() if name not in lost} or {BUNDLED_NAME: 1.0}
    known["strengths"] = strengths
    paths = {name: Path(owned[name].path) for name in strengths if name in owned}
    return ViolinRequest.from_dict(known, None, paths), missing
