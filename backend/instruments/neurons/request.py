"""What neurons can be asked: which ear, what to begin with, what to excite, and for how long."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from backend.audio.waveform import Waveform
from backend.contract import Request, check_number
from backend.errors import RequestError
from backend.instruments.neurons.loops import EMPTY_STARTS, LOOPS, Meter
from backend.instruments.neurons.settings import Settings

SOUND_STARTS = ("upload", "last")
STARTS = (*LOOPS, *EMPTY_STARTS, *SOUND_STARTS)
MIN_LOOP_S, MAX_LOOP_S = 1.0, 8.0
MAX_PASSES = 10_000

NETWORKS = ("ear:score", "ear:beats", "vgg16", "resnet18")
"""The names in `networks`, which this file does not import: a page validates without torch."""


@dataclass(frozen=True, kw_only=True)
class NeuronsRequest(Request):
    """One run of the optimiser.

    Attributes:
        network: who listens: ``ear:score``, ``ear:beats``, ``vgg16`` or ``resnet18``.
        start: a key of `loops.LOOPS`, ``silence``, ``noise``, ``upload`` or ``last`` (the last result).
        sound: what was uploaded, or made last; not stored in provenance.
        tempo_bpm: of the loop, 60 to 180.
        bars: of four beats, 1 to 4; the loop must last 1 to 8 s.
        settings: targets and knobs at the start; a console may change them later.
        passes: times round the loop, 0 to 10,000; with 0 the network only listens to the start, whatever the targets.
            A live session asks for many and is stopped; the server's deadline ends it too, and the page goes on from
            its last loop.
        updates_per_pass: updates between two loops that are played, 1 to 200.
        live: a pass lasts as long as the loop plays: it ends early, or waits, to keep time with the player.
        activity_fps: frames a second of all neurons' activity with every pass, 0 (none) to 60.
        console: token of a `console.Console` that may change the settings; not stored in provenance.

    Raises:
        RequestError: naming the field, the value and the allowed range.
    """

    instrument_id: ClassVar[str] = "neurons"
    network: str = "ear:score"
    start: str = "house"
    sound: Waveform | None = field(default=None, compare=False, repr=False)
    tempo_bpm: float = 120.0
    bars: int = 2
    settings: Settings
    passes: int = 8
    updates_per_pass: int = 10
    live: bool = False
    activity_fps: int = 0
    console: str | None = field(default=None, compare=False, repr=False)

    @property
    def meter(self) -> Meter:
        """Tempo and length of the loop."""
        return Meter(float(self.tempo_bpm), int(self.bars))

    def validate(self) -> None:
        """Raise `RequestError` for the first field that is wrong."""
        for name, choices in (("network", NETWORKS), ("start", STARTS)):
            if getattr(self, name) not in choices:
                raise RequestError(name, getattr(self, name), f"one of {', '.join(choices)}")
        if self.start in SOUND_STARTS and not isinstance(self.sound, Waveform):
            raise RequestError("sound", self.sound, f"a sound to begin with, because start is {self.start!r}")
        check_number("tempo_bpm", self.tempo_bpm, 60, 180)
        check_number("bars", self.bars, 1, 4, integer=True)
        if not MIN_LOOP_S <= self.meter.seconds <= MAX_LOOP_S:
            allowed = f"a loop of {MIN_LOOP_S:g} to {MAX_LOOP_S:g} s at {self.tempo_bpm:g} beats a minute"
            raise RequestError("bars", self.bars, allowed)
        if isinstance(self.settings, Mapping):
            object.__setattr__(self, "settings", Settings.from_dict(self.settings))
        if not isinstance(self.settings, Settings):
            raise RequestError("settings", self.settings, "settings of neurons")
        check_number("passes", self.passes, 0, MAX_PASSES, integer=True)
        check_number("updates_per_pass", self.updates_per_pass, 1, 200, integer=True)
        check_number("activity_fps", self.activity_fps, 0, 60, integer=True)
        if not isinstance(self.live, bool):
            raise RequestError("live", self.live, "true or false")
        if self.console is not None and not isinstance(self.console, str):
            raise RequestError("console", type(self.console).__name__, "the token of a console")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without the sound and the console's token."""
        names = {f.name for f in dataclasses.fields(self)} - {"sound", "console", "settings"}
        return {**{name: getattr(self, name) for name in names}, "settings": self.settings.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], sound: Waveform | None = None, console: str | None = None) -> Self:
        """The request that `to_dict` described; a sound it began with must be given again.

        Raises:
            RequestError: an unknown key, a wrong value, or a sound that is not there.
        """
        return super().from_dict({**values, "sound": sound, "console": console})
