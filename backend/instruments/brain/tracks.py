"""The sounds a scanned person heard: the user's own GTZAN folder, cut and faded as the events say."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.io import read, resample
from backend.audio.waveform import Waveform
from backend.errors import AudioError, RequestError
from backend.instruments.brain.composing import presented
from backend.instruments.brain.layout import Event
from backend.musiclm.mulan import MuLanEmbedder
from backend.musiclm.mulan_audio import SAMPLE_RATE

FloatArray = npt.NDArray[np.float32]

SUFFIXES = (".wav", ".au", ".flac", ".mp3", ".ogg")
MAX_CATALOGUE = 2000
_AU_MAGIC, _AU_PCM16 = b".snd", 3


def find_track(folder: Path, genre: str, track: int) -> Path | None:
    """``<genre>/<genre>.00032.<suffix>`` below ``folder`` or its ``genres``; None if it is not there."""
    for base in (folder, folder / "genres"):
        for suffix in SUFFIXES:
            path = base / genre / f"{genre}.{track:05d}{suffix}"
            if path.is_file():
                return path
    return None


def read_track(path: Path) -> Waveform:
    """Mono at 24 kHz; Sun's .au, which GTZAN comes as, is read here, since the house's reader takes no such file.

    Raises:
        AudioError: not a sound file.
    """
    if path.suffix != ".au":
        return read(path, sample_rate=SAMPLE_RATE, mono=True)
    data = path.read_bytes()
    offset, _, coding, rate, channels = np.frombuffer(data[4:24], ">u4").tolist() if len(data) > 24 else [0] * 5
    if data[:4] != _AU_MAGIC or coding != _AU_PCM16 or not 8_000 <= rate <= 192_000 or not 1 <= channels <= 8:
        raise AudioError(f"{path.name} is not a 16-bit .au file.")
    body = data[offset : offset + (len(data) - offset) // (2 * channels) * 2 * channels]
    samples = np.frombuffer(body, ">i2").reshape(-1, channels).T.astype(np.float32) / np.float32(32768)
    return resample(Waveform(samples, rate).mono(), SAMPLE_RATE)


def heard_clip(folder: Path, event: Event) -> Waveform | None:
    """What was played at an event, as in the scanner; None where the track is missing.

    Raises:
        AudioError: the track cannot be read.
    """
    path = find_track(folder, event.genre, event.track)
    if path is None:
        return None
    cut = read_track(path).slice(event.start_s, event.start_s + event.duration_s)
    if cut.n_samples < SAMPLE_RATE:
        return None
    return Waveform(presented(cut.samples, SAMPLE_RATE), SAMPLE_RATE)


def embed_windows(mulan: MuLanEmbedder, sound: Waveform, windows: Iterable[tuple[float, float]]) -> FloatArray:
    """MuLan's embedding of each window in seconds ``[windows, 128]``."""
    rows = []
    for start, stop in windows:
        part = sound.slice(start, stop).samples if stop - start < sound.duration_s - 1 else sound.samples
        rows.append(mulan.audio_embed(torch.from_numpy(part).to(mulan.device))[0].cpu().numpy())
    return np.array(rows, np.float32)


def read_captions(path: Path) -> Mapping[str, str]:
    """The published captions: a table whose first columns name a track and say what is heard.

    Raises:
        RequestError: it is no such table.
    """
    try:
        rows = list(csv.reader(path.read_text("utf-8").splitlines()))
    except (OSError, UnicodeDecodeError):
        raise RequestError("captions", path.name, "the published caption table as CSV") from None
    return {row[0].strip().removesuffix(".wav"): row[-1].strip() for row in rows if len(row) > 1}


def read_catalogue(
    folder: Path, mulan: MuLanEmbedder, on_file: Callable[[int, int], None]
) -> tuple[list[Path], FloatArray]:
    """Sounds to retrieve from and their embeddings ``[files, 128]``; files that are not sounds are passed over.

    Raises:
        RequestError: nothing in the folder can be heard.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:MAX_CATALOGUE]
    kept, rows = [], []
    for number, path in enumerate(files):
        on_file(number, len(files))
        try:
            sound = read_track(path).slice(0, 15)
        except AudioError:
            continue
        kept.append(path)
        rows.append(embed_windows(mulan, sound, [(0.0, sound.duration_s)])[0])
    if not kept:
        raise RequestError("catalogue", folder.name, "a folder with sound files")
    return kept, np.array(rows, np.float32)
