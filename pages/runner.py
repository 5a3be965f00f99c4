"""A job's two buttons and its progress: start it, stop it, watch it, show what comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from backend.contract import Done, Event, Failed, Progress, Queued, Request, Result
from backend.errors import AudioError, NeuromuseError
from pages.parts import Desk, SeedRow, Story, html, new_seed, note, sentence

Update = dict[Any, Any]
Show = Callable[[str, Request, Any], Update]
"""Session, request, and a result or a preview → what changes on the page."""

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
REFRESH_S = 0.2  # between two looks at the same stage: showing progress must not cost the cores that make it


@dataclass(frozen=True)
class Runner:
    """Where a tab's job is started, stopped and watched."""

    generate: gr.Button
    stop: gr.Button
    status: gr.HTML

    @classmethod
    def controls(cls, prefix: str, action: str) -> tuple[gr.Button, gr.Button, gr.HTML]:
        """Lay out the buttons and the progress; element ids start with ``prefix``."""
        with gr.Row(elem_classes="nm-actions"):
            generate = gr.Button(action, variant="primary", elem_id=f"{prefix}-generate", size="lg", scale=3)
            stop = gr.Button("Stop", variant="stop", elem_id=f"{prefix}-stop", size="lg", interactive=False, scale=1)
        return generate, stop, html("", elem_id=f"{prefix}-status")

    def start(
        self,
        desk: Desk,
        instrument_id: str,
        seed: SeedRow,
        inputs: Sequence[Any],
        make: Callable[..., Request],
        written: Sequence[Any],
        deliver: Show,
        preview: Show | None = None,
    ) -> gr.events.Dependency:
        """Connect the buttons.

        Args:
            desk: where jobs run.
            instrument_id: whose job Stop ends.
            seed: drawn anew for every job unless locked.
            inputs: components whose raw values ``make`` takes after the seed, in order.
            make: builds the request; its `NeuromuseError` is shown and nothing is queued.
            written: components that ``deliver`` and ``preview`` write.
            deliver: shows a result; its `AudioError` is shown.
            preview: shows a part of what is being made.
        """

        def run(request: gr.Request, number: Any, locked: Any, *values: Any) -> Iterator[Update]:
            session = str(request.session_hash)
            number = number if locked else new_seed()
            try:
                asked = make(int(number) if isinstance(number, float) and number.is_integer() else number, *values)
            except NeuromuseError as error:
                yield {self.status: sentence(error)}
                return
            with closing(desk.jobs.run(session, asked)) as events:
                yield {seed.value: number} | self._busy(True) | {self.status: Story().tell(Queued(0))}
                yield from self._watch(session, asked, events, deliver, preview)

        def stop(request: gr.Request) -> None:
            desk.jobs.stop(str(request.session_hash), instrument_id)

        limit = desk.settings.queue_size + 16  # the engine's queue is the one that says busy
        started = self.generate.click(
            run,
            [seed.value, seed.locked, *inputs],
            [seed.value, self.generate, self.stop, self.status, *written],
            preprocess=False,
            concurrency_limit=limit,
            **QUIET,
        )
        self.stop.click(stop, None, None, queue=False, **QUIET)
        return started

    def _busy(self, busy: bool) -> Update:
        return {self.generate: gr.update(interactive=not busy), self.stop: gr.update(interactive=busy)}

    def _watch(
        self, session: str, asked: Request, events: Iterator[Event], deliver: Show, preview: Show | None
    ) -> Iterator[Update]:
        """Updates for the events of a job up to its end."""
        story, ended, shown_at = Story(), False, 0.0
        for event in events:
            if isinstance(event, Done):
                ended = True
                yield self._finish(session, asked, event.result, deliver) | self._busy(False)
            elif isinstance(event, Failed):
                ended = True
                yield {self.status: sentence(event.error)} | self._busy(False)
            elif preview is not None and isinstance(event, Progress) and event.preview is not None:
                shown_at = time.monotonic()
                yield {self.status: story.tell(event)} | preview(session, asked, event.preview)
            elif story.turns(event) or time.monotonic() - shown_at > REFRESH_S:
                shown_at = time.monotonic()
                yield {self.status: story.tell(event)}
        if not ended:
            yield {self.status: note("Stopped.")} | self._busy(False)

    def _finish(self, session: str, asked: Request, result: Result, deliver: Show) -> Update:
        made = result.provenance
        try:
            return {self.status: note(f"Done in {made.seconds:.1f} s." if made else "Done.")} | deliver(
                session, asked, result
            )
        except AudioError as error:
            return {self.status: sentence(error)}
