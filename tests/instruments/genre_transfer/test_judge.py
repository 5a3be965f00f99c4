import pytest
import torch

from backend.checkpoints import CheckpointStore
from backend.instruments.genre_transfer.judge import TINY, Judge, fitted_temperature, load_judge
from backend.instruments.genre_transfer.spectrogram import CLIP_SAMPLES


def test_it_hears_sound_and_hardly_minds_its_level():
    torch.manual_seed(0)
    judge = Judge(TINY).eval()
    sound = 0.3 * torch.randn(2, CLIP_SAMPLES)
    heard = judge.probabilities(sound)
    assert heard.shape == (2, 8)
    torch.testing.assert_close(heard, judge.probabilities(0.25 * sound), atol=1e-3, rtol=0)


def test_the_temperature_undoes_a_scaling_of_calibrated_logits():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4_000, 4, generator=generator)
    labels = torch.multinomial(torch.softmax(logits, -1), 1, generator=generator)[:, 0]
    assert fitted_temperature(3 * logits, labels) == pytest.approx(3, rel=0.08)


def test_the_temperature_is_used_in_listening_only():
    judge = Judge(TINY).eval()
    judge.drop.p = 0.0
    judge.temperature.fill_(2.0)
    mel = torch.randn(1, 8, 60)
    torch.testing.assert_close(judge.train()(mel), 2 * judge.eval()(mel))


def test_saved_and_loaded_it_says_the_same(tmp_path):
    judge = Judge(TINY).eval()
    judge.temperature.fill_(1.7)
    store = CheckpointStore(tmp_path)
    store.save("genre_transfer.judge", judge.state_dict(), judge.as_config(), {}, "genre_transfer/README.md")
    mel = torch.randn(1, 8, 60)
    torch.testing.assert_close(load_judge(store)(mel), judge(mel))
