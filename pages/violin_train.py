"""Train your own: recordings and consent, captions and levels, training; it goes on when the page is closed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from backend.contract import Done, Failed
from backend.errors import NeuromuseError, RequestError
from backend.instruments.violin.request import ListenRequest
from pages.parts import Desk, Story, html, note, sentence
from pages.runner import QUIET, Update
from pages.violin_clips import (
    CLIPS,
    CONSENT,
    HEADERS,
    TABLE,
    Checked,
    checked,
    listed,
    notes_html,
    receive,
    write_captions,
)
from pages.violin_training import program
from pages.violin_watch import Watch

PREFIX = "violin-train"
PLACE = "clips"
STORAGE = "neuromuse-violin-training"
WORD = "neuromuse"  # the browser's copy of the token is readable to that browser alone; this only keeps it readable
HELP = """<p class="nm-caution" role="note"><b>Your recordings stay on this machine</b>, in a folder that only this
program reads. They are deleted when the training is done, when you delete it, or when nobody has looked at it for a
day. Two recordings are enough to try; <b>ten to thirty clips of ten seconds</b>, one violin at a time, in one room, are
what it is made for.</p>"""
BEGUN = "Training has begun; how it goes is shown under “Your adapter”."
BUSY = "none while a training of yours is running or can be resumed; delete that first"


@dataclass(frozen=True)
class Steps:
    """The fields of the three steps."""

    consent: gr.Checkbox
    files: gr.File
    received: gr.HTML
    check: gr.Button
    second: gr.Group
    found: gr.HTML
    table: gr.Dataframe
    third: gr.Group
    minutes: gr.Number
    name: gr.Textbox
    rank: gr.Number
    replay: gr.Number
    licence: gr.Textbox
    start: gr.Button
    refused: gr.HTML
    proposed: gr.State

    @classmethod
    def build(cls, max_upload_mb: int) -> Steps:
        """Lay them out below each other; the later ones are shown when the earlier ones are done."""
        html('<h3 class="nm-title">1 · Recordings</h3>')
        html(HELP)
        consent = gr.Checkbox(False, label=CONSENT, elem_id=f"{PREFIX}-consent")
        files = gr.File(
            label=f"Recordings, and captions if you have any: .txt beside them, or a .csv (at most {max_upload_mb} MB "
            "each)",
            type="filepath", file_count="multiple", height=120, elem_id=f"{PREFIX}-files", elem_classes="nm-drop",
        )  # fmt: skip
        received = html("", elem_id=f"{PREFIX}-received")
        with gr.Group(visible=False, elem_classes="nm-plain", elem_id=f"{PREFIX}-second") as second:
            html('<h3 class="nm-title">2 · Captions and levels</h3>')
            check = gr.Button("Check the recordings", elem_id=f"{PREFIX}-check")
            found = html("", elem_id=f"{PREFIX}-found")
            table = gr.Dataframe(
                headers=HEADERS, datatype=["str", "number", "str", "str"], type="array", interactive=True, wrap=True,
                visible=False, static_columns=[0, 1, 2], column_widths=["22%", "15%", "20%", "43%"], max_height=360,
                label="What each clip is called; captions can be changed", elem_id=f"{PREFIX}-table", buttons=[],
                elem_classes="nm-table",
            )  # fmt: skip
        with gr.Group(visible=False, elem_classes="nm-plain", elem_id=f"{PREFIX}-third") as third:
            html('<h3 class="nm-title">3 · Train</h3>')
            minutes, name, rank, replay, licence = _settings()
            start = gr.Button("Train", variant="primary", size="lg", elem_id=f"{PREFIX}-start")
            refused = html("", elem_id=f"{PREFIX}-refused")
        return cls(
            consent, files, received, check, second, found, table, third, minutes, name, rank, replay, licence,
            start, refused, gr.State({}),
        )  # fmt: skip

    @property
    def chosen(self) -> list[Any]:
        """The settings, in the order of `pages.violin_training.program`."""
        return [self.minutes, self.name, self.rank, self.replay, self.licence]


def _settings() -> tuple[gr.Number, gr.Textbox, gr.Number, gr.Number, gr.Textbox]:
    with gr.Row():
        minutes = gr.Number(12, label="Minutes", info="of training; ends early when it stops helping",
                            elem_id=f"{PREFIX}-minutes")  # fmt: skip
        name = gr.Textbox("my violin", label="Name", info="of the adapter", max_lines=1, elem_id=f"{PREFIX}-name")
    with gr.Accordion("Advanced", open=False, elem_id=f"{PREFIX}-advanced"):
        with gr.Row():
            rank = gr.Number(8, label="Rank", info="size of the adapter, 1 to 64", elem_id=f"{PREFIX}-rank")
            replay = gr.Number(48, label="Replay", info="pieces of the base it must not forget",
                               elem_id=f"{PREFIX}-replay")  # fmt: skip
        licence = gr.Textbox(
            "", label="Licence of the recordings", info="written into the adapter", max_lines=1,
            elem_id=f"{PREFIX}-licence",
        )  # fmt: skip
    return minutes, name, rank, replay, licence


@dataclass(frozen=True)
class TrainPanel:
    """Steps on the left, the training on the right, and the token that the browser keeps."""

    steps: Steps
    watch: Watch
    token: gr.BrowserState

    @classmethod
    def build(cls, desk: Desk, token: gr.BrowserState) -> TrainPanel:
        """Lay it out."""
        with gr.Row(elem_classes="nm-columns", equal_height=False):
            with gr.Column(scale=6, min_width=320, elem_classes="nm-panel"):
                steps = Steps.build(desk.settings.max_upload_mb)
            with gr.Column(scale=5, min_width=320, elem_classes=["nm-panel", "nm-result"]):
                watch = Watch.build(PREFIX)
        return cls(steps, watch, token)

    def wire(self, desk: Desk) -> None:
        """Connect the steps."""
        steps, quiet = self.steps, {"concurrency_limit": desk.settings.queue_size + 16, **QUIET}

        def brought(files: Any, consent: Any, token: Any) -> Update:
            return self._bring(desk, files or [], bool(consent), str(token or ""))

        def check(request: gr.Request, token: Any) -> Iterator[Update]:
            yield from self._check(desk, str(request.session_hash), str(token or ""))

        def started(token: Any, table: Any, proposed: Any, *chosen: Any) -> Update:
            return self._start(desk, str(token or ""), table, proposed, chosen)

        steps.files.upload(
            brought, [steps.files, steps.consent, self.token],
            [self.token, steps.received, steps.files, steps.second, steps.third, steps.table, steps.found],
            preprocess=False, **quiet,
        )  # fmt: skip
        steps.check.click(
            check, self.token,
            [steps.check, steps.found, steps.table, steps.third, steps.proposed, steps.received], **quiet,
        )  # fmt: skip
        begun = steps.start.click(
            started, [self.token, steps.table, steps.proposed, *steps.chosen],
            [steps.refused, steps.received, steps.second, steps.third, self.watch.timer, self.watch.seen], **quiet,
        )  # fmt: skip
        self.watch.after(desk, begun, self.token)

    def _bring(self, desk: Desk, files: list[Any], consent: bool, token: str) -> Update:
        """What was dropped goes into the folder of a training that has not begun."""
        steps, refused = self.steps, ""
        try:
            token = own_token(desk, token) if consent else token
            receive(files, desk.trainings.folder(token) if consent else None)
        except NeuromuseError as error:
            refused = sentence(error)
        finally:
            for file in files:
                Path(file["path"]).unlink(missing_ok=True)
        try:
            folder = desk.trainings.folder(token)
        except NeuromuseError:
            return {steps.received: refused, steps.files: None}
        there = listed(folder)
        return {
            self.token: token,
            steps.received: refused + (note(there) if there else ""),
            steps.files: None,
            steps.second: gr.update(visible=bool(there)),
            steps.third: gr.update(visible=False),
            steps.table: gr.update(visible=False),
            steps.found: "",
        }

    def _check(self, desk: Desk, session: str, token: str) -> Iterator[Update]:
        """Listen to the recordings; then captions to edit, and the third step."""
        steps, story = self.steps, Story()
        try:
            folder = desk.trainings.folder(token)
            table = folder / TABLE
            asked = ListenRequest(folder=folder / CLIPS, table=table if table.exists() else None)
        except NeuromuseError as error:
            yield {steps.found: sentence(error)}
            return
        yield {steps.check: gr.update(interactive=False)}
        ended = {steps.check: gr.update(interactive=True)}
        with closing(desk.jobs.run(session, asked, PLACE)) as events:
            for event in events:
                if isinstance(event, Done):
                    yield ended | self._checked(checked(event.result), listed(folder))
                    return
                if isinstance(event, Failed):
                    yield ended | {steps.found: sentence(event.error)}
                    return
                yield {steps.found: story.tell(event)}
        yield ended | {steps.found: note("Stopped.")}

    def _checked(self, found: Checked, there: str) -> Update:
        steps = self.steps
        return {
            steps.found: notes_html(found.notes),
            steps.table: gr.update(value=[list(row) for row in found.rows], visible=True),
            steps.third: gr.update(visible=True),
            steps.proposed: dict(found.captions),
            steps.received: note(there),
        }

    def _start(self, desk: Desk, token: str, table: Any, proposed: Any, chosen: tuple[Any, ...]) -> Update:
        """Keep the captions and run the training."""
        steps = self.steps
        try:
            folder = desk.trainings.folder(token)
            if desk.trainings.status(token).state != "ready":
                raise RequestError("training", "one that has begun", "new recordings, or Resume beside it")
            command = program(folder, desk.settings, *chosen)
            write_captions(folder, table, proposed)
            desk.trainings.start(token, command)
        except NeuromuseError as error:
            return {steps.refused: sentence(error)}
        hidden = gr.update(visible=False)
        return {
            steps.refused: "", steps.received: note(BEGUN), steps.second: hidden, steps.third: hidden,
            self.watch.timer: gr.Timer(active=True), self.watch.seen: {},
        }  # fmt: skip


def own_token(desk: Desk, token: str) -> str:
    """The training that recordings go to: this browser's as long as it has not begun, else a new one.

    Raises:
        RequestError: this browser's runs, or can be resumed.
        NeuromuseError: the disk refused.
    """
    try:
        state = desk.trainings.status(token).state
    except NeuromuseError:  # there is none
        state = "done"
    if state not in ("ready", "done"):
        raise RequestError("clips", "new ones", BUSY)
    return token if state == "ready" else desk.trainings.open()
