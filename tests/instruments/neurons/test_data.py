from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.errors import RequestError
from backend.instruments.neurons.beats import DrumMachine, role_of
from backend.instruments.neurons.data import MAX_SHIFT, Listening, Programmed, Recording, augment
from tests.instruments.neurons.sounds import RATE, corpus, machine


def test_each_taste_hears_its_clips_of_a_corpus(tmp_path: Path) -> None:
    corpus(tmp_path)
    score, beats = (Listening([tmp_path], taste, "train", RATE) for taste in ("score", "beats"))
    rng = np.random.default_rng(0)
    heard = [{source.piece for source in x.sources(rng, x.pieces)} for x in (score, beats)]
    assert heard[0] == {f"piece/{i}" for i in range(16) if i % 8 >= 2 and i % 2}
    assert heard[1] == {f"piece/{i}" for i in range(16) if i % 8 >= 2 and not i % 2}


def test_training_and_validation_share_no_piece_and_no_file(tmp_path: Path) -> None:
    corpus(tmp_path / "corpus")
    machine(tmp_path / "machine")
    folders = [tmp_path / "corpus", tmp_path / "machine"]
    rng = np.random.default_rng(0)
    sets = [Listening(folders, "beats", split, RATE) for split in ("train", "valid")]
    train, valid = ([source for source in x.sources(rng, x.pieces)] for x in sets)
    assert not {source.piece for source in train} & {source.piece for source in valid}
    shots = [
        {sound.tobytes() for s in side if isinstance(s, Programmed) for x in s.machine.sounds.values() for sound in x}
        for side in (train, valid)
    ]
    assert shots[0] and shots[1] and not shots[0] & shots[1]
    assert any(isinstance(source, Recording) for source in train)


def test_scores_are_not_programmed_on_a_drum_machine(tmp_path: Path) -> None:
    listening = Listening([machine(tmp_path)], "score", "train", RATE)
    assert all(isinstance(s, Recording) for s in listening.sources(np.random.default_rng(0), listening.pieces))


def test_excerpts_of_a_batch_are_of_different_pieces(tmp_path: Path) -> None:
    listening = Listening([corpus(tmp_path)], "score", "train", RATE)
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert len({source.piece for source in listening.sources(rng, 4)}) == 4
    assert listening.batch(rng, 4, 1_000).shape == (4, 1_000)
    with pytest.raises(RequestError, match="batch"):
        listening.batch(rng, 99, 1_000)


def test_the_same_generator_draws_the_same_batch(tmp_path: Path) -> None:
    listening = Listening([corpus(tmp_path / "c"), machine(tmp_path / "m")], "beats", "train", RATE)
    first, second = (listening.batch(np.random.default_rng(3), 4, 4_000) for _ in range(2))
    assert torch.equal(first, second)


def test_a_recording_shorter_than_an_excerpt_is_a_loop() -> None:
    sound = np.arange(1, 101, dtype=np.int16)
    drawn = Recording(sound, "x").draw(np.random.default_rng(0), 250) * 32768
    assert set(np.diff(drawn).astype(int)) == {1, -99}


def test_a_folder_without_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="audio"):
        Listening([tmp_path], "beats", "train", RATE)
    with pytest.raises(RequestError, match="folder"):
        Listening([tmp_path / "nowhere"], "beats", "train", RATE)
    with pytest.raises(RequestError, match="ear"):
        Listening([tmp_path], "opera", "train", RATE)


def test_a_broken_file_is_left_out(tmp_path: Path) -> None:
    machine(tmp_path)
    (tmp_path / "broken.wav").write_bytes(b"RIFF....")
    assert Listening([tmp_path], "beats", "train", RATE).pieces > 0


def test_a_programmed_beat_is_loud_enough_and_repeats_with_the_bar() -> None:
    click = np.ones(8, np.float32)
    beat = DrumMachine("test", 1_000, {"low": [click]}).play(np.random.default_rng(1), 12_000)
    assert beat.shape == (12_000,) and 0 < np.abs(beat).max() <= 1
    spectrum = np.abs(np.fft.rfft(beat - beat.mean())) ** 2
    similarity = np.fft.irfft(spectrum)[1_400:3_100]  # lags of one bar at 80 to 160 a minute, at 1 kHz
    assert similarity.max() > 0.6 * np.sum((beat - beat.mean()) ** 2)


@pytest.mark.parametrize(
    ("name", "role"),
    [("TR-808/kick/1.ogg", "low"), ("sn_dub.flac", "back"), ("hihat-open.ogg", "top"), ("misc_crow.flac", "other")],
)
def test_a_sounds_name_says_what_it_is_for(name: str, role: str) -> None:
    assert role_of(name) == role


def test_augmentation_keeps_shifts_and_masks_inside_the_scalogram() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        batch = augment(torch.randn(6, 500), bins=48, frames=30, rng=rng)
        low, bins, start, frames = batch["mask"].T
        assert (low >= 0).all() and (low + bins <= 48).all() and (start + frames <= 30).all()
        assert batch["shift"].abs().max() <= MAX_SHIFT
        assert batch["audio"].shape == (6, 500) and batch["audio"].dtype == torch.float32
