"""Brain: music read from an fMRI recording, beside the brain that heard it. A simulated listener comes with it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from backend.contract import Request, Result
from backend.errors import NeuromuseError
from backend.instruments.brain.layout import N_TEST
from backend.instruments.brain.request import BrainRequest
from pages import brain_cortex, brain_show
from pages import brain_form as form_of
from pages.brain_cortex import CortexPanel
from pages.brain_form import PREFIX
from pages.brain_scan import ScanPanel
from pages.exports import MAP
from pages.parts import Desk, Page, html, note, restore, sentence
from pages.runner import QUIET, Runner, Update

ID = BrainRequest.instrument_id
ROOT = Path(__file__).resolve().parent.parent
EXPLANATIONS = (ROOT / "docs" / f"{ID}.md", ROOT / "checkpoints" / ID / "README.md")
KEPT_RESULTS = 6  # six sounds each
ACTION = "Play it to the simulated listener"
INTRO = f"""<div class="nm-intro"><h2>Brain</h2><p>A piece is played, a scan is read, and music is made from what was
read. A simulated listener is ready: choose one of {N_TEST} pieces and press the button.</p>
<p class="nm-caution" role="note"><b>This is not mind reading.</b> A decoder fits one brain, needs hours of that
person's scans while they listen, and can only say which of some pieces a scan resembles. The listener on this page is
<b>simulated: no human was scanned</b>. Nothing here is a diagnosis.</p></div>"""


def build(desk: Desk) -> None:
    """Lay out the tab."""
    html(INTRO)
    with gr.Row(elem_classes="nm-columns", equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="nm-panel"):
            form = form_of.build()
            with gr.Accordion("A scan of your own", open=False, elem_id=f"{PREFIX}-scan"):
                scan = ScanPanel.build(desk.settings)
        with gr.Column(scale=6, min_width=320, elem_classes=["nm-panel", "nm-result", "nm-long"]):
            runner = Runner(*Runner.controls(PREFIX, ACTION))
            made = html("", elem_id=f"{PREFIX}-made")
            cortex = CortexPanel.build()
            dropped = gr.File(
                label="Drop a file made here to restore its settings", file_types=[".wav", ".flac", ".mp3"],
                type="filepath", elem_id=f"{PREFIX}-restore", elem_classes="nm-drop", height=150,
            )  # fmt: skip
    with gr.Accordion(
        "How it works, model card, limits", open=False, elem_id=f"{PREFIX}-about", elem_classes="nm-panel"
    ):
        gr.Markdown(explanation(), header_links=False, elem_classes="nm-prose")

    written = [made, cortex.fresh]
    deliver = partial(_deliver, desk, made, cortex.fresh)
    played = runner.start(desk, ID, form.seed, form.inputs, form_of.make_request, written, deliver)
    scanned = scan.wire(desk, ID, form, written, deliver)
    cortex.wire(played, scanned)
    dropped.upload(
        _restore, dropped, [*form.inputs, form.seed.value, form.seed.locked, runner.status, dropped], **QUIET
    )


def explanation() -> str:
    """How it works, then the model card; what is not there is said."""
    texts = [path.read_text(encoding="utf-8") for path in EXPLANATIONS if path.is_file()]
    return "\n\n---\n\n".join(texts) or "The model card is not installed; see `docs/` in the repository."


def _deliver(desk: Desk, made: gr.HTML, fresh: gr.State, session: str, asked: Request, result: Result) -> Update:
    """Save the result and show it."""
    saved = desk.exports.save(session, result, shelf=ID, kept=KEPT_RESULTS, volume=brain_cortex.map_file(result))
    stem = brain_show.stem_of(result)
    link = (
        f'<p class="nm-fact nm-links"><span>The map of the cortex</span><a href="{saved.clips[0].url}.{MAP}" '
        f'download="{stem}-map.{MAP}" aria-label="Download the map of the cortex as NIfTI">NIfTI</a></p>'
    )
    return {made: brain_show.made(saved, result) + link, fresh: brain_cortex.kept(result, saved.token)}


def _restore(path: str | None) -> list[Any]:
    """Every field from a dropped file, with its seed locked; or why not."""
    keep: list[Any] = [gr.skip()] * (len(form_of.values(BrainRequest())) + 2)
    if path is None:
        return [*keep, gr.skip(), gr.skip()]
    try:
        request: Any = restore(path, BrainRequest)
    except NeuromuseError as error:
        return [*keep, sentence(error), None]
    said = note("Settings restored; the button makes the same music again.")
    return [*form_of.values(request), request.seed, True, said, None]


SUMMARY = "Music read from an fMRI scan, beside the brain that heard it; a simulated listener to try it on."
PAGE = Page(ID, "Brain", SUMMARY, build)
