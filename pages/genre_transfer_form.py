"""The settings of Genre transfer: what the page asks, as fields, as a request, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from backend.audio import io
from backend.audio.waveform import Waveform
from backend.errors import AudioError
from backend.instruments.genre_transfer.genres import EXAMPLES
from backend.instruments.genre_transfer.request import MOST_ITERATIONS, UPLOAD, GenreTransferRequest
from pages.exports import Clip, Exports
from pages.parts import SeedRow, html

PREFIX = "genre"
PLACES = {"content": "The song to keep", "style": "The sound it gets"}
PLAIN = GenreTransferRequest()
"""The defaults of every field."""

METHODS = {
    "studio": "Studio, as above",
    "classic": "Classic: a picture of the sound, painted over",
    "continuation": "Continuation: five seconds more, written by an LSTM",
}
ACTIONS = {"studio": "Transfer", "classic": "Transfer, the classic way", "continuation": "Continue the song"}
NETWORKS = {"lil_data": "Lil Data", "vgg19": "VGG-19"}
SLIDERS = {
    "strength": ("Strength", "of the whole transfer; 0 gives the song back"),
    "timbre": ("Timbre", "how much of the other's sound"),
    "rhythm": ("Rhythm", "the other's drums, from the middle on its groove"),
    "harmony": ("Harmony", "how many of the other's notes may come along"),
}


@dataclass(frozen=True)
class Own:
    """A visitor's own sound in one of the two places, kept among the files of the session."""

    token: str
    clip: Clip
    title: str


Owned = Mapping[str, Own]
"""Place → own sound."""


@dataclass(frozen=True)
class Form:
    """The fields, in the order of `make_request`, and what is seen with which method."""

    sliders: tuple[gr.Slider, ...]
    rhythm_donor: gr.Checkbox
    method: gr.Radio
    network: gr.Radio
    iterations: gr.Slider
    studio: gr.Group
    classic: gr.Group
    history: gr.Accordion
    seed: SeedRow

    @property
    def inputs(self) -> list[Any]:
        """What `make_request` takes after the seed, the two clips and the own sounds."""
        return [*self.sliders, self.rhythm_donor, self.method, self.network, self.iterations]


def clips(own: Own | None) -> list[tuple[str, str]]:
    """Choices of a clip: the visitor's own first, then those that come with the page."""
    mine = [(f"{own.title} (yours)", UPLOAD)] if own else []
    return mine + [(name, name) for name in EXAMPLES]


def build() -> Form:
    """Lay out the settings."""
    with gr.Group(elem_classes="nm-plain", elem_id=f"{PREFIX}-studio") as studio:
        sliders = []
        for first in (0, 2):
            with gr.Row():
                for name in list(SLIDERS)[first : first + 2]:
                    label, info = SLIDERS[name]
                    sliders.append(
                        gr.Slider(
                            0,
                            1,
                            getattr(PLAIN, name),
                            step=0.05,
                            label=label,
                            info=info,
                            elem_id=f"{PREFIX}-{name}",
                            min_width=180,
                        )
                    )
        donor = gr.Checkbox(
            PLAIN.rhythm_donor, label="Rhythm from the style", elem_id=f"{PREFIX}-donor",
            info="everything moves to the other clip's groove, the notes too",
        )  # fmt: skip
    seed = SeedRow.build(PREFIX)
    with gr.Accordion("History: what the original project tried", open=False, elem_id=f"{PREFIX}-history") as history:
        html(
            '<p class="nm-fact">The project this tab comes from painted one spectrogram in the style of another and '
            "found that it “just added a buzz”. Hear for yourself.</p>"
        )
        method = gr.Radio(
            [(title, name) for name, title in METHODS.items()], value=PLAIN.method, label="Method",
            elem_id=f"{PREFIX}-method",
        )  # fmt: skip
        with gr.Group(visible=False, elem_classes="nm-plain", elem_id=f"{PREFIX}-classic") as classic:
            network = gr.Radio(
                networks(False), value=PLAIN.network, label="Whose features are compared", elem_id=f"{PREFIX}-network"
            )
            iterations = gr.Slider(
                1, MOST_ITERATIONS, PLAIN.iterations, step=1, label="Iterations", elem_id=f"{PREFIX}-iterations",
                info="the original stopped early at 100 and in full at 500",
            )  # fmt: skip
    return Form(tuple(sliders), donor, method, network, iterations, studio, classic, history, seed)


def networks(vgg_there: bool) -> list[tuple[str, str]]:
    """Choices of a network; one whose weights are missing says so."""
    missing = "" if vgg_there else " (its weights are not on this machine)"
    return [(NETWORKS["lil_data"], "lil_data"), (NETWORKS["vgg19"] + missing, "vgg19")]


def switch(method: str) -> list[Any]:
    """What one method shows: the studio's knobs, the classic's, and what the button says."""
    return [
        gr.update(visible=method == "studio"), gr.update(visible=method == "classic"),
        gr.update(value=ACTIONS.get(method, ACTIONS["studio"])),
    ]  # fmt: skip


def make_request(
    exports: Exports, seed: Any, content: Any, style: Any, owned: Owned, strength: Any, timbre: Any, rhythm: Any,
    harmony: Any, rhythm_donor: Any, method: Any, network: Any, iterations: Any,
) -> GenreTransferRequest:  # fmt: skip
    """The request for the raw values of the page.

    Raises:
        RequestError: for the first value that is wrong, or a sound that is no longer kept.
    """
    return GenreTransferRequest(
        seed=seed, content=content, style=style, content_sound=sound_of(exports, content, owned.get("content")),
        style_sound=None if method == "continuation" else sound_of(exports, style, owned.get("style")),
        strength=strength, timbre=timbre, rhythm=rhythm, harmony=harmony, rhythm_donor=rhythm_donor, method=method,
        network=network, iterations=iterations,
    )  # fmt: skip


def sound_of(exports: Exports, chosen: Any, own: Own | None) -> Waveform | None:
    """The visitor's own sound where it is chosen and still kept."""
    path = exports.path(own.token, 1, "wav") if own is not None and chosen == UPLOAD else None
    try:
        return io.read(path) if path is not None else None
    except AudioError:  # deleted meanwhile: the request asks for it again
        return None


def values(request: GenreTransferRequest) -> list[Any]:
    """A request as `Form.inputs`."""
    return [
        *(getattr(request, name) for name in SLIDERS), request.rhythm_donor, request.method, request.network,
        request.iterations,
    ]  # fmt: skip


def restored(values: Mapping[str, Any], owned: Owned, exports: Exports) -> tuple[GenreTransferRequest, list[str]]:
    """The request of an exported file, and the places whose own sound has to be given again.

    Raises:
        RequestError: a value is wrong.
    """
    known, missing, sounds = dict(values), list[str](), dict[str, Waveform | None]()
    defaults = {"content": PLAIN.content, "style": PLAIN.style}
    for place in PLACES:
        sounds[place] = sound_of(exports, known.get(place), owned.get(place))
        if known.get(place) == UPLOAD and sounds[place] is None:
            missing.append(place)
            known[place] = defaults[place]
    made = GenreTransferRequest.from_dict(known, sounds["content"], sounds["style"])
    return made, missing
