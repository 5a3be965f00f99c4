"""The session sheet: one printable page of HTML that says what a session was made of. It fetches nothing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.contract import Result
from backend.errors import RequestError
from backend.instruments.calm.room import SOUNDS

Array = npt.NDArray[np.float64]

WIDTH, HEIGHT, LEFT, BOTTOM = 680, 110, 44, 22
MAX_ROWS = 14
FLOOR_LU = 30.0  # below the integrated loudness a curve of loudness says nothing more

NOTICE = (
    "Calm-styled music, not treatment: no effect on health is claimed or has been tested. Start softly. Stop at once "
    "if it is unpleasant, stirs up memories or makes anybody uneasy; do not play it while driving."
)

STYLE = """
@page { size: A4; margin: 14mm }
body { font: 10.5pt/1.4 system-ui, sans-serif; color: #1d2730; max-width: 182mm; margin: 0 auto; padding: 0 }
h1 { font-size: 18pt; margin: 0 } h2 { font-size: 11.5pt; margin: 5mm 0 1mm }
p { margin: 1mm 0 } .notice { border: 1px solid #8a97a3; padding: 2mm 3mm }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .6mm 3mm .6mm 0; font-size: 9.5pt }
th { border-bottom: 1px solid #8a97a3; font-weight: 600 } svg { width: 100%; height: auto }
.pair { display: flex; gap: 8mm } .pair div { flex: 1 }
"""


def session_sheet(result: Result) -> str:
    """The sheet of a session's result: pieces, path, tempo curve, loudness, seed and settings.

    Args:
        result: of `instrument.Calm` in mode ``session``; provenance is used where it is there.

    Raises:
        RequestError: the result is not a session's.
    """
    arrays = result.arrays
    if "route" not in arrays or not result.waveforms:
        raise RequestError("result", sorted(arrays), "the result of a session")
    seconds = result.waveforms[0].duration_s
    titles = [str(title) for title in arrays["anchor_titles"]]
    beats_s, tempo = np.asarray(arrays["beat_s"], np.float64)[:-1], np.asarray(arrays["tempo_bpm"], np.float64)
    heard = np.asarray(arrays["loudness_lufs"], np.float64)
    loudness = np.maximum(heard, float(arrays["integrated_lufs"]) - FLOOR_LU)
    moments_s = 0.2 + 0.1 * np.arange(len(loudness), dtype=np.float64)
    minutes, rest = divmod(round(seconds), 60)
    parts = [
        f"<h1>Calm session, {minutes}:{rest:02d} min</h1>",
        f"<p>{escape(' → '.join(titles))}</p>",
        f'<p class="notice">{escape(NOTICE)}</p>',
        "<h2>Tempo (beats a minute)</h2>",
        curve(beats_s, tempo, seconds, "Tempo curve"),
        "<h2>Loudness (LUFS, every 400 ms)</h2>",
        curve(*_thinned(moments_s, loudness), seconds, "Loudness curve"),
        "<h2>Path</h2>",
        _route(np.asarray(arrays["route"], np.float64), titles),
        '<div class="pair">',
        "<div><h2>Measured</h2>" + _table(("", ""), _figures(arrays)) + "</div>",
        "<div><h2>Settings</h2>" + _table(("", ""), _settings(result)) + "</div></div>",
    ]
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Calm session</title>'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def curve(times_s: Array, values: Array, duration_s: float, label: str) -> str:
    """A line over time as SVG, with its range and the minutes written beside it.

    Args:
        times_s: rising ``[points]``.
        values: ``[points]``; those that are not finite are left out.
        duration_s: where the axis ends.
        label: what it is called for those who cannot see it.
    """
    known = np.isfinite(values)
    times_s, values = times_s[known], values[known]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    low, high = (low - 1.0, high + 1.0) if high - low < 2.0 else (low, high)
    x = LEFT + times_s / duration_s * (WIDTH - LEFT - 6)
    y = 8 + (high - values) / (high - low) * (HEIGHT - BOTTOM - 8)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    ticks = "".join(
        f'<text x="{LEFT + share * (WIDTH - LEFT - 6):.0f}" y="{HEIGHT - 4}" text-anchor="{anchor}">'
        f"{share * duration_s / 60:.1f} min</text>"
        for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
    )
    box = f'x="{LEFT}" y="8" width="{WIDTH - LEFT - 6}" height="{HEIGHT - BOTTOM - 8}"'
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}, {low:.1f} to {high:.1f}" '
        f'font-size="11" fill="#44525e"><rect {box} fill="none" stroke="#b9c3cc"/>'
        f'<polyline fill="none" stroke="#1f5f8b" stroke-width="1.5" points="{points}"/>'
        f'<text x="{LEFT - 4}" y="16" text-anchor="end">{high:.0f}</text>'
        f'<text x="{LEFT - 4}" y="{HEIGHT - BOTTOM}" text-anchor="end">{low:.0f}</text>{ticks}</svg>'
    )


def _thinned(times_s: Array, values: Array, points: int = 600) -> tuple[Array, Array]:
    """At most so many points, each the loudest of those it stands for."""
    size = max(1, -(-len(values) // points))
    whole = len(values) // size * size
    if not whole:
        return times_s, values
    return times_s[:whole].reshape(-1, size).mean(1), values[:whole].reshape(-1, size).max(1)


def _route(route: Array, titles: Sequence[str]) -> str:
    """One row for each way from one piece to the next; of a very long session the first rows."""
    legs: list[list[float]] = []
    for start_s, end_s, first, second, share in route:
        if legs and share > 0:
            legs[-1][1], legs[-1][4] = end_s, legs[-1][4] + 1
        else:
            legs.append([start_s, end_s, first, second, 1])
    rows = [
        (f"{_clock(start)} – {_clock(end)}", f"{titles[int(a)]} → {titles[int(b)]}", f"{int(count)}")
        for start, end, a, b, count in legs[:MAX_ROWS]
    ]
    if len(legs) > MAX_ROWS:
        rows.append((f"… {_clock(legs[-1][1])}", f"{len(legs) - MAX_ROWS} more ways among the same pieces", ""))
    return _table(("Time", "From → to", "Pieces on the way"), rows)


def _figures(arrays: Any) -> list[tuple[str, str]]:
    return [
        ("Integrated loudness", f"{float(arrays['integrated_lufs']):.1f} LUFS"),
        ("True peak", f"{float(arrays['true_peak_dbtp']):.1f} dBTP"),
        ("Largest rise within three seconds", f"{float(arrays['level_jump_lu']):.1f} LU"),
        ("Tempo, largest change a beat", f"{float(arrays['tempo_jump_bpm']):.2f} bpm"),
        ("Two-bar spans heard before", f"{100 * float(arrays['repeat_share']):.1f} %"),
    ]


def _settings(result: Result) -> list[tuple[str, str]]:
    """Seed, instrument, method and version, as far as they are known."""
    provenance = result.provenance
    if provenance is None:
        return [("Seed", "unknown")]
    request = provenance.request
    sound = SOUNDS.get(str(request.get("sound")))
    weights = ", ".join(f"{name} {digest[:12]}" for name, digest in provenance.checkpoints.items())
    return [
        ("Seed", str(provenance.seed)),
        ("Pieces", ", ".join(str(name) for name in request.get("anchors", ()))),
        ("Instrument", sound.title if sound is not None else "unknown"),
        ("Interpolation", str(request.get("method", "unknown"))),
        ("Weights", weights or "none"),
        ("Version", provenance.app_version),
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + (line("th", head) if any(head) else "") + "".join(line("td", row) for row in rows) + "</table>"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
