"""What the violin can be asked to play, and to listen to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from backend.audio.waveform import Waveform
from backend.contract import Request, check_number
from backend.errors import RequestError

MAX_PROMPT = 500
BUNDLED_NAME = "violin"
STRONGEST = 1.5
PARTS = ("both", "notes", "sound")
SHORTEST_MELODY_S, LONGEST_MELODY_S = 0.5, 30.0
MOST_ADAPTERS = 3
SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".m4a")
"""Of recordings that can be learned from."""

_BULK = ("melody", "adapter_paths")


@dataclass(frozen=True, kw_only=True)
class ViolinRequest(Request):
    """A prompt, adapters and their strengths, and perhaps a melody.

    Attributes:
        prompt: what to play, in English, at most 500 characters.
        negative_prompt: what to steer away from; empty for none.
        duration_s: length of each variation in seconds, 4 to 30.
        variations: clips made at once, 1 to 4.
        guidance_scale: classifier-free guidance; 1 is off, 1 to 8.
        temperature: of the semantic stage, 0.3 to 1.5.
        strengths: adapter → strength, 0 (the base to the bit) to 1.5; ``violin`` is the one that comes with the app.
        part: what adapters may change: ``both``, ``notes`` (what is played) or ``sound`` (how it sounds).
        compare: also make the first variation with the base alone, from the same seed; it comes last.
        melody: what was sung, whistled or played, at any rate; not stored in provenance.
        adherence: how closely the melody is followed, 0 to 1.
        has_melody: whether there was one; kept in provenance so that restoring can say that it has to be given again.
        adapter_paths: adapter → its folder or ``.zip``, for adapters of the user; not stored in provenance.

    Raises:
        RequestError: naming the field, the value and the allowed range.
    """

    instrument_id: ClassVar[str] = "violin"
    prompt: str
    negative_prompt: str = ""
    duration_s: float = 10.0
    variations: int = 1
    guidance_scale: float = 3.0
    temperature: float = 1.0
    strengths: Mapping[str, float] = field(default_factory=lambda: {BUNDLED_NAME: 1.0})
    part: str = "both"
    compare: bool = False
    adherence: float = 1.0
    has_melody: bool = False
    melody: Waveform | None = field(default=None, compare=False, repr=False)
    adapter_paths: Mapping[str, Path] = field(default_factory=dict, compare=False, repr=False)

    def validate(self) -> None:
        """Raise `RequestError` for the first field that is wrong."""
        for name in ("prompt", "negative_prompt"):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > MAX_PROMPT:
                raise RequestError(name, text, f"a text of at most {MAX_PROMPT} characters")
        if not any(character.isalpha() and character.isascii() for character in self.prompt):
            raise RequestError("prompt", self.prompt, "a description in English words, such as 'slow baroque prelude'")
        check_number("duration_s", self.duration_s, 4, 30)
        check_number("variations", self.variations, 1, 4, integer=True)
        check_number("guidance_scale", self.guidance_scale, 1, 8)
        check_number("temperature", self.temperature, 0.3, 1.5)
        check_number("adherence", self.adherence, 0, 1)
        if self.part not in PARTS:
            raise RequestError("part", self.part, f"one of {', '.join(PARTS)}")
        for name in ("compare", "has_melody"):
            if not isinstance(getattr(self, name), bool):
                raise RequestError(name, getattr(self, name), "true or false")
        self._check_adapters()
        self._check_melody()

    def _check_adapters(self) -> None:
        if not isinstance(self.strengths, Mapping) or len(self.strengths) > MOST_ADAPTERS:
            raise RequestError("strengths", self.strengths, f"at most {MOST_ADAPTERS} adapters with a strength each")
        for name, strength in self.strengths.items():
            check_number(f"strength of {name}", strength, 0, STRONGEST)
            if name != BUNDLED_NAME and not isinstance(self.adapter_paths.get(name), Path) and strength:
                raise RequestError("adapter", name, "the bundled one, or a file to be given again")

    def _check_melody(self) -> None:
        if self.melody is None:
            if self.has_melody:
                raise RequestError("melody", None, "the recording to be given again; only its use was kept")
            return
        if not isinstance(self.melody, Waveform):
            raise RequestError("melody", type(self.melody).__name__, "a recording")
        if not SHORTEST_MELODY_S <= self.melody.duration_s <= LONGEST_MELODY_S:
            length = f"{self.melody.duration_s:.2f} s"
            raise RequestError(
                "melody", length, f"{SHORTEST_MELODY_S:g} to {LONGEST_MELODY_S:g} s of singing or playing"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without recordings and files."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in _BULK}
        return values | {"strengths": dict(self.strengths), "has_melody": self.melody is not None or self.has_melody}

    @classmethod
    def from_dict(
        cls, values: Mapping[str, Any], melody: Waveform | None = None, paths: Mapping[str, Path] | None = None
    ) -> Self:
        """The request that `to_dict` described; a melody and adapters of the user's must be given again.

        Raises:
            RequestError: an unknown key, a wrong value, or a file that is not there.
        """
        return super().from_dict({**values, "melody": melody, "adapter_paths": paths or {}})


@dataclass(frozen=True, kw_only=True)
class ListenRequest(Request):
    """Recordings to listen to.

    Attributes:
        folder: of recordings and their captions; those that cannot be used are deleted from it.
        table: of captions in the form of MusicCaps, if there is one.
    """

    instrument_id: ClassVar[str] = "violin"
    folder: Path
    table: Path | None = None

    def validate(self) -> None:
        """Raise `RequestError` where there is no folder."""
        if not self.folder.is_dir():
            raise RequestError("clips", 0, "recordings that were dropped")

    def to_dict(self) -> dict[str, Any]:
        """Nothing: whose recordings these are is nobody's business."""
        return {}
