"""Calm: the road between two pieces, new pieces, and whole sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from backend.audio.waveform import Waveform
from backend.contract import Request, Result
from backend.errors import NeuromuseError, RequestError
from backend.instruments.calm.request import CalmRequest, Upload
from backend.instruments.calm.sheet import session_sheet
from backend.settings import Settings
from pages import calm_form, calm_show
from pages.calm_anchors import Anchors
from pages.calm_form import ACTIONS, PREFIX, WHAT
from pages.calm_magenta import Imported, Magenta, models
from pages.parts import Desk, Page, html, note, restore, sentence
from pages.runner import QUIET, Runner, Update
from pages.theme import dress

ID = CalmRequest.instrument_id
ROOT = Path(__file__).resolve().parent.parent
EXPLANATIONS = (ROOT / "docs" / "calm.md", ROOT / "checkpoints" / ID / "README.md")
KEPT_SESSIONS = 3  # an hour of sound is 600 MB
INTRO = """<div class="nm-intro"><h2>Calm</h2><p>Two pieces become a road between them, one becomes its relatives,
several become a session of up to an hour that never jumps and never repeats itself literally.</p>
<p class="nm-caution" role="note"><b>Calm-styled music, not treatment.</b> No effect on health is claimed or has been
tested, and music can do harm too: it may stir up memories, sadness or unease. Start softly, agree on a sign to stop,
and stop at once when it is unwelcome. Not while driving.</p></div>"""


def build(desk: Desk) -> None:
    """Lay out the tab."""
    tab = gr.context.Context.block
    html(INTRO)
    with gr.Column(elem_classes="nm-panel"):
        html('<h3 class="nm-title">1 · Two pieces</h3>')
        anchors = Anchors.build()
    with gr.Row(elem_classes="nm-columns", equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="nm-panel"):
            html('<h3 class="nm-title">2 · What becomes of them</h3>')
            form = calm_form.build(models(desk.settings, {}))
            magenta = Magenta.build(desk.settings)
        with gr.Column(scale=6, min_width=320, elem_classes=["nm-panel", "nm-result", "nm-long"]):
            runner = Runner(*Runner.controls(PREFIX, ACTIONS["path"]))
            shown = {mode: Shown.build(mode) for mode in WHAT}
            dropped = gr.File(
                label="Drop a file made here to restore its settings", file_types=[".wav", ".flac", ".mp3", ".mid"],
                type="filepath", elem_id=f"{PREFIX}-restore", elem_classes="nm-drop", height=150,
            )  # fmt: skip
    with gr.Accordion(
        "How it works, model card, limits", open=False, elem_id=f"{PREFIX}-about", elem_classes="nm-panel"
    ):
        gr.Markdown(explanation(), header_links=False, elem_classes="nm-prose")

    magenta.wire(desk, form.model)
    fields = [anchors.first.choice, anchors.second.choice, anchors.uploads, magenta.imported, *form.inputs]
    written = [part for made in shown.values() for part in (made.made, made.map)]
    runner.start(
        desk, ID, form.seed, fields, calm_form.make_request, written, partial(_deliver, desk, shown),
        partial(_preview, desk, shown),
    )  # fmt: skip
    switched = [*form.panels.values(), *(made.column for made in shown.values()), runner.generate]
    form.what.change(_switch, form.what, switched, queue=False, **QUIET)
    pair = [anchors.first.choice, anchors.second.choice]
    restored = dropped.upload(
        partial(_restore, settings=desk.settings),
        [dropped, *pair, form.through, anchors.uploads, magenta.imported],
        [*pair, *form.inputs, form.seed.value, form.seed.locked, runner.status, dropped],
        **QUIET,
    )
    anchors.wire(desk, form, tab, restored)


@dataclass(frozen=True)
class Shown:
    """Where the results of one kind are heard and seen."""

    column: gr.Column
    made: gr.HTML
    map: gr.Plot

    @classmethod
    def build(cls, mode: str) -> Shown:
        """Lay it out; only the first kind is visible."""
        with gr.Column(visible=mode == "path", elem_classes="nm-pictures") as column:
            made = html("", elem_id=f"{PREFIX}-made-{mode}")
            plot = gr.Plot(label="Map", show_label=False, visible=False, elem_id=f"{PREFIX}-map-{mode}")
        return cls(column, made, plot)


def explanation() -> str:
    """How it works, then the model card; what is not there is said."""
    texts = [path.read_text(encoding="utf-8") for path in EXPLANATIONS if path.is_file()]
    return "\n\n---\n\n".join(texts) or "The model card is not installed; see `docs/` in the repository."


def _switch(what: str) -> list[Any]:
    """Panels and results of one kind, and what the button says."""
    seen = [gr.update(visible=mode == what) for mode in WHAT]
    return [*seen, *seen, gr.update(value=ACTIONS[what])]


def _deliver(desk: Desk, shown: Mapping[str, Shown], session: str, asked: Request, result: Result) -> Update:
    """Save the result and show its players and its map."""
    from backend import plots  # here, because plotly would add seconds to the start of the server

    mode = str(getattr(asked, "mode", "path"))
    here = shown[mode]
    if mode == "session":
        sheet = session_sheet(result)
        saved = desk.exports.save(session, result, shelf=mode, kept=KEPT_SESSIONS, sheet=sheet)
        made = calm_show.session(saved, result)
    else:
        saved = desk.exports.save(session, result, shelf=mode)
        made = calm_show.road(saved, result) if mode == "path" else calm_show.relatives(saved, result)
    arrays = result.arrays
    if "map_corpus" not in arrays:  # an imported model has none
        return {here.made: made, here.map: gr.update(visible=False)}
    titles = [str(title) for title in arrays["anchor_titles"]]
    figure = plots.latent_map(
        arrays["map_corpus"], arrays["map_path"], arrays["map_anchors"], titles, joined=mode != "sample"
    )
    return {here.made: made, here.map: gr.update(value=dress(figure, height=320), visible=True)}


def _preview(desk: Desk, shown: Mapping[str, Shown], session: str, asked: Request, sound: Waveform) -> Update:
    """The beginning of a session while the rest is being played; of other results there is nothing to see yet."""
    if getattr(asked, "mode", "") != "session":
        return {}
    saved = desk.exports.save(session, Result((sound,)), shelf="preview", kept=3)
    return {shown["session"].made: calm_show.beginning(saved)}


def _restore(
    path: str | None, first: str, second: str, through: list[str], uploads: dict[str, Upload], imported: Imported,
    settings: Settings,
) -> list[Any]:  # fmt: skip
    """Every field from a dropped file, with its seed locked; or why not."""
    keep = [gr.skip()] * (len(calm_form.values(CalmRequest(), first, second, through)) + 2)
    if path is None:
        return [*keep, gr.skip(), gr.skip()]
    try:
        brought = tuple(uploads.values())
        request: Any = restore(path, CalmRequest, lambda values: CalmRequest.from_dict(values, brought))
        if request.model not in [name for _, name in models(settings, imported)]:
            raise RequestError("model", request.model, "a checkpoint to be imported again before the file is dropped")
    except NeuromuseError as error:
        return [*keep, sentence(error), None]
    said = note("Settings restored; the button makes the same music again.")
    return [*calm_form.values(request, first, second, through), request.seed, True, said, None]


SUMMARY = "A road between two calm pieces, new pieces like one, and sessions of up to an hour."
PAGE = Page(ID, "Calm", SUMMARY, build)
