"""Adapters to play with: the one that comes with the app, and those this visitor trained or brought."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.checkpoints import CheckpointStore
from backend.errors import CheckpointError
from backend.instruments.violin.request import BUNDLED_NAME
from backend.settings import Settings
from pages.parts import Desk

SHELF = "violin adapters"
KEPT_ADAPTERS = 6
LONGEST_NAME = 60
BUNDLED_TITLE = "Violin (bundled)"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class Own:
    """An adapter of this visitor's.

    Attributes:
        path: folder of its two files.
        figures: how well it did on what was held out; plain values.
        licence: of what it was trained on.
        token: of the training it comes from; empty for one that was brought.
    """

    path: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    token: str = ""


Owned = Mapping[str, Own]
"""Name → adapter."""


def choices(owned: Owned) -> list[tuple[str, str]]:
    """What can be chosen, the bundled one first."""
    return [(BUNDLED_TITLE, BUNDLED_NAME), *((name, name) for name in owned)]


def seconds_of(owned: Owned) -> list[tuple[str, str]]:
    """Choices of a second adapter, none first."""
    return [("none", ""), *choices(owned)]


def title_of(name: str) -> str:
    """What a player of it is called."""
    return "Violin" if name == BUNDLED_NAME else name


def added(owned: Owned, name: str, own: Own) -> tuple[dict[str, Own], str]:
    """The adapters with one more, and the name it got; one of the same place takes the earlier one's."""
    rest = {known: value for known, value in owned.items() if value.path != own.path}
    plain = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", name).split())[:LONGEST_NAME] or "my violin"
    free, number = plain, 2
    while free in rest or free == BUNDLED_NAME:
        free, number = f"{plain} {number}", number + 1
    return {**rest, free: own}, free


def read_adapter(path: Path, settings: Settings) -> tuple[str, Own]:
    """Name and facts of an adapter's folder or ``.zip``.

    Raises:
        CheckpointError: it is damaged, pickled, of something else or of another base; in one sentence.
    """
    from backend.instruments.violin.adapter import Adapter  # here, because torch would slow the start

    adapter = Adapter.load(path)
    adapter.require_base(CheckpointStore(extra=settings.checkpoint_dirs))
    folder = path.with_suffix("") if path.suffix.lower() == ".zip" else path
    return adapter.name, Own(str(folder), dict(adapter.figures), adapter.licence)


def take(desk: Desk, session: str, files: Sequence[Any]) -> tuple[str, Own]:
    """The adapter that was dropped, kept for this visit; nothing stays where it was uploaded to.

    Args:
        desk: where it is kept.
        session: whose it is.
        files: what the browser sent of each: ``path`` and ``orig_name``.

    Raises:
        CheckpointError: as `read_adapter`.
        AudioError: the disk is full.
    """
    brought = {Path(str(file.get("orig_name") or file["path"])).name: Path(file["path"]) for file in files}
    try:
        return read_adapter(_gathered(brought, desk.exports.place(session, SHELF, KEPT_ADAPTERS)), desk.settings)
    finally:
        for path in brought.values():
            path.unlink(missing_ok=True)


def _gathered(brought: Mapping[str, Path], place: Path) -> Path:
    """The files under names that `Adapter.load` knows."""
    pickled = next((name for name in brought if name.lower().endswith(PICKLED)), None)
    if pickled:
        raise CheckpointError(f"{pickled} holds pickled weights, which can run code; only safetensors are read.")
    archives = [name for name in brought if name.lower().endswith(".zip")]
    if len(archives) == 1 and len(brought) == 1:
        target = place / f"{Path(archives[0]).stem[:LONGEST_NAME] or 'adapter'}.zip"
        shutil.move(brought[archives[0]], target)
        return target
    kinds = {name.lower().rpartition(".")[2]: name for name in brought}
    if set(kinds) != {"json", "safetensors"} or len(brought) != 2:
        raise CheckpointError(f"An adapter is one .zip, or {CONFIG} and {WEIGHTS} together; drop both at once.")
    folder = place / "adapter"
    folder.mkdir()
    shutil.move(brought[kinds["json"]], folder / CONFIG)
    shutil.move(brought[kinds["safetensors"]], folder / WEIGHTS)
    return folder
