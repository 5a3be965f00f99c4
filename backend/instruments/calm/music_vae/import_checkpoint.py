"""Magenta's TensorFlow checkpoints → a checkpoint folder of safetensors.

``python -m backend.instruments.calm.music_vae.import_checkpoint SOURCE --config hierdec-mel_16bar --out FOLDER`` reads
a ``.tar`` as Magenta publishes them or a ``model.ckpt`` prefix, adds ``calm.hierdec_mel_16bar`` to the folder's
manifest and ends stdout with one JSON object. Name the folder in ``NEUROMUSE_CHECKPOINTS`` to use it.

TensorFlow is imported here only, to read the variables; the app runs this as a program (`import_apart`).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from backend.checkpoints import CheckpointStore
from backend.errors import CheckpointError, NeuromuseError
from backend.instruments.calm.music_vae.config import CONFIGS, MusicVaeConfig, named
from backend.instruments.calm.music_vae.lstm import LstmCell
from backend.instruments.calm.music_vae.model import MusicVae
from backend.instruments.calm.music_vae.sampling import checkpoint_name

MAX_BYTES = 4_000_000_000  # unpacked; the largest of the four has 1.5 GB with the state of its optimiser
SHARD_BYTES = 100_000_000
WATCH_S = 0.25
MEMBER = re.compile(r"(?P<stem>.+)\.(index|data-\d{5}-of-\d{5})")
SUFFIX = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


def read_checkpoint(source: Path, config: MusicVaeConfig) -> dict[str, Tensor]:
    """The state dict of `MusicVae` from a TensorFlow checkpoint; what it holds beyond the model is left out.

    Args:
        source: a ``.tar`` (compressed or not) or the prefix of a checkpoint's files.
        config: what the checkpoint must be.

    Raises:
        CheckpointError: no checkpoint, damaged, or of another configuration.
    """
    with _unpacked(source) as prefix:
        reader = _open(prefix, source)
        _require_fit({name: tuple(shape) for name, shape in reader.get_variable_to_shape_map().items()}, config)
        state: dict[str, Tensor] = {}
        for path, scope, module in _layers(config):
            kernel, bias = (_read(reader, f"{scope}/{name}", source) for name in ("kernel", "bias"))
            if isinstance(module, LstmCell):
                state[f"{path}.kernel"] = _gates(kernel[len(kernel) - len(module.kernel) :])  # less a row of zero input
                state[f"{path}.bias"] = _gates(bias)
                state[f"{path}.bias"][module.units : 2 * module.units] += 1.0  # Magenta adds it when it runs
            else:
                state[f"{path}.weight"], state[f"{path}.bias"] = (
                    torch.from_numpy(kernel.T.copy()),
                    torch.from_numpy(bias),
                )
    return state


def _gates(values: npt.NDArray[np.float32]) -> Tensor:
    """Columns i, g, f, o of TensorFlow as ours: i, f, o, g."""
    i, g, f, o = np.split(values, 4, axis=-1)
    return torch.from_numpy(np.concatenate([i, f, o, g], axis=-1))


def _layers(config: MusicVaeConfig) -> Iterator[tuple[str, str, nn.Module]]:
    """Every layer: its path in `MusicVae`, its TensorFlow scope, and itself without memory."""
    with torch.device("meta"):
        model = MusicVae(config)
    yield "mu", "encoder/mu", model.mu
    yield "sigma", "encoder/sigma", model.sigma
    for way, cells in (("fw", model.encoder.fw), ("bw", model.encoder.bw)):
        for level, cell in enumerate(cells):
            scope = f"encoder/cell_{level}/bidirectional_rnn/{way}/multi_rnn_cell/cell_0/lstm_cell"
            yield f"encoder.{way}.{level}", scope, cell
    core = ""
    if model.conductor is not None:
        core, scope = "core_decoder/", "decoder/hierarchical_level_0"
        yield "conductor.initial_state", f"{scope}/initial_state", model.conductor.initial_state
        for level, cell in enumerate(model.conductor.cells):
            yield f"conductor.cells.{level}", f"{scope}/cell_{level}/lstm_cell", cell
    for index, part in enumerate(model.parts):
        path = f"parts.{index}"
        scope = f"{core}core_decoder_{index}/decoder" if config.is_trio else f"{core}decoder"
        yield f"{path}.initial_state", f"{scope}/z_to_initial_state", part.initial_state
        yield f"{path}.output", f"{scope}/output_projection", part.output
        for level, cell in enumerate(part.cells):
            yield f"{path}.cells.{level}", f"{scope}/multi_rnn_cell/cell_{level}/lstm_cell", cell


def _expected(config: MusicVaeConfig) -> dict[str, tuple[int, ...]]:
    """The variables of a TensorFlow checkpoint of the configuration, with their shapes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for _, scope, module in _layers(config):
        if isinstance(module, LstmCell):
            rows, columns = module.kernel.shape
            shapes[f"{scope}/kernel"] = (rows + (module.inputs == 0), columns)
            shapes[f"{scope}/bias"] = (columns,)
        elif isinstance(module, nn.Linear):
            shapes[f"{scope}/kernel"] = (module.in_features, module.out_features)
            shapes[f"{scope}/bias"] = (module.out_features,)
    return shapes


def _require_fit(found: dict[str, tuple[int, ...]], config: MusicVaeConfig) -> None:
    """Raise `CheckpointError` unless every variable of the configuration is there in its shape."""

    def misfit(wanted: MusicVaeConfig) -> tuple[str, tuple[int, ...]] | None:
        return next(((name, shape) for name, shape in _expected(wanted).items() if found.get(name) != shape), None)

    problem = misfit(config)
    if problem is None:
        return
    for other in CONFIGS.values():
        if other != config and misfit(other) is None:
            raise CheckpointError(f"The checkpoint is of {other.name}, not of {config.name}.")
    name, shape = problem
    has = f"is {found[name]}" if name in found else "is missing"
    raise CheckpointError(f"The checkpoint is not of {config.name}: {name} {has}, expected {shape}.")


@contextmanager
def _unpacked(source: Path) -> Iterator[Path]:
    """The prefix of the checkpoint's files, from a temporary folder if the source is an archive."""
    if not source.is_file() or not tarfile.is_tarfile(source):
        prefix = source.with_name(SUFFIX.sub("", source.name))
        if not prefix.with_name(f"{prefix.name}.index").is_file():
            wanted = "a .tar, or the prefix of files such as model.ckpt.index and model.ckpt.data-00000-of-00001"
            raise CheckpointError(f"{source.name} is no TensorFlow checkpoint: give {wanted}.")
        yield prefix
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            stems = _extract(source, Path(folder))
        except (tarfile.TarError, EOFError, OSError) as error:
            raise CheckpointError(f"{source.name} is truncated or damaged.") from error
        if len(stems) != 1:
            raise CheckpointError(f"{source.name} holds {len(stems)} TensorFlow checkpoints instead of one.")
        yield Path(folder) / stems[0]


def _extract(source: Path, folder: Path) -> list[str]:
    """Copy the checkpoint's own files, by their last name only, whatever path the archive gives them."""
    stems, total = [], 0
    with tarfile.open(source) as archive:
        for member in archive:
            name = Path(member.name).name
            match = MEMBER.fullmatch(name)
            content = archive.extractfile(member) if member.isreg() and match else None
            if content is None or match is None:
                continue
            total += member.size
            if total > MAX_BYTES:
                raise CheckpointError(f"{source.name} holds more than {MAX_BYTES:,} bytes.")
            with content, (folder / name).open("xb") as file:
                shutil.copyfileobj(content, file)
            if name.endswith(".index"):
                stems.append(match["stem"])
    return stems


def _open(prefix: Path, source: Path) -> Any:
    """TensorFlow's reader."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    try:
        return tf.train.load_checkpoint(str(prefix))
    except Exception as error:  # TensorFlow lets several families of errors through
        raise CheckpointError(f"{source.name} is no TensorFlow checkpoint, or damaged.") from error


def _read(reader: Any, name: str, source: Path) -> npt.NDArray[np.float32]:
    try:
        values = np.asarray(reader.get_tensor(name))
    except Exception as error:  # as above
        raise CheckpointError(f"{source.name} is truncated or damaged: {name} cannot be read.") from error
    if values.dtype != np.float32 or not np.isfinite(values).all():
        raise CheckpointError(f"{source.name} is damaged: {name} holds values that are not finite float32 numbers.")
    return values


def import_checkpoint(source: Path, config: MusicVaeConfig, folder: Path) -> dict[str, Any]:
    """Read the source and save it as `checkpoint_name` in ``folder``, over an earlier one.

    Returns:
        ``checkpoint``, ``config``, ``parameters`` and ``bytes``.

    Raises:
        CheckpointError: as `read_checkpoint`, or the folder cannot be written.
    """
    state = read_checkpoint(source, config)
    parameters = sum(tensor.numel() for tensor in state.values())
    entry = CheckpointStore(folder).save(
        checkpoint_name(config),
        state,
        dataclasses.asdict(config),
        {"parameters": parameters},
        force=True,
        max_shard_bytes=SHARD_BYTES,
    )
    size = sum(file.bytes for file in entry.files)
    return {"checkpoint": entry.name, "config": config.name, "parameters": parameters, "bytes": size}


def import_apart(
    source: Path,
    config_name: str,
    folder: Path,
    timeout_s: float = 600.0,
    watch: Callable[[float], None] = lambda seconds: None,
) -> dict[str, Any]:
    """`import_checkpoint` in a process of its own, so that the caller never loads TensorFlow.

    Args:
        source: as `read_checkpoint`.
        config_name: what Magenta calls the configuration.
        folder: checkpoint folder; made if it is not there.
        timeout_s: longest it may take.
        watch: told the seconds so far, a few times a second; when it raises, the import is ended.

    Raises:
        CheckpointError: as `import_checkpoint`, or it took longer than ``timeout_s`` or crashed.
    """
    places = [str(source.resolve()), "--config", config_name, "--out", str(folder.resolve())]
    try:
        said = _finished([sys.executable, "-m", __name__, *places], timeout_s, watch)
        report: dict[str, Any] = json.loads(said.splitlines()[-1])
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(f"The import of {source.name} was stopped after {timeout_s:g} s.") from error
    except (OSError, IndexError, ValueError) as error:
        raise CheckpointError(f"The import of {source.name} failed without an answer.") from error
    if not report.pop("ok"):
        raise CheckpointError(report["problem"])
    return report


def _finished(command: Sequence[str], timeout_s: float, watch: Callable[[float], None]) -> str:
    """What a program wrote to its standard output; it is killed when its time is over or ``watch`` raises."""
    began = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=Path(__file__).resolve().parents[4],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            while True:
                seconds = time.monotonic() - began
                watch(seconds)
                if seconds > timeout_s:
                    raise subprocess.TimeoutExpired(command, timeout_s)
                with suppress(subprocess.TimeoutExpired):
                    return process.communicate(timeout=WATCH_S)[0]
        finally:
            process.kill()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit status is 1 when nothing was imported."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a .tar, or the prefix of a checkpoint's files")
    parser.add_argument("--config", required=True, help=", ".join(CONFIGS))
    parser.add_argument("--out", required=True, type=Path, help="checkpoint folder; made if it is not there")
    options = parser.parse_args(arguments)
    try:
        report = {"ok": True, **import_checkpoint(options.source, named(options.config), options.out)}
    except NeuromuseError as error:
        report = {"ok": False, "problem": str(error)}
    sys.stdout.write(json.dumps(report) + "\n")
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
