"""Generate, Stop, progress, players and pictures: the part of a tab whose instrument makes variations of a sound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from backend.audio import io
from backend.audio.midi import read_midi
from backend.contract import Request, Result
from pages.exports import NOTES, Exports
from pages.parts import Desk, SeedRow, html, players
from pages.runner import QUIET, Runner, Update
from pages.theme import dress


@dataclass(frozen=True)
class Workbench(Runner):
    """Where one tab's job is started, stopped, watched and heard.

    ``token`` names the result that is heard, ``drawn`` the one whose pictures are seen; each session has its own.
    """

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
        controls = cls.controls(prefix, action)
        heard = html("", elem_id=f"{prefix}-players")
        with gr.Group(visible=False, elem_id=f"{prefix}-pictures", elem_classes="nm-pictures") as pictures:
            shown = gr.Radio(["1"], value="1", label="Picture of variation", elem_id=f"{prefix}-shown")
            spectrogram = gr.Plot(label="Spectrogram", show_label=False, elem_id=f"{prefix}-spectrogram")
            chroma = gr.Plot(label="Chroma", show_label=False, elem_id=f"{prefix}-chroma")
            notes = gr.Plot(label="Notes", show_label=False, elem_id=f"{prefix}-notes", visible=False)
        return cls(*controls, heard, pictures, shown, spectrogram, chroma, notes, gr.State(""), gr.State(""))

    def wire(
        self, desk: Desk, instrument_id: str, seed: SeedRow, inputs: Sequence[Any], make: Callable[..., Request]
    ) -> gr.events.Dependency:
        """Connect the buttons; see `Runner.start`."""
        deliver = partial(self._deliver, desk)
        started = self.start(desk, instrument_id, seed, inputs, make, self.written, deliver)
        pictures = [self.pictures, self.spectrogram, self.chroma, self.notes]
        # Not part of the job's event, which must be over before Generate works again: pictures take a second.
        started.then(
            lambda token, drawn: [*_pictures(desk.exports, token, "1"), token] if token != drawn else [gr.skip()] * 5,
            [self.token, self.drawn],
            [*pictures, self.drawn],
            **QUIET,
        )
        self.shown.input(partial(_pictures, desk.exports), [self.token, self.shown], pictures, **QUIET)
        return started

    @property
    def written(self) -> list[Any]:
        """What a result changes."""
        return [self.players, self.shown, self.token]

    def labels(self, asked: Request, result: Result) -> list[str]:
        """Titles of the players, if they have others than "Variation 1"."""
        return []

    def _deliver(self, desk: Desk, session: str, asked: Request, result: Result) -> Update:
        """Save the result and show its players."""
        saved = desk.exports.save(session, result)
        names = [str(n + 1) for n in range(len(saved.clips))]
        return {
            self.players: players(saved, result.provenance, self.labels(asked, result)),
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
