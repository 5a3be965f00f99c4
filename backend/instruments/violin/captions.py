"""Captions from files: text in any common encoding, tables in the form of MusicCaps."""

from __future__ import annotations

import codecs
import csv
import io
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from backend.errors import RequestError

MAX_CAPTION = 500
MAX_TEXT_BYTES, MAX_TABLE_BYTES, MAX_ROWS = 100_000, 20_000_000, 50_000
_IDS = ("ytid", "id", "file", "filename", "file_name", "name", "clip")
_STARTS, _ENDS, _CAPTIONS = ("start_s", "start"), ("end_s", "end"), ("caption", "text", "description")


@dataclass(frozen=True)
class Row:
    """One row of a table: which recording, from when to when in seconds, what is played; ``line`` counts from 1."""

    id: str
    start_s: float
    end_s: float
    caption: str
    line: int


def decode(data: bytes, name: str) -> str:
    """Text in UTF-8, UTF-16 (with or without its mark) or Latin-1.

    Args:
        data: the bytes of a file.
        name: what a refusal calls it.

    Raises:
        RequestError: it holds control characters, so it is no text.
    """
    tried: tuple[str, ...]
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        tried = ("utf-16",)
    elif data.startswith(codecs.BOM_UTF8):
        tried = ("utf-8-sig",)
    elif len(data) >= 4 and data[1::2].count(0) > 0.4 * len(data[1::2]):
        tried = ("utf-16-le",)
    elif len(data) >= 4 and data[0::2].count(0) > 0.4 * len(data[0::2]):
        tried = ("utf-16-be",)
    else:
        tried = ("utf-8", "cp1252", "latin-1")
    for encoding in tried:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if all(c in "\r\n\t\f\v" or unicodedata.category(c) != "Cc" for c in text):
            return text.replace("\ufeff", "")
    raise RequestError(name, data[:12], "text in UTF-8, UTF-16 or Latin-1")


def checked_caption(caption: str, name: str) -> str:
    """A caption on one line.

    Raises:
        RequestError: longer than `MAX_CAPTION` characters.
    """
    text = " ".join(caption.split())
    if len(text) > MAX_CAPTION:
        raise RequestError(f"caption of {name}", text, f"at most {MAX_CAPTION} characters, not {len(text)}")
    return text


def caption_beside(path: Path) -> str:
    """The text file of the same name beside a recording, or an empty string.

    Raises:
        RequestError: it is not text, or too long.
    """
    beside = path.with_suffix(".txt")
    if not beside.is_file():
        return ""
    return checked_caption(decode(_bytes(beside, MAX_TEXT_BYTES), beside.name), path.name)


def read_table(path: Path) -> list[Row]:
    """The rows of a table separated by commas, semicolons or tabs; needless columns are passed over.

    Raises:
        RequestError: no such file, a column missing, a time that is none, no rows.
    """
    text = decode(_bytes(path, MAX_TABLE_BYTES), path.name)
    head = text.split("\n", 1)[0]
    separator = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows = list[Row]()
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        places = [_place(header, names) for names in (_IDS, _STARTS, _ENDS, _CAPTIONS)]
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(_row(cells, places, reader.line_num))
            if len(rows) > MAX_ROWS:
                raise RequestError("csv", f"more than {MAX_ROWS} rows", f"at most {MAX_ROWS}")
    except csv.Error as error:
        raise RequestError("csv", path.name, f"a table of comma-separated values ({error})") from error
    if not rows:
        raise RequestError("csv", path.name, "a table with at least one row")
    return rows


def _place(header: list[str], names: tuple[str, ...]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    raise RequestError(
        "csv", ", ".join(header), f"a column '{names[0]}'; ytid (or id, file), start_s, end_s and caption"
    )


def _row(cells: list[str], places: list[int], line: int) -> Row:
    if len(cells) <= max(places):
        raise RequestError(f"line {line} of the table", len(cells), f"at least {max(places) + 1} columns")
    name, start, end, caption = (cells[place].strip() for place in places)
    try:
        start_s, end_s = float(start.replace(",", ".")), float(end.replace(",", "."))
    except ValueError as error:
        raise RequestError(f"line {line} of the table", f"{start}, {end}", "start_s and end_s in seconds") from error
    if not (0 <= start_s < end_s < 1e6):
        raise RequestError(f"line {line} of the table", f"{start}, {end}", "0 ≤ start_s < end_s, in seconds")
    return Row(name, start_s, end_s, caption, line)


def _bytes(path: Path, most: int) -> bytes:
    try:
        if path.stat().st_size > most:
            raise RequestError(path.name, f"{path.stat().st_size:,} bytes", f"at most {most:,}")
        return path.read_bytes()
    except OSError as error:
        raise RequestError(path.name, (error.strerror or "an error").lower(), "a file that can be opened") from error
