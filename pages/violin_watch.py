"""The training beside its steps: live loss and samples; Stop, Resume, Download, Use now, Delete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from backend.errors import NeuromuseError
from pages.parts import Desk, html, note, sentence
from pages.runner import QUIET, Update
from pages.violin_adapters import Owned, added, read_adapter
from pages.violin_clips import notes_html
from pages.violin_training import FOLDER, archive, curve, download, samples, told

EVERY_S = 2.0
NOTHING = "Nothing is being trained. The loss, samples and your adapter appear here."
LEAVE = "You may close the page: the training goes on, and this browser finds it again."
Seen = dict[str, Any]


@dataclass(frozen=True)
class Watch:
    """Where a training is seen."""

    status: gr.HTML
    stop: gr.Button
    resume: gr.Button
    use: gr.Button
    delete: gr.Button
    link: gr.HTML
    plot: gr.Plot
    samples: gr.HTML
    notes: gr.HTML
    timer: gr.Timer
    seen: gr.State

    @classmethod
    def build(cls, prefix: str) -> Watch:
        """Lay it out."""
        html('<h3 class="nm-title">Your adapter</h3>')
        status = html(note(NOTHING), elem_id=f"{prefix}-status")
        with gr.Row():
            use = gr.Button("Use now", variant="primary", elem_id=f"{prefix}-use", visible=False)
            stop = gr.Button("Stop", variant="stop", elem_id=f"{prefix}-stop", visible=False)
            resume = gr.Button("Resume", elem_id=f"{prefix}-resume", visible=False)
        link = html("", elem_id=f"{prefix}-link")
        with gr.Group(elem_classes="nm-pictures"):
            plot = gr.Plot(label="Loss", show_label=False, visible=False, elem_id=f"{prefix}-loss")
        heard = html("", elem_id=f"{prefix}-samples")
        notes = html("", elem_id=f"{prefix}-notes")
        delete = gr.Button(
            "Delete", size="sm", elem_id=f"{prefix}-delete", elem_classes="nm-quiet", visible=False, variant="stop"
        )
        timer = gr.Timer(EVERY_S, active=False)
        return cls(status, stop, resume, use, delete, link, plot, heard, notes, timer, gr.State({}))

    @property
    def written(self) -> list[Any]:
        """What a look changes."""
        return [
            self.status, self.stop, self.resume, self.use, self.delete, self.link, self.plot, self.samples, self.notes,
            self.timer, self.seen,
        ]  # fmt: skip

    def wire(
        self, desk: Desk, token: gr.BrowserState, owned: gr.State, chosen: list[Any], choose: Callable[..., Update]
    ) -> None:
        """Connect buttons and timer.

        Args:
            desk: whose trainings these are.
            token: of this browser's training.
            owned: this visitor's adapters.
            chosen: components that ``choose`` writes.
            choose: shows adapters and chooses one: adapters and its name.
        """
        quiet: dict[str, Any] = {"queue": False, **QUIET}

        def looked(token: Any, seen: Any) -> Update:
            return self.look(desk, str(token or ""), dict(seen or {}))

        def use(token: Any, owned: Owned) -> Update:
            try:
                name, own = read_adapter(desk.trainings.folder(str(token or "")) / FOLDER, desk.settings)
            except NeuromuseError as error:
                return {self.status: sentence(error)}
            now, name = added(owned, name, replace(own, token=str(token)))
            return {owned_state: now} | choose(now, name)

        def stop(token: Any) -> Update:
            return self._do(desk.trainings.stop, token, note("Stopping at the next step…"))

        def resume(token: Any) -> Update:
            return self._do(desk.trainings.resume, token, note("Going on…"))

        def delete(token: Any) -> Update:
            desk.trainings.delete(str(token or ""))
            return {token_state: "", **self._empty("Deleted, with its recordings.")}

        owned_state, token_state = owned, token
        self.timer.tick(looked, [token, self.seen], self.written, **quiet)
        self.use.click(use, [token, owned], [self.status, owned, *chosen], **QUIET)
        self.stop.click(stop, token, [self.status, self.timer, self.stop], **quiet)
        self.after(desk, self.resume.click(resume, token, [self.status, self.timer, self.stop], **quiet), token)
        self.delete.click(delete, token, [token, *self.written], **quiet)

    def after(self, desk: Desk, event: Any, token: gr.BrowserState) -> None:
        """Look once more when an event is over."""

        def looked(token: Any) -> Update:
            return self.look(desk, str(token or ""), {})

        event.then(looked, token, self.written, queue=False, **QUIET)

    def look(self, desk: Desk, token: str, seen: Seen) -> Update:
        """What changed since ``seen``."""
        if not token:
            return self._empty(NOTHING)
        try:
            report, folder = desk.trainings.status(token), desk.trainings.folder(token)
        except NeuromuseError as error:
            return self._empty(str(error))
        if report.state == "ready":
            shown = gr.update(visible=True, value="Delete the recordings")
            return self._empty(NOTHING) | {self.delete: shown, self.seen: seen}
        said, (status, stage) = report.said, told(report, str(seen.get("stage", "")))
        packed = archive(folder) if report.state == "done" else None
        names, rows, notes = (list(said.get(key) or []) for key in ("samples", "losses", "notes"))
        now: Seen = {
            "stage": stage, "state": (report.state, report.alive), "samples": len(names), "losses": len(rows),
            "notes": len(notes),
        }  # fmt: skip
        leave = f'<p class="nm-fact">{LEAVE}</p>' if report.alive else ""
        update: Update = {self.status: status + leave, self.seen: now}
        if seen.get("state") != now["state"]:
            update |= {
                self.timer: gr.Timer(active=report.alive),
                self.stop: gr.update(visible=report.alive, interactive=True),
                self.resume: gr.update(visible=not report.alive and report.state in ("stopped", "failed")),
                self.use: gr.update(visible=packed is not None),
                self.delete: gr.update(visible=True, value="Delete this training and what it was made of"),
                self.link: download(token, packed) if packed else "",
            }
        if seen.get("losses") != now["losses"]:
            figure = curve(report)
            update[self.plot] = gr.update(value=figure, visible=figure is not None)
        if seen.get("samples") != now["samples"]:
            update[self.samples] = samples(token, folder, names)
        if seen.get("notes") != now["notes"]:
            update[self.notes] = notes_html(notes) if notes else ""
        return update

    def _do(self, what: Callable[[str], None], token: Any, said: str) -> Update:
        try:
            what(str(token or ""))
        except NeuromuseError as error:
            return {self.status: sentence(error)}
        return {self.status: said, self.timer: gr.Timer(active=True), self.stop: gr.update(interactive=False)}

    def _empty(self, said: str) -> Update:
        hidden = gr.update(visible=False)
        return {
            self.status: note(said), self.stop: hidden, self.resume: hidden, self.use: hidden, self.delete: hidden,
            self.link: "", self.plot: gr.update(value=None, visible=False), self.samples: "", self.notes: "",
            self.timer: gr.Timer(active=False), self.seen: {},
        }  # fmt: skip
