"""What text to music can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from backend.contract import Request, check_number
from backend.errors import RequestError

MAX_PROMPT = 500
STAGES = ("bundled", "package")


@dataclass(frozen=True, kw_only=True)
class TextToMusicRequest(Request):
    """A prompt and how to sample it.

    Attributes:
        prompt: what to play, in English, at most 500 characters.
        negative_prompt: what to steer away from; empty for none.
        duration_s: length of each variation in seconds, 4 to 30.
        variations: clips made at once, 1 to 4.
        guidance_scale: classifier-free guidance; 1 is off, higher follows the prompt more closely, 1 to 8.
        temperature: of the semantic stage; scales the acoustic stages with it, 0.3 to 1.5.
        stages: ``bundled`` (this project's acoustic stage) or ``package`` (audiolm-pytorch's three transformers).

    Raises:
        RequestError: naming the field, the value and the allowed range.
    """

    instrument_id: ClassVar[str] = "text_to_music"
    prompt: str
    negative_prompt: str = ""
    duration_s: float = 10.0
    variations: int = 1
    guidance_scale: float = 3.0
    temperature: float = 1.0
    stages: str = "bundled"

    def validate(self) -> None:
        """Raise `RequestError` for the first field that is wrong."""
        for name in ("prompt", "negative_prompt"):
            text = getattr(self, name)
            if not isinstance(text, str) or len(text) > MAX_PROMPT:
                raise RequestError(name, text, f"a text of at most {MAX_PROMPT} characters")
        if not any(character.isalpha() and character.isascii() for character in self.prompt):
            raise RequestError("prompt", self.prompt, "a description in English words, such as 'calm solo piano'")
        check_number("duration_s", self.duration_s, 4, 30)
        check_number("variations", self.variations, 1, 4, integer=True)
        check_number("guidance_scale", self.guidance_scale, 1, 8)
        check_number("temperature", self.temperature, 0.3, 1.5)
        if self.stages not in STAGES:
            raise RequestError("stages", self.stages, "'bundled' or 'package'")
