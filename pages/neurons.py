"""Neurons: click a glowing map, and the loop becomes what those neurons hear best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from backend.instruments.neurons.request import NeuronsRequest
from pages import neurons_form as form_of
from pages import neurons_show as show
from pages.neurons_form import PREFIX, Form
from pages.neurons_hands import Hands
from pages.neurons_live import Live
from pages.parts import Desk, Page, html
from pages.runner import QUIET
from pages.theme import dress

ID = NeuronsRequest.instrument_id
ROOT = Path(__file__).resolve().parent.parent
EXPLANATIONS = (ROOT / "docs" / "neurons.md", ROOT / "checkpoints" / ID / "README.md")
INTRO = (
    '<div class="nm-intro"><h2>Neurons</h2><p>An artificial ear listens to a loop. Click a cluster on its map, and '
    "pass after pass the loop turns into what those neurons hear best.</p></div>"
)


def build(desk: Desk) -> None:
    """Lay out the tab."""
    tab = gr.context.Context.block
    html(INTRO)
    with gr.Column(elem_classes=["nm-panel", "nm-stage-panel"]):
        html(show.stage(), elem_id=f"{PREFIX}-stage")
        status = html("", elem_id=f"{PREFIX}-status")
        heard, chart = html("", elem_id=f"{PREFIX}-heard"), html("", elem_id=f"{PREFIX}-chart")
        said = gr.Textbox(
            "", label="What the stage says", elem_id=f"{PREFIX}-said", elem_classes="nm-unseen", interactive=True
        )
    with gr.Row(elem_classes="nm-columns", equal_height=False):
        with gr.Column(scale=6, min_width=320, elem_classes="nm-panel"):
            html('<h3 class="nm-title">What they shall hear</h3><nm-targets></nm-targets>', elem_id=f"{PREFIX}-targets")
            knobs, way = form_of.build_knobs()
        with gr.Column(scale=5, min_width=320, elem_classes="nm-panel"):
            html('<h3 class="nm-title">The loop and the ear</h3>')
            network, start, upload, tempo, bars = form_of.build_loop()
            html('<h3 class="nm-title">Kept loops and recordings</h3>')
            kept = html(show.keepsakes([]), elem_id=f"{PREFIX}-kept")
            html("<nm-recordings></nm-recordings>", elem_id=f"{PREFIX}-recordings")
    live = gr.State(None)
    _why(live)
    with _folded("MIDI and keyboard", "midi"):
        html(show.help_tables())
    with _folded("How it works, model card, limits", "about"):
        gr.Markdown(explanation(), header_links=False, elem_classes="nm-prose")
    form = Form(network, start, upload, tempo, bars, knobs, way)
    Hands(desk, form, said, heard, chart, status, kept, live).wire(tab)


def _folded(title: str, name: str) -> gr.Accordion:
    return gr.Accordion(title, open=False, elem_id=f"{PREFIX}-{name}", elem_classes="nm-panel")


def _why(live: gr.State) -> None:
    """The figures that explain a loop, drawn when they are looked at."""
    with _folded("Why does this sound like that?", "why") as why:
        html('<p class="nm-fact">How much the chosen neurons made of each pass, and the loop at the start and now.</p>')
        look = gr.Button("Look again", elem_id=f"{PREFIX}-look", size="sm")
        with gr.Group(visible=False, elem_classes="nm-pictures") as pictures:
            curve = gr.Plot(label="Activation", show_label=False, elem_id=f"{PREFIX}-curve")
            scalograms = gr.Plot(label="Scalograms", show_label=False, elem_id=f"{PREFIX}-scalograms")
    drawn = [pictures, curve, scalograms]
    look.click(_pictures, live, drawn, **QUIET)
    why.expand(_pictures, live, drawn, **QUIET)


def _pictures(live: Live | None) -> list[Any]:
    """Activation of every pass, and the scalograms of the start and of the loop as it is."""
    if live is None or live.start is None or live.loop is None:
        return [gr.update(visible=False), None, None]
    from backend import plots  # here, because plotly and librosa would add seconds to the start of the server

    curve = gr.update(visible=False)
    if live.curve:
        passes = [float(number) for number in range(1, len(live.curve) + 1)]
        curve = gr.update(value=dress(plots.activation_curve(passes, {"targets": live.curve})), visible=True)
    return [gr.update(visible=True), curve, dress(plots.scalograms(live.start, live.loop), height=420)]


def explanation() -> str:
    """How it works, then the model card; what is not there is said."""
    texts = [path.read_text(encoding="utf-8") for path in EXPLANATIONS if path.is_file()]
    return "\n\n---\n\n".join(texts) or "The model card is not installed; see `docs/` in the repository."


SUMMARY = "Click a glowing map of an artificial ear, and a loop turns live into what those neurons hear best."
PAGE = Page(ID, "Neurons", SUMMARY, build)
