"""What the operator chooses: read once from ``NEUROMUSE_*`` environment variables, passed down, never global."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backend.errors import NeuromuseError, RequestError

__version__ = "0.1.0"

BUNDLED_CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
DEVICE_FORMS = "auto, cpu, mps, cuda or cuda:<number>"


@dataclass(frozen=True)
class Settings:
    """How this server runs.

    Attributes:
        host: address to listen on; ``0.0.0.0`` for every interface.
        port: TCP port, 1 to 65535.
        queue_size: jobs that may wait; one more is answered with `Busy`.
        memory_mb: what loaded models may hold a device; 0 asks the device.
        deadline_s: seconds a job may run, loading included, waiting not.
        threads: CPU threads of a model; 0 is one a physical core.
        device: ``auto``, ``cpu``, ``mps``, ``cuda`` (every GPU) or ``cuda:1`` (that one).
        checkpoint_dirs: folders with a ``manifest.toml`` of the user's own weights; they win over the bundled ones.
        max_upload_mb: largest file the page accepts.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    queue_size: int = 16
    memory_mb: int = 0
    deadline_s: float = 600.0
    threads: int = 0
    device: str = "auto"
    checkpoint_dirs: tuple[Path, ...] = ()
    max_upload_mb: int = 50

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the settings; what is not set keeps its default.

        Variables are ``NEUROMUSE_`` and ``HOST``, ``PORT``, ``QUEUE_SIZE``, ``MEMORY_MB``, ``DEADLINE_S``, ``THREADS``,
        ``DEVICE``, ``CHECKPOINTS`` (folders, separated as in ``PATH``) or ``MAX_UPLOAD_MB``.

        Raises:
            RequestError: a value is malformed or out of range; the message names the variable.
        """
        values = {k: v.strip() for k, v in (os.environ if environ is None else environ).items() if v.strip()}
        device = values.get("NEUROMUSE_DEVICE", cls.device).lower()
        kind, colon, index = device.partition(":")
        if kind not in ("auto", "cpu", "mps", "cuda") or (colon and (kind != "cuda" or not index.isdecimal())):
            raise RequestError("NEUROMUSE_DEVICE", device, DEVICE_FORMS)
        return cls(
            host=values.get("NEUROMUSE_HOST", cls.host),
            port=int(_number(values, "NEUROMUSE_PORT", cls.port, 1, 65535, integer=True)),
            queue_size=int(_number(values, "NEUROMUSE_QUEUE_SIZE", cls.queue_size, 1, 1000, integer=True)),
            memory_mb=int(_number(values, "NEUROMUSE_MEMORY_MB", cls.memory_mb, 0, 10_000_000, integer=True)),
            deadline_s=_number(values, "NEUROMUSE_DEADLINE_S", cls.deadline_s, 1, 86_400),
            threads=int(_number(values, "NEUROMUSE_THREADS", cls.threads, 0, 1024, integer=True)),
            device=device,
            checkpoint_dirs=_folders(values.get("NEUROMUSE_CHECKPOINTS", "")),
            max_upload_mb=int(_number(values, "NEUROMUSE_MAX_UPLOAD_MB", cls.max_upload_mb, 1, 4096, integer=True)),
        )


def _number(
    values: Mapping[str, str], name: str, default: float, low: float, high: float, *, integer: bool = False
) -> float:
    """The variable as a finite number in ``[low, high]``, else `RequestError`."""
    text = values.get(name)
    if text is None:
        return default
    try:
        number = float(int(text)) if integer else float(text)
    except (ValueError, OverflowError):
        number = float("nan")
    if not low <= number <= high:  # also false for NaN
        raise RequestError(name, text, f"a {'whole ' if integer else ''}number from {low:g} to {high:g}")
    return number


def _folders(text: str) -> tuple[Path, ...]:
    """Existing folders of a ``PATH``-like list, else `RequestError`."""
    folders = tuple(Path(part).expanduser() for part in text.split(os.pathsep) if part.strip())
    for folder in folders:
        if not folder.is_dir():
            raise RequestError("NEUROMUSE_CHECKPOINTS", str(folder), "folders that exist")
    return folders


def check_port(host: str, port: int) -> None:
    """Return if ``host:port`` can be listened on now.

    Raises:
        NeuromuseError: the port is taken, not permitted, or the address is not this machine's; in one sentence.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a closed server's TIME_WAIT is not "taken"
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        reason = {
            errno.EADDRINUSE: f"Port {port} on {host} is already in use; stop that program or set NEUROMUSE_PORT.",
            errno.EACCES: f"Port {port} on {host} needs more rights; set NEUROMUSE_PORT to 1024 or above.",
            errno.EADDRNOTAVAIL: f"{host} is not an address of this machine; set NEUROMUSE_HOST.",
        }
        fallback = f"Cannot listen on {host}:{port} ({error.strerror or error}); set NEUROMUSE_HOST or NEUROMUSE_PORT."
        raise NeuromuseError(reason.get(error.errno or 0, fallback)) from None
