"""The one interface between floors: what a page asks, what an instrument answers, what happens between."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from backend.errors import NeuromuseError, RequestError

if TYPE_CHECKING:
    import torch

    from backend.audio.waveform import Waveform
    from backend.checkpoints import CheckpointStore
    from backend.job import Job

MAX_SEED = 2**32 - 1


def check_number(name: str, value: object, low: float, high: float, *, integer: bool = False) -> float:
    """``value`` if it is a finite number in ``[low, high]``.

    Raises:
        RequestError: it is not.
    """
    kind = "a whole number" if integer else "a number"
    number = math.nan
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # a whole number of four hundred digits
            number = float(value)
    if not low <= number <= high or (integer and not number.is_integer()):
        raise RequestError(name, value, f"{kind} from {low:g} to {high:g}")
    return number


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one instrument is asked to make. Subclasses add fields and validate in `validate`.

    Raises:
        RequestError: on construction, naming the field, the value and the allowed range.
    """

    instrument_id: ClassVar[str]
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("seed", self.seed, 0, MAX_SEED, integer=True)
        self.validate()

    def validate(self) -> None:
        """Raise `RequestError` for the first field that is wrong."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, without bulk inputs; what provenance stores."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The request that `to_dict` described; unknown keys are refused.

        Raises:
            RequestError: an unknown key or a wrong value.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        for key in values:
            if key not in known:
                raise RequestError(key, values[key], f"one of the fields {', '.join(sorted(known))}")
        needed = {f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING}
        for key in sorted(needed - set(values)):
            raise RequestError(key, None, "a value; it is missing")
        return cls(**values)


@dataclass(frozen=True)
class InstrumentSpec:
    """What the rest of the house knows about an instrument without importing it.

    Attributes:
        id: folder, page, URL and checkpoint name.
        title: what the tab says.
        sample_rate: Hz of its output.
        checkpoints: names in the manifest it needs.
        memory_mb: what it holds when loaded, for the least-recently-used budget.
    """

    id: str
    title: str
    sample_rate: int
    checkpoints: tuple[str, ...] = ()
    memory_mb: int = 0


@dataclass(frozen=True)
class Provenance:
    """How a result was made; embedded in every export and enough to make it again."""

    instrument_id: str
    request: Mapping[str, Any]
    seed: int
    checkpoints: Mapping[str, str]
    device: str
    seconds: float
    app_version: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Result:
    """What an instrument made.

    Attributes:
        waveforms: the variations, all at the instrument's rate, already limited.
        arrays: named arrays for plots.
        notes: what was composed, where the instrument works on notes: a table of `backend.audio.midi.NOTE` for each
            waveform.
        provenance: set by the engine, which knows device, time and checkpoints.
    """

    waveforms: tuple[Waveform, ...] = ()
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    notes: tuple[npt.NDArray[np.void], ...] = ()
    provenance: Provenance | None = None


class Instrument(ABC):
    """One neural way of making music. Constructed cheaply; weights arrive in `load`."""

    spec: ClassVar[InstrumentSpec]
    request_type: ClassVar[type[Request]]

    @abstractmethod
    def load(self, store: CheckpointStore, device: torch.device) -> None:
        """Read the weights onto the device.

        Raises:
            CheckpointError: a file is missing, altered or of another configuration.
        """

    @abstractmethod
    def generate(self, request: Any, job: Job) -> Result:
        """Make the sound, calling ``job.step`` at least once a second.

        Raises:
            Cancelled, DeadlineExceeded: from ``job.step``.
        """

    def unload(self) -> None:
        """Drop the weights; `load` may be called again."""


@dataclass(frozen=True)
class Queued:
    """Waiting: jobs ahead (0 = next) and the expected wait in seconds, if known."""

    position: int
    eta_s: float | None = None


@dataclass(frozen=True)
class Loading:
    """The instrument's weights are being read."""

    message: str = "Loading the model"


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` units, expected seconds left, what is being made, an optional preview."""

    done: float
    total: float
    message: str = ""
    preview: Any = None
    eta_s: float | None = None


@dataclass(frozen=True)
class Done:
    """The last event of a job that succeeded."""

    result: Result


@dataclass(frozen=True)
class Failed:
    """The last event of a job that did not."""

    error: NeuromuseError


Event = Queued | Loading | Progress | Done | Failed
