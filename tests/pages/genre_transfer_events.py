"""What Genre transfer would show of a job, at once: pictures of work in progress, then tones of three pitches."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator

import numpy as np

from backend.audio.waveform import Waveform
from backend.contract import Done, Event, Progress, Provenance, Result
from backend.instruments.genre_transfer.genres import GENRES
from backend.instruments.genre_transfer.request import UPLOAD, GenreTransferRequest

RATE = 22_050
CONTENT_S, STYLE_S = 4.0, 1.5
HERTZ = {"result": 330.0, "content": 220.0, "style": 550.0}


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """As the instrument's `WorkInProgress`, whose module would bring torch."""

    image: np.ndarray
    sound: Waveform | None
    caption: str


def tone(hertz: float, seconds: float) -> Waveform:
    time_s = np.arange(round(seconds * RATE)) / RATE
    return Waveform(np.stack([0.2 * np.sin(2 * np.pi * hertz * time_s)] * 2).astype(np.float32), RATE)


def genre_transfer_result(request: GenreTransferRequest) -> Result:
    """What an engine would answer; a continuation has no style."""
    content_s = request.content_sound.duration_s if request.content == UPLOAD else CONTENT_S
    lengths = {"result": content_s, "content": content_s, "style": STYLE_S}
    if request.method == "continuation":
        del lengths["style"]
    elif request.method == "listen":
        lengths = {"content": content_s}
    rng = np.random.default_rng(int(request.seed))
    arrays: dict[str, np.ndarray] = {"genres": np.array(GENRES, dtype=np.str_)}
    for name in lengths:
        arrays[f"heard_{name}"] = rng.dirichlet(np.full(len(GENRES), 0.3))
        if "result" in lengths:
            arrays[f"spectrogram_{name}"] = rng.uniform(-80, 0, (128, 400)).astype(np.float32)
    if "result" in lengths:
        arrays["spectrogram_difference"] = arrays["spectrogram_result"] - arrays["spectrogram_content"]
    made = Provenance(
        "genre_transfer", request.to_dict(), int(request.seed), {"genre_transfer.lil_data": "ab" * 32}, "cpu", 1.25,
        "0.1.0",
    )  # fmt: skip
    return Result(tuple(tone(HERTZ[name], seconds) for name, seconds in lengths.items()), arrays, provenance=made)


def genre_transfer_events(request: GenreTransferRequest, cancelled: threading.Event) -> Iterator[Event]:
    """Six looks, the later ones with sound; ``iterations=499`` goes on until cancelled."""
    if request.method == "listen":
        yield Done(genre_transfer_result(request))
        return
    image = np.add.outer(np.linspace(0, 1, 128), np.linspace(0, 1, 300)).astype(np.float32) / 2
    endless = request.iterations == 499
    for step in range(10_000 if endless else 6):
        if cancelled.wait(0.1):
            return
        sound = tone(440.0, 1.0) if step % 6 > 2 else None
        yield Progress(step % 6, 6, "Playing the drums", Look(image, sound, "Playing the drums"), 2.0)
    yield Done(genre_transfer_result(request))
