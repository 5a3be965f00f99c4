"""The cortex, drawn: an interactive surface of both hemispheres, and slices as a second view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from backend.instruments.brain.space import Space

FloatArray = npt.NDArray[np.float32]

VIEWS = {
    "lateral": (1.0, 0.0, 0.0), "medial": (-1.0, 0.0, 0.0), "dorsal": (0.0, 0.0, 1.0), "ventral": (0.0, 0.0, -1.0),
    "anterior": (0.0, 1.0, 0.0), "posterior": (0.0, -1.0, 0.0),
}  # fmt: skip
"""View → where the eye is, for the right hemisphere; mirrored for the left."""

HEMISPHERES = ("left", "right", "both")
SURFACE, TEXT = "#15181f", "#e6e8ec"
COLOURS = "Inferno"  # rises in lightness
GAP_MM = 20.0


def cortex(
    surface: FloatArray,
    significant: npt.NDArray[np.bool_] | None = None,
    hemisphere: str = "both",
    view: str = "lateral",
    threshold: float = 0.0,
    inflate: bool = True,
    label: str = "",
) -> go.Figure:
    """Where the music could be read: correlation on an inflated cortex whose folds show through.

    Args:
        surface: ``[2, 10242]``; NaN where nothing was measured.
        significant: ``[2, 10242]``; other vertices stay grey. All may be coloured if None.
        hemisphere: one of `HEMISPHERES`.
        view: one of `VIEWS`.
        threshold: correlations below it stay grey.
        inflate: smooth out the folds, so that what lies in them can be seen.
        label: written above, such as that nobody was scanned.

    Raises:
        ValueError: an unknown hemisphere or view.
    """
    import plotly.graph_objects as go
    from nilearn.datasets import load_fsaverage, load_fsaverage_data

    if hemisphere not in HEMISPHERES or view not in VIEWS:
        raise ValueError(f"hemisphere and view: got {hemisphere!r} and {view!r}")
    mesh = load_fsaverage("fsaverage5")["inflated" if inflate else "pial"]
    folds = load_fsaverage_data("fsaverage5", mesh_type="inflated", data_type="sulcal")
    shown = np.where(np.isfinite(surface), surface, -np.inf)
    if significant is not None:
        shown = np.where(significant, shown, -np.inf)
    top = float(max(np.nanmax(np.where(np.isfinite(shown), shown, np.nan), initial=0.0), threshold + 0.05, 0.1))
    figure = go.Figure()
    for number, side in enumerate(("left", "right")):
        if hemisphere not in (side, "both"):
            continue
        part = mesh.parts[side]
        xyz = np.asarray(part.coordinates, np.float32).copy()
        if hemisphere == "both":
            _put_beside(xyz, side, view)
        bare = np.asarray(folds.data.parts[side]).ravel() > 0
        value = np.where(shown[number] > threshold, shown[number], np.where(bare, -0.18, -0.10) * top)
        faces = np.asarray(part.faces, np.int32)
        figure.add_trace(
            go.Mesh3d(
                x=np.round(xyz[:, 0], 1), y=np.round(xyz[:, 1], 1), z=np.round(xyz[:, 2], 1),
                i=faces[:, 0].astype(np.int16), j=faces[:, 1].astype(np.int16), k=faces[:, 2].astype(np.int16),
                intensity=np.round(value, 3).astype(np.float32), cmin=-0.2 * top, cmax=top, colorscale=_scale(),
                showscale=number == 1 or hemisphere != "both", hoverinfo="skip", name=side,
                colorbar=_bar(top),
                lighting={"ambient": 0.6, "diffuse": 0.6, "specular": 0.1},
            )
        )  # fmt: skip
    figure.update_layout(**_layout(label, _camera(hemisphere, view)))
    return figure


def _put_beside(xyz: FloatArray, side: str, view: str) -> None:
    """Move a hemisphere, in place, so that both show the chosen face in one look."""
    if view not in ("lateral", "medial"):
        xyz[:, 0] += (-1 if side == "left" else 1) * (abs(xyz[:, 0]).max() / 2 + GAP_MM)
        return
    xyz -= xyz.mean(0)
    if side == "right":
        xyz[:, :2] *= -1
    # seen from the left, where the front is left; the left hemisphere stands left
    xyz[:, 1] += (1 if side == "left" else -1) * (np.ptp(xyz[:, 1]) + GAP_MM) / 2 * (-1 if view == "medial" else 1)


def _scale() -> list[list[object]]:
    """Greys for folds below zero, then a map of rising lightness."""
    import plotly.colors

    colours = plotly.colors.sample_colorscale(COLOURS, [0.25 + 0.75 * i / 8 for i in range(9)])
    zero = 0.2 / 1.2
    greys: list[list[object]] = [[0.0, "#4a4f59"], [zero * 0.35, "#4a4f59"], [zero * 0.4, "#777d88"], [zero, "#777d88"]]
    return greys + [[zero + (1 - zero) * (0.001 + 0.999 * i / 8), colour] for i, colour in enumerate(colours)]


def _camera(hemisphere: str, view: str) -> dict[str, object]:
    x, y, z = VIEWS[view]
    if hemisphere == "left" or (hemisphere == "both" and view in ("lateral", "medial")):
        x = -x
    up = {"x": 0, "y": 1, "z": 0} if abs(z) > 0.5 else {"x": 0, "y": 0, "z": 1}
    far = 2.45 if hemisphere == "both" and view in ("lateral", "medial") else 1.6  # two beside each other are wide
    return {"eye": {"x": far * x, "y": far * y, "z": far * z}, "up": up}


def _bar(top: float) -> dict[str, object]:
    """The colours below the picture, where they leave a narrow screen its width."""
    return {
        "title": {"text": "correlation r", "side": "top"}, "tickvals": [0, round(top / 2, 2), round(top, 2)],
        "orientation": "h", "len": 0.6, "thickness": 10, "y": 0, "yanchor": "top",
    }  # fmt: skip


def _title(label: str) -> dict[str, object]:
    return {"text": label, "x": 0.5, "font": {"size": 14}}


def _layout(label: str, camera: dict[str, object]) -> dict[str, object]:
    hidden = {"visible": False}
    return {
        "paper_bgcolor": SURFACE, "font": {"color": TEXT, "family": "system-ui, -apple-system, 'Segoe UI', sans-serif"},
        "margin": {"l": 0, "r": 0, "t": 36 if label else 8, "b": 62}, "title": _title(label),
        "scene": {"xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "data", "camera": camera},
    }  # fmt: skip


def slices(space: Space, values: npt.ArrayLike, label: str = "", threshold: float = 0.0) -> go.Figure:
    """Three slices through the strongest voxel, as plotly heat maps.

    Args:
        space: where the voxels are.
        values: ``[voxels]``.
        label: written above.
        threshold: values below it stay grey.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    image = space.as_nifti(values, label)
    volume, affine = np.asarray(image.dataobj, np.float32), image.affine
    inside = np.asarray(space.as_nifti(np.ones(space.n_voxels), label).dataobj) > 0
    peak = np.unravel_index(int(volume.argmax()), volume.shape)
    figure = make_subplots(
        1, 3, subplot_titles=[f"{axis} = {_mm(affine, peak)[i]:.0f} mm" for i, axis in enumerate("xyz")],
        horizontal_spacing=0.03,
    )  # fmt: skip
    top = float(max(volume.max(), threshold + 0.05))
    for axis in range(3):
        plane = np.take(volume, peak[axis], axis).T
        bare = np.where(np.take(inside, peak[axis], axis).T, -0.18 * top, np.nan)
        shown = np.where(plane > max(threshold, 1e-9), np.round(plane, 3), bare)
        heat = go.Heatmap(
            z=shown, zmin=-0.2 * top, zmax=top, colorscale=_scale(), showscale=axis == 2, hoverinfo="skip",
            colorbar=_bar(top),
        )  # fmt: skip
        figure.add_trace(heat, 1, axis + 1)
        figure.update_xaxes(visible=False, row=1, col=axis + 1)
        figure.update_yaxes(visible=False, scaleanchor=f"x{axis + 1 or ''}" if axis else "x", row=1, col=axis + 1)
    figure.update_annotations(font={"size": 12})
    figure.update_layout(
        paper_bgcolor=SURFACE, plot_bgcolor=SURFACE, font={"color": TEXT}, title=_title(label),
        margin={"l": 8, "r": 8, "t": 64 if label else 28, "b": 62},
    )  # fmt: skip
    return figure


def space_of(arrays: Mapping[str, npt.NDArray[Any]]) -> Space:
    """The places of the voxels of a result."""
    from backend.instruments.brain.space import Space

    shape = tuple(int(side) for side in arrays["volume_shape"])
    return Space(arrays["voxel_xyz"], arrays["voxel_index"], shape, arrays["volume_affine"])


def _mm(affine: npt.NDArray[np.float64], index: tuple[np.intp, ...]) -> npt.NDArray[np.float64]:
    return np.asarray(affine[:3, :3] @ np.array(index) + affine[:3, 3])
