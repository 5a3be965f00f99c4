"""Arrays → plotly figures: small, readable on any theme, no outside fonts.

Every figure brings its own dark surface, so that contrast does not depend on the page (text 14:1). Series differ in
dash as well as in colour (Okabe and Ito's palette), and colour maps rise in lightness, so that nothing is said by hue
alone. Images are reduced to 300 × 128 cells of one byte: about 50 kB of JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backend.audio.midi import Notes, program_name
from backend.audio.spectral import LogMel, cqt_chroma, cqt_magnitude
from backend.audio.waveform import Waveform

if TYPE_CHECKING:
    import plotly.graph_objects as go

SURFACE, TEXT, GRID = "#15181f", "#e6e8ec", "#3a404c"
SERIES = (
    ("#56b4e9", "solid"),
    ("#e69f00", "dash"),
    ("#009e73", "dot"),
    ("#f0e442", "dashdot"),
    ("#cc79a7", "longdash"),
)
FONT = "system-ui, -apple-system, 'Segoe UI', sans-serif"
PITCH_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")
MAX_COLUMNS, MAX_ROWS = 300, 128
RANGE_DB = 80


def spectrogram(waveform: Waveform, title: str = "Spectrogram") -> go.Figure:
    """Log-mel spectrogram of the mono mix, in dB below its loudest cell down to -80."""
    import torch

    mel = LogMel(waveform.sample_rate, n_fft=2048, hop=480, n_mels=MAX_ROWS)
    with torch.no_grad():
        level_db = mel(torch.from_numpy(waveform.mono().samples[0])).numpy() * (20.0 / np.log(10.0))
    level_db = reduce_columns(level_db)
    level_db = np.clip(level_db - max(float(level_db.max()), -60.0), -RANGE_DB, 0)
    figure = _image(level_db, waveform.duration_s, title, "Magma", "dB", (-RANGE_DB, 0))
    mels = np.linspace(0, 2595 * np.log10(1 + waveform.sample_rate / 1400), MAX_ROWS + 2)[1:-1]
    hertz = 700 * (10 ** (mels / 2595) - 1)
    ticks = [f for f in (100, 500, 1000, 2000, 4000, 8000, 16000) if f < waveform.sample_rate / 2]
    rows = np.interp(ticks, hertz, np.arange(MAX_ROWS))
    names = [f"{f // 1000} kHz" if f >= 1000 else f"{f} Hz" for f in ticks]
    figure.update_yaxes(tickvals=rows.tolist(), ticktext=names, title_text="Frequency")
    return figure


def chroma(waveform: Waveform, title: str = "Chroma") -> go.Figure:
    """Pitch classes over time, each column relative to its strongest (silent columns stay empty)."""
    strength = reduce_columns(cqt_chroma(waveform, hop=1024))
    peak = strength.max(0, keepdims=True)
    share = np.where(peak > strength.max() * 1e-3, strength / np.maximum(peak, 1e-9), 0.0)
    figure = _image(100 * share, waveform.duration_s, title, "Viridis", "%", (0, 100))
    figure.update_yaxes(tickvals=list(range(12)), ticktext=list(PITCH_NAMES), title_text="Pitch class")
    return figure


def piano_roll(notes: Notes, duration_s: float, title: str = "Notes") -> go.Figure:
    """What is played: a bar a note, a colour and a dash a part, drum hits as dots.

    Args:
        notes: table of `backend.audio.midi.NOTE`.
        duration_s: length of the time axis.
        title: above the figure.
    """
    import plotly.graph_objects as go

    figure = go.Figure(layout=_layout(title))
    for index, part in enumerate(np.unique(notes["part"])):
        own = notes[notes["part"] == part]
        colour, drums = SERIES[index % len(SERIES)][0], bool(own["is_drum"][0])
        times = [round(float(t), 3) for t in own["start_s"]]
        name = program_name(int(own["program"][0]), drums)
        pitches = own["pitch"].tolist()
        if drums:
            marker = {"color": colour, "size": 4, "symbol": "diamond"}
            figure.add_trace(go.Scatter(x=times, y=pitches, name=name, mode="markers", marker=marker))
            continue
        ends = [round(float(t), 3) for t in own["end_s"]]
        x = [value for start, end in zip(times, ends, strict=True) for value in (start, end, None)]
        y = [value for pitch in pitches for value in (pitch, pitch, None)]
        figure.add_trace(go.Scatter(x=x, y=y, name=name, mode="lines", line={"color": colour, "width": 5}))
    octaves = list(range(24, 109, 12))
    figure.update_yaxes(title_text="Pitch", tickvals=octaves, ticktext=[f"C{p // 12 - 1}" for p in octaves])
    figure.update_xaxes(title_text="Time (s)", range=[0, duration_s])
    figure.update_layout(showlegend=True)
    return figure


def melody_followed(
    contour: npt.ArrayLike, frame_rate: float, played: Notes, title: str = "Your melody and what was played"
) -> go.Figure:
    """The pitch that was heard over the notes of the leading part that was played, both from the first tone on.

    Args:
        contour: fractional MIDI pitch ``[frames]``, NaN where there is none.
        frame_rate: frames a second of the contour.
        played: table of `backend.audio.midi.NOTE`.
        title: above the figure.
    """
    import plotly.graph_objects as go

    pitch = np.asarray(contour, dtype=np.float64)
    voiced = np.flatnonzero(np.isfinite(pitch))
    first, last = (int(voiced[0]), int(voiced[-1]) + 1) if len(voiced) else (0, 0)
    pitch = pitch[first:last]
    step = max(1, len(pitch) // (2 * MAX_COLUMNS))
    times = [round(i / frame_rate, 3) for i in range(0, len(pitch), step)]
    heard = [round(float(p), 2) if np.isfinite(p) else None for p in pitch[::step]]
    notes = played[~played["is_drum"]]
    notes = notes[notes["part"] == notes["part"].min(initial=255)]
    start = float(notes["start_s"].min()) if len(notes) else 0.0
    x = [v for a, b in zip(notes["start_s"], notes["end_s"], strict=True) for v in (a - start, b - start, None)]
    x = [None if v is None else round(float(v), 3) for v in x]
    y = [v for p in notes["pitch"].tolist() for v in (p, p, None)]
    figure = go.Figure(layout=_layout(title))
    bars = {"color": SERIES[1][0], "width": 6}
    figure.add_trace(go.Scatter(x=x, y=y, name="played", mode="lines", line=bars))
    line = {"color": SERIES[0][0], "width": 2}
    figure.add_trace(go.Scatter(x=times, y=heard, name="heard", mode="lines", line=line))
    octaves = list(range(24, 109, 12))
    figure.update_yaxes(title_text="Pitch", tickvals=octaves, ticktext=[f"C{p // 12 - 1}" for p in octaves])
    figure.update_xaxes(title_text="Time (s)")
    figure.update_layout(showlegend=True)
    return figure


def latent_map(
    corpus: npt.ArrayLike, pieces: npt.ArrayLike, anchors: npt.ArrayLike, titles: Sequence[str], joined: bool = True
) -> go.Figure:
    """Places of pieces among the remembered training passages; what lies close together sounds alike.

    Args:
        corpus: ``[n, 2]``, a dot each.
        pieces: ``[n, 2]``, in order; the ends are numbered, or all where they are not joined.
        anchors: ``[n, 2]``, a diamond each.
        titles: of the anchors.
        joined: draw the way from piece to piece.
    """
    import plotly.graph_objects as go

    figure = go.Figure(layout=_layout("Map of the pieces"))
    dots, way, ends = (np.asarray(points, np.float64).reshape(-1, 2) for points in (corpus, pieces, anchors))
    marker = {"color": SERIES[0][0], "size": 5, "opacity": 0.45}
    figure.add_trace(_points(dots, "what the model remembers", "markers", marker=marker, hoverinfo="skip"))
    mode = "lines+markers+text" if joined else "markers+text"
    last = len(way) - 1
    numbers = [str(index + 1) if index in (0, last) or not joined else "" for index in range(len(way))]
    style: dict[str, Any] = {"marker": {"color": SERIES[1][0], "size": 9}, "line": {"color": SERIES[1][0], "width": 2}}
    name = "the road, step by step" if joined else "what was made"
    figure.add_trace(_points(way, name, mode, text=numbers, textposition="top center", hoverinfo="skip", **style))
    marker = {"color": SERIES[3][0], "size": 13, "symbol": "diamond-open", "line": {"width": 2}}
    hover = {"text": list(titles), "hovertemplate": "%{text}<extra></extra>"}
    figure.add_trace(_points(ends, "the pieces you chose", "markers", marker=marker, **hover))
    figure.update_xaxes(showticklabels=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, zeroline=False)
    figure.update_layout(showlegend=True, legend={"x": 0, "y": -0.04, "xanchor": "left", "yanchor": "top"})
    return figure


def _points(places: npt.NDArray[np.float64], name: str, mode: str, **style: Any) -> Any:
    """A scatter trace of ``[n, 2]``, rounded to what a screen can show."""
    import plotly.graph_objects as go

    x, y = (np.round(places[:, axis], 3).tolist() for axis in (0, 1))
    return go.Scatter(x=x, y=y, name=name, mode=mode, **style)


def training_curve(
    steps: Sequence[float],
    series: Mapping[str, Sequence[float]],
    title: str = "Training",
    y_title: str = "Loss",
    log_y: bool = False,
) -> go.Figure:
    """Lines over training steps, at most 500 points each; gaps (NaN) stay gaps.

    Args:
        steps: the common horizontal axis.
        series: name → values, as long as ``steps``; five are told apart.
        title: above the figure.
        y_title: what the values are, with their unit.
        log_y: logarithmic vertical axis.

    Raises:
        ValueError: a series has another length than ``steps``.
    """
    import plotly.graph_objects as go

    x = np.asarray(steps, dtype=np.float64)
    keep = np.unique(np.linspace(0, max(len(x) - 1, 0), min(len(x), 500)).round().astype(int))
    figure = go.Figure(layout=_layout(title))
    for index, (name, values) in enumerate(series.items()):
        if len(values) != len(x):
            raise ValueError(f"{name}: {len(values)} values for {len(x)} steps")
        y = np.asarray(values, dtype=np.float64)[keep] if len(x) else np.zeros(0)
        colour, dash = SERIES[index % len(SERIES)]
        shown = [None if not np.isfinite(v) else float(f"{v:.5g}") for v in y]
        line = {"color": colour, "dash": dash, "width": 2}
        figure.add_trace(go.Scatter(x=x[keep].tolist(), y=shown, name=name, mode="lines", line=line))
    figure.update_xaxes(title_text="Step")
    figure.update_yaxes(title_text=y_title, type="log" if log_y else "linear")
    return figure


def scalograms(before: Waveform, after: Waveform, titles: tuple[str, str] = ("Before", "After")) -> go.Figure:
    """Constant-Q magnitudes of two loops one above the other, in dB below the loudest cell of both."""
    from plotly.subplots import make_subplots

    levels = [20 * np.log10(np.maximum(cqt_magnitude(loop, hop=256), 1e-6)) for loop in (before, after)]
    loudest = max(float(level.max()) for level in levels)
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.14, subplot_titles=titles)
    figure.update_layout(_layout("What the loop was and what it became"), height=440)
    for row, (loop, level) in enumerate(zip((before, after), levels, strict=True), 1):
        image = reduce_columns(np.clip(level - max(loudest, -60.0), -RANGE_DB, 0))
        trace = _image(image, loop.duration_s, "", "Magma", "dB", (-RANGE_DB, 0)).data[0]
        trace.showscale = row == 1
        figure.add_trace(trace, row=row, col=1)
        octaves = list(range(0, image.shape[0], 36))
        names = [f"C{1 + octave}" for octave in range(len(octaves))]
        figure.update_yaxes(tickvals=octaves, ticktext=names, gridcolor=GRID, row=row, col=1)
    figure.update_xaxes(title_text="Time (s)", automargin=True, row=2, col=1)
    return figure


def activation_curve(passes: Sequence[float], series: Mapping[str, Sequence[float]]) -> go.Figure:
    """How much the targets heard, in deviations above silence, pass after pass; see `training_curve`."""
    figure = training_curve(passes, series, "How much the chosen neurons hear", "Deviations above silence")
    figure.update_xaxes(title_text="Pass")
    figure.update_layout(showlegend=len(series) > 1)
    return figure


def transfer_spectrograms(
    before: npt.ArrayLike, after: npt.ArrayLike, difference: npt.ArrayLike, duration_s: float
) -> go.Figure:
    """Log-mel spectrograms of a song before and after a transfer, and what was added or taken away.

    Args:
        before: ``[bands, frames]`` in dB below full scale, bands from 30 Hz to 16 kHz.
        after: likewise, of the result.
        difference: after less before, in dB; the scale ends at ±40.
        duration_s: of the time axis.
    """
    from plotly.subplots import make_subplots

    titles = ("Before", "After", "Added (bright) or taken away (dark)")
    figure = make_subplots(rows=3, cols=1, shared_xaxes=True, vertical_spacing=0.09, subplot_titles=titles)
    figure.update_layout(_layout(""), height=560)
    images = [np.asarray(image, np.float32) for image in (before, after, difference)]
    loudest = max(-60.0, *(float(image.max(initial=-RANGE_DB)) for image in images[:2]))
    limits = ((-60, 0), (-60, 0), (-40, 40))
    for row, (image, (low, high)) in enumerate(zip(images, limits, strict=True), 1):
        # Differences are averaged: the largest of neighbours would hide what was taken away.
        cells = reduce_columns(image - loudest) if row < 3 else _mean_columns(image)
        colours = "Cividis" if row == 3 else "Magma"
        trace = _image(np.clip(cells, low, high), duration_s, "", colours, "dB", (low, high)).data[0]
        trace.showscale = row > 1
        trace.colorbar.update(len=0.6 if row == 2 else 0.28, y=0.7 if row == 2 else 0.14, thickness=12)
        figure.add_trace(trace, row=row, col=1)
        low_mel, high_mel = (float(2595 * np.log10(1 + edge / 700)) for edge in (30.0, 16_000.0))
        mels = np.linspace(low_mel, high_mel, image.shape[0] + 2)[1:-1]
        ticks = (100, 500, 2000, 8000)
        rows = np.interp(ticks, 700 * (10 ** (mels / 2595) - 1), np.arange(len(mels)))
        names = [f"{f // 1000} kHz" if f >= 1000 else f"{f} Hz" for f in ticks]
        figure.update_yaxes(tickvals=rows.tolist(), ticktext=names, showgrid=False, row=row, col=1)
    figure.update_xaxes(title_text="Time (s)", automargin=True, row=3, col=1)
    figure.update_annotations(font_size=13)
    return figure


def _mean_columns(values: npt.NDArray[Any], columns: int = MAX_COLUMNS) -> npt.NDArray[Any]:
    """``[rows, n]`` → ``[rows, ≤ columns]`` by the mean of neighbours."""
    n = values.shape[1]
    if n <= columns:
        return values
    edges = np.linspace(0, n, columns + 1).astype(int)
    return np.add.reduceat(values, edges[:-1], axis=1) / np.diff(edges)


def confusion(matrix: npt.ArrayLike, labels: Sequence[str], title: str = "Confusion") -> go.Figure:
    """Counts as shares of each true class, with the counts written in the cells.

    Args:
        matrix: ``[true, heard]`` counts.
        labels: class names in order.
        title: above the figure.

    Raises:
        ValueError: the matrix is not square with one row a label.
    """
    import plotly.graph_objects as go

    counts = np.asarray(matrix)
    if counts.shape != (len(labels), len(labels)):
        raise ValueError(f"expected {len(labels)} x {len(labels)} counts, got shape {counts.shape}")
    share = 100.0 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = go.Figure(layout=_layout(title))
    figure.add_trace(
        go.Heatmap(
            z=share.round().astype(np.uint8),
            x=list(labels),
            y=list(labels),
            text=counts.tolist(),
            texttemplate="%{text}",
            colorscale="Cividis",
            zmin=0,
            zmax=100,
            colorbar={"title": {"text": "% of row"}, "outlinewidth": 0},
            hovertemplate="true %{y}, heard %{x}: %{text} (%{z} %)<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="Heard", side="bottom")
    figure.update_yaxes(title_text="True", autorange="reversed")
    return figure


def reduce_columns(values: npt.NDArray[Any], columns: int = MAX_COLUMNS) -> npt.NDArray[Any]:
    """``[rows, n]`` → ``[rows, ≤ columns]`` by the maximum of neighbours, so that short onsets stay visible."""
    n = values.shape[1]
    if n <= columns:
        return values
    edges = np.linspace(0, n, columns + 1).astype(int)[:-1]
    return np.maximum.reduceat(values, edges, axis=1)


def _image(
    values: npt.NDArray[Any], duration_s: float, title: str, colours: str, unit: str, limits: tuple[int, int]
) -> go.Figure:
    """Heat map over time in whole units of one signed byte."""
    import plotly.graph_objects as go

    n = values.shape[1]
    figure = go.Figure(layout=_layout(title))
    figure.add_trace(
        go.Heatmap(
            z=np.rint(values).astype(np.int8),
            x0=duration_s / n / 2,
            dx=duration_s / n,
            colorscale=colours,
            zmin=limits[0],
            zmax=limits[1],
            colorbar={"title": {"text": unit}, "outlinewidth": 0},
            hovertemplate=f"%{{x:.1f}} s: %{{z}} {unit}<extra></extra>",
        )
    )
    figure.update_xaxes(title_text="Time (s)", showgrid=False)
    figure.update_yaxes(showgrid=False)
    return figure


def _layout(title: str) -> dict[str, Any]:
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "automargin": True}
    return {
        "template": "none",
        "title": {"text": title, "font": {"size": 15}},
        "paper_bgcolor": SURFACE,
        "plot_bgcolor": SURFACE,
        "font": {"family": FONT, "color": TEXT, "size": 12},
        "margin": {"l": 60, "r": 20, "t": 44, "b": 44},
        "height": 300,
        "xaxis": axis,
        "yaxis": dict(axis),
        "legend": {"orientation": "h", "y": 1.02, "x": 1, "xanchor": "right", "yanchor": "bottom"},
    }
