from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.metrics.timbre import CHECKPOINT, TINY, TimbreNet

RATE = 22_050


def tone(hertz: float, brightness: float, gain: float = 0.2, seconds: float = 4.0) -> Waveform:
    t = np.arange(int(seconds * RATE)) / RATE
    partials = [brightness**k * np.sin(2 * np.pi * hertz * (k + 1) * t) for k in range(12)]
    return Waveform((gain * np.sum(partials, 0)).clip(-1, 1).astype(np.float32), RATE)


@pytest.fixture(scope="module")
def net() -> TimbreNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TimbreNet(TINY).eval()


def test_a_clip_is_at_no_distance_from_itself(net: TimbreNet) -> None:
    sound = tone(220, 0.7)
    assert net.distance(sound, sound) == pytest.approx(0.0, abs=1e-6)


def test_cepstra_see_the_envelope_more_than_the_pitch(net: TimbreNet) -> None:
    def mean(sound: Waveform) -> np.ndarray:
        return net.cepstra(torch.from_numpy(sound.samples[0])).mean(1).numpy()

    same = np.abs(mean(tone(220, 0.7)) - mean(tone(247, 0.7))).mean()
    other = np.abs(mean(tone(220, 0.7)) - mean(tone(220, 0.2))).mean()
    assert other > 1.5 * same


def test_level_does_not_matter(net: TimbreNet) -> None:
    assert net.distance(tone(220, 0.5), tone(220, 0.5, gain=0.02)) == pytest.approx(0.0, abs=1e-3)


def test_short_and_silent_sounds_have_a_finite_embedding(net: TimbreNet) -> None:
    for samples in (np.zeros(RATE), np.zeros(50), tone(220, 0.5).samples[0, :500]):
        embedded = net.embedding(Waveform(samples.astype(np.float32), RATE))
        assert bool(torch.isfinite(embedded).all())


def test_a_stored_net_measures_the_same(net: TimbreNet, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(CHECKPOINT, net.state_dict(), net.as_config(), {})
    again = TimbreNet.from_store(store)
    a, b = tone(220, 0.7), tone(330, 0.3)
    assert again.distance(a, b) == pytest.approx(net.distance(a, b), abs=1e-6)
