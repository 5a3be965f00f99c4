"""Where the violin is heard: players named by what plays, and the melody that was given over what was made of it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import gradio as gr

from backend.audio.midi import read_midi
from backend.contract import Request, Result
from pages.exports import NOTES, Exports
from pages.parts import Desk
from pages.runner import QUIET, Update
from pages.theme import dress
from pages.violin_adapters import title_of
from pages.workbench import Workbench


@dataclass(frozen=True)
class ViolinBench(Workbench):
    """A workbench with a picture of the melody; ``heard`` holds what is drawn."""

    melody: gr.Plot
    heard: gr.State

    @classmethod
    def build(cls, prefix: str, action: str) -> ViolinBench:
        """As `Workbench.build`."""
        plain = Workbench.build(prefix, action)
        melody = gr.Plot(label="Melody", show_label=False, visible=False, elem_id=f"{prefix}-followed")
        parts: dict[str, Any] = {part.name: getattr(plain, part.name) for part in fields(plain)}
        return cls(**parts, melody=melody, heard=gr.State(None))

    @property
    def written(self) -> list[Any]:
        """What a result changes."""
        return [*super().written, self.heard]

    def labels(self, asked: Request, result: Result) -> list[str]:
        """Names of the adapters, and of the base where it plays as well."""
        strengths = {name: value for name, value in getattr(asked, "strengths", {}).items() if value}
        name = " + ".join(map(title_of, strengths)) or "Base"
        compared = bool(getattr(asked, "compare", False))
        made = len(result.waveforms) - compared
        names = [name if made == 1 else f"{name} {n + 1}" for n in range(made)]
        return names + ["Base"] * compared

    def draw_melody(self, desk: Desk, started: Any) -> None:
        """Draw the melody after each result that followed one."""
        started.then(partial(_melody, desk.exports), self.heard, self.melody, **QUIET)

    def _deliver(self, desk: Desk, session: str, asked: Request, result: Result) -> Update:
        update = super()._deliver(desk, session, asked, result)
        heard = None
        if "contour" in result.arrays:
            rate = float(result.arrays["contour_rate"])
            heard = {"contour": result.arrays["contour"], "rate": rate, "token": update[self.token]}
        return update | {self.heard: heard}


def _melody(exports: Exports, heard: Any) -> Any:
    """The heard contour over the notes of the first variation."""
    path = exports.path(heard["token"], 1, NOTES) if heard else None
    if path is None:
        return gr.update(visible=False)
    from backend import plots  # here, because plotly would add seconds to the start of the server

    figure = plots.melody_followed(heard["contour"], heard["rate"], read_midi(path))
    return gr.update(value=dress(figure), visible=True)
