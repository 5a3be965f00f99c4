"""Whole files in and out of memory: within a size, atomically, with every failure in one sentence."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from backend.errors import AudioError

MAX_BYTES = 100_000_000
ACCEPTED = "use WAV, FLAC, OGG or MP3"


def load(source: str | Path | bytes, max_bytes: int) -> bytes:
    """The bytes of the file.

    Raises:
        AudioError: it cannot be opened, is empty, or is larger than ``max_bytes``.
    """
    try:
        size = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
        if size > max_bytes:
            raise AudioError(f"The file has {size / 1e6:,.0f} MB; at most {max_bytes / 1e6:,.0f} MB are accepted.")
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise AudioError(f"The file cannot be opened: {(error.strerror or 'unknown error').lower()}.") from error
    except ValueError as error:  # a path with a null byte
        raise AudioError("The file cannot be opened: its name is not valid.") from error
    if not data:
        raise AudioError(f"The file is empty; {ACCEPTED}.")
    return data


def write_bytes(data: bytes | memoryview, path: Path) -> None:
    """Write a file through a temporary neighbour, so that nobody ever sees half of it.

    Raises:
        AudioError: the disk is full, read-only, or the folder is missing or forbidden.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.stem[:40]}-", suffix=path.suffix, dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise AudioError(f"The disk is full: {path.name} was not written.") from error
        raise AudioError(
            f"{path.name} cannot be written there: {(error.strerror or 'unknown error').lower()}."
        ) from error


def refuse_other_media(data: bytes) -> None:
    """Name the common things people drop that are not sound files.

    Raises:
        AudioError: it is one of them.
    """
    container = None
    if data[4:8] == b"ftyp":
        container = "an MP4 or M4A file"
    elif data[:4] == b"\x1aE\xdf\xa3":
        container = "a Matroska or WebM file"
    elif data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        container = "an AVI video"
    elif data[:4] == b"MThd":
        container = "a MIDI file, which holds notes and no sound"
    if container is not None:
        raise AudioError(f"This is {container}; {ACCEPTED}.")
