"""Sound files: probed before decoding, read within limits, written with a provenance that comes back."""

import errno
import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from backend.audio import io, midi
from backend.audio import provenance as tags
from backend.audio.waveform import Waveform
from backend.errors import AudioError

RATE = 24_000
MADE = {
    "instrument_id": "text_to_music",
    "request": {"prompt": 'slow, sad "violin" — é 日本 🎻\n', "seed": 2**32 - 1, "guidance_scale": 0.1 + 0.2},
    "checkpoints": {f"part-{i}": "ab" * 32 for i in range(40)},
    "notes": None,
}


def tone(seconds: float = 1.0, channels: int = 1, rate: int = RATE) -> Waveform:
    t = np.arange(int(seconds * rate)) / rate
    sine = 0.5 * np.sin(2 * np.pi * 440 * t)
    return Waveform(np.stack([sine * (0.5**c) for c in range(channels)]).astype(np.float32), rate)


@pytest.mark.parametrize("format", io.FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_gives_back_length_rate_channels_and_sound(format: str, channels: int, tmp_path: Path) -> None:
    sound = tone(1.3, channels)
    path = io.write(sound, tmp_path / f"clip.{format}", provenance=MADE)
    info, back = io.probe(path), io.read(path)
    assert (info.sample_rate, info.n_channels) == (RATE, channels)
    assert back.samples.shape == sound.samples.shape
    error = np.sqrt(np.mean((back.samples - sound.samples) ** 2))
    assert error < (2e-5 if format in ("wav", "flac") else 0.02)


@pytest.mark.parametrize("format", io.FORMATS)
@pytest.mark.parametrize("size", [0, 3_000, 60_000])
def test_provenance_comes_back_exactly(format: str, size: int) -> None:
    made = MADE | {"long": "abc é " * (size // 6)}
    assert io.read_provenance(io.encode(tone(0.1), format, made)) == made


@pytest.mark.parametrize("format", ["flac", "mp3", "ogg"])
def test_a_file_becomes_one_of_another_format_with_its_length_sound_and_provenance(format: str, tmp_path: Path) -> None:
    sound = tone(7.0, 2)  # several blocks
    source = io.write(sound, tmp_path / "a.wav", provenance=MADE)
    path = io.transcode(source, tmp_path / f"a.{format}", format, MADE)
    assert io.read_provenance(path) == MADE
    error = np.sqrt(np.mean((io.read(path).samples - sound.samples) ** 2))
    assert error < (2e-5 if format == "flac" else 0.02)


def test_a_source_that_is_no_sound_is_one_sentence(tmp_path: Path) -> None:
    source = tmp_path / "a.wav"
    source.write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"a\.wav cannot be read again"):
        io.transcode(source, tmp_path / "a.flac", "flac")


@pytest.mark.parametrize("format", io.FORMATS)
def test_a_file_of_someone_else_has_no_provenance(format: str) -> None:
    assert io.read_provenance(io.encode(tone(0.1), format)) is None
    assert io.read_provenance(b"RIFF1234WAVE") is None


def test_a_midi_file_gives_its_provenance_too() -> None:
    notes = midi.make_notes([(0, 1, 60, 90, 0, False, 0)])
    assert io.read_provenance(midi.to_midi(notes, provenance=MADE)) == MADE


def test_wav_with_provenance_stays_a_wav_for_other_readers(tmp_path: Path) -> None:
    data = io.encode(tone(0.5, 2), "wav", MADE)
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8
    assert [name for name, _, _ in tags.riff_chunks(data)] == [b"fmt ", b"data", b"LIST"]
    (tmp_path / "a.wav").write_bytes(data)
    assert soundfile.info(tmp_path / "a.wav").frames == RATE // 2


@pytest.mark.parametrize(
    "comment",
    [
        "neuromuse-1 ",
        "neuromuse-1 [1, 2]",
        'neuromuse-1 {"a": NaN}',
        "neuromuse-1 " + "[" * 40_000,
        'neuromuse-1 {"a": ' + "9" * 20_000 + "}",
        "neuromuse-1z not base64",
        "neuromuse-1z " + "AAAA" * 10,
        "neuromuse-1 {" + "x" * 1_000_000,
        "by someone else",
    ],
)
def test_hostile_comments_are_not_provenance(comment: str) -> None:
    assert tags.from_comment(comment) is None
    assert tags.wav_comment(b"RIFF\0\0\0\0WAVE" + tags.riff_comment_chunk(comment)) in (comment, comment[:48_064])


def test_a_compression_bomb_is_cut_at_one_megabyte() -> None:
    import base64

    bomb = base64.b64encode(zlib.compress(b'{"a":"' + b"x" * 30_000_000 + b'"}', 9)).decode()
    assert len(bomb) < tags.MAX_COMMENT
    assert tags.from_comment(tags.PACKED + bomb) is None


@pytest.mark.parametrize("made", [{"a": float("nan")}, {"a": object()}, {"a": os.urandom(60_000).hex()}])
def test_provenance_that_cannot_be_stored_is_refused(made: dict[str, Any]) -> None:
    with pytest.raises(AudioError, match="provenance"):
        io.encode(tone(0.1), "flac", made)


def test_probe_refuses_ten_channels_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "ten.wav", np.zeros((100, 10)), RATE)
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(AudioError, match="10 channels; at most 8"):
        io.read(tmp_path / "ten.wav")


def test_probe_refuses_an_hour_before_decoding(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.flac", np.zeros(8000 * 601, np.int16), 8000)
    with pytest.raises(AudioError, match="601 seconds long; at most 600"):
        io.probe(tmp_path / "long.flac")
    with pytest.raises(AudioError, match="at most 5 seconds"):
        io.probe(io.encode(tone(6)), max_seconds=5)


@pytest.mark.parametrize(("claimed", "says"), [(1 << 35, "seconds long"), (10 * RATE, "damaged|cut off")])
def test_a_flac_header_that_claims_too_much_is_refused(claimed: int, says: str) -> None:
    data = bytearray(io.encode(tone(1), "flac"))
    first = 8 + 13  # STREAMINFO's 36 bits of total samples start in the low half of this byte
    data[first : first + 5] = (((data[first] & 0xF0) << 32) | claimed).to_bytes(5, "big")
    with pytest.raises(AudioError, match=says):
        io.read(bytes(data))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"hello, I am a text" * 50, "not a sound file"),
        (b"\0\0\0\x20ftypisom" + b"\0" * 500, "MP4"),
        (b"\x1aE\xdf\xa3" + b"\0" * 500, "Matroska"),
        (b"RIFF\0\0\0\0AVI " + b"\0" * 500, "AVI video"),
        (b"MThd\0\0\0\x06" + b"\0" * 20, "notes and no sound"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 500, "not a sound file"),
    ],
)
def test_what_is_not_sound_is_named(data: bytes, says: str) -> None:
    with pytest.raises(AudioError, match=says):
        io.read(data)


def test_a_missing_file_a_folder_and_a_bad_name_are_one_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "none.wav", tmp_path, "a\0b.wav"):
        with pytest.raises(AudioError, match="cannot be opened"):
            io.probe(path)


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"\0" * 2_000_001)
    with pytest.raises(AudioError, match="2 MB; at most 1 MB"):
        io.probe(tmp_path / "a.wav", max_bytes=1_000_000)


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_a_file_that_was_cut_off_is_refused(format: str) -> None:
    data = io.encode(tone(4), format)
    with pytest.raises(AudioError, match=r"cut off|damaged"):
        io.read(data[: len(data) // 2])


def test_a_wav_written_to_a_pipe_is_read() -> None:
    data = bytearray(io.encode(tone(1)))
    struct.pack_into("<I", data, 4, 0xFFFFFFFF)
    struct.pack_into("<I", data, data.index(b"data") + 4, 0xFFFFFFFF)
    assert io.read(bytes(data)).n_samples == RATE


def test_values_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    samples = np.zeros(1000, np.float32)
    samples[500] = np.nan
    soundfile.write(tmp_path / "nan.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="not numbers"):
        io.read(tmp_path / "nan.wav")


def test_float_files_beyond_full_scale_are_scaled_down(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hot.wav", 3.0 * tone().samples.T, RATE, subtype="FLOAT")
    assert np.abs(io.read(tmp_path / "hot.wav").samples).max() == pytest.approx(1.0)


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
    with pytest.raises(AudioError, match="no sound"):
        io.probe(tmp_path / "none.wav")


def test_rates_outside_8_to_192_khz_are_refused(tmp_path: Path) -> None:
    for rate in (4_000, 384_000):
        soundfile.write(tmp_path / "rate.wav", np.zeros(1000), rate)
        with pytest.raises(AudioError, match=f"{rate} Hz; 8000 to 192000"):
            io.probe(tmp_path / "rate.wav")


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_resampling_keeps_pitch_level_and_length(rate: int) -> None:
    back = io.read(io.encode(tone(1.0, 2, rate)), sample_rate=RATE, mono=True)
    assert back.samples.shape == (1, RATE)
    expected = tone().samples[0] * 0.75
    assert np.abs(back.samples[0, 1000:-1000] - expected[1000:-1000]).max() < 2e-3


def test_downsampling_removes_what_would_alias() -> None:
    t = np.arange(48_000) / 48_000
    high = Waveform((0.5 * np.sin(2 * np.pi * 15_000 * t)).astype(np.float32), 48_000)
    assert np.abs(io.resample(high, RATE).samples[0, 500:-500]).max() < 1e-4


def test_mp3_takes_rates_it_does_not_know_and_refuses_six_channels() -> None:
    assert io.probe(io.encode(tone(0.5, 1, 96_000), "mp3")).sample_rate == 44_100
    with pytest.raises(AudioError, match="at most 2 channels, not 6"):
        io.encode(tone(0.5, 6), "mp3")


def test_unknown_formats_and_empty_sound_are_refused() -> None:
    with pytest.raises(AudioError, match="wav, flac, mp3, ogg"):
        io.encode(tone(), "exe")
    with pytest.raises(AudioError, match="no sound"):
        io.encode(Waveform(np.zeros((1, 0), np.float32), RATE))


def test_full_scale_is_clipped_and_not_wrapped() -> None:
    loud = Waveform(np.array([[-2.0, -1.0, 1.0, 2.0] * 100], np.float32), RATE)
    back = io.read(io.encode(loud)).samples
    assert back.min() == -1.0 and back.max() > 0.9999


def test_a_long_ogg_is_written_in_blocks() -> None:
    assert io.read(io.encode(tone(90), "ogg")).n_samples == 90 * RATE


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "denied")]
)
def test_a_disk_that_refuses_is_one_sentence_and_leaves_the_old_file(
    number: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(b"old")

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(AudioError, match=says):
        io.write(tone(), path)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such file"):
        io.write(tone(), tmp_path / "nowhere" / "clip.wav")


def test_comments_are_readable_json() -> None:
    data = io.encode(tone(0.1), "wav", {"instrument_id": "calm"})
    assert json.loads(tags.wav_comment(data).removeprefix(tags.PLAIN)) == {"instrument_id": "calm"}
