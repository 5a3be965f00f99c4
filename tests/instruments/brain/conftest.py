from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.checkpoints import CheckpointStore
from backend.instruments.brain.instrument import Brain
from backend.instruments.brain.listener import TINY
from backend.instruments.brain.stimuli import CHECKPOINT, Stimuli
from backend.musiclm.text import SentenceEncoder
from tests.musiclm.tiny import word_states, write_store


def tiny_stimuli() -> Stimuli:
    """Forty clips for training and ten for tests, whose embeddings follow from their features."""
    rng = np.random.default_rng(0)
    kind = rng.standard_normal((50, 1, 6))
    features = kind @ rng.standard_normal((6, 114)) + 0.1 * rng.standard_normal((50, 10, 114))
    embeddings = kind[:, 0] @ rng.standard_normal((6, 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return Stimuli(
        titles=tuple(f"jazz {i}" if i % 2 else f"rock {i}" for i in range(50)),
        genres=("rock", "jazz"),
        genre=np.arange(50) % 2,
        n_train=40,
        features=features.astype(np.float32),
        embeddings=embeddings.astype(np.float32),
        codes=torch.from_numpy(rng.integers(0, 32, (50, 100, 3)).astype(np.int16)),
    )


@pytest.fixture(scope="session")
def stimuli() -> Stimuli:
    return tiny_stimuli()


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SentenceEncoder, "encode", word_states)


@pytest.fixture(scope="session")
def brain(tmp_path_factory: pytest.TempPathFactory, stimuli: Stimuli) -> Brain:
    """The instrument with miniature models of random weights, a coarse cortex and fifty clips."""
    folder = tmp_path_factory.mktemp("store")
    write_store(folder)
    CheckpointStore(folder).save(CHECKPOINT, stimuli.tensors(), {}, {})
    instrument = Brain(TINY)
    instrument.load(CheckpointStore(folder), torch.device("cpu"))
    return instrument
