"""Public-domain scores (MusicXML, Humdrum) as plain note tables, timed in quarter notes.

Verovio reads every format; its MIDI carries one track a staff. Tempo is dropped on purpose: the corpus chooses its own
tempo for every clip, so that the caption states a tempo that is true.
"""

from __future__ import annotations

import base64
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import numpy.typing as npt

NOTE = np.dtype([("onset", "f4"), ("duration", "f4"), ("pitch", "u1"), ("velocity", "u1"), ("part", "u1")])
"""One note: onset and duration in quarter notes, MIDI pitch, velocity, index of its staff from the top."""

MAX_SCORE_BYTES = 30_000_000
GRACE = 1 / 12  # quarter notes: shorter ones are grace notes or ties gone wrong


@dataclass(frozen=True)
class Score:
    """Notes of one piece in quarter-note time, sorted by onset."""

    source: str
    notes: npt.NDArray[np.void]
    n_parts: int
    numerator: int
    denominator: int


def read_score(path: Path, source: str) -> Score:
    """Read one ``.mxl``, ``.musicxml`` or ``.krn`` file.

    Args:
        path: the score.
        source: identifier of the *piece* (several editions of one piece share it), used to split by piece.

    Raises:
        ValueError: the file is no score verovio can read, or it holds no notes.
    """
    import verovio

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    toolkit.setOptions({"mnumInterval": 0})
    data = path.read_bytes()
    if path.suffix == ".mxl":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(item.file_size for item in archive.infolist()) > MAX_SCORE_BYTES:
                raise ValueError(f"{path.name}: unpacks to more than {MAX_SCORE_BYTES} bytes")
        loaded = toolkit.loadZipDataBase64(base64.b64encode(data).decode())
    else:
        loaded = toolkit.loadData(data.decode("utf-8", "replace"))
    if not loaded:
        raise ValueError(f"{path.name}: not a score verovio can read")
    midi = mido.MidiFile(file=io.BytesIO(base64.b64decode(toolkit.renderToMIDI())))
    return score_from_midi(midi, source)


def score_from_midi(midi: mido.MidiFile, source: str) -> Score:
    """Note table of a MIDI file, one part a track that has notes.

    Raises:
        ValueError: no notes.
    """
    rows: list[tuple[float, float, int, int, int]] = []
    numerator, denominator, part = 4, 4, -1
    first_meter = True
    for track in midi.tracks:
        tick, open_notes, had_notes = 0, {}, False
        for message in track:
            tick += message.time
            if message.type == "time_signature" and first_meter:
                numerator, denominator, first_meter = message.numerator, message.denominator, False
            elif message.type == "note_on" and message.velocity > 0:
                if not had_notes:
                    had_notes, part = True, part + 1
                open_notes[message.note] = (tick, message.velocity)
            elif message.type in ("note_on", "note_off") and message.note in open_notes:
                start, velocity = open_notes.pop(message.note)
                duration = (tick - start) / midi.ticks_per_beat
                if duration >= GRACE:
                    rows.append((start / midi.ticks_per_beat, duration, message.note, velocity, part))
    if not rows:
        raise ValueError(f"{source}: no notes")
    notes = np.array(sorted(rows), dtype=NOTE)
    return Score(source, notes, part + 1, numerator, denominator)


def find_scores(data: Path) -> list[tuple[Path, str, str]]:
    """All score files below ``data`` as ``(path, source piece, collection)``.

    Chopin's first editions are several prints of one work: ``030-1-Sm-002.krn`` and ``030-1-W-012.krn`` are one piece,
    ``015-1a-…`` is its variant, so the work and number up to the letter name the piece.
    """
    found = []
    for collection in ("openscore_lieder", "openscore_quartets"):
        for path in sorted((data / collection).rglob("*.mxl")):
            found.append((path, f"{collection}/{path.stem}", collection))
    seen: set[str] = set()
    for path in sorted((data / "chopin_first_editions").rglob("*.krn")):
        work, number = [*path.stem.split("-"), "1"][:2]
        piece = f"chopin_first_editions/{work}-{number.rstrip('abcdefgh')}"
        if piece not in seen:
            seen.add(piece)
            found.append((path, piece, "chopin_first_editions"))
    return found
