"""Sound files made for one browser session: written to a temporary folder, served by an unguessable name, deleted."""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.audio import io
from backend.audio.midi import to_midi
from backend.audio.waveform import Waveform
from backend.contract import Result
from backend.errors import AudioError

log = logging.getLogger(__name__)

FORMATS = ("wav", "flac", "mp3")
NOTES = "mid"  # beside the sound, where an instrument works on notes
SHEET = "html"  # a printable page about the result, where an instrument writes one
FRAMES = "u8"  # what is shown in time with the first variation, for a script of the page
MAP = "nii"  # a map of the brain, beside the first variation
WRITTEN = (NOTES, SHEET, FRAMES, MAP)
N_PEAKS = 160  # bars of the player's waveform
KEPT_A_SESSION = 12  # results on a shelf; older ones are deleted when a new one comes
GRACE_S = 900.0  # a phone that slept drops its connection too: its files wait this long


@dataclass(frozen=True)
class Clip:
    """One variation as files: URL without the extension, length in seconds, peaks 0–100 for drawing, formats."""

    url: str
    duration_s: float
    peaks: tuple[int, ...]
    formats: tuple[str, ...] = FORMATS


@dataclass(frozen=True)
class Saved:
    """The files of one result."""

    token: str
    clips: tuple[Clip, ...]


class Exports:
    """Files of all sessions below one temporary folder.

    Args:
        root: folder to use; None makes a temporary one when the first file is written.
        grace_s: seconds between the end of a session and the deletion of its files.
    """

    def __init__(self, root: Path | None = None, grace_s: float = GRACE_S) -> None:
        self._root, self._grace_s = root, grace_s
        self._lock = threading.Lock()
        self._tokens: dict[tuple[str, str], list[str]] = {}
        self._provenance: dict[str, dict[str, Any]] = {}

    def save(
        self,
        session: str,
        result: Result,
        *,
        shelf: str = "",
        kept: int = KEPT_A_SESSION,
        sheet: str = "",
        frames: bytes = b"",
        volume: bytes = b"",
    ) -> Saved:
        """Write every variation as WAV, and its notes as MIDI, with provenance.

        Args:
            session: whose files these are.
            result: what was made.
            shelf: where in the session; results of one shelf never push out those of another.
            kept: results that stay on that shelf, this one included.
            sheet: a page of HTML about the first variation.
            frames: bytes beside the first variation, served as they are and not offered as a download.
            volume: NIfTI about the first variation, served as it is.

        Raises:
            AudioError: the disk is full or cannot be written.
        """
        folder = self.place(session, shelf, kept)
        token = folder.name
        provenance = self._provenance[token] = result.provenance.to_dict() if result.provenance else {}
        clips = []
        for number, waveform in enumerate(result.waveforms, 1):
            io.write(waveform, folder / f"{number}.wav", "wav", provenance)
            formats: tuple[str, ...] = FORMATS
            if number <= len(result.notes) and len(result.notes[number - 1]):
                self._write(folder / f"{number}.{NOTES}", to_midi(result.notes[number - 1], provenance=provenance))
                formats = (*FORMATS, NOTES)
            if number == 1 and sheet:
                self._write(folder / f"{number}.{SHEET}", sheet.encode())
                formats = (*formats, SHEET)
            if number == 1 and frames:
                self._write(folder / f"{number}.{FRAMES}", frames)
            if number == 1 and volume:
                self._write(folder / f"{number}.{MAP}", volume)
            clips.append(Clip(f"exports/{token}/{number}", waveform.duration_s, peaks(waveform), formats))
        return Saved(token, tuple(clips))

    def place(self, session: str, shelf: str, kept: int) -> Path:
        """A new folder on a shelf, deleted with the session or when ``kept`` newer ones came.

        Raises:
            AudioError: it cannot be made.
        """
        token = secrets.token_urlsafe(16)
        folder = self._folder() / token
        try:
            folder.mkdir()
        except OSError as error:
            raise AudioError(f"The result cannot be saved to {folder.parent}: {error.strerror}.") from error
        with self._lock:
            tokens = self._tokens.setdefault((session, shelf), [])
            tokens.append(token)
            stale = [tokens.pop(0) for _ in range(len(tokens) - kept)]
        self._delete(stale)
        return folder

    def _write(self, path: Path, content: bytes) -> None:
        try:
            path.write_bytes(content)
        except OSError as error:
            raise AudioError(f"The result cannot be saved to {path.parent}: {error.strerror}.") from error

    def path(self, token: str, clip: int, file_format: str) -> Path | None:
        """The file of one clip, encoded on first demand; None if there is no such clip.

        Raises:
            AudioError: it cannot be encoded or written.
        """
        known = self._root is not None and re.fullmatch(r"[A-Za-z0-9_-]{22}", token)
        if not known or self._root is None or file_format not in (*FORMATS, *WRITTEN):
            return None
        if file_format in WRITTEN:
            written = self._root / token / f"{clip:d}.{file_format}"
            return written if written.is_file() else None
        wav = self._root / token / f"{clip:d}.wav"
        wanted = wav.with_suffix(f".{file_format}")
        if not wav.is_file():
            return None
        if not wanted.is_file():
            io.transcode(wav, wanted, file_format, self._provenance.get(token, {}))
        return wanted

    def close(self, session: str) -> None:
        """Delete a session's files after the grace time."""
        with self._lock:
            mine = [key for key in self._tokens if key[0] == session]
            tokens = [token for key in mine for token in self._tokens.pop(key)]
        if tokens:
            timer = threading.Timer(self._grace_s, self._delete, [tokens])
            timer.daemon = True
            timer.start()

    def clear(self) -> None:
        """Delete everything, at the end of the server."""
        with self._lock:
            self._tokens.clear()
            self._provenance.clear()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)

    def _folder(self) -> Path:
        with self._lock:
            if self._root is None:
                try:
                    self._root = Path(tempfile.mkdtemp(prefix="neuromuse-"))
                except OSError as error:
                    raise AudioError(f"The result cannot be saved: {error.strerror}.") from error
            return self._root

    def _delete(self, tokens: list[str]) -> None:
        for token in tokens:
            self._provenance.pop(token, None)
            if self._root is not None:
                shutil.rmtree(self._root / token, ignore_errors=True)


def peaks(waveform: Waveform, n: int = N_PEAKS) -> tuple[int, ...]:
    """Largest absolute sample of each of ``n`` equal parts, 0–100, on a square-root scale so that quiet parts show."""
    mono = np.abs(waveform.samples).max(0)
    parts = np.array_split(mono, min(n, max(1, mono.size)))
    return tuple(round(100 * float(np.sqrt(min(1.0, part.max(initial=0.0))))) for part in parts)
