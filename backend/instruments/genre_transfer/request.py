"""What genre transfer can be asked: whose song, whose clothes, by which method."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from backend.audio.waveform import Waveform
from backend.contract import Request, check_number
from backend.errors import RequestError
from backend.instruments.genre_transfer.genres import EXAMPLES

METHODS = ("studio", "classic", "continuation", "listen")
WITHOUT_STYLE = METHODS[2:]
NETWORKS = ("lil_data", "vgg19")
UPLOAD = "upload"
SLIDERS = ("strength", "timbre", "rhythm", "harmony")
SHORTEST_S, LONGEST_S = 0.1, 300.0
LONGEST_CLASSIC_S = 60.0
SILENCE = 1e-4  # -80 dB
MOST_ITERATIONS = 500


@dataclass(frozen=True, kw_only=True)
class GenreTransferRequest(Request):
    """One transfer.

    Attributes:
        content: the song to keep: a name of `genres.EXAMPLES`, or ``upload``.
        style: the sound to give it; likewise.
        content_sound: what was uploaded as content, at any rate; not stored in provenance.
        style_sound: what was uploaded as style.
        method: ``studio``, ``classic`` (the seed's) or ``continuation`` (the seed's LSTM; it has no style);
            ``listen`` makes nothing: the content is played back with what the classifier hears in it.
        network: whose features classic compares: ``lil_data`` or ``vgg19``.
        strength: of a studio transfer as a whole, 0 to 1; 0 gives the content back.
        timbre: how much of the style's sound.
        rhythm: of the style's drums; up to a half its kit on the content's hits, from there on its groove.
        harmony: how much of the style's own notes may come along.
        rhythm_donor: whether the style's rhythm leads everything: its groove from the start of ``rhythm``.
        iterations: of classic, 1 to 500; the seed's stopped early at 100 and fully at 500.

    Raises:
        RequestError: naming the field, the value and the allowed range.
    """

    instrument_id: ClassVar[str] = "genre_transfer"
    content: str = "Lo-fi 1"
    style: str = "House 1"
    content_sound: Waveform | None = field(default=None, compare=False, repr=False)
    style_sound: Waveform | None = field(default=None, compare=False, repr=False)
    method: str = "studio"
    network: str = "lil_data"
    strength: float = 1.0
    timbre: float = 0.85
    rhythm: float = 1.0
    harmony: float = 0.15
    rhythm_donor: bool = False
    iterations: int = 100

    def validate(self) -> None:
        """Raise `RequestError` for the first field that is wrong."""
        for name, choices in (("method", METHODS), ("network", NETWORKS)):
            if getattr(self, name) not in choices:
                raise RequestError(name, getattr(self, name), f"one of {', '.join(choices)}")
        for name in SLIDERS:
            check_number(name, getattr(self, name), 0, 1)
        check_number("iterations", self.iterations, 1, MOST_ITERATIONS, integer=True)
        if not isinstance(self.rhythm_donor, bool):
            raise RequestError("rhythm_donor", self.rhythm_donor, "true or false")
        longest_s = {"studio": LONGEST_S, "listen": None}.get(self.method, LONGEST_CLASSIC_S)
        self._check_sound("content", self.content, self.content_sound, longest_s)
        if self.method not in WITHOUT_STYLE:
            self._check_sound("style", self.style, self.style_sound, None)

    def _check_sound(self, name: str, chosen: str, sound: Waveform | None, longest_s: float | None) -> None:
        if chosen != UPLOAD:
            if chosen not in EXAMPLES:
                raise RequestError(name, chosen, f"{UPLOAD} or one of {', '.join(EXAMPLES)}")
            return
        if not isinstance(sound, Waveform):
            raise RequestError(name, None, "a sound to be uploaded again; only its name was kept")
        if not SHORTEST_S <= sound.duration_s <= (longest_s or np.inf):
            most = f"{SHORTEST_S:g} to {longest_s:g} s" if longest_s else f"at least {SHORTEST_S:g} s"
            raise RequestError(name, f"{sound.duration_s:.2f} s", f"{most} of sound")
        if float(np.abs(sound.samples - sound.samples.mean(1, keepdims=True)).max(initial=0.0)) < SILENCE:
            raise RequestError(name, "silence", "a sound that can be heard")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the sounds."""
        names = {f.name for f in dataclasses.fields(self)} - {"content_sound", "style_sound"}
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], content_sound: Waveform | None = None, style_sound: Waveform | None = None
    ) -> Self:
        """The request that `to_dict` described; uploaded sounds must be given again.

        Raises:
            RequestError: an unknown key, a wrong value, or a sound that is not there.
        """
        return super().from_dict({**values, "content_sound": content_sound, "style_sound": style_sound})
