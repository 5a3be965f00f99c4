"""The two pieces of Calm: chosen or uploaded, played at once, with a piano roll and what the reader remarked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from backend.contract import Done, Failed, Result
from backend.errors import NeuromuseError, RequestError
from backend.instruments.calm.request import MAX_MIDI_BYTES, CalmRequest, Upload
from pages import calm_form, calm_show
from pages.calm_form import PREFIX, Uploads
from pages.parts import Desk, Story, html, sentence
from pages.runner import QUIET, Update

log = logging.getLogger(__name__)

KEPT_UPLOADS = 12
TITLE_LENGTH = 40

Pair = dict[str, Any]
"""Place → name of the piece that was heard there last."""


@dataclass(frozen=True)
class Anchor:
    """One of the two pieces."""

    place: str
    choice: gr.Dropdown
    file: gr.File
    said: gr.HTML
    view: gr.HTML

    @classmethod
    def build(cls, place: str, label: str, name: str) -> Anchor:
        """Lay it out; ``place`` tells its job and its files from those of the other."""
        with gr.Column(min_width=280):
            choice = gr.Dropdown(calm_form.pieces({}), value=name, label=label, elem_id=f"{PREFIX}-{place}")
            file = gr.File(
                label="or drop a MIDI file here", file_types=[".mid", ".midi"], type="filepath", height=110,
                elem_id=f"{PREFIX}-{place}-file", elem_classes="nm-drop",
            )  # fmt: skip
            said = html("", elem_id=f"{PREFIX}-{place}-said")
            view = html("", elem_id=f"{PREFIX}-{place}-view")
        return cls(place, choice, file, said, view)


@dataclass(frozen=True)
class Anchors:
    """Both pieces, and the files this visitor brought."""

    first: Anchor
    second: Anchor
    uploads: gr.State
    pair: gr.State
    opened: gr.State

    @classmethod
    def build(cls) -> Anchors:
        """Lay them out side by side."""
        with gr.Row(elem_classes="nm-anchors"):
            first = Anchor.build("first", "First piece", calm_form.FIRST)
            second = Anchor.build("second", "Second piece", calm_form.SECOND)
        pair = {"first": calm_form.FIRST, "second": calm_form.SECOND}
        return cls(first, second, gr.State({}), gr.State(pair), gr.State(False))

    def wire(self, desk: Desk, form: calm_form.Form, tab: Any, restored: Any) -> None:
        """Connect the choices and the files; both play when the tab is first opened and after a restore."""
        limit = desk.settings.queue_size + 16
        more: dict[str, Any] = {"preprocess": False, "concurrency_limit": limit, **QUIET}

        def both(
            request: gr.Request, opened: bool, first: Any, second: Any, uploads: Uploads, bars: Any, sound: Any
        ) -> Iterator[Update]:
            yield {self.opened: True}
            for anchor, name in () if opened else ((self.first, first), (self.second, second)):
                yield from _listen(desk, anchor, name, uploads, bars, sound, request)

        def again(
            request: gr.Request, first: Any, second: Any, uploads: Uploads, bars: Any, sound: Any
        ) -> Iterator[Update]:
            yield from both(request, False, first, second, uploads, bars, sound)

        heard = [self.uploads, form.bars, form.sound]
        chosen = [self.opened, self.first.choice, self.second.choice]
        views = [self.opened, self.first.said, self.first.view, self.second.said, self.second.view]
        tab.select(both, [*chosen, *heard], views, **more)
        restored.then(again, [*chosen[1:], *heard], views, **more)
        self._wire(desk, self.first, self.second, form.through, heard, more)
        self._wire(desk, self.second, self.first, form.through, heard, more)

    def _wire(
        self, desk: Desk, anchor: Anchor, other: Anchor, through: Any, heard: list[Any], more: dict[str, Any]
    ) -> None:
        """Connect one of the two; a session through both as they were becomes one through both as they are."""

        def chosen(
            request: gr.Request, name: Any, pair: Pair, passed: Any, uploads: Uploads, bars: Any, sound: Any
        ) -> Iterator[Update]:
            for update in _listen(desk, anchor, name, uploads, bars, sound, request):
                if anchor.view in update:
                    now = pair | {anchor.place: name}
                    follows = list(now.values()) if passed == list(pair.values()) else passed
                    update |= {self.pair: now, through: follows}
                yield update

        def uploaded(
            request: gr.Request,
            file: Any,
            beside: Any,
            pair: Pair,
            passed: Any,
            uploads: Uploads,
            bars: Any,
            sound: Any,
        ) -> Iterator[Update]:
            """A dropped file becomes a choice of both pieces once it could be read and played."""
            try:
                upload = take(file)
            except NeuromuseError as error:
                yield {anchor.said: sentence(error), anchor.file: None}
                return
            known = dict(list({**uploads, upload.key: upload}.items())[-KEPT_UPLOADS:])
            choices = calm_form.pieces(known)
            for update in chosen(request, upload.key, pair, passed, known, bars, sound):
                if anchor.view in update:
                    update |= {
                        self.uploads: known,
                        anchor.choice: gr.update(choices=choices, value=upload.key),
                        other.choice: gr.update(choices=choices, value=beside),
                        through: gr.update(choices=choices, value=update[through]),
                    }
                yield update | {anchor.file: None}

        given = [self.pair, through, *heard]
        written = [anchor.said, anchor.view, self.pair, through]
        anchor.choice.input(chosen, [anchor.choice, *given], written, **more)
        written += [anchor.file, anchor.choice, other.choice, self.uploads]
        anchor.file.upload(uploaded, [anchor.file, other.choice, *given], written, **more)


def _listen(
    desk: Desk, anchor: Anchor, name: Any, uploads: Uploads, bars: Any, sound: Any, request: gr.Request
) -> Iterator[Update]:
    """Updates while one piece is read and played; the earlier one stays until the new one is there."""
    session, story = str(request.session_hash), Story()
    try:
        asked = CalmRequest(
            mode="listen", anchors=(name,), uploads=calm_form.used((name,), uploads), bars=bars, sound=sound
        )
    except RequestError as error:
        yield {anchor.said: sentence(error)}
        return
    with closing(desk.jobs.run(session, asked, anchor.place)) as events:
        for event in events:
            if isinstance(event, Failed):
                yield {anchor.said: sentence(event.error)}
            elif isinstance(event, Done):
                yield _heard(desk, anchor, session, event.result)
            elif story.turns(event):
                yield {anchor.said: story.tell(event)}


def _heard(desk: Desk, anchor: Anchor, session: str, result: Result) -> Update:
    try:
        saved = desk.exports.save(session, result, shelf=anchor.place, kept=2)
    except NeuromuseError as error:
        return {anchor.said: sentence(error)}
    titles = [str(title) for title in result.arrays["anchor_titles"]]
    return {anchor.said: calm_show.said(result), anchor.view: calm_show.cards(saved, result, titles, downloads=False)}


def take(file: Any) -> Upload:
    """The uploaded file as bytes with a title; the file itself is deleted.

    Args:
        file: what the browser sent of it: ``path`` and ``orig_name``.

    Raises:
        RequestError: it is too large.
    """
    path = Path(file["path"])
    try:
        size = path.stat().st_size
        if size > MAX_MIDI_BYTES:
            raise RequestError("MIDI file", f"{size:,} bytes", f"a MIDI file of at most {MAX_MIDI_BYTES:,} bytes")
        data = path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
    title = Path(str(file.get("orig_name") or "Your piece")).stem.replace("_", " ").strip()
    return Upload(data, title[:TITLE_LENGTH] or "Your piece")
