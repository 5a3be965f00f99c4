"""The only file that opens weights: named checkpoints in a manifest, as sharded safetensors checked by sha256.

A checkpoint ``violin.adapter`` is an entry of ``manifest.toml`` and files ``violin/adapter-1of2-<hash>.safetensors``.
File names carry a hash of their content, so replacing one is: write the new files, swap the manifest, delete the old
ones; whoever reads in between sees the old checkpoint or the new one, never a mixture.

``python -m backend.checkpoints verify`` reads every file and ends stdout with one JSON object.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import CheckpointError, NeuromuseError
from backend.manifest import MANIFEST, CheckpointEntry, ShardFile, plain_values, read_manifest, render_manifest
from backend.settings import BUNDLED_CHECKPOINTS, Settings

if TYPE_CHECKING:
    import torch

MAX_FILE_BYTES = 10_000_000  # above this a Space refuses a plain git push
NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9][a-z0-9_]*)+")
PIECE = "#"  # separates a tensor's name from "i/n" where it was cut


class CheckpointStore:
    """Checkpoints by name below ``root`` and below the user's own folders, which win over it.

    Args:
        root: folder of the bundled ``manifest.toml``; `save` writes here.
        extra: more such folders, first match wins.
        before_file: called before each file is read; may raise to stop a load half-way.

    Attributes:
        opened: name → digest of every checkpoint loaded through this store.
    """

    def __init__(
        self,
        root: Path = BUNDLED_CHECKPOINTS,
        extra: Sequence[Path] = (),
        before_file: Callable[[], None] | None = None,
    ) -> None:
        self._roots = (*(Path(folder) for folder in extra), Path(root))
        self._before_file = before_file
        self.opened: dict[str, str] = {}

    def watched(self, before_file: Callable[[], None]) -> CheckpointStore:
        """A view of the same files that calls ``before_file`` and keeps its own ``opened``."""
        return CheckpointStore(self._roots[-1], self._roots[:-1], before_file)

    def beside(self, folder: Path) -> CheckpointStore:
        """A view that looks into ``folder`` first and counts what it opens among what this one opened."""
        view = CheckpointStore(self._roots[-1], (folder, *self._roots[:-1]), self._before_file)
        view.opened = self.opened
        return view

    def names(self) -> tuple[str, ...]:
        """Every name, sorted."""
        return tuple(sorted({name for root in self._roots for name in read_manifest(root)}))

    def entry(self, name: str) -> CheckpointEntry:
        """The manifest's entry.

        Raises:
            CheckpointError: the manifest is malformed or has no such name.
        """
        for root in self._roots:
            entry = read_manifest(root).get(name)
            if entry is not None:
                return entry
        raise CheckpointError(
            f"There is no checkpoint {name!r} in {' or '.join(str(r / MANIFEST) for r in self._roots)}."
        )

    def config(self, name: str) -> dict[str, Any]:
        """The configuration stored with the weights; lists where tuples were saved."""
        return dict(self.entry(name).config)

    def digest(self, name: str) -> str:
        """Sha256 over configuration and files, without reading the files."""
        return self.entry(name).digest

    def load(self, name: str) -> dict[str, torch.Tensor]:
        """All tensors on the CPU; what was stored as float16 or in eight bits comes back as float32.

        Raises:
            CheckpointError: unknown name, or a file that is missing, truncated or altered (names file and both hashes).
        """
        import torch
        from safetensors.torch import load

        entry = self.entry(name)
        tensors: dict[str, torch.Tensor] = {}
        pieces: dict[str, dict[str, torch.Tensor]] = {}
        for file in entry.files:
            if self._before_file is not None:
                self._before_file()
            for key, tensor in load(_verified(entry.root, file)).items():
                if entry.storage == "float16" and tensor.is_floating_point():
                    tensor = tensor.float()
                whole, _, cut = key.partition(PIECE)
                if cut:
                    pieces.setdefault(whole, {})[cut] = tensor
                else:
                    tensors[key] = tensor
        tensors.update({key: torch.cat([parts[cut] for cut in sorted(parts)]) for key, parts in pieces.items()})
        if entry.storage == "int8":
            from backend.rowwise import unpack

            tensors = unpack(tensors)
        self.opened[name] = entry.digest
        return tensors

    def save(
        self,
        name: str,
        tensors: Mapping[str, torch.Tensor],
        config: Mapping[str, Any],
        metrics: Mapping[str, Any],
        card: str = "",
        *,
        better: str | None = None,
        force: bool = False,
        dtype: str | None = None,
        max_shard_bytes: int = 9_500_000,
    ) -> CheckpointEntry:
        """Write a checkpoint, replacing one of the same name only by a better one.

        Args:
            name: ``<instrument>.<part>``.
            tensors: a state dict.
            config: plain values (numbers, strings, lists, tables) to build the model from.
            metrics: plain values; the replaced checkpoint's metrics are kept beside them.
            card: the model card, relative to the root, such as ``text_to_music/README.md``.
            better: ``"lower <metric>"`` or ``"higher <metric>"`` that must have improved; dots descend into tables.
            force: replace whatever is there.
            dtype: ``"float16"`` stores floats so, ``"int8"`` matrices in eight bits a value (`backend.rowwise`); None
                keeps every dtype.
            max_shard_bytes: largest file.

        Raises:
            CheckpointError: the checkpoint there is as good or cannot be compared, a value has no place in TOML or in
                ``dtype``, or the disk refused.
        """
        root = self._roots[-1]
        if not NAME.fullmatch(name):
            raise CheckpointError(f"{name!r} is no checkpoint name; use '<instrument>.<part>' in lower case.")
        entry = CheckpointEntry(
            name=name,
            root=root,
            files=(),
            storage=dtype or "exact",
            config=plain_values(config, "config"),
            metrics=plain_values(metrics, "metrics"),
            card=card,
        )
        if dtype == "int8":
            tensors, dtype = _packed(tensors), None
        shards = _shards(tensors, dtype, max_shard_bytes)
        try:
            root.mkdir(parents=True, exist_ok=True)
            with _locked(root):
                entries = read_manifest(root)
                old = entries.get(name)
                if old is not None and not force:
                    _require_better(name, better, entry.metrics, old.metrics)
                return _replace(entries, old, entry, shards)
        except OSError as error:
            raise CheckpointError(f"Cannot write {name} below {root}: {error.strerror or error}.") from error

    def verify(self) -> dict[str, Any]:
        """Read and hash every file of every entry; plain values, with a list of sentences for whatever is wrong."""
        report: dict[str, Any] = {"ok": True, "total_bytes": 0, "checkpoints": {}}
        for name in self.names():
            entry, problems = self.entry(name), []
            for file in entry.files:
                try:
                    _verified(entry.root, file)
                except CheckpointError as error:
                    problems.append(str(error))
                if file.bytes >= MAX_FILE_BYTES:
                    problems.append(f"{file.path} has {file.bytes} bytes; files are kept below {MAX_FILE_BYTES}.")
            if not entry.card or not (entry.root / entry.card).is_file():
                problems.append(f"The model card {entry.card!r} is missing.")
            size = sum(file.bytes for file in entry.files)
            report["total_bytes"] += size
            report["ok"] = report["ok"] and not problems
            report["checkpoints"][name] = {"bytes": size, "digest": entry.digest, "problems": problems}
        return report


def read_tensors(path: Path, most_bytes: int = 200_000_000) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors (floats as float32) and metadata of a safetensors file that a user brought; never unpickles anything.

    Raises:
        CheckpointError: it is missing, too large, pickled, or no safetensors file.
    """
    import torch
    from safetensors.torch import load

    try:
        size = path.stat().st_size
        if size > most_bytes:
            raise CheckpointError(f"{path.name} has {size} bytes; at most {most_bytes} are read.")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read ({error.strerror}).") from None
    if data[8:9] != b"{" and (data[:2] == b"PK" or data[:1] == b"\x80"):
        raise CheckpointError(f"{path.name} holds pickled weights, which can run code; only safetensors are read.")
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        tensors = {key: value.float() if value.is_floating_point() else value for key, value in load(data).items()}
    except Exception:  # the parser's own exceptions, whatever a damaged file provokes
        raise CheckpointError(f"{path.name} is no safetensors file, or a damaged one.") from None
    if not all(bool(torch.isfinite(value).all()) for value in tensors.values() if value.is_floating_point()):
        raise CheckpointError(f"{path.name} holds numbers that are not finite.")
    return tensors, {str(key): str(value) for key, value in header.get("__metadata__", {}).items()}


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    """Write one safetensors file, floats as float16, whole or not at all.

    Raises:
        CheckpointError: a value is beyond float16, or the disk refused.
    """
    from safetensors.torch import save

    try:
        _write(path, save({key: _stored(key, value, "float16") for key, value in tensors.items()}, dict(metadata)))
    except OSError as error:
        raise CheckpointError(f"Cannot write {path.name}: {error.strerror or error}.") from error


def _shards(tensors: Mapping[str, torch.Tensor], dtype: str | None, limit: int) -> list[dict[str, torch.Tensor]]:
    """State dict → dicts of at most ``limit`` bytes each; a tensor that is larger is cut along dimension 0."""
    shards: list[dict[str, torch.Tensor]] = [{}]
    room = limit
    for key, tensor in tensors.items():
        if PIECE in key:
            raise CheckpointError(f"A tensor's name must not contain {PIECE!r}: {key!r}.")
        value = _stored(key, tensor, dtype)
        overhead = 2 * len(key) + 256  # its line in the file's header
        parts: Sequence[torch.Tensor] = [value]
        if value.ndim and value.nbytes and value.nbytes + overhead > limit:
            row_bytes = value.nbytes // value.shape[0]
            parts = value.split(max(1, (limit - overhead) // row_bytes))
        for index, part in enumerate(parts):
            size = part.nbytes + overhead
            if size > limit:
                raise CheckpointError(f"One row of {key} has {size} bytes; a file holds at most {limit}.")
            if size > room and shards[-1]:
                shards.append({})
                room = limit
            shards[-1][key if len(parts) == 1 else f"{key}{PIECE}{index:04d}/{len(parts)}"] = part.clone()
            room -= size
    return shards


def _packed(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors as `backend.rowwise` stores them."""
    from backend.rowwise import SCALE, pack, unpack

    packed = pack(tensors)
    if len(packed) != len(tensors) + sum(key.endswith(SCALE) for key in packed):
        raise CheckpointError(f"A tensor's name must not end with {SCALE!r}.")
    for key, value in unpack(packed).items():
        if not value.isfinite().equal(tensors[key].detach().cpu().isfinite()):
            raise CheckpointError(f"{key} has values beyond the range of eight bits with a float16 scale.")
    return packed


def _stored(key: str, tensor: torch.Tensor, dtype: str | None) -> torch.Tensor:
    """The tensor as it goes into a file."""
    if dtype not in (None, "float16"):
        raise CheckpointError(f"Weights can be stored as they are, as float16 or as int8, not {dtype!r}.")
    value = tensor.detach().cpu().contiguous()
    if dtype is None or not value.is_floating_point():
        return value
    half = value.half()
    if not half.isfinite().equal(value.isfinite()):
        raise CheckpointError(f"{key} has values beyond the range of float16.")
    return half


def _replace(
    entries: Mapping[str, CheckpointEntry],
    old: CheckpointEntry | None,
    new: CheckpointEntry,
    shards: Sequence[Mapping[str, torch.Tensor]],
) -> CheckpointEntry:
    """Write files, then the manifest, then delete what nothing names any more; a failure deletes what it wrote."""
    from safetensors.torch import save

    root, kept = new.root, {file.path for file in old.files} if old is not None else set()
    folder, stem = new.name.split(".", 1)
    files: list[ShardFile] = []
    try:
        for number, shard in enumerate(shards, 1):
            data = save(dict(shard))
            digest = hashlib.sha256(data).hexdigest()
            path = f"{folder}/{stem}-{number}of{len(shards)}-{digest[:8]}.safetensors"
            _write(root / path, data)
            files.append(ShardFile(path, len(data), digest))
        new = replace(new, files=tuple(files), previous={} if old is None else old.metrics)
        _write(root / MANIFEST, render_manifest({**entries, new.name: new}).encode())
    except BaseException:
        for path in {file.path for file in files} - kept:
            (root / path).unlink(missing_ok=True)
        raise
    for path in kept - {file.path for file in files}:
        (root / path).unlink(missing_ok=True)
    return new


def _require_better(name: str, better: str | None, new: Mapping[str, Any], old: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` unless the metric that ``better`` names improved."""
    direction, _, metric = (better or "").partition(" ")
    if direction not in ("lower", "higher") or not metric:
        raise CheckpointError(f"{name} exists; say better='lower <metric>' or 'higher <metric>', or force it.")
    values: list[Any] = [new, old]
    for part in metric.split("."):
        values = [value.get(part) if isinstance(value, Mapping) else None for value in values]
    if not all(isinstance(value, (int, float)) for value in values):
        raise CheckpointError(f"{name} exists and {metric} is not known of both (new {values[0]}, old {values[1]}).")
    if not (values[0] < values[1] if direction == "lower" else values[0] > values[1]):
        raise CheckpointError(f"{name} is kept: {metric} would be {values[0]:g}, not {direction} than {values[1]:g}.")


def _verified(root: Path, file: ShardFile) -> bytes:
    """The file's content, hashed as it is used, so that nothing can change between check and use."""
    path = root / file.path
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size == file.bytes else b""
        digest = hashlib.sha256(data).hexdigest() if data else _hash_of(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: expected sha256 {file.sha256}, found none.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}); expected sha256 {file.sha256}.") from error
    if digest != file.sha256:
        state = "altered" if size == file.bytes else f"{size} bytes instead of {file.bytes}"
        raise CheckpointError(f"{path} is {state}: expected sha256 {file.sha256}, found {digest}.")
    return data


def _hash_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(path: Path, data: bytes) -> None:
    """Write whole or not at all; the temporary file never survives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One writer at a time, also between processes that train at once."""
    handle = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: ``verify`` prints one JSON object; the exit status is 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m backend.checkpoints", description=main.__doc__)
    parser.add_argument("command", choices=["verify"])
    parser.add_argument("--root", type=Path, default=BUNDLED_CHECKPOINTS)
    options = parser.parse_args(arguments)
    try:
        report = CheckpointStore(options.root, Settings.from_env().checkpoint_dirs).verify()
    except NeuromuseError as error:
        report = {"ok": False, "problems": [str(error)]}
    print(json.dumps(report, indent=2))
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
