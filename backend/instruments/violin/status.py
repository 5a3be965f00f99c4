"""How far a training is, in a file: whoever wants to know reads it, and asks it to stop by leaving another there."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from backend.errors import Cancelled

STATUS, STOP = "status.json", "stop"
EVERY_S = 0.5


@dataclass
class Status:
    """One moment of a training.

    Attributes:
        state: ``preparing``, ``training``, ``done``, ``stopped`` or ``failed``.
        message: what is going on, or the sentence of a failure.
        done: of ``total``, in the present state.
        losses: rows of (minutes, training loss, held-out loss or None).
        base_loss: held-out loss of the base, which is where training starts.
        samples: names of sound files beside this one, the newest last.
        notes: what was done to the clips, in sentences.
    """

    state: str = "preparing"
    message: str = ""
    done: float = 0.0
    total: float = 1.0
    losses: list[tuple[float, float, float | None]] = field(default_factory=list)
    base_loss: float | None = None
    samples: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class StatusFile:
    """Writes `Status` into a folder, at most twice a second, and obeys the stop file there.

    Args:
        folder: of the training.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.now = folder, read_status(folder) or Status()
        self._written_s = 0.0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STOP).unlink(missing_ok=True)
        self.now.state, self.now.message = "preparing", "Reading the clips"
        self.write()

    def step(self, done: float, total: float, message: str, *, state: str | None = None, force: bool = False) -> None:
        """Say how far it is.

        Raises:
            Cancelled: somebody asked to stop.
        """
        now = self.now
        now.done, now.total, now.message, now.state = done, total, message, state or now.state
        if force or time.monotonic() - self._written_s > EVERY_S:
            self._written_s = time.monotonic()
            self.write()
            if (self.folder / STOP).exists():
                raise Cancelled

    def write(self) -> None:
        """Write it, whole or not at all."""
        part = self.folder / f"{STATUS}.part"
        part.write_text(json.dumps(asdict(self.now)), encoding="utf-8")
        part.replace(self.folder / STATUS)

    def end(self, state: str, message: str) -> None:
        """The last word."""
        self.now.state, self.now.message = state, message
        self.write()


def read_status(folder: Path) -> Status | None:
    """What a training in ``folder`` last said; None where there is none."""
    try:
        values: dict[str, Any] = json.loads((folder / STATUS).read_text(encoding="utf-8"))
        return Status(**values)
    except (OSError, ValueError, TypeError):
        return None


def ask_to_stop(folder: Path) -> None:
    """Leave the stop file; the training ends at its next step, and the same command goes on from there."""
    (folder / STOP).touch()
