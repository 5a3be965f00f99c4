"""Generate, Stop, progress, players and pictures: the part of a tab that every instrument has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from backend.audio import io
from backend.audio.midi import read_midi
from backend.contract import Done, Event, Failed, Queued, Request
from backend.errors import AudioError, RequestError
from pages.exports import NOTES, Exports
from pages.parts import Desk, SeedRow, Story, html, new_seed, note, players, sentence
from pages.theme import dress

Update = dict[Any, Any]
REFRESH_S = 0.2  # between two looks at the same stage: showing progress must not cost the cores that make it


@dataclass(frozen=True)
class Workbench:
    """Where one tab's job is started, stopped, watched and heard.

    ``token`` names the result that is heard, ``drawn`` the one whose pictures are seen; each session has its own.
    """

    generate: gr.Button
    stop: gr.Button
    status: gr.HTML
    players: gr.HTML
    pictures: gr.Group
    shown: gr.Radio
    spectrogram: gr.Plot
    chroma: gr.Plot
    notes: gr.Plot
    token: gr.State
    drawn: gr.State

    @classmethod
    def build(cls, prefix: str, action: str) -> Workbench:
        """Lay out buttons, progress, players and pictures; element ids start with ``prefix``."""
        with gr.Row(elem_classes="nm-actions"):
            generate = gr.Button(action, variant="primary", elem_id=f"{prefix}-generate", size="lg", scale=3)
            stop = gr.Button("Stop", variant="stop", elem_id=f"{prefix}-stop", size="lg", interactive=False, scale=1)
        status = html("", elem_id=f"{prefix}-status")
        heard = html("", elem_id=f"{prefix}-players")
        with gr.Group(visible=False, elem_id=f"{prefix}-pictures", elem_classes="nm-pictures") as pictures:
            shown = gr.Radio(["1"], value="1", label="Picture of variation", elem_id=f"{prefix}-shown")
            spectrogram = gr.Plot(label="Spectrogram", show_label=False, elem_id=f"{prefix}-spectrogram")
            chroma = gr.Plot(label="Chroma", show_label=False, elem_id=f"{prefix}-chroma")
            notes = gr.Plot(label="Notes", show_label=False, elem_id=f"{prefix}-notes", visible=False)
        states = gr.State(""), gr.State("")
        return cls(generate, stop, status, heard, pictures, shown, spectrogram, chroma, notes, *states)

    def wire(
        self, desk: Desk, instrument_id: str, seed: SeedRow, inputs: Sequence[Any], make: Callable[..., Request]
    ) -> gr.events.Dependency:
        """Connect the buttons.

        Args:
            desk: where jobs run and files go.
            instrument_id: whose job Stop ends.
            seed: drawn anew for every job unless locked.
            inputs: components whose raw values ``make`` takes after the seed, in order.
            make: builds the request; its `RequestError` is shown and nothing is queued.
        """

        def run(request: gr.Request, number: Any, locked: Any, *values: Any) -> Iterator[Update]:
            session = str(request.session_hash)
            number = number if locked else new_seed()
            try:
                asked = make(int(number) if isinstance(number, float) and number.is_integer() else number, *values)
            except RequestError as error:
                yield {self.status: sentence(error)}
                return
            with closing(desk.jobs.run(session, asked)) as events:
                yield {seed.value: number} | self._busy(True) | {self.status: Story().tell(Queued(0))}
                yield from self._watch(desk, session, events)

        def stop(request: gr.Request) -> None:
            desk.jobs.stop(str(request.session_hash), instrument_id)

        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        written = [self.generate, self.stop, self.status, self.players, self.shown, self.token]
        limit = desk.settings.queue_size + 16  # the engine's queue is the one that says busy
        started = self.generate.click(
            run,
            [seed.value, seed.locked, *inputs],
            [seed.value, *written],
            preprocess=False,
            concurrency_limit=limit,
            **quiet,
        )
        self.stop.click(stop, None, None, queue=False, **quiet)
        pictures = [self.pictures, self.spectrogram, self.chroma, self.notes]
        # Not part of the job's event, which must be over before Generate works again: pictures take a second.
        started.then(
            lambda token, drawn: [*_pictures(desk.exports, token, "1"), token] if token != drawn else [gr.skip()] * 5,
            [self.token, self.drawn],
            [*pictures, self.drawn],
            **quiet,
        )
        self.shown.input(partial(_pictures, desk.exports), [self.token, self.shown], pictures, **quiet)
        return started

    def _busy(self, busy: bool) -> Update:
        return {self.generate: gr.update(interactive=not busy), self.stop: gr.update(interactive=busy)}

    def _watch(self, desk: Desk, session: str, events: Iterator[Event]) -> Iterator[Update]:
        """Updates for the events of a job up to its end."""
        story, ended, shown_at = Story(), False, 0.0
        for event in events:
            if isinstance(event, Done):
                ended = True
                yield self._deliver(desk, session, event) | self._busy(False)
            elif isinstance(event, Failed):
                ended = True
                yield {self.status: sentence(event.error)} | self._busy(False)
            elif story.turns(event) or time.monotonic() - shown_at > REFRESH_S:
                shown_at = time.monotonic()
                yield {self.status: story.tell(event)}
        if not ended:
            yield {self.status: note("Stopped.")} | self._busy(False)

    def _deliver(self, desk: Desk, session: str, done: Done) -> Update:
        """Save the result and show its players."""
        try:
            saved = desk.exports.save(session, done.result)
        except AudioError as error:
            return {self.status: sentence(error)}
        names = [str(n + 1) for n in range(len(saved.clips))]
        made = done.result.provenance
        return {
            self.status: note(f"Done in {made.seconds:.1f} s." if made else "Done."),
            self.players: players(saved, made),
            self.token: saved.token,
            self.shown: gr.update(choices=names, value="1", visible=len(names) > 1),
        }


def _pictures(exports: Exports, token: str, number: str) -> tuple[Any, Any, Any, Any]:
    """The group made visible, spectrogram, chroma and notes of one saved clip; hidden when the clip is gone."""
    path = exports.path(token, int(number), "wav")
    if path is None:
        return gr.update(visible=False), None, None, None
    from backend import plots  # here, because plotly and librosa would add seconds to the start of the server

    waveform, written = io.read(path), exports.path(token, int(number), NOTES)
    roll = gr.update(visible=False)
    if written is not None:
        roll = gr.update(value=dress(plots.piano_roll(read_midi(written), waveform.duration_s)), visible=True)
    return gr.update(visible=True), dress(plots.spectrogram(waveform)), dress(plots.chroma(waveform)), roll
