"""What an ear is made of: Tables 1 and 2 of seed 004 as configurations.

What the tables leave open follows from the size of the paper's map: with "same" 3x3 kernels, kernels along pitch only
that reach up and are valid, 2x2 pools after the first convolution of blocks 0 and 4, and a last kernel over all
remaining pitches, the network has the 34,608 neurons (channel × pitch) of the author's layout.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.errors import RequestError
from backend.instruments.neurons import cqt
from backend.instruments.neurons.cqt import CqtConfig

Pair = tuple[int, int]


@dataclass(frozen=True)
class EncoderBlock:
    """A row of Table 1; kernels and pools are (pitch, time).

    Attributes:
        channels: of both convolutions.
        first: kernel of the first, "same" along pitch.
        second: kernel of the second; along pitch "same" if it spans time too, else valid.
        pool: max-pool after the first.
        collapse: the second kernel is valid along pitch although it spans time: it ends the pitch axis.
    """

    channels: int
    first: Pair = (3, 3)
    second: Pair = (3, 3)
    pool: Pair = (1, 1)
    collapse: bool = False

    @property
    def second_padding(self) -> int:
        """Rows of silence below and above the second convolution's input."""
        return 0 if self.collapse or self.second[1] == 1 else self.second[0] // 2

    def pitches(self, rows: int) -> Pair:
        """Rows after the first (pooled) and after the second convolution."""
        pooled = rows // self.pool[0]
        return pooled, pooled + 2 * self.second_padding - self.second[0] + 1


@dataclass(frozen=True)
class ContextBlock:
    """A row of Table 2: channels, kernel along time, max-pool after it."""

    channels: int
    kernel: int
    pool: int = 1


@dataclass(frozen=True)
class EarConfig:
    """An ear.

    Attributes:
        cqt: what it hears through.
        input_pool: frames of the scalogram that become one by max-pooling.
        encoder: Table 1.
        context: Table 2.
        visible: encodings that are heard before the predictions begin.
        predicted: encodings that are predicted.

    Raises:
        RequestError: the kernels do not end with one row of pitch, or ``visible`` does not end with a context.
    """

    cqt: CqtConfig
    encoder: tuple[EncoderBlock, ...]
    context: tuple[ContextBlock, ...]
    input_pool: int = 2
    visible: int = 60
    predicted: int = 16

    def __post_init__(self) -> None:
        rows = self.cqt.bins
        for block in self.encoder:
            rows = block.pitches(rows)[1]
        if rows != 1:
            raise RequestError("encoder", rows, "kernels that leave one row of pitch")
        if self.visible % self.context_hop:
            raise RequestError("visible", self.visible, f"a multiple of {self.context_hop}, the pools of the context")

    @property
    def z_channels(self) -> int:
        """Channels of an encoding z."""
        return self.encoder[-1].channels

    @property
    def c_channels(self) -> int:
        """Channels of a context c."""
        return self.context[-1].channels

    @property
    def z_hop(self) -> int:
        """Scalogram frames an encoding."""
        return self.input_pool * math.prod(block.pool[1] for block in self.encoder)

    @property
    def context_hop(self) -> int:
        """Encodings a context: c_i has heard z up to index ``(i + 1) * context_hop - 1``."""
        return math.prod(block.pool for block in self.context)

    @property
    def excerpt_samples(self) -> int:
        """Samples with exactly ``visible + predicted`` encodings."""
        return (self.visible + self.predicted) * self.z_hop * self.cqt.hop - 1

    def as_config(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return dataclasses.asdict(self)


def config_of(values: Mapping[str, Any]) -> EarConfig:
    """The inverse of `EarConfig.as_config`; lists are taken for tuples."""
    blocks: list[dict[str, Any]] = [
        {name: tuple(value) if isinstance(value, list) else value for name, value in block.items()}
        for block in values["encoder"]
    ]
    return EarConfig(
        cqt=CqtConfig(**values["cqt"]),
        encoder=tuple(EncoderBlock(**block) for block in blocks),
        context=tuple(ContextBlock(**block) for block in values["context"]),
        **{name: int(values[name]) for name in ("input_pool", "visible", "predicted")},
    )


TINY = EarConfig(
    cqt=cqt.TINY,
    encoder=(
        EncoderBlock(4, second=(13, 1), pool=(2, 2)),
        EncoderBlock(6, second=(4, 1), pool=(2, 1)),
        EncoderBlock(8, collapse=True),
    ),
    context=(ContextBlock(8, 3), ContextBlock(6, 1, 2), ContextBlock(6, 2)),
    visible=8,
    predicted=3,
)
BASE = EarConfig(
    cqt=cqt.BASE,
    encoder=(
        EncoderBlock(8, second=(25, 1), pool=(2, 2)),
        EncoderBlock(16),
        EncoderBlock(32, second=(25, 1)),
        EncoderBlock(64),
        EncoderBlock(128, second=(25, 1), pool=(2, 2)),
        EncoderBlock(256),
        EncoderBlock(512, second=(4, 1)),
        EncoderBlock(512, collapse=True),
    ),
    context=(
        ContextBlock(512, 5),
        ContextBlock(512, 4),
        ContextBlock(512, 1, 2),
        ContextBlock(512, 3),
        ContextBlock(256, 3),
        ContextBlock(256, 1, 2),
        ContextBlock(256, 3),
        ContextBlock(256, 1),
        ContextBlock(256, 6),
    ),
)
"""The paper's Tables 1 and 2."""
LIGHT = EarConfig(
    cqt=cqt.LIGHT,
    encoder=(
        EncoderBlock(8, second=(25, 1), pool=(2, 2)),
        EncoderBlock(16),
        EncoderBlock(24, second=(13, 1), pool=(2, 1)),
        EncoderBlock(32),
        EncoderBlock(64, second=(7, 1), pool=(2, 2)),
        EncoderBlock(96),
        EncoderBlock(128, second=(4, 1)),
        EncoderBlock(256, collapse=True),
    ),
    context=(
        ContextBlock(256, 5),
        ContextBlock(256, 4),
        ContextBlock(256, 1, 2),
        ContextBlock(256, 3),
        ContextBlock(128, 3),
        ContextBlock(128, 1, 2),
        ContextBlock(128, 3),
        ContextBlock(128, 1),
        ContextBlock(128, 6),
    ),
    visible=48,
)
"""The bundled ears': fewer channels, one more pool along pitch; kernels along pitch alone still span two octaves."""
