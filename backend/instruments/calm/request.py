"""What calm can be asked: a road between two pieces, new pieces, or a session."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from backend.contract import Request, check_number
from backend.errors import RequestError
from backend.instruments.calm.music_vae.config import CONFIGS, named
from backend.instruments.calm.recipes import RECIPES
from backend.instruments.calm.room import SOUNDS

MODES = ("path", "sample", "session", "listen")
METHODS = ("lerp", "slerp")
SLIDERS = ("density", "register", "brightness", "rhythm")
MAX_ANCHORS = 8
ANCHORS = {"path": (2, 2), "sample": (0, 1), "session": (1, MAX_ANCHORS), "listen": (1, MAX_ANCHORS)}
"""Mode → fewest and most anchors."""

OWN_MODEL = "calm"
MIDI_KEY = "midi:"
MAX_MIDI_BYTES = 2_000_000


@dataclass(frozen=True)
class Upload:
    """A MIDI file that somebody brought: its bytes, and a title to show. A request names it by `key`."""

    data: bytes = field(repr=False)
    title: str = "Your piece"

    @property
    def key(self) -> str:
        """``midi:`` and the start of the bytes' sha256: what provenance keeps of it."""
        return MIDI_KEY + hashlib.sha256(self.data).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class CalmRequest(Request):
    """What to make, from which pieces, and how it is to sound.

    Attributes:
        mode: ``path`` (nine steps from one anchor to another), ``sample`` (new pieces, or some like an anchor),
            ``session`` (1 to 60 minutes through the anchors) or ``listen`` (the anchors as they are).
        anchors: names of bundled pieces, or keys of uploads; 2 for a path, at most 1 for a sample, 1 to 8 for
            the others.
        uploads: the files whose keys are among the anchors; never part of provenance.
        model: ``calm``, or a configuration of Magenta's MusicVAE whose checkpoint was imported; those make no session.
        weights: folder of that checkpoint, if it is not among the user's own; never part of provenance.
        bars: length of the pieces of a path or a sample, 4 to 16.
        steps: pieces of a path with both ends; of a session, at most so many from one anchor to the next; 2 to 33.
        method: ``lerp`` or ``slerp``.
        in_scale: keep to the scale of the key.
        density: notes a beat, moved by standard deviations of the training pieces, -3 to 3; so the next three.
        register: mean pitch.
        brightness: more major than minor.
        rhythm: further off the beat.
        radius: how far a piece like an anchor may be from it, 0 to 2.
        temperature: of new pieces, 0 to 2.
        variations: new pieces made at once, 1 to 4.
        minutes: length of a session, 1 to 60.
        start_bpm: tempo at the start of a session, 40 to 90; None takes the first anchor's.
        end_bpm: tempo at its end, 40 to 90.
        lowest: MIDI pitch that no note of a session is below, 24 to 48.
        highest: MIDI pitch that no note of a session is above, 72 to 96.
        sound: a key of `room.SOUNDS`.
        treble: factor of the instrument's cutoff, 0.3 to 2.
        loudness_lufs: integrated loudness, -36 to -16.

    Raises:
        RequestError: naming the field, the value and the allowed range.
    """

    instrument_id: ClassVar[str] = "calm"
    mode: str = "path"
    anchors: tuple[str, ...] = ("lullaby", "nocturne")
    uploads: tuple[Upload, ...] = field(default=(), compare=False, repr=False)
    model: str = OWN_MODEL
    weights: Path | None = field(default=None, compare=False, repr=False)
    bars: int = 8
    steps: int = 9
    method: str = "lerp"
    in_scale: bool = True
    density: float = 0.0
    register: float = 0.0
    brightness: float = 0.0
    rhythm: float = 0.0
    radius: float = 0.5
    temperature: float = 0.6
    variations: int = 1
    minutes: float = 20.0
    start_bpm: float | None = None
    end_bpm: float = 60.0
    lowest: int = 36
    highest: int = 84
    sound: str = "felt_piano"
    treble: float = 1.0
    loudness_lufs: float = -23.0

    def validate(self) -> None:
        """Raise `RequestError` for the first field that is wrong."""
        for name, choices in (("mode", MODES), ("method", METHODS), ("sound", tuple(SOUNDS))):
            if getattr(self, name) not in choices:
                raise RequestError(name, getattr(self, name), f"one of {', '.join(choices)}")
        self._check_anchors()
        if self.model != OWN_MODEL and self.model not in CONFIGS:
            raise RequestError("model", self.model, f"one of {', '.join((OWN_MODEL, *CONFIGS))}")
        if self.model != OWN_MODEL and self.mode == "session":
            raise RequestError(
                "model", self.model, f"'{OWN_MODEL}' for a session; imported models make roads and pieces"
            )
        if not isinstance(self.in_scale, bool):
            raise RequestError("in_scale", self.in_scale, "true or false")
        for name, low, high in (("bars", 4, 16), ("steps", 2, 33), ("variations", 1, 4)):
            check_number(name, getattr(self, name), low, high, integer=True)
        for name in SLIDERS:
            check_number(name, getattr(self, name), -3, 3)
        check_number("radius", self.radius, 0, 2)
        check_number("temperature", self.temperature, 0, 2)
        check_number("minutes", self.minutes, 1, 60)
        if self.start_bpm is not None:
            check_number("start_bpm", self.start_bpm, 40, 90)
        check_number("end_bpm", self.end_bpm, 40, 90)
        check_number("lowest", self.lowest, 24, 48, integer=True)
        check_number("highest", self.highest, 72, 96, integer=True)
        check_number("treble", self.treble, 0.3, 2)
        check_number("loudness_lufs", self.loudness_lufs, -36, -16)

    def _check_anchors(self) -> None:
        if not isinstance(self.anchors, (tuple, list)) or not all(isinstance(name, str) for name in self.anchors):
            raise RequestError("anchors", self.anchors, "names of pieces")
        object.__setattr__(self, "anchors", tuple(self.anchors))  # JSON has lists only
        object.__setattr__(self, "uploads", tuple(self.uploads))
        fewest, most = ANCHORS[self.mode]
        if not fewest <= len(self.anchors) <= most:
            several = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            raise RequestError("anchors", self.anchors, f"{several} pieces for a {self.mode}")
        known = {upload.key for upload in self.uploads}
        for name in self.anchors:
            if name.startswith(MIDI_KEY) and name not in known:
                raise RequestError("anchors", name, "a MIDI file to be uploaded again; only its fingerprint was kept")
            if not name.startswith(MIDI_KEY) and name not in RECIPES:
                raise RequestError("anchors", name, f"an uploaded MIDI file or one of {', '.join(RECIPES)}")
        for upload in self.uploads:
            if len(upload.data) > MAX_MIDI_BYTES:
                raise RequestError(
                    "uploads", f"{len(upload.data):,} bytes", f"a MIDI file of at most {MAX_MIDI_BYTES:,} bytes"
                )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; of uploads only the keys, among the anchors."""
        values = {
            f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("uploads", "weights")
        }
        return {**values, "anchors": list(self.anchors)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], uploads: tuple[Upload, ...] = ()) -> Self:
        """The request that `to_dict` described; the uploads it names must be given again.

        Raises:
            RequestError: an unknown key, a wrong value, or an upload that is not there.
        """
        return super().from_dict({**values, "uploads": uploads} if uploads else values)

    def titles(self) -> tuple[str, ...]:
        """What to call each anchor."""
        uploaded = {upload.key: upload.title for upload in self.uploads}
        return tuple(uploaded[name] if name in uploaded else RECIPES[name].title for name in self.anchors)


@dataclass(frozen=True, kw_only=True)
class ImportRequest(Request):
    """A checkpoint of Magenta's to be read with TensorFlow, in a process of its own, and kept as ours.

    Attributes:
        source: a ``.tar``, or the prefix of a checkpoint's files.
        config: what Magenta calls its configuration.
        folder: checkpoint folder to write.

    Raises:
        RequestError: an unknown configuration.
    """

    instrument_id: ClassVar[str] = "calm"
    source: Path = field(repr=False)
    config: str
    folder: Path = field(repr=False)

    def validate(self) -> None:
        """Raise `RequestError` unless the configuration is known."""
        named(self.config)

    def to_dict(self) -> dict[str, Any]:
        """The configuration; places on a disk are nobody's business."""
        return {"seed": self.seed, "config": self.config}
