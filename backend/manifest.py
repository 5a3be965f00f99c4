"""The manifest of checkpoints: what is known of every weight file, as TOML that reads well in a diff."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.errors import CheckpointError

MANIFEST = "manifest.toml"
HEADER = "# Weights by name, written by backend/checkpoints.py. Every file is checked against its sha256 when loaded.\n"


@dataclass(frozen=True)
class ShardFile:
    """One safetensors file: path relative to its root, size and hash."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class CheckpointEntry:
    """What the manifest says of one checkpoint.

    Attributes:
        name: ``<instrument>.<part>``.
        root: folder of the manifest.
        files: the shards.
        storage: ``exact``; ``float16``: floats are stored so and loaded as float32; ``int8``: matrices in eight bits.
        config: plain values the model is built from.
        metrics: how it measured.
        previous: how the checkpoint it replaced measured.
        card: path of the model card, relative to the root.
    """

    name: str
    root: Path
    files: tuple[ShardFile, ...]
    storage: str = "exact"
    config: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    previous: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""

    @property
    def digest(self) -> str:
        """Sha256 (64 hex digits) over configuration, storage and the hashes of all files."""
        parts = [self.config, self.storage, [file.sha256 for file in self.files]]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def read_manifest(root: Path) -> dict[str, CheckpointEntry]:
    """Entries of one folder; none when it has no manifest."""
    path = root / MANIFEST
    try:
        tables = tomllib.loads(path.read_text("utf-8")).get("checkpoints", {})
        entries = {}
        for name, table in tables.items():
            files = tuple(ShardFile(str(f["path"]), int(f["bytes"]), str(f["sha256"])) for f in table["files"])
            for file in files:
                if Path(file.path).is_absolute() or ".." in Path(file.path).parts:
                    raise ValueError(f"{file.path!r} leads out of the folder")
            entries[name] = CheckpointEntry(
                name=name, root=root, files=files, storage=str(table["storage"]), config=dict(table.get("config", {})),
                metrics=dict(table.get("metrics", {})), previous=dict(table.get("previous", {})),
                card=str(table.get("card", "")),
            )  # fmt: skip
        return entries
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is not a manifest this program wrote ({type(error).__name__}: {error})."
        ) from error


def plain_values(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The same values as TOML gives them back (tuples as lists, numpy numbers as Python's)."""
    try:
        plain: dict[str, Any] = tomllib.loads(_table("x", values))["x"]
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: {error}.") from error
    return plain


def render_manifest(entries: Mapping[str, CheckpointEntry]) -> str:
    """The manifest as text: sorted, one line a file, so that differences read well in version control."""
    lines = [HEADER]
    for name, entry in sorted(entries.items()):
        key = f"checkpoints.{json.dumps(name)}"
        lines.append(f"[{key}]\nstorage = {_value(entry.storage)}\ncard = {_value(entry.card)}\nfiles = [")
        lines += [f"    {_value({'path': f.path, 'bytes': f.bytes, 'sha256': f.sha256})}," for f in entry.files]
        lines.append("]\n")
        for part in ("config", "metrics", "previous"):
            lines.append(_table(f"{key}.{part}", getattr(entry, part)))
    return "\n".join(lines)


def _table(key: str, values: Mapping[str, Any]) -> str:
    return "\n".join([f"[{key}]", *(f"{_key(k)} = {_value(v)}" for k, v in values.items())]) + "\n"


def _key(key: object) -> str:
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _value(text)


def _value(value: Any) -> str:
    """One TOML value on one line."""
    if getattr(value, "ndim", None) == 0:
        value = value.item()  # a numpy or torch scalar
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise TypeError(f"a manifest has no place for {value!r} ({type(value).__name__})")
