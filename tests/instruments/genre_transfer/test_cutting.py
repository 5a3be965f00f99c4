import numpy as np
import pytest

from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.genre_transfer.cutting import cut, read_genre_folder


def test_clips_are_equal_in_length_and_in_order():
    ramp = Waveform(np.linspace(0, 1, 1_200, dtype=np.float32), 100)
    clips = cut(ramp, 5.0, 2.5)
    assert [clip.n_samples for clip in clips] == [500] * 3
    np.testing.assert_array_equal(clips[1].samples, ramp.samples[:, 250:750])


def test_a_short_sound_is_repeated_and_no_sound_is_refused():
    assert cut(Waveform(np.ones(3, np.float32), 100))[0].n_samples == 500
    with pytest.raises(RequestError):
        cut(Waveform(np.zeros((1, 0), np.float32), 100))


def _touch(folder, n):
    folder.mkdir(parents=True)
    for k in range(n):
        (folder / f"track{k}.wav").touch()


def test_every_track_of_a_users_folder_is_in_one_split_and_stays_there(tmp_path):
    _touch(tmp_path / "polka", 40)
    _touch(tmp_path / "waltz", 40)
    folder = read_genre_folder(tmp_path)
    assert folder.genres == ("polka", "waltz")
    parts = [{path for _, path in folder.tracks(split)} for split in ("train", "valid", "test")]
    assert sum(map(len, parts)) == 80 == len(set.union(*parts))
    (tmp_path / "polka" / "another.wav").touch()
    assert parts[2] <= {path for _, path in read_genre_folder(tmp_path).tracks("test")}


def test_a_folder_that_is_split_already_is_read_as_it_is_in_the_order_asked_for(tmp_path):
    for split in ("train", "test"):
        for genre in ("b", "a"):
            _touch(tmp_path / split / genre, 2)
    folder = read_genre_folder(tmp_path, ("b",))
    assert folder.genres == ("b", "a")
    assert len(folder.tracks("train")) == len(folder.tracks("test")) == 4 and not folder.tracks("valid")


def test_one_genre_or_an_empty_one_is_refused(tmp_path):
    _touch(tmp_path / "polka", 3)
    with pytest.raises(RequestError, match="two or more"):
        read_genre_folder(tmp_path)
    with pytest.raises(RequestError, match="folder of folders"):
        read_genre_folder(tmp_path / "nowhere")
