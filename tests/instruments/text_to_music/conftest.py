from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from backend.checkpoints import CheckpointStore
from backend.instruments.text_to_music.instrument import TextToMusic
from backend.musiclm.text import SentenceEncoder
from tests.musiclm.tiny import word_states, write_store


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    write_store(folder)
    return folder


@pytest.fixture(scope="module")
def instrument(store_folder: Path) -> Iterator[TextToMusic]:
    """The instrument with miniature models of random weights, and words that need no sentence encoder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SentenceEncoder, "encode", word_states)
        instrument = TextToMusic()
        instrument.load(CheckpointStore(store_folder), torch.device("cpu"))
        yield instrument
