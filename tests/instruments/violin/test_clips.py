"""Recordings of one's own: what is read, how it is cut and captioned, and the sentence for what cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.audio.io import write
from backend.audio.loudness import integrated_lufs
from backend.audio.waveform import Waveform
from backend.errors import AudioError, RequestError
from backend.instruments.violin.captions import decode, read_table
from backend.instruments.violin.clips import Clip, from_files, read_clips
from backend.instruments.violin.cutting import clipped_share, cut, fingerprint, same_sound
from tests.instruments.violin.bowed import RATE, bowed


def tune(seed: int, seconds: float = 3.0) -> Waveform:
    return bowed(seed, seconds)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings in three formats, one with a caption, one there twice at another level."""
    path = tmp_path_factory.mktemp("clips")
    write(tune(0), path / "slow air.wav")
    (path / "slow air.txt").write_bytes("café, long bows\n".encode("latin-1"))
    stereo = np.repeat(np.repeat(tune(1).samples, 4, axis=1), 2, axis=0)  # 96 kHz, steps and all
    write(Waveform(stereo, 96_000), path / "studio.flac")
    write(tune(2), path / "reel.ogg")
    write(Waveform(0.4 * tune(2).samples, RATE), path / "reel again.mp3")
    (path / "readme.md").write_text("not a recording")
    return path


@pytest.fixture(scope="module")
def clips(folder: Path) -> list[Clip]:
    return read_clips(folder)


def test_each_recording_becomes_a_clip_at_one_rate_and_loudness(clips: list[Clip]) -> None:
    assert [clip.source for clip in clips] == ["reel again", "slow air", "studio"]
    for clip in clips:
        assert clip.waveform.sample_rate == RATE and clip.waveform.n_channels == 1
        assert integrated_lufs(clip.waveform) == pytest.approx(-20.0, abs=0.5)
        assert clip.heard is not None and len(clip.heard.notes) >= 3


def test_captions_are_the_users_or_proposed_ones_that_name_no_instrument(clips: list[Clip]) -> None:
    said = {clip.source: (clip.caption, clip.proposed) for clip in clips}
    assert said["slow air"] == ("café, long bows", False)
    assert said["studio"][1] and said["studio"][0]
    assert "violin" not in said["studio"][0].lower()


def test_a_text_with_the_name_of_a_clip_is_that_clips_caption(folder: Path, clips: list[Clip]) -> None:
    edited = folder / f"{clips[2].name}.txt"
    edited.write_text("mine", encoding="utf-8")
    again = read_clips(folder)
    edited.unlink()
    assert [(c.caption, c.proposed) for c in again[:2]] == [(c.caption, c.proposed) for c in clips[:2]]
    assert (again[2].caption, again[2].proposed) == ("mine", False)


def test_what_is_there_twice_is_dropped_with_a_note(clips: list[Clip]) -> None:
    notes = " ".join(note for clip in clips for note in clip.notes_of_cleaning)
    assert "reel.ogg sounds the same as reel again.mp3 and was left out." in notes


def test_a_table_cuts_and_captions_its_rows(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "captions.csv"
    rows = "ytid,start_s,end_s,aspect,caption\nstudio,0,1.4,x,first half\nstudio,1.4,2.8,x,\nnot here,0,10,x,absent\n"
    table.write_bytes(rows.encode("utf-16"))
    clips = read_clips(folder, table)
    assert [clip.name for clip in clips] == ["studio-01", "studio-02"] and {clip.source for clip in clips} == {"studio"}
    assert clips[0].caption == "first half" and not clips[0].proposed and clips[1].proposed


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("ytid,caption\na,b\n", "a column 'start_s'"),
        ("ytid,start_s,end_s,caption\na,zero,1,b\n", "line 2 of the table"),
        ("ytid,start_s,end_s,caption\na,5,1,b\n", "start_s < end_s"),
        ("ytid,start_s,end_s,caption\n", "at least one row"),
        ("ytid,start_s,end_s,caption\nzzz,0,5,b\n", "names of the 4 recordings"),
    ],
)
def test_a_table_that_cannot_be_used_is_answered(folder: Path, tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(RequestError, match=message):
        read_clips(folder, tmp_path / "t.csv")


def test_tables_with_semicolons_are_read(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('file;start;end;caption\na.wav;0,5;2;"slow; sad"\n')
    row = read_table(tmp_path / "t.csv")[0]
    assert (row.id, row.start_s, row.end_s, row.caption) == ("a.wav", 0.5, 2.0, "slow; sad")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"])
def test_captions_are_read_in_any_common_encoding(encoding: str) -> None:
    assert decode("détaché, très lent".encode(encoding), "a.txt") == "détaché, très lent"


def test_what_is_no_text_is_answered() -> None:
    with pytest.raises(RequestError, match=r"a\.txt: .*UTF-8, UTF-16 or Latin-1"):
        decode(bytes(range(1, 32)), "a.txt")


@pytest.mark.parametrize("found", ["none", "one", "missing"])
def test_too_few_recordings_are_answered(tmp_path: Path, found: str) -> None:
    if found == "one":
        write(tune(0), tmp_path / "only.wav")
    with pytest.raises(RequestError, match={"none": "holds WAV", "one": "at least 2", "missing": "a folder"}[found]):
        read_clips(tmp_path / "nowhere" if found == "missing" else tmp_path)
    with pytest.raises(RequestError, match="at least 2"):
        from_files([])


def test_recordings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    bad = {
        "short.wav": (tune(0, 3.0).slice(0.1, 0.3), r"short\.wav lasts 0\.2 s; at least 1 s"),
        "sea.wav": (
            Waveform((0.1 * rng.normal(size=2 * RATE)).astype(np.float32), RATE),
            "sea.wav: There is only breath",
        ),
        "quiet.wav": (Waveform(np.zeros(2 * RATE, np.float32), RATE), "quiet.wav: The recording is silent"),
        "hot.wav": (Waveform(np.clip(30 * tune(0).samples, -1, 1), RATE), r"hot\.wav is clipped in \d\d % of"),
    }
    for name, (waveform, message) in bad.items():
        write(waveform, tmp_path / name)
        with pytest.raises(AudioError, match=message):
            from_files([tmp_path / name])
    (tmp_path / "song.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    with pytest.raises(AudioError, match=r"song\.m4a: This is an MP4 or M4A file; use WAV"):
        from_files([tmp_path / "song.m4a"])


def test_an_hour_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    write(Waveform(np.zeros(8000 * 3600, np.float32), 8000), tmp_path / "hour.flac")
    with pytest.raises(RequestError, match="60 minutes of sound', expected at most 20 minutes in all"):
        read_clips(tmp_path)


def test_a_caption_that_is_too_long_is_answered(tmp_path: Path) -> None:
    write(tune(0), tmp_path / "a.wav")
    with pytest.raises(RequestError, match=r"caption of a\.wav: .* at most 500 characters, not 600"):
        from_files([tmp_path / "a.wav"], ["x" * 600])


def test_a_long_recording_is_cut_where_it_is_quiet() -> None:
    t = np.arange(40 * RATE) / RATE
    pauses = [9.0, 19.5, 28.0]
    level = np.prod([np.clip(np.abs(t - p) / 0.2, 0.001, 1) for p in pauses], axis=0)
    parts = cut(Waveform((0.3 * level * np.sin(2 * np.pi * 440 * t)).astype(np.float32), RATE))
    assert all(4.0 <= part.duration_s <= 15.0 for part in parts)
    assert np.cumsum([part.duration_s for part in parts])[:-1] == pytest.approx(pauses, abs=0.2)


@pytest.mark.parametrize("seconds", [15.1, 18.9, 19.5, 33.0])
def test_no_cut_leaves_a_scrap(seconds: float) -> None:
    sound = Waveform(0.1 * np.random.default_rng(0).normal(size=int(seconds * RATE)).astype(np.float32), RATE)
    parts = cut(sound)
    assert all(4.0 <= part.duration_s <= 15.0 for part in parts)
    assert sum(part.n_samples for part in parts) == sound.n_samples


def test_clipping_is_measured() -> None:
    sine = 0.9 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)
    assert clipped_share(Waveform(sine.astype(np.float32), RATE)) == 0.0
    cut_off = np.clip(2 * sine, -1, 1)
    assert clipped_share(Waveform(cut_off.astype(np.float32), RATE)) == pytest.approx(
        np.mean(np.abs(cut_off) == 1), abs=0.01
    )


def test_fingerprints_tell_tunes_apart_and_know_one_again() -> None:
    first, second, faint = (fingerprint(w) for w in (tune(4), tune(5), Waveform(0.2 * tune(4).samples, RATE)))
    assert same_sound(first, faint) and not same_sound(first, second)
