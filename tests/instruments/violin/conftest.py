from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.audio.transcribe import NOTE, Transcription
from backend.checkpoints import CheckpointStore
from backend.instruments.violin.adapter import BUNDLED, Adapter, base_of
from backend.instruments.violin.examples import Example, Maker
from backend.instruments.violin.instrument import Violin
from backend.instruments.violin.lora import LoraSettings, adapter_state, inject
from backend.musiclm.generator import MusicGenerator
from backend.musiclm.text import SentenceEncoder
from tests.instruments.violin.bowed import bowed
from tests.musiclm.tiny import word_states, write_store


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SentenceEncoder, "encode", word_states)


def random_adapter(store: CheckpointStore, seed: int = 0, *, output_layer: bool = False) -> Adapter:
    """Products large enough to be heard."""
    settings = LoraSettings(rank=4, alpha=8.0, output_layer=output_layer)
    models = MusicGenerator(store, torch.device("cpu"))
    stages = torch.nn.ModuleDict({"semantic": models.semantic, "acoustic": models.acoustic})
    inject(stages, settings)
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        key: value + 0.3 * torch.randn(value.shape, generator=generator) for key, value in adapter_state(stages).items()
    }
    return Adapter("random", tensors, 2.0, base_of(store), "CC0", {"loss": 1.0}, {"rank": 4, "sound": 0})


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> CheckpointStore:
    """Miniature models and a miniature adapter."""
    store = write_store(tmp_path_factory.mktemp("store"))
    random_adapter(store).store(store, "violin/README.md")
    assert BUNDLED in store.names()
    return store


@pytest.fixture(scope="session")
def store_folder(store: CheckpointStore) -> Path:
    return store.entry(BUNDLED).root


@pytest.fixture
def models(store: CheckpointStore) -> MusicGenerator:
    return MusicGenerator(store, torch.device("cpu"))


@pytest.fixture(scope="module")
def violin(store: CheckpointStore) -> Iterator[Violin]:
    instrument = Violin()
    instrument.load(store, torch.device("cpu"))
    yield instrument
    instrument.unload()


@pytest.fixture(scope="session")
def examples(store: CheckpointStore) -> list[Example]:
    """Six bowed clips of three recordings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SentenceEncoder, "encode", word_states)
        models = MusicGenerator(store, torch.device("cpu"))
        maker = Maker(models.codec, models.mulan)
        out = []
        for i in range(6):
            waveform, onsets, pitches = bowed(i)
            notes = np.zeros(len(onsets), NOTE)
            notes["onset_s"], notes["duration_s"], notes["pitch"], notes["velocity"] = onsets, 0.45, pitches, 90
            heard = Transcription(notes, np.zeros(10, np.float32), 100.0, 1.0, 120.0, 0.9)
            out.append(maker.of_recording(waveform, heard, [f"line {i}", "slow line"], f"recording {i // 2}"))
    return out
