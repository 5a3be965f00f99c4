"""The settings of Brain: what the page asks, as fields, as a request, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from backend.errors import RequestError
from backend.instruments.brain.layout import GENRES, N_TEST, PAIRINGS, REGIONS
from backend.instruments.brain.request import DECODERS, BrainRequest
from pages.parts import SeedRow, html

PREFIX = "brain"
PLAIN = BrainRequest()
"""The defaults of every field."""

PIECES = tuple(str(number) for number in range(1, N_TEST // len(GENRES) + 1))
DECODER_TITLES = {
    "contrastive": "Contrastive: tells pieces apart",
    "ridge": "Ridge, as published",
    "seed_linear": "Linear layer, trained by gradients",
    "seed_mlp": "Three layers",
}
REGION_TITLES = {"auditory": "Auditory cortex", "cortex": "Whole cortex", "best": "The six best regions"}
PAIRING_TITLES = {"clip": "One sample a piece", "ten_windows": "Ten windows", "four_windows": "Four windows"}
STRENGTHS = {"As well as people (calibrated)": None, "Three times as strong": 0.8, "Nothing is heard": 0.0}
"""What the page says → ratio of signal to noise."""


@dataclass(frozen=True)
class Form:
    """The fields; `inputs` are in the order of `make_request`, `settings` are those that a scan shares."""

    genre: gr.Radio
    piece: gr.Radio
    strength: gr.Radio
    listener_seed: gr.Slider
    decoder: gr.Radio
    region: gr.Radio
    pairing: gr.Radio
    duration_s: gr.Slider
    candidates: gr.Slider
    controls: gr.Checkbox
    seed: SeedRow

    @property
    def settings(self) -> list[Any]:
        """How it is decoded and made."""
        return [self.decoder, self.region, self.pairing, self.duration_s, self.candidates, self.controls]

    @property
    def inputs(self) -> list[Any]:
        """What `make_request` takes after the seed."""
        return [self.genre, self.piece, self.strength, self.listener_seed, *self.settings]


def build() -> Form:
    """Lay out the settings of the simulated listener."""
    html('<h3 class="nm-title">What is played to the listener</h3>')
    genre = gr.Radio(list(GENRES), value=GENRES[0], label="Genre", elem_id=f"{PREFIX}-genre", elem_classes="nm-chips")
    piece = gr.Radio(list(PIECES), value="1", label="Piece", elem_id=f"{PREFIX}-piece", elem_classes="nm-chips")
    seed = SeedRow.build(PREFIX)
    with gr.Accordion("Listener and decoder", open=False, elem_id=f"{PREFIX}-settings"):
        strength = gr.Radio(
            list(STRENGTHS), value=next(iter(STRENGTHS)), label="How much of the music is in the scan",
            elem_id=f"{PREFIX}-strength",
        )  # fmt: skip
        listener_seed = gr.Slider(
            0, 99, PLAIN.listener_seed, step=1, label="Listener", elem_id=f"{PREFIX}-listener",
            info="another number is another brain; number 0 is the calibrated one",
        )  # fmt: skip
        decoder = gr.Radio(
            _named(DECODERS, DECODER_TITLES), value=PLAIN.decoder, label="Decoder", elem_id="brain-decoder"
        )
        region = gr.Radio(_named(REGIONS, REGION_TITLES), value=PLAIN.region, label="Read from", elem_id="brain-region")
        pairing = gr.Radio(
            _named(PAIRINGS, PAIRING_TITLES), value=PLAIN.pairing, label="Training samples", elem_id="brain-pairing"
        )
    with gr.Accordion("What is made of it", open=False, elem_id=f"{PREFIX}-making"):
        duration = gr.Slider(
            4, 15, PLAIN.duration_s, step=1, label="Seconds of each generated sound", elem_id=f"{PREFIX}-duration"
        )
        candidates = gr.Slider(
            1, 4, PLAIN.candidates, step=1, label="Tries", elem_id=f"{PREFIX}-candidates",
            info="the one closest to the prediction is kept",
        )  # fmt: skip
        controls = gr.Checkbox(PLAIN.controls, label="Also the controls", elem_id=f"{PREFIX}-controls")
    return Form(
        genre, piece, strength, listener_seed, decoder, region, pairing, duration, candidates, controls, seed
    )  # fmt: skip


def _named(names: tuple[str, ...], titles: dict[str, str]) -> list[tuple[str, str]]:
    return [(titles[name], name) for name in names]


def make_request(
    seed: Any, genre: Any, piece: Any, strength: Any, listener_seed: Any, decoder: Any, region: Any, pairing: Any,
    duration_s: Any, candidates: Any, controls: Any,
) -> BrainRequest:  # fmt: skip
    """The request for the raw values of the page.

    Raises:
        RequestError: for the first value that is wrong.
    """
    if strength not in STRENGTHS:
        raise RequestError("strength", strength, f"one of {', '.join(STRENGTHS)}")
    return BrainRequest(
        seed=seed, clip=clip_of(genre, piece), snr=STRENGTHS[strength], listener_seed=listener_seed, decoder=decoder,
        region=region, pairing=pairing, duration_s=duration_s, candidates=candidates, controls=controls,
    )  # fmt: skip


def clip_of(genre: Any, piece: Any) -> int:
    """Number of a test clip: they go round the genres.

    Raises:
        RequestError: no such genre or piece.
    """
    if genre not in GENRES:
        raise RequestError("genre", genre, f"one of {', '.join(GENRES)}")
    if piece not in PIECES:
        raise RequestError("piece", piece, f"one of {', '.join(PIECES)}")
    return GENRES.index(genre) + len(GENRES) * PIECES.index(piece)


def values(request: BrainRequest) -> list[Any]:
    """A request as `Form.inputs`; a strength between those of the page becomes the nearest."""
    piece, genre = divmod(int(request.clip), len(GENRES))
    snr = request.snr
    near = [name for name, value in STRENGTHS.items() if (value is None) == (snr is None)]
    strength = min(near, key=lambda name: abs((STRENGTHS[name] or 0.0) - (snr or 0.0)))
    return [
        GENRES[genre], PIECES[piece], strength, request.listener_seed, request.decoder, request.region, request.pairing,
        request.duration_s, request.candidates, request.controls,
    ]  # fmt: skip
