"""Violin: the generator with a low-rank adapter over it, heard beside the base, hummed to, and trained on one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from backend.errors import NeuromuseError
from backend.instruments.violin.request import ViolinRequest
from pages import violin_form as form_of
from pages import violin_measures as measures
from pages.parts import Desk, Page, html, note, restore, sentence
from pages.runner import QUIET, Update
from pages.violin_adapters import Owned, added, choices, read_adapter, seconds_of, take
from pages.violin_bench import ViolinBench
from pages.violin_clips import listed
from pages.violin_form import PREFIX, Form
from pages.violin_train import STORAGE, WORD, TrainPanel
from pages.violin_training import FOLDER

ID = ViolinRequest.instrument_id
ROOT = Path(__file__).resolve().parent.parent
EXPLANATIONS = (ROOT / "docs" / f"{ID}.md", ROOT / "checkpoints" / ID / "README.md")
INTRO = """<div class="nm-intro"><h2>Violin</h2><p>A small adapter turns the generator into a violinist, as far as you
like. Describe the line, or hum it; then teach it your own playing.</p></div>"""


def build(desk: Desk) -> None:
    """Lay out the tab."""
    tab: Any = gr.context.Context.block
    html(INTRO)
    token = gr.BrowserState("", storage_key=STORAGE, secret=WORD)
    with gr.Tabs(elem_id=f"{PREFIX}-tabs") as tabs:
        with gr.Tab("Play", id="play", elem_id=f"{PREFIX}-tab-play"):
            form, bench, dropped = _play(desk)
        with gr.Tab("Train your own", id="train", elem_id=f"{PREFIX}-tab-train"):
            panel = TrainPanel.build(desk, token)
        with gr.Tab("How good is it", id="measures", elem_id=f"{PREFIX}-tab-measures") as judged:
            html('<h3 class="nm-title">Adapters of your own</h3>')
            own = html("", elem_id=f"{PREFIX}-own-measures")
            html('<h3 class="nm-title">The adapter that comes with the app</h3>')
            html(measures.bundled(desk.settings), elem_id=f"{PREFIX}-measures")
    with gr.Accordion(
        "How it works, model card, limits", open=False, elem_id=f"{PREFIX}-about", elem_classes="nm-panel"
    ):
        gr.Markdown(explanation(), header_links=False, elem_classes="nm-prose")

    chosen = [form.adapter, form.second, tabs]

    def choose(owned: Owned, name: str) -> Update:
        return _chosen(form, owned, name) | {tabs: gr.Tabs(selected="play")}

    def found(token: Any, owned: Owned) -> Update:
        return _found(desk, form, panel, str(token or ""), owned)

    panel.wire(desk)
    panel.watch.wire(desk, token, form.owned, chosen, choose)
    seen = [*panel.watch.written, form.owned, form.adapter, form.second, panel.steps.received, panel.steps.second]
    gr.on([tab.select, token.change], found, [token, form.owned], seen, queue=False, **QUIET)
    judged.select(lambda token, owned: measures.own(desk, str(token or ""), owned), [token, form.owned], own, **QUIET)
    dropped.upload(
        _restore, [dropped, form.owned],
        [*form.settings, form.melody, form.seed.value, form.seed.locked, bench.status, dropped], **QUIET,
    )  # fmt: skip


def _play(desk: Desk) -> tuple[Form, ViolinBench, gr.File]:
    """The first inner tab."""
    with gr.Row(elem_classes="nm-columns", equal_height=False):
        with gr.Column(scale=6, min_width=320, elem_classes="nm-panel"):
            form = form_of.build()
        with gr.Column(scale=5, min_width=320, elem_classes="nm-panel nm-result nm-long"):
            bench = ViolinBench.build(PREFIX, "Play")
            dropped = gr.File(
                label="Drop a file made here to restore its settings", type="filepath",
                file_types=[".wav", ".flac", ".mp3", ".ogg", ".mid"], elem_id=f"{PREFIX}-restore",
                elem_classes="nm-drop", height=150,
            )  # fmt: skip
    bench.draw_melody(desk, bench.wire(desk, ID, form.seed, form.inputs, form_of.make_request))

    def brought(request: gr.Request, files: Any, owned: Owned) -> Update:
        return _take(desk, form, str(request.session_hash), files, owned)

    form.files.upload(
        brought, [form.files, form.owned],
        [form.files, form.said, form.owned, form.adapter, form.second], preprocess=False, **QUIET,
    )  # fmt: skip
    return form, bench, dropped


def explanation() -> str:
    """How it works, then the model card; what is not there is said."""
    texts = [path.read_text(encoding="utf-8") for path in EXPLANATIONS if path.is_file()]
    return "\n\n---\n\n".join(texts) or "The model card is not installed; see `docs/` in the repository."


def _chosen(form: Form, owned: Owned, name: str | None) -> Update:
    """Every adapter as a choice; ``name`` chosen, if one is."""
    first = gr.update(choices=choices(owned), value=name) if name else gr.update(choices=choices(owned))
    return {form.adapter: first, form.second: gr.update(choices=seconds_of(owned))}


def _take(desk: Desk, form: Form, session: str, files: Any, owned: Owned) -> Update:
    """An adapter that was dropped becomes the choice; or why not."""
    try:
        name, own = take(desk, session, files or [])
    except NeuromuseError as error:
        return {form.files: None, form.said: sentence(error)}
    now, name = added(owned, name, own)
    licence = f" Its recordings: {own.licence}." if own.licence else ""
    said = note(f"“{name}” is loaded and chosen.{licence}")
    return {form.files: None, form.said: said, form.owned: now, **_chosen(form, now, name)}


def _found(desk: Desk, form: Form, panel: TrainPanel, token: str, owned: Owned) -> Update:
    """The training that this browser remembers, and its adapter among the choices when it is ready."""
    if not token:
        return {panel.watch.seen: {}}
    update = panel.watch.look(desk, token, {})
    try:
        state = desk.trainings.status(token).state
        if state == "ready":
            there = listed(desk.trainings.folder(token))
            shown = {panel.steps.received: note(there), panel.steps.second: gr.update(visible=True)}
            return update | (shown if there else {})
        if state != "done":
            return update
        folder = desk.trainings.folder(token) / FOLDER
        if any(own.path == str(folder) for own in owned.values()):
            return update
        name, own = read_adapter(folder, desk.settings)
    except NeuromuseError:
        return update
    now, _ = added(owned, name, own)
    return update | {form.owned: now} | _chosen(form, now, None)


def _restore(path: str | None, owned: Owned) -> list[Any]:
    """Every field from a dropped file, with its seed locked; or why not."""
    keep: list[Any] = [gr.skip()] * (len(form_of.values(ViolinRequest(prompt="a line"))) + 3)
    if path is None:
        return [*keep, gr.skip(), gr.skip()]
    missing: list[str] = []

    def make(values: Any) -> ViolinRequest:
        request, sentences = form_of.restored(values, owned)
        missing.extend(sentences)
        return request

    try:
        request: Any = restore(path, ViolinRequest, make)
    except NeuromuseError as error:
        return [*keep, sentence(error), None]
    said = " ".join(["Settings restored.", *missing] if missing else ["Settings restored; Play makes the same again."])
    return [*form_of.values(request), None, request.seed, True, note(said), None]


SUMMARY = "A small adapter turns the generator into a violinist: hum a melody, compare, train it on your own playing."
PAGE = Page(ID, "Violin", SUMMARY, build)
