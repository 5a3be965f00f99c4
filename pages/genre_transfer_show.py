"""What Genre transfer shows: work in progress, the result beside its sources, what the classifier hears, pictures."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backend.contract import Result
from backend.instruments.genre_transfer.genres import TITLES
from pages.exports import Clip, Saved
from pages.genre_transfer_form import PREFIX
from pages.parts import anew, card, links, provenance_line
from pages.theme import BRASS, INK, IVORY, dress

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from backend.instruments.genre_transfer.instrument import WorkInProgress

NAMES = ("result", "content", "style")  # the order of a result's waveforms
SHOWN = {"content": "Before", "style": "Style", "result": "After"}
GLOW = {0.0: INK, 0.35: "#3b3a55", 0.65: "#8a6a6c", 0.85: BRASS, 1.0: IVORY}
WIDEST = 320  # columns of a work in progress

Arrays = dict[str, npt.NDArray[Any]]


def work(look: WorkInProgress, saved: Saved | None) -> str:
    """A look at what is being made, with what can be heard of it."""
    caption = escape(look.caption, quote=True)
    heard = ""
    if saved is not None:
        heard = f'<ul class="nm-cards">{card(saved.clips[0], "So far", stays=f"{PREFIX}-work")}</ul>'
    return anew(
        f'<figure class="nm-work"><img alt="Spectrogram of the work in progress: {caption}" src="{png(look.image)}">'
        f"<figcaption>Work in progress: {caption}</figcaption>{heard}</figure>"
    )


def png(image: npt.NDArray[np.floating[Any]]) -> str:
    """``[rows, columns]`` from 0 to 1, low frequencies first, as the address of a picture in the page's colours."""
    step = max(1, -(-image.shape[1] // WIDEST))
    flipped = image[::-1, ::step]
    cells = np.clip(np.nan_to_num(flipped) * 255, 0, 255).astype(np.uint8)
    channels = [[int(colour[i : i + 2], 16) for colour in GLOW.values()] for i in (1, 3, 5)]
    levels = np.linspace(0, 1, 256)
    palette = np.stack([np.interp(levels, list(GLOW), channel) for channel in channels], 1).astype(np.uint8)
    rows = np.pad(cells, ((0, 0), (1, 0)))  # each row begins with its filter: none
    header = struct.pack(">IIBBBBB", cells.shape[1], cells.shape[0], 8, 3, 0, 0, 0)
    parts = (
        (b"IHDR", header),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 6)),
        (b"IEND", b""),
    )
    data = b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + data).decode()


def made(saved: Saved, result: Result, titles: dict[str, str]) -> str:
    """The result: a player that switches between the clips, downloads, what the classifier hears.

    Args:
        saved: files of the result's waveforms.
        result: what was made.
        titles: names of the clips, for content and style.
    """
    provenance, tracks = result.provenance, dict(zip(NAMES, saved.clips, strict=False))
    stem = f"neuromuse-genre_transfer-seed-{provenance.seed}" if provenance else "neuromuse-genre_transfer"
    shown = [_track(name, tracks[name], titles.get(name, "")) for name in SHOWN if name in tracks]
    told = escape(json.dumps({"tracks": shown}), quote=True)
    downloads = links(saved.clips[0], "Your transfer", stem)
    return anew(
        '<ul class="nm-cards"><li class="nm-card"><div class="nm-card-head"><h3>Your transfer</h3>'
        f'{downloads}</div><nm-ab label="your transfer" data-ab="{told}"></nm-ab>'
        f"{heard(dict(result.arrays))}</li></ul>{provenance_line(provenance)}"
    )


def _track(name: str, clip: Clip, title: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": SHOWN[name],
        "title": title,
        "src": f"{clip.url}.wav",
        "duration": round(clip.duration_s, 3),
        "peaks": clip.peaks,
    }


def heard(arrays: Arrays) -> str:
    """What the classifier hears in each clip, as a table of bars."""
    names = [name for name in SHOWN if f"heard_{name}" in arrays]
    if "genres" not in arrays or not names:
        return ""
    head = "".join(f'<th scope="col">{SHOWN[name]}</th>' for name in names)
    rows = []
    for index, genre in enumerate(str(genre) for genre in arrays["genres"]):
        cells = "".join(_bar(float(arrays[f"heard_{name}"][index]), name) for name in names)
        rows.append(f'<tr><th scope="row">{escape(TITLES.get(genre, genre))}</th>{cells}</tr>')
    return (
        '<table class="nm-heard"><caption>What the classifier hears</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


def hears(arrays: Arrays) -> str:
    """What the classifier hears in one clip: its first guess, and every genre on demand."""
    shares = arrays["heard_content"]
    first = int(np.argmax(shares))
    genre = str(arrays["genres"][first])
    rows = "".join(
        f"<li><span>{escape(TITLES.get(str(name), str(name)))}</span>"
        f'<i><b style="width:{100 * float(share):.0f}%"></b></i><small>{100 * float(share):.0f} %</small></li>'
        for name, share in zip(arrays["genres"], shares, strict=True)
    )
    return (
        f'<details class="nm-score nm-hears"><summary>The classifier hears {escape(TITLES.get(genre, genre))}, '
        f"{100 * float(shares[first]):.0f} %</summary><ul>{rows}</ul></details>"
    )


def _bar(share: float, name: str) -> str:
    percent = round(100 * share)
    strong = ' class="nm-most"' if percent >= 50 else ""
    return f'<td{strong}><i data-of="{name}" style="width:{percent}%"></i><span>{percent} %</span></td>'


def drawn(result: Result, duration_s: float) -> Arrays:
    """What `pictures` needs of a result, small enough to be kept for the session."""
    kept = {name: image for name, image in result.arrays.items() if name.startswith("spectrogram_")}
    return {name: np.asarray(image, np.float16) for name, image in kept.items()} | {"duration_s": np.array(duration_s)}


def pictures(arrays: Arrays) -> go.Figure:
    """Before, after and difference, in the page's colours."""
    from backend import plots  # here, because plotly and librosa would add seconds to the start of the server

    figure = plots.transfer_spectrograms(
        arrays["spectrogram_content"], arrays["spectrogram_result"], arrays["spectrogram_difference"],
        float(arrays["duration_s"]),
    )  # fmt: skip
    scale = figure.data[-1].colorscale
    dress(figure, height=560)
    figure.data[-1].colorscale = scale  # zero is in its middle
    return figure
