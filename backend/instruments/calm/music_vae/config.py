"""The four models of Magenta's MusicVAE that can be imported, by their names there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from backend.errors import CheckpointError, RequestError

STEPS_PER_BAR = 16  # four sixteenths a quarter, 4/4
MELODY_CLASSES = 90  # hold, off, and the 88 keys of a piano
DRUM_CLASSES = 512  # every combination of nine kinds of drum


@dataclass(frozen=True)
class MusicVaeConfig:
    """Sizes of one model (arXiv 1803.05428, section 4.2, as Magenta built it).

    Attributes:
        name: what Magenta calls it.
        classes: of each part: melody, or melody, bass and drums.
        bars: length in bars of 4/4; a bar has 16 steps.
        z_size: width of the latent vector.
        enc_rnn_size: LSTM units of each encoder layer, the same in both directions.
        dec_rnn_size: LSTM units of each decoder layer, and of each conductor layer.
        segments: bars the conductor divides the piece into; 1 is a flat decoder without conductor.
        melody_programs: General MIDI programs 0 to this − 1 may carry the melody.
    """

    name: str
    classes: tuple[int, ...]
    bars: int
    z_size: int
    enc_rnn_size: tuple[int, ...]
    dec_rnn_size: tuple[int, ...]
    segments: int = 1
    melody_programs: int = 128

    @property
    def steps(self) -> int:
        """Sixteenths of the whole piece."""
        return self.bars * STEPS_PER_BAR

    @property
    def is_trio(self) -> bool:
        """Whether melody, bass and drums are modelled together."""
        return len(self.classes) > 1


CAT_MEL_2BAR_SMALL = MusicVaeConfig(
    name="cat-mel_2bar_small",
    classes=(MELODY_CLASSES,),
    bars=2,
    z_size=256,
    enc_rnn_size=(512,),
    dec_rnn_size=(256, 256),
    melody_programs=32,
)
CAT_MEL_2BAR_BIG = MusicVaeConfig(
    name="cat-mel_2bar_big",
    classes=(MELODY_CLASSES,),
    bars=2,
    z_size=512,
    enc_rnn_size=(2048,),
    dec_rnn_size=(2048, 2048, 2048),
    melody_programs=32,
)
HIERDEC_MEL_16BAR = MusicVaeConfig(
    name="hierdec-mel_16bar",
    classes=(MELODY_CLASSES,),
    bars=16,
    z_size=512,
    enc_rnn_size=(2048, 2048),
    dec_rnn_size=(1024, 1024),
    segments=16,
)
HIERDEC_TRIO_16BAR = MusicVaeConfig(
    name="hierdec-trio_16bar",
    classes=(MELODY_CLASSES, MELODY_CLASSES, DRUM_CLASSES),
    bars=16,
    z_size=512,
    enc_rnn_size=(2048, 2048),
    dec_rnn_size=(1024, 1024),
    segments=16,
    melody_programs=32,
)
TINY = MusicVaeConfig(
    name="tiny",
    classes=(MELODY_CLASSES,),
    bars=2,
    z_size=4,
    enc_rnn_size=(12,),
    dec_rnn_size=(8, 8),
    segments=2,
)

CONFIGS = {
    config.name: config for config in (CAT_MEL_2BAR_SMALL, CAT_MEL_2BAR_BIG, HIERDEC_MEL_16BAR, HIERDEC_TRIO_16BAR)
}


def named(name: str) -> MusicVaeConfig:
    """The configuration Magenta calls so.

    Raises:
        RequestError: none of the four.
    """
    try:
        return CONFIGS[name]
    except KeyError:
        raise RequestError("config", name, f"one of {', '.join(CONFIGS)}") from None


def from_plain(values: Mapping[str, Any]) -> MusicVaeConfig:
    """The configuration as a checkpoint's manifest keeps it.

    Raises:
        CheckpointError: it describes another model.
    """
    names = {field.name for field in fields(MusicVaeConfig)}
    if set(values) != names:
        raise CheckpointError(f"The checkpoint is not a MusicVAE: its configuration has {', '.join(sorted(values))}.")
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return MusicVaeConfig(**plain)
