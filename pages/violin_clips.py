"""The recordings an adapter is trained on: received with consent, checked, captioned; kept in the training's folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from backend.contract import Result
from backend.errors import RequestError
from backend.instruments.violin.request import SUFFIXES

CLIPS, TABLE = "clips", "captions.csv"
MAX_FILES, MAX_TOTAL_BYTES = 500, 1_000_000_000
HEADERS = ["Clip", "Sec.", "Level", "Caption"]
CONSENT = "I play in these recordings, or whoever does agreed to this use of them"
_NAME = re.compile(r"[^\w .,()'+&-]", re.UNICODE)


@dataclass(frozen=True)
class Checked:
    """What was found in the recordings.

    Attributes:
        rows: of the table, in the order of `HEADERS`.
        captions: clip → the caption in the table.
        notes: what was done and what was left out, in sentences.
    """

    rows: tuple[tuple[str, float, str, str], ...]
    captions: Mapping[str, str]
    notes: tuple[str, ...]


def receive(files: Sequence[Any], folder: Path | None) -> None:
    """Move what was dropped into the training's folder; nothing stays where it was uploaded to.

    Args:
        files: what the browser sent of each: ``path`` and ``orig_name``; sound, ``.txt`` captions or one ``.csv``.
        folder: of the training; None where nobody consented.

    Raises:
        RequestError: no consent, a kind of file that is not known, or too many.
    """
    brought = [(Path(file["path"]), named(file)) for file in files]
    try:
        if folder is None:
            raise RequestError("consent", False, "a tick that the players agreed")
        clips = folder / CLIPS
        clips.mkdir(exist_ok=True)
        there = list(clips.iterdir())
        total = sum(path.stat().st_size for path in (*there, *(path for path, _ in brought)))
        if len(there) + len(brought) > MAX_FILES or total > MAX_TOTAL_BYTES:
            raise RequestError("clips", len(there) + len(brought), f"at most {MAX_FILES} files and 1 GB in all")
        for path, name in brought:
            suffix = Path(name).suffix.lower()
            if suffix not in (*SUFFIXES, ".txt", ".csv", ".tsv"):
                raise RequestError("file", name, "WAV, FLAC, MP3, OGG, Opus or AIFF; captions as .txt or .csv")
            shutil.move(path, folder / TABLE if suffix in (".csv", ".tsv") else clips / name)
    finally:
        for path, _ in brought:
            path.unlink(missing_ok=True)


def named(file: Any) -> str:
    """The name a file came with, without what a name here must not have."""
    name = Path(str(file.get("orig_name") or file["path"]).replace("\\", "/")).name
    return _NAME.sub("_", name).lstrip(".- ")[-120:] or "recording.wav"


def listed(folder: Path) -> str:
    """What there is, in a sentence; empty when there is nothing."""
    names = [path.name for path in sorted((folder / CLIPS).glob("*"))]
    texts = sum(name.lower().endswith(".txt") for name in names)
    sounds = len(names) - texts
    if not sounds and not texts and not (folder / TABLE).exists():
        return ""
    parts = [f"{sounds} recording{'s' if sounds != 1 else ''}"]
    parts += [f"{texts} caption file{'s' if texts != 1 else ''}"] * bool(texts)
    parts += ["a table of captions"] * (folder / TABLE).exists()
    return f"Here: {', '.join(parts)}. Drop more, or check them."


def checked(result: Result) -> Checked:
    """What the violin heard in the recordings, as the page shows it."""
    columns = [result.arrays[name] for name in ("names", "seconds", "levels", "captions")]
    rows = [(str(n), round(float(s), 1), str(level), str(c)) for n, s, level, c in zip(*columns, strict=True)]
    return Checked(tuple(rows), {row[0]: row[3] for row in rows}, tuple(map(str, result.arrays["notes"])))


def write_captions(folder: Path, table: Any, proposed: Mapping[str, str]) -> None:
    """Keep the captions that were changed, as text files named as their clips.

    Args:
        folder: of the training.
        table: rows as in `HEADERS`.
        proposed: clip → caption as it was when checked.

    Raises:
        RequestError: a caption is too long.
    """
    from backend.instruments.violin.captions import checked_caption

    changed = {}
    for row in table or ():
        name, caption = str(row[0]), checked_caption(str(row[3] or ""), str(row[0]))
        if name in proposed and caption and caption != proposed[name]:
            changed[name] = caption
    for name, caption in changed.items():
        (folder / CLIPS / f"{name}.txt").write_text(caption, encoding="utf-8")


def notes_html(notes: Sequence[str]) -> str:
    """What was done to the recordings, as a list."""
    if not notes:
        return '<p class="nm-fact">Nothing had to be cleaned.</p>'
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    many = f"{len(notes)} remark{'s' if len(notes) != 1 else ''} on the recordings"
    return f'<details class="nm-score" open><summary>{many}</summary><ul class="nm-lines">{items}</ul></details>'
