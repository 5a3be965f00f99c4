"""The two clips of Genre transfer: chosen, dropped, or sent from another tab; each can be heard before it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from backend.audio import io
from backend.audio.waveform import Waveform
from backend.contract import Done, Failed, Result
from backend.errors import AudioError, NeuromuseError, RequestError
from backend.instruments.genre_transfer.request import LONGEST_S, UPLOAD, GenreTransferRequest
from pages.exports import Clip
from pages.genre_transfer_form import PLACES, PLAIN, PREFIX, Own, Owned, clips, sound_of
from pages.genre_transfer_show import hears
from pages.parts import Desk, Story, anew, card, html, sentence
from pages.runner import QUIET, Update

LONGEST_STYLE_S = 600.0  # only its sound is taken, so it may be a whole track
HIGHEST_RATE = 48_000  # of what is kept: browsers play no more
TITLE_LENGTH = 40
KEPT = 2
MAX_SENT = 1_000  # characters of a message of the page


@dataclass(frozen=True)
class Chooser:
    """One of the two clips."""

    place: str
    choice: gr.Radio
    view: gr.HTML
    said: gr.HTML
    file: gr.File

    @classmethod
    def build(cls, place: str) -> Chooser:
        """Lay it out; ``place`` is content or style."""
        with gr.Column(min_width=280):
            choice = gr.Radio(
                clips(None), value=getattr(PLAIN, place), label=PLACES[place], elem_id=f"{PREFIX}-{place}",
                elem_classes="nm-chips",
            )  # fmt: skip
            view = html("", elem_id=f"{PREFIX}-{place}-view")
            said = html("", elem_id=f"{PREFIX}-{place}-said")
            file = gr.File(
                label="or drop a sound of your own here", type="filepath", height=110, elem_classes="nm-drop",
                elem_id=f"{PREFIX}-{place}-file",
            )  # fmt: skip
        return cls(place, choice, view, said, file)


@dataclass(frozen=True)
class Clips:
    """Both clips, and the sounds this visitor brought."""

    content: Chooser
    style: Chooser
    owned: gr.State
    opened: gr.State
    sent: gr.Textbox

    @classmethod
    def build(cls) -> Clips:
        """Lay them out side by side."""
        with gr.Row(elem_classes="nm-anchors"):
            content, style = Chooser.build("content"), Chooser.build("style")
        sent = gr.Textbox(
            "", label="What another tab sends", elem_id=f"{PREFIX}-sent", elem_classes="nm-unseen", interactive=True
        )
        return cls(content, style, gr.State({}), gr.State(False), sent)

    def wire(self, desk: Desk, tab: Any, restored: Any) -> None:
        """Connect choices, files and what is sent; both clips can be heard once the tab is open."""
        quiet: dict[str, Any] = {"preprocess": False, "concurrency_limit": desk.settings.queue_size + 16, **QUIET}

        def both(request: gr.Request, opened: bool, content: Any, style: Any, owned: Owned) -> Iterator[Update]:
            yield {self.opened: True}
            for chooser, name in () if opened else ((self.content, content), (self.style, style)):
                yield from _listen(desk, str(request.session_hash), chooser, name, owned)

        def again(request: gr.Request, content: Any, style: Any, owned: Owned) -> Iterator[Update]:
            yield from both(request, False, content, style, owned)

        def arrived(request: gr.Request, message: Any, owned: Owned) -> Iterator[Update]:
            session, placed = str(request.session_hash), Update()
            for update in _place(desk, session, self.content, owned, self.owned, lambda: sent(desk, message)):
                placed |= {part: said for part, said in update.items() if part is self.content.choice}
                yield update
            if placed:  # again: gradio, when it has opened a tab, puts back the values it had before
                yield placed

        chosen = [self.content.choice, self.style.choice, self.owned]
        views = [self.opened, self.content.view, self.content.said, self.style.view, self.style.said]
        tab.select(both, [self.opened, *chosen], views, **quiet)
        restored.then(again, chosen, views, **quiet)
        for chooser in (self.content, self.style):
            self._wire(desk, chooser, quiet)
        here = [self.content.choice, self.content.view, self.content.said, self.owned]
        self.sent.change(arrived, [self.sent, self.owned], here, **quiet)

    def _wire(self, desk: Desk, chooser: Chooser, quiet: dict[str, Any]) -> None:
        def choose(request: gr.Request, name: Any, owned: Owned) -> Iterator[Update]:
            yield from _listen(desk, str(request.session_hash), chooser, name, owned)

        def upload(request: gr.Request, file: Any, owned: Owned) -> Iterator[Update]:
            brought = partial(take, file, chooser.place)
            for update in _place(desk, str(request.session_hash), chooser, owned, self.owned, brought):
                yield update | {chooser.file: None}

        written = [chooser.view, chooser.said]
        chooser.choice.input(choose, [chooser.choice, self.owned], written, trigger_mode="always_last", **quiet)
        chooser.file.upload(
            upload, [chooser.file, self.owned], [*written, chooser.choice, chooser.file, self.owned], **quiet
        )


def _listen(desk: Desk, session: str, chooser: Chooser, name: Any, owned: Owned) -> Iterator[Update]:
    """Updates while the chosen clip is produced and heard; the earlier one stays until the new one is there."""
    own, story = owned.get(chooser.place) if name == UPLOAD else None, Story()
    try:
        asked = GenreTransferRequest(method="listen", content=name, content_sound=sound_of(desk.exports, name, own))
    except RequestError as error:
        yield {chooser.said: sentence(error)}
        return
    if own is not None:
        yield {chooser.view: _player(own.clip, own.title)}
    with closing(desk.jobs.run(session, asked, chooser.place)) as events:
        for event in events:
            if isinstance(event, Failed):
                yield {chooser.said: sentence(event.error)}
            elif isinstance(event, Done):
                yield _heard(desk, session, chooser, str(name), own, event.result)
            elif story.turns(event):
                yield {chooser.said: story.tell(event)}


def _heard(desk: Desk, session: str, chooser: Chooser, name: str, own: Own | None, result: Result) -> Update:
    """What the classifier hears, and a player of a clip that comes with the page."""
    update: Update = {chooser.said: hears(dict(result.arrays))}
    if own is not None:
        return update
    try:
        saved = desk.exports.save(session, result, shelf=f"{PREFIX} {chooser.place}", kept=KEPT)
    except NeuromuseError as error:
        return {chooser.said: sentence(error)}
    return update | {chooser.view: _player(saved.clips[0], name)}


def _place(
    desk: Desk, session: str, chooser: Chooser, owned: Owned, state: gr.State, bring: Callable[[], tuple[Waveform, str]]
) -> Iterator[Update]:
    """A sound that was brought becomes the choice of its place; or why not, and the one before stays."""
    try:
        sound, title = bring()
        brought: dict[str, Any] = {chooser.place: UPLOAD, f"{chooser.place}_sound": sound}
        GenreTransferRequest(**brought)  # silence or too short: said at once
        saved = desk.exports.save(session, Result((sound,)), shelf=f"{PREFIX} own {chooser.place}", kept=KEPT)
    except NeuromuseError as error:
        yield {chooser.said: sentence(error)}
        return
    own = Own(saved.token, saved.clips[0], title)
    now = {**owned, chooser.place: own}
    yield {
        state: now,
        chooser.choice: gr.update(choices=clips(own), value=UPLOAD),
        chooser.view: _player(own.clip, title),
        chooser.said: "",
    }
    yield from _listen(desk, session, chooser, UPLOAD, now)


def _player(clip: Clip, title: str) -> str:
    return anew(f'<ul class="nm-cards">{card(clip, title)}</ul>')


def take(file: Any, place: str) -> tuple[Waveform, str]:
    """The uploaded sound and its title; the file itself is deleted.

    Args:
        file: what the browser sent of it: ``path`` and ``orig_name``.
        place: content or style, which have limits of their own.

    Raises:
        AudioError: it is no sound that can be read, or too long.
    """
    path = Path(file["path"])
    try:
        sound = io.read(path, max_seconds=LONGEST_S if place == "content" else LONGEST_STYLE_S)
    finally:
        path.unlink(missing_ok=True)
    title = Path(str(file.get("orig_name") or "Your sound")).stem.replace("_", " ").strip()
    return playable(sound), title[:TITLE_LENGTH] or "Your sound"


def sent(desk: Desk, message: Any) -> tuple[Waveform, str]:
    """The result another tab sends: a file of `Exports`, whose name only its owner knows.

    Raises:
        AudioError: it is no longer kept, or too long.
    """
    try:
        told = json.loads(message) if isinstance(message, str) and len(message) <= MAX_SENT else {}
        named = re.fullmatch(r"exports/([^/]+)/(\d{1,3})", str(told["url"]))
        path = desk.exports.path(named[1], int(named[2]), "wav") if named else None
    except (ValueError, KeyError, TypeError):
        path = None
    if path is None:
        raise AudioError("The result that was sent is no longer kept; make it again with its seed.")
    title = str(told.get("title") or "A result")
    return playable(io.read(path, max_seconds=LONGEST_S)), title[:TITLE_LENGTH]


def playable(sound: Waveform) -> Waveform:
    """At most two channels and 48 kHz; a transfer would not use more."""
    sound = sound if sound.n_channels <= 2 else sound.mono()
    return sound if sound.sample_rate <= HIGHEST_RATE else io.resample(sound, HIGHEST_RATE)
