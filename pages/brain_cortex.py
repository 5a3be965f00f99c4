"""The cortex of Brain: an interactive surface, slices as a second view, and the map as a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import numpy.typing as npt

from backend.contract import Result
from backend.instruments.brain.figure import HEMISPHERES, VIEWS
from pages.brain_form import PREFIX
from pages.parts import html
from pages.runner import QUIET

if TYPE_CHECKING:
    import plotly.graph_objects as go

Arrays = dict[str, npt.NDArray[Any]]

KEPT = (
    "label", "surface", "surface_significant", "voxel_correlation", "voxel_significant", "voxel_xyz", "voxel_index",
    "volume_shape", "volume_affine",
)  # fmt: skip
MAP_WORDS = "r of the encoding model"
LOWEST, HIGHEST = 0.0, 0.6


@dataclass(frozen=True)
class CortexPanel:
    """Where the cortex is seen."""

    group: gr.Group
    surface: gr.Plot
    slices: gr.Plot
    hemisphere: gr.Radio
    view: gr.Radio
    threshold: gr.Slider
    significant: gr.Checkbox
    inflated: gr.Checkbox
    fresh: gr.State
    drawn: gr.State

    @classmethod
    def build(cls) -> CortexPanel:
        """Lay it out, unseen until there is something to see."""
        with gr.Group(visible=False, elem_id=f"{PREFIX}-cortex", elem_classes=["nm-pictures", "nm-cortex"]) as group:
            html(
                '<h3 class="nm-title">Where the music is in this brain</h3><p class="nm-fact">Colour: how well the '
                "music predicts each place on pieces it was not fitted to (correlation r). Drag to turn, scroll to "
                "come closer.</p>"
            )
            with gr.Row():
                hemisphere = gr.Radio(
                    [(name.capitalize(), name) for name in HEMISPHERES], value="both", label="Hemisphere",
                    elem_id=f"{PREFIX}-hemisphere", elem_classes=["nm-chips", "nm-few"],
                )  # fmt: skip
                view = gr.Radio(
                    [(name.capitalize(), name) for name in VIEWS], value="lateral", label="View",
                    elem_id=f"{PREFIX}-view", elem_classes=["nm-chips", "nm-few"],
                )  # fmt: skip
            surface = gr.Plot(label="Cortex", show_label=False, elem_id=f"{PREFIX}-surface")
            threshold = gr.Slider(
                LOWEST, HIGHEST, LOWEST, step=0.02, label="Show from r", elem_id=f"{PREFIX}-threshold"
            )
            significant = gr.Checkbox(True, label="Beyond chance only (FDR 5 %)", elem_id=f"{PREFIX}-fdr")
            inflated = gr.Checkbox(True, label="Smooth out the folds", elem_id=f"{PREFIX}-inflated")
            slices = gr.Plot(label="Slices", show_label=False, elem_id=f"{PREFIX}-slices")
        return cls(
            group, surface, slices, hemisphere, view, threshold, significant, inflated, gr.State(None), gr.State(None)
        )

    def wire(self, *started: Any) -> None:
        """Draw after a job, and whenever a setting changes."""
        settings = [self.hemisphere, self.view, self.threshold, self.significant, self.inflated]
        for job in started:  # not part of the job's event, which must be over before its button works again
            job.then(
                newest,
                [self.fresh, self.drawn, *settings],
                [self.group, self.surface, self.slices, self.drawn],
                **QUIET,
            )
        turned = [choice.input for choice in (self.hemisphere, self.view, self.significant, self.inflated)]
        for change in (self.threshold.release, *turned):
            change(again, [self.fresh, *settings], [self.surface, self.slices], trigger_mode="always_last", **QUIET)


def kept(result: Result, token: str) -> Arrays:
    """What the pictures need of a result, with a name for it."""
    return {name: result.arrays[name] for name in KEPT} | {"token": np.array(token)}


def newest(fresh: Arrays | None, drawn: str | None, *settings: Any) -> list[Any]:
    """Group, surface, slices and name of the newest result, once."""
    if not fresh or str(fresh["token"]) == drawn:
        return [gr.skip()] * 4
    return [gr.update(visible=True), *figures(fresh, *settings), str(fresh["token"])]


def again(fresh: Arrays | None, *settings: Any) -> list[Any]:
    """Surface and slices with other settings."""
    return [*figures(fresh, *settings)] if fresh else [gr.skip()] * 2


def figures(
    arrays: Arrays, hemisphere: str, view: str, threshold: float, significant: bool, inflated: bool
) -> tuple[go.Figure, go.Figure]:
    """The surface and the slices."""
    from backend.instruments.brain.figure import cortex, slices, space_of  # nilearn would slow the server's start

    label = str(arrays["label"])
    beyond = np.asarray(arrays["surface_significant"], bool) if significant else None
    surface = cortex(np.asarray(arrays["surface"], np.float32), beyond, hemisphere, view, threshold, inflated, label)
    values = np.asarray(arrays["voxel_correlation"], np.float32)
    shown = np.where(arrays["voxel_significant"], values, 0.0) if significant else values
    return surface, slices(space_of(arrays), shown, label, threshold)


def map_file(result: Result) -> bytes:
    """The map as NIfTI; a simulated one says so in its header."""
    from backend.instruments.brain.figure import space_of

    arrays = dict(result.arrays)
    label = str(arrays["label"])
    words = f"{label}; {MAP_WORDS}" if label else MAP_WORDS
    image: Any = space_of(arrays).as_nifti(arrays["voxel_correlation"], words)
    return bytes(image.to_bytes())
