"""Sound files: probe before decoding, read within limits, write with provenance. Nothing else opens them.

Everything goes through libsndfile (``torchaudio.load`` needs another decoder) and resampling through soxr at its high
quality setting (125 dB rejection; the same result for the same input).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from backend.audio import provenance as tags
from backend.audio.files import ACCEPTED, MAX_BYTES, load, refuse_other_media, write_bytes
from backend.audio.midi import read_midi_provenance
from backend.audio.waveform import Waveform
from backend.errors import AudioError

__all__ = [
    "FORMATS", "AudioInfo", "encode", "probe", "read", "read_provenance", "resample", "transcode", "write",
    "write_bytes",
]  # fmt: skip

Samples = npt.NDArray[np.float32]

MAX_SECONDS = 600.0
MAX_CHANNELS = 8
MAX_SAMPLES = 64_000_000  # over all channels: 256 MB once decoded
MIN_RATE, MAX_RATE = 8_000, 192_000
READABLE = {"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "AIFF"}
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
}
"""Name → libsndfile container and coding of what `encode` writes."""

MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
BLOCK = 65_536  # frames; libvorbis overflows the stack when given minutes at once


@dataclass(frozen=True)
class AudioInfo:
    """What a sound file says about itself; ``n_frames`` is a claim that decoding may refute."""

    format: str
    sample_rate: int
    n_channels: int
    n_frames: int
    n_bytes: int

    @property
    def duration_s(self) -> float:
        """Claimed length in seconds."""
        return self.n_frames / self.sample_rate


def probe(
    source: str | Path | bytes,
    *,
    max_seconds: float = MAX_SECONDS,
    max_bytes: int = MAX_BYTES,
    max_channels: int = MAX_CHANNELS,
) -> AudioInfo:
    """Look at the header of a sound file and refuse what is not one, or is too large; decodes nothing.

    Args:
        source: a path, or the bytes of a file.
        max_seconds: longest accepted.
        max_bytes: largest accepted file.
        max_channels: most channels accepted.

    Raises:
        AudioError: one sentence saying what was found and what is accepted.
    """
    return _inspect(load(source, max_bytes), max_seconds, max_channels)


def read(
    source: str | Path | bytes,
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    max_seconds: float = MAX_SECONDS,
    max_bytes: int = MAX_BYTES,
    max_channels: int = MAX_CHANNELS,
) -> Waveform:
    """Decode a sound file. Sound louder than full scale (float files) is scaled down to it.

    Args:
        source: a path, or the bytes of a file.
        sample_rate: resample to this rate in Hz; None keeps the file's.
        mono: mix the channels.
        max_seconds: longest accepted.
        max_bytes: largest accepted file.
        max_channels: most channels accepted.

    Raises:
        AudioError: as `probe`, or the file is damaged, cut off, empty of sound or holds values that are not numbers.
    """
    data = load(source, max_bytes)
    info = _inspect(data, max_seconds, max_channels)
    samples = _decode(data, info, max_seconds)
    if not np.isfinite(samples).all():
        raise AudioError("The sound contains values that are not numbers; export it again.")
    peak = float(np.abs(samples).max(initial=0.0))
    if peak > 1.0:
        samples = samples / peak
    waveform = Waveform(samples.T, info.sample_rate)
    waveform = waveform.mono() if mono else waveform
    return waveform if sample_rate is None else resample(waveform, sample_rate)


def resample(waveform: Waveform, sample_rate: int) -> Waveform:
    """The same sound at another rate in Hz (soxr, high quality, linear phase), clipped to [-1, 1]."""
    if sample_rate == waveform.sample_rate:
        return waveform
    samples = soxr.resample(waveform.samples.T, waveform.sample_rate, sample_rate, quality="HQ")
    return Waveform(np.clip(samples, -1.0, 1.0).T, sample_rate)


def encode(waveform: Waveform, format: str = "wav", provenance: Mapping[str, Any] | None = None) -> bytes:
    """A complete sound file in memory: 16-bit WAV or FLAC, variable-rate MP3, OGG Vorbis.

    Args:
        waveform: clipped to [-1, 1]; MP3 takes at most two channels, and rates it does not know are resampled.
        format: ``wav``, ``flac``, ``mp3`` or ``ogg``.
        provenance: JSON values embedded so that `read_provenance` restores them exactly.

    Raises:
        AudioError: unknown format, no samples, too many channels, or provenance that cannot be stored.
    """
    return _encoded(waveform, format, provenance).getvalue()


def _encoded(waveform: Waveform, format: str, provenance: Mapping[str, Any] | None) -> io.BytesIO:
    """`encode` without the last copy."""
    if format not in FORMATS:
        raise AudioError(f"Cannot write '{format[:20]}' files; choose {', '.join(FORMATS)}.")
    if waveform.n_samples == 0:
        raise AudioError("There is no sound to write.")
    if format == "mp3" and waveform.n_channels > 2:
        raise AudioError(f"MP3 holds at most 2 channels, not {waveform.n_channels}; use WAV or FLAC.")
    if format == "mp3" and waveform.sample_rate not in MP3_RATES:
        waveform = resample(waveform, 44_100)
    comment = None if provenance is None else tags.to_comment(provenance)
    buffer = io.BytesIO()
    blocks = (waveform.samples[:, start : start + BLOCK].T for start in range(0, waveform.n_samples, BLOCK))
    _put(buffer, blocks, waveform.sample_rate, waveform.n_channels, format, comment)
    return buffer


def transcode(source: Path, path: Path, format: str, provenance: Mapping[str, Any] | None = None) -> Path:
    """A sound file of ours in another format, block by block: an hour of stereo would be a gigabyte in memory.

    Args:
        source: written by `write`.
        path: where; an existing file is replaced.
        format: ``flac`` or ``ogg``, or ``mp3`` at a rate it knows.
        provenance: see `encode`.

    Raises:
        AudioError: the source cannot be read, or as `write`.
    """
    comment = None if provenance is None else tags.to_comment(provenance)
    buffer = io.BytesIO()
    try:
        with soundfile.SoundFile(source) as file:
            blocks = file.blocks(BLOCK, dtype="float32", always_2d=True)
            _put(buffer, blocks, file.samplerate, file.channels, format, comment)
    except soundfile.SoundFileError as error:
        raise AudioError(f"{source.name} cannot be read again: {_reason(error)}.") from error
    write_bytes(buffer.getbuffer(), path)
    return path


def _put(
    buffer: io.BytesIO, blocks: Iterable[Samples], rate: int, channels: int, format: str, comment: str | None
) -> None:
    """Encode ``[frames, channels]`` blocks with their comment."""
    container, coding = FORMATS[format]
    whole = container in ("WAV", "FLAC")
    lossy: dict[str, Any] = {} if whole else {"compression_level": 0.2}
    if format == "mp3":
        lossy["bitrate_mode"] = "VARIABLE"
    try:
        with soundfile.SoundFile(buffer, "w", rate, channels, coding, format=container, **lossy) as file:
            if comment is not None and format != "wav":
                file.comment = comment
            for block in blocks:
                clipped = np.clip(block, -1.0, 1.0)
                # Rounded here, so that WAV and FLAC hold the same integers and full scale is one thing.
                file.write(np.clip(np.rint(clipped * 32768.0), -32768, 32767).astype(np.int16) if whole else clipped)
    except (soundfile.SoundFileError, ValueError, TypeError) as error:
        raise AudioError(f"The sound cannot be written as {format.upper()}: {_reason(error)}.") from error
    if comment is not None and format == "wav":
        tags.add_to_wav(buffer, comment)


def write(
    waveform: Waveform,
    path: str | Path,
    format: str | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write a sound file, all of it or nothing.

    Args:
        waveform: what to write.
        path: where; an existing file is replaced.
        format: see `encode`; by default the suffix of ``path``.
        provenance: see `encode`.

    Raises:
        AudioError: as `encode`, or the place cannot be written.
    """
    path = Path(path)
    buffer = _encoded(waveform, path.suffix.lstrip(".").lower() if format is None else format, provenance)
    write_bytes(buffer.getbuffer(), path)
    return path


def read_provenance(source: str | Path | bytes, *, max_bytes: int = MAX_BYTES) -> dict[str, Any] | None:
    """What `encode` or `midi.to_midi` embedded in a file, or None when the file is not ours.

    Raises:
        AudioError: the file cannot be opened, or is a damaged MIDI file, or is larger than ``max_bytes``.
    """
    data = load(source, max_bytes)
    if data[:4] == b"RIFF":
        return tags.from_comment(tags.wav_comment(data))
    if data[:4] == b"MThd":
        return read_midi_provenance(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return tags.from_comment(file.comment)
    except (soundfile.SoundFileError, ValueError, TypeError):
        return None


def _inspect(data: bytes, max_seconds: float, max_channels: int) -> AudioInfo:
    refuse_other_media(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            info = AudioInfo(file.format, file.samplerate, file.channels, max(0, file.frames), len(data))
    except (soundfile.SoundFileError, ValueError, TypeError) as error:
        raise AudioError(f"The file is not a sound file that can be read; {ACCEPTED}.") from error
    if info.format not in READABLE:
        raise AudioError(f"{info.format} files are not accepted; {ACCEPTED}.")
    if not 1 <= info.n_channels <= max_channels:
        raise AudioError(f"The sound has {info.n_channels} channels; at most {max_channels} are accepted.")
    if not MIN_RATE <= info.sample_rate <= MAX_RATE:
        raise AudioError(f"The sample rate is {info.sample_rate} Hz; {MIN_RATE} to {MAX_RATE} Hz are accepted.")
    if info.n_frames == 0:
        raise AudioError("The file holds no sound.")
    if info.duration_s > max_seconds:
        raise _too_long(max_seconds, info.duration_s)
    if info.n_frames * info.n_channels > MAX_SAMPLES:
        raise AudioError(
            "The sound is too large at this rate and number of channels; send it shorter, or in stereo at 48 kHz."
        )
    if data[:4] == b"RIFF" and tags.is_cut_off(data):
        raise AudioError("The file is cut off: it holds less sound than it announces.")
    return info


def _decode(data: bytes, info: AudioInfo, max_seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Float32 ``[frames, channels]``, read in blocks because the announced length cannot be trusted."""
    limit = min(int(max_seconds * info.sample_rate), MAX_SAMPLES // info.n_channels)
    blocks, total = [], 0
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            while total <= limit:
                block = file.read(BLOCK, dtype="float32", always_2d=True)
                if not len(block):
                    break
                blocks.append(block)
                total += len(block)
    except (soundfile.SoundFileError, ValueError, TypeError) as error:
        raise AudioError("The file is damaged; export it again.") from error
    if total > limit:
        raise _too_long(max_seconds)
    if total == 0:
        raise AudioError("The file holds no sound.")
    if total < 0.98 * info.n_frames - 0.1 * info.sample_rate:  # MP3 lengths are announced to within two frames
        raise AudioError(
            f"The file is cut off: {total / info.sample_rate:.1f} of {info.duration_s:.1f} seconds can be read."
        )
    return np.concatenate(blocks)


def _too_long(max_seconds: float, found: float | None = None) -> AudioError:
    lasts = "longer than announced" if found is None else f"{found:,.0f} seconds long"
    return AudioError(f"The sound is {lasts}; at most {max_seconds:,.0f} seconds are accepted.")


def _reason(error: Exception) -> str:
    return str(error).rstrip(".").splitlines()[0][:120] if str(error) else type(error).__name__
