"""The judge of instrumentation and how its answers are counted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.errors import CheckpointError
from backend.metrics.listener import CHECKPOINT, Listener, ListenerConfig, share_heard

RATE = 24_000
SMALL = ListenerConfig(width=4, embed_dim=16)


@pytest.fixture(scope="module")
def listener() -> Listener:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Listener(SMALL).eval()


def clip(seconds: float = 3.0, gain: float = 0.3) -> Waveform:
    noise = np.random.default_rng(0).standard_normal(int(seconds * RATE))
    return Waveform((gain * noise / np.abs(noise).max()).astype(np.float32), RATE)


def test_share_heard_counts_the_asked_families_among_as_many_strongest() -> None:
    heard = np.array([[0.9, 0.8, 0.1, 0.2], [0.9, 0.8, 0.1, 0.2], [0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.9, 0.3]])
    asked = [[0], [1], [1, 3], [2, 3, 1]]
    assert share_heard(heard, asked).tolist() == [1.0, 0.0, 0.5, 1.0]


def test_share_heard_of_random_guesses_is_the_share_that_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    shares = share_heard(rng.random((4000, 12)), [[1, 5, 7]] * 4000)
    assert shares.mean() == pytest.approx(3 / 12, abs=0.02)


def test_what_is_heard_are_probabilities_and_one_embedding_a_clip(listener: Listener) -> None:
    stereo = Waveform(np.repeat(clip(4).samples, 2, 0), RATE)
    heard = listener.hear([clip(), stereo])
    assert {name: rows.shape for name, rows in heard.items()} == {
        "families": (2, 12), "lead": (2, 12), "embedding": (2, 16),
    }  # fmt: skip
    assert np.allclose(heard["lead"].sum(1), 1, atol=1e-5)
    assert heard["families"].min() >= 0 and heard["families"].max() <= 1


def test_the_level_of_a_clip_changes_nothing(listener: Listener) -> None:
    loud, soft = (listener.hear([clip(gain=gain)])["embedding"] for gain in (0.8, 0.2))
    assert np.allclose(loud, soft, atol=0.02 * np.abs(loud).max() + 1e-3)


def test_silence_is_heard_without_a_nan(listener: Listener) -> None:
    heard = listener.hear([Waveform(np.zeros(RATE, np.float32), RATE)])
    assert all(np.isfinite(rows).all() for rows in heard.values())


def test_the_stored_judge_hears_the_same_and_a_missing_one_is_said(listener: Listener, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    with pytest.raises(CheckpointError, match=CHECKPOINT):
        Listener.from_store(store)
    store.save(CHECKPOINT, listener.state_dict(), dataclasses.asdict(SMALL), {})
    again = Listener.from_store(store).hear([clip()])
    assert all(np.array_equal(again[name], rows) for name, rows in listener.hear([clip()]).items())


def test_one_batch_can_be_overfitted() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Listener(SMALL).train()
        tone = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(RATE) / RATE)
        audio = torch.stack([torch.from_numpy(clip(1).samples[0]), tone])
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(30):
            loss = torch.nn.functional.cross_entropy(net(audio)[1], torch.tensor([3, 8]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert float(loss) < 0.1
