"""Text to music: a sentence becomes a clip, by MusicLM."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import gradio as gr

from backend.contract import Request
from backend.errors import NeuromuseError
from backend.instruments.text_to_music.request import STAGES, TextToMusicRequest
from pages.parts import Desk, Page, SeedRow, html, note, restore, sentence
from pages.words import CHIPS, PRESETS, Preset, surprise
from pages.workbench import Workbench

ID = TextToMusicRequest.instrument_id
PREFIX = "ttm"
ROOT = Path(__file__).resolve().parent.parent
STAGE_TITLES = {"bundled": "Bundled (fast)", "package": "audiolm-pytorch's three stages (slow)"}
EXPLANATIONS = (ROOT / "docs" / "text_to_music.md", ROOT / "checkpoints" / ID / "README.md")


def build(desk: Desk) -> None:
    """Lay out the tab."""
    html(
        '<div class="nm-intro"><h2>Text to music</h2><p>Say what should play: instruments, mood, tempo, key, style.</p>'
        "</div>"
    )
    with gr.Row(elem_classes="nm-columns", equal_height=False):
        with gr.Column(scale=6, min_width=320, elem_classes="nm-panel"):
            prompt, dice = _prompt()
            presets = _presets()
            groups = _chips()
            options, seed = _advanced()
        with gr.Column(scale=5, min_width=320, elem_classes="nm-panel nm-result"):
            bench = Workbench.build(PREFIX, "Generate")
            dropped = gr.File(
                label="Drop a file made here to restore its settings", type="filepath",
                file_types=[".wav", ".flac", ".mp3", ".ogg", ".mid"], elem_id=f"{PREFIX}-restore",
                elem_classes="nm-drop", height=150,
            )  # fmt: skip
    with gr.Accordion(
        "How it works, model card, limits", open=False, elem_id=f"{PREFIX}-about", elem_classes="nm-panel"
    ):
        gr.Markdown(explanation(), header_links=False, elem_classes="nm-prose")

    fields = [prompt, *options]
    bench.wire(desk, ID, seed, fields, make_request)
    prompt.submit(None, js=f"() => document.querySelector('#{PREFIX}-generate').click()")
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    dice.click(lambda: surprise(random.Random()), None, prompt, **quiet)
    for button, preset in zip(presets, PRESETS, strict=True):
        button.click(_preset_values(preset), None, [prompt, options[3], options[4], options[0]], **quiet)

    # Chips and prompt are one thing seen twice, kept together in the browser: no round trip while a job has the cores.
    words = json.dumps([{"words": group.words, "exclusive": group.exclusive} for group in CHIPS])
    for index, group in enumerate(groups):
        group.input(
            None, [prompt, group], [prompt, group],
            js=f"(text, chosen) => neuromuse.toggleWords({words}[{index}], text, chosen)", api_visibility="private",
        )  # fmt: skip
    prompt.change(None, [prompt], groups, js=f"(text) => neuromuse.wordsIn({words}, text)", api_visibility="private")

    dropped.upload(
        _restore, dropped, [*fields, seed.value, seed.locked, bench.status, dropped], show_progress="hidden",
        api_visibility="private",
    )  # fmt: skip


def make_request(
    seed: Any,
    prompt: Any,
    negative: Any,
    duration_s: Any,
    variations: Any,
    guidance: Any,
    temperature: Any,
    stages: Any,
) -> TextToMusicRequest:
    """The request for the raw values of the page.

    Raises:
        RequestError: for the first value that is wrong.
    """
    return TextToMusicRequest(
        seed=seed, prompt=prompt, negative_prompt=negative or "", duration_s=duration_s, variations=variations,
        guidance_scale=guidance, temperature=temperature, stages=stages,
    )  # fmt: skip


def explanation() -> str:
    """How it works, then the model card; what is not there is said."""
    texts = [path.read_text(encoding="utf-8") for path in EXPLANATIONS if path.is_file()]
    return "\n\n---\n\n".join(texts) or "The model card is not installed; see `docs/` in the repository."


def _prompt() -> tuple[gr.Textbox, gr.Button]:
    """The prompt and its dice."""
    prompt = gr.Textbox(
        PRESETS[0].prompt, label="Prompt", lines=2, max_lines=4, elem_id=f"{PREFIX}-prompt",
        placeholder="slow, sad violin over soft piano, minor key, 70 bpm",
    )  # fmt: skip
    return prompt, gr.Button("Surprise me", size="sm", elem_id=f"{PREFIX}-dice")


def _presets() -> list[gr.Button]:
    html('<h3 class="nm-label">Presets</h3>')
    with gr.Row(elem_classes="nm-presets", elem_id=f"{PREFIX}-presets"):
        return [gr.Button(preset.title, size="sm", min_width=80) for preset in PRESETS]


def _chips() -> list[gr.CheckboxGroup]:
    """One group of chips a kind, those of the first preset chosen."""
    words = PRESETS[0].prompt
    return [
        gr.CheckboxGroup(
            list(group.words),
            value=[word for word in group.words if word in words],
            label=group.title,
            elem_id=f"{PREFIX}-chips-{group.id}",
            elem_classes="nm-chips",
        )
        for group in CHIPS
    ]


def _advanced() -> tuple[list[Any], SeedRow]:
    """Sampling options in the order of `make_request`, and the seed."""
    with gr.Row():
        duration = gr.Slider(4, 30, 10, step=1, label="Length", info="seconds", elem_id=f"{PREFIX}-duration")
        variations = gr.Slider(1, 4, 1, step=1, label="Variations", info="made at once", elem_id=f"{PREFIX}-variations")
    with gr.Accordion("Advanced", open=False, elem_id=f"{PREFIX}-advanced"):
        with gr.Row():
            guidance = gr.Slider(
                1,
                8,
                3,
                step=0.1,
                label="Guidance",
                info="higher keeps closer to the prompt",
                elem_id=f"{PREFIX}-guidance",
            )
            temperature = gr.Slider(
                0.3, 1.5, 1, step=0.05, label="Temperature", info="higher is more adventurous",
                elem_id=f"{PREFIX}-temperature",
            )  # fmt: skip
        negative = gr.Textbox(
            "", label="Negative prompt", info="what to steer away from", lines=1, elem_id=f"{PREFIX}-negative"
        )
        stages = gr.Radio(
            [(STAGE_TITLES[stage], stage) for stage in STAGES],
            value=STAGES[0],
            label="Stages",
            elem_id=f"{PREFIX}-stages",
        )
        seed = SeedRow.build(PREFIX)
    return [negative, duration, variations, guidance, temperature, stages], seed


def _preset_values(preset: Preset) -> Any:
    return lambda: (preset.prompt, preset.guidance_scale, preset.temperature, "")


def _values(request: Request) -> list[Any]:
    """A request as the page's fields, in the order of `build`."""
    names = ("prompt", "negative_prompt", "duration_s", "variations", "guidance_scale", "temperature", "stages")
    return [getattr(request, name) for name in names]


def _restore(path: str | None) -> list[Any]:
    """Every field from a dropped file, with its seed locked; or why not."""
    keep = [gr.skip()] * 9
    if path is None:
        return [*keep, gr.skip(), gr.skip()]
    try:
        request = restore(path, TextToMusicRequest)
    except NeuromuseError as error:
        return [*keep, sentence(error), None]
    return [
        *_values(request),
        request.seed,
        True,
        note("Settings restored; Generate makes the same music again."),
        None,
    ]


SUMMARY = "A sentence becomes a clip of music, made by a MusicLM trained for this project."
PAGE = Page(ID, "Text to music", SUMMARY, build)
