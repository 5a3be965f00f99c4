import numpy as np
import pytest
import torch

from backend.audio.io import write
from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.instruments.genre_transfer import train
from backend.instruments.genre_transfer.augment import equalised, masked, noisy, resped
from backend.instruments.genre_transfer.cutting import read_genre_folder
from backend.instruments.genre_transfer.image_cache import open_cache
from backend.instruments.genre_transfer.judge import Judge, load_judge


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("genres")
    rng = np.random.default_rng(0)
    t = np.arange(8_000 * 6) / 8_000
    for split in ("train", "valid", "test"):
        for genre, hertz in (("low", 200.0), ("high", 2_500.0)):
            (root / split / genre).mkdir(parents=True)
            for k in range(2):
                sound = 0.2 * np.sin(2 * np.pi * hertz * rng.uniform(0.9, 1.1) * t) + 0.01 * rng.standard_normal(len(t))
                write(Waveform(sound.astype(np.float32), 8_000), root / split / genre / f"{k}.wav")
    return root


def _options(folder, out, model, minutes):
    arguments = [
        "--model",
        model,
        "--genres",
        str(folder),
        "--out",
        str(out),
        "--minutes",
        str(minutes),
        "--batch",
        "4",
        "--cpu",
    ]
    return train.parser().parse_args([*arguments, "--precision", "no", "--validate-every", "2"])


def test_a_net_is_trained_on_genres_of_ones_own_measured_and_stored(folder, tmp_path, monkeypatch):
    options = _options(folder, tmp_path / "out", "judge", 1e-4)
    monkeypatch.setattr(train, "make_net", lambda model, genres: Judge(train.JudgeConfig(16, 16, 2, genres)))
    assert train.train(options, read_genre_folder(folder))["temperature"] > 0
    tested = train.test("judge", tmp_path / "out", read_genre_folder(folder))
    assert tested["clips"] == 4 and tested["genres"] == ["high", "low"]
    store = CheckpointStore(tmp_path / "store")
    assert train.bundle("judge", tmp_path / "out", store, tested) == "genre_transfer.judge"
    assert load_judge(store).genres == ("high", "low")


def test_one_batch_is_learnt_by_heart():
    torch.manual_seed(0)
    task = train.Classified(Judge(train.JudgeConfig(8, 16, 1, ("high", "low"))))
    batch = {"picture": torch.randn(4, 8, 30), "label": torch.tensor([0, 1, 0, 1])}
    optimiser = torch.optim.Adam(task.parameters(), 0.01)
    for _ in range(40):
        loss, _ = task(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(task.eval()(batch)[1]["accuracy"]) == 1.0


def test_a_cache_is_kept_until_the_files_change(folder, tmp_path):
    genres = read_genre_folder(folder)
    first = open_cache(genres, tmp_path, ("valid",))["valid"]
    stamp = (tmp_path / "valid.u8").stat().st_mtime_ns
    assert open_cache(genres, tmp_path, ("valid",))["valid"].tracks == first.tracks == 4
    assert (tmp_path / "valid.u8").stat().st_mtime_ns == stamp
    decibels, labels = first.batch(np.random.default_rng(0), 6)
    assert decibels.shape == (6, 631, 631) and set(labels.tolist()) <= {0, 1}


def test_augmentations_keep_shape_and_do_what_they_say():
    rng = np.random.default_rng(0)
    flat = torch.full((3, 631, 40), -60.0)
    assert equalised(flat, rng, 6.0).std(1).min() > 0.1
    assert (noisy(flat, rng, -50, -40) >= flat).all()
    assert (masked(flat, rng, 60, 10, 0.0) == 0).any()
    assert resped(flat, rng, 0.2).shape == flat.shape


def test_the_command_line_refuses_a_folder_that_is_none(tmp_path):
    with pytest.raises(Exception, match="genres"):
        train.main(["--model", "softmax", "--genres", str(tmp_path / "nowhere"), "--out", str(tmp_path)])
