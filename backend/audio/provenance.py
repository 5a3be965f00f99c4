"""How a sound was made, as one comment string, and where that string sits in each file format.

FLAC, OGG and MP3 carry it in the comment tag that libsndfile writes. libsndfile drops WAV comments beyond 2 kB, so WAV
gets its own ``LIST``/``INFO``/``ICMT`` chunk, appended after the samples where every reader skips what it does not
know. The string is ASCII: libsndfile's ID3 reader returns anything else doubly encoded.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from backend.errors import AudioError

PLAIN, PACKED = "neuromuse-1 ", "neuromuse-1z "
MAX_PLAIN = 16_000
MAX_COMMENT = 48_000  # OGG headers with comments beyond 50 kB cannot be written
MAX_JSON = 1_000_000


def to_comment(provenance: Mapping[str, Any]) -> str:
    """The provenance as an ASCII comment: readable JSON, compressed when it is long.

    Raises:
        AudioError: it is not JSON, or too large for a file comment even when compressed.
    """
    try:
        text = json.dumps(dict(provenance), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise AudioError("The provenance cannot be stored: it holds values that are not JSON.") from error
    if len(text) <= MAX_PLAIN:
        return PLAIN + text
    packed = PACKED + base64.b64encode(zlib.compress(text.encode(), 9)).decode()
    if len(text) > MAX_JSON or len(packed) > MAX_COMMENT:
        raise AudioError(f"The provenance is too large for a sound file ({len(text):,} characters).")
    return packed


def from_comment(comment: str) -> dict[str, Any] | None:
    """The provenance in a comment, or None for anything `to_comment` did not write. Never raises."""
    if len(comment) > MAX_COMMENT + len(PACKED):
        return None
    try:
        if comment.startswith(PLAIN):
            text = comment[len(PLAIN) :]
        elif comment.startswith(PACKED):
            inflater = zlib.decompressobj()
            data = base64.b64decode(comment[len(PACKED) :], validate=True)
            text = inflater.decompress(data, MAX_JSON).decode()
        else:
            return None
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError, zlib.error, binascii.Error):
        return None
    return value if isinstance(value, dict) else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def riff_comment_chunk(comment: str) -> bytes:
    """A RIFF ``LIST`` chunk of type ``INFO`` that holds the comment as ``ICMT``."""
    text = comment.encode("ascii") + b"\0"
    text += b"\0" * (len(text) % 2)
    info = b"INFOICMT" + struct.pack("<I", len(text)) + text
    return b"LIST" + struct.pack("<I", len(info)) + info


def add_to_wav(wav: io.BytesIO, comment: str) -> None:
    """Append the comment chunk to a complete RIFF file and mend its outer length, in place: an hour is 600 MB."""
    length = wav.seek(0, io.SEEK_END)
    wav.write(b"\0" * (length % 2) + riff_comment_chunk(comment))
    length = wav.tell()
    wav.seek(4)
    wav.write(struct.pack("<I", length - 8))


def riff_chunks(data: bytes, start: int = 12, stop: int | None = None) -> Iterator[tuple[bytes, int, int]]:
    """``(id, offset of the body, declared length)`` of each chunk; stops where the bytes do."""
    stop = len(data) if stop is None else min(stop, len(data))
    while start + 8 <= stop:
        length = struct.unpack_from("<I", data, start + 4)[0]
        yield data[start : start + 4], start + 8, length
        start += 8 + length + length % 2


def wav_comment(data: bytes) -> str:
    """The first ``ICMT`` comment of a RIFF file, or an empty string."""
    for name, offset, length in riff_chunks(data):
        if name != b"LIST" or data[offset : offset + 4] != b"INFO":
            continue
        for inner, position, size in riff_chunks(data, offset + 4, offset + length):
            if inner == b"ICMT":
                return data[position : position + min(size, MAX_COMMENT + 64)].rstrip(b"\0").decode("latin-1")
    return ""


def is_cut_off(data: bytes) -> bool:
    """Whether a RIFF file declares more samples than it holds; libsndfile would silently return the rest.

    Lengths near 2 or 4 GiB are what programs that write to a pipe put there, and are accepted.
    """
    for name, offset, length in riff_chunks(data):
        if name == b"data":
            return offset + length > len(data) and length < 0x7FFF0000
    return False
