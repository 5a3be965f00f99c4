"""The judge of a violin alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.errors import AudioError, CheckpointError
from backend.metrics.violinist import CHECKPOINT, TINY, Violinist

RATE = 24_000


@pytest.fixture(scope="module")
def judge() -> Violinist:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Violinist(TINY).eval()


def clip(seconds: float = 3.0, gain: float = 0.3) -> Waveform:
    noise = np.random.default_rng(0).standard_normal(int(seconds * RATE))
    return Waveform((gain * noise / np.abs(noise).max()).astype(np.float32), RATE)


def test_what_is_heard_is_a_probability_and_an_embedding_a_clip(judge: Violinist) -> None:
    stereo = Waveform(np.repeat(clip(4).samples, 2, 0), RATE)
    heard = judge.hear([clip(), stereo])
    assert {name: rows.shape for name, rows in heard.items()} == {"violin": (2,), "embedding": (2, 8)}
    assert heard["violin"].min() > 0 and heard["violin"].max() < 1
    assert {name: len(rows) for name, rows in judge.hear([]).items()} == {"violin": 0, "embedding": 0}


def test_the_level_of_a_clip_changes_nothing(judge: Violinist) -> None:
    loud, soft = (judge.hear([clip(gain=gain)])["embedding"] for gain in (0.8, 0.02))
    assert np.allclose(loud, soft, rtol=1e-3, atol=1e-5)


def test_silence_is_heard_without_a_nan(judge: Violinist) -> None:
    heard = judge.hear([Waveform(np.zeros(RATE, np.float32), RATE)])
    assert all(np.isfinite(rows).all() for rows in heard.values())


@pytest.mark.parametrize(("seconds", "rate"), [(0.2, RATE), (3.0, 16_000)])
def test_what_it_cannot_hear_is_said(judge: Violinist, seconds: float, rate: int) -> None:
    with pytest.raises(AudioError, match="24000 Hz"):
        judge.hear([Waveform(np.zeros(int(seconds * rate), np.float32), rate)])


def test_a_temperature_softens_the_answer_and_turns_none_round(judge: Violinist) -> None:
    soft = Violinist(dataclasses.replace(TINY, temperature=4.0)).eval()
    soft.load_state_dict(judge.state_dict())
    (p,), (q,) = judge.hear([clip()])["violin"], soft.hear([clip()])["violin"]
    assert np.log(q / (1 - q)) == pytest.approx(np.log(p / (1 - p)) / 4, abs=1e-4)


def test_the_stored_judge_hears_the_same_and_a_missing_one_is_said(judge: Violinist, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    with pytest.raises(CheckpointError, match=CHECKPOINT):
        Violinist.from_store(store)
    store.save(CHECKPOINT, judge.state_dict(), dataclasses.asdict(TINY), {})
    again = Violinist.from_store(store).hear([clip()])
    assert all(np.array_equal(again[name], rows) for name, rows in judge.hear([clip()]).items())


def test_one_batch_can_be_overfitted() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Violinist(TINY).train()
        tone = 0.3 * torch.sin(2 * torch.pi * 440 * torch.arange(RATE) / RATE)
        audio = torch.stack([torch.from_numpy(clip(1).samples[0]), tone])
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(40):
            loss = torch.nn.functional.binary_cross_entropy_with_logits(net(audio), torch.tensor([0.0, 1.0]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert float(loss.detach()) < 0.2
