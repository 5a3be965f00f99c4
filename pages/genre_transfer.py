"""Genre transfer: one clip's song in another clip's sound, heard beside what it was made of."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from backend.contract import Request, Result
from backend.errors import AudioError, NeuromuseError
from backend.instruments.genre_transfer.request import UPLOAD, GenreTransferRequest
from pages import genre_transfer_form as form_of
from pages import genre_transfer_show as show
from pages.genre_transfer_clips import Clips
from pages.genre_transfer_form import ACTIONS, PLACES, PREFIX, Owned
from pages.parts import Desk, Page, html, note, restore, sentence
from pages.runner import QUIET, Runner, Update

if TYPE_CHECKING:
    from backend.instruments.genre_transfer.instrument import WorkInProgress

ID = GenreTransferRequest.instrument_id
ROOT = Path(__file__).resolve().parent.parent
EXPLANATIONS = (ROOT / "docs" / f"{ID}.md", ROOT / "checkpoints" / ID / "README.md")
KEPT_RESULTS = 6  # three sounds of up to five minutes each
INTRO = (
    '<div class="nm-intro"><h2>Genre transfer</h2><p>One clip keeps its song, another gives it its sound. Two are '
    "chosen already: press Transfer, then change one of them.</p></div>"
)


def build(desk: Desk) -> None:
    """Lay out the tab."""
    tab = gr.context.Context.block
    html(INTRO)
    with gr.Column(elem_classes="nm-panel"):
        clips = Clips.build()
    with gr.Row(elem_classes="nm-columns", equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_classes="nm-panel"):
            html('<h3 class="nm-title">How it is done</h3>')
            form = form_of.build()
        with gr.Column(scale=6, min_width=320, elem_classes=["nm-panel", "nm-result", "nm-long"]):
            runner = Runner(*Runner.controls(PREFIX, ACTIONS["studio"]))
            work = html("", elem_id=f"{PREFIX}-work")
            made = html("", elem_id=f"{PREFIX}-made")
            with gr.Group(visible=False, elem_id=f"{PREFIX}-pictures", elem_classes="nm-pictures") as pictures:
                plot = gr.Plot(label="Before and after", show_label=False, elem_id=f"{PREFIX}-spectrograms")
            dropped = gr.File(
                label="Drop a file made here to restore its settings", file_types=[".wav", ".flac", ".mp3"],
                type="filepath", elem_id=f"{PREFIX}-restore", elem_classes="nm-drop", height=150,
            )  # fmt: skip
    with gr.Accordion(
        "How it works, model card, limits", open=False, elem_id=f"{PREFIX}-about", elem_classes="nm-panel"
    ):
        gr.Markdown(explanation(), header_links=False, elem_classes="nm-prose")

    fresh, old = gr.State(None), gr.State(None)  # what can be drawn, and the place of what is drawn
    choices = [clips.content.choice, clips.style.choice]
    started = runner.start(
        desk, ID, form.seed, [*choices, clips.owned, *form.inputs], partial(form_of.make_request, desk.exports),
        [work, made, fresh], partial(_deliver, desk, work, made, fresh), partial(_preview, desk, work),
    )  # fmt: skip
    # Not part of the job's event, which must be over before Transfer works again: pictures take a second.
    started.then(_pictures, [fresh, old], [pictures, plot, old], **QUIET)
    form.method.change(form_of.switch, form.method, [form.studio, form.classic, runner.generate], queue=False, **QUIET)
    form.history.expand(_networks, None, form.network, **QUIET)
    restored = dropped.upload(
        partial(_restore, desk),
        [dropped, *choices, clips.owned],
        [*choices, *form.inputs, form.seed.value, form.seed.locked, runner.status, dropped],
        **QUIET,
    )
    clips.wire(desk, tab, restored)


def explanation() -> str:
    """How it works, then the model card; what is not there is said."""
    texts = [path.read_text(encoding="utf-8") for path in EXPLANATIONS if path.is_file()]
    return "\n\n---\n\n".join(texts) or "The model card is not installed; see `docs/` in the repository."


def _deliver(
    desk: Desk, work: gr.HTML, made: gr.HTML, fresh: gr.State, session: str, asked: Request, result: Result
) -> Update:
    """Save the result and show its player."""
    saved = desk.exports.save(session, result, shelf=ID, kept=KEPT_RESULTS)
    titles = {place: getattr(asked, place) for place in PLACES}
    titles = {place: "your sound" if name == UPLOAD else name for place, name in titles.items()}
    return {
        work: "",
        made: show.made(saved, result, titles),
        fresh: show.drawn(result, saved.clips[0].duration_s) | {"token": saved.token},
    }


def _preview(desk: Desk, work: gr.HTML, session: str, asked: Request, look: WorkInProgress) -> Update:
    """What is being made, to look at and where possible to hear."""
    saved = None
    if look.sound is not None:
        try:
            saved = desk.exports.save(session, Result((look.sound,)), shelf=f"{PREFIX} work", kept=3)
        except AudioError:  # the disk is full: the result will say so
            saved = None
    return {work: show.work(look, saved)}


def _pictures(fresh: Any, old: Any) -> tuple[Any, Any, Any]:
    """The spectrograms of the newest result, once."""
    if not fresh or fresh["token"] == old:
        return gr.skip(), gr.skip(), gr.skip()
    return gr.update(visible=True), show.pictures(fresh), fresh["token"]


def _networks() -> Any:
    """Whose features classic may compare, looked up when the history is opened: by then torch is there."""
    import torch

    from backend.instruments.genre_transfer.classic import VGG_FILE

    return gr.update(choices=form_of.networks((Path(torch.hub.get_dir()) / "checkpoints" / VGG_FILE).is_file()))


def _restore(desk: Desk, path: str | None, content: str, style: str, owned: Owned) -> list[Any]:
    """Every field from a dropped file, with its seed locked; or why not."""
    keep: list[Any] = [gr.skip()] * (len(PLACES) + len(form_of.values(GenreTransferRequest())) + 2)
    if path is None:
        return [*keep, gr.skip(), gr.skip()]
    missing: list[str] = []

    def make(values: Any) -> GenreTransferRequest:
        request, places = form_of.restored(values, owned, desk.exports)
        missing.extend(places)
        return request

    try:
        request: Any = restore(path, GenreTransferRequest, make)
    except NeuromuseError as error:
        return [*keep, sentence(error), None]
    said = note("Settings restored; the button makes the same music again.")
    if missing:
        own = " and ".join(f"“{PLACES[place]}”" for place in missing)
        said = note(f"Settings restored. {own} was a sound of your own, which is not in the file: drop it again.")
    chosen = [
        now if place in missing else getattr(request, place)
        for place, now in zip(PLACES, (content, style), strict=True)
    ]
    return [*chosen, *form_of.values(request), request.seed, True, said, None]


SUMMARY = "One clip's song in another clip's sound, with a player that switches between before and after."
PAGE = Page(ID, "Genre transfer", SUMMARY, build)
