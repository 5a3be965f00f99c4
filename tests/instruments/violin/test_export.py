"""An adapter merged for good."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backend.checkpoints import CheckpointStore
from backend.errors import RequestError
from backend.instruments.violin.export import export
from backend.instruments.violin.voicing import Voicing
from backend.musiclm.generator import MusicGenerator
from tests.instruments.violin.conftest import random_adapter


def test_an_exported_generator_is_the_base_with_the_adapter_on(store: CheckpointStore, tmp_path: Path) -> None:
    adapter = random_adapter(store)
    names = export(store, adapter, 0.5, tmp_path)
    models = MusicGenerator(store, torch.device("cpu"))
    voicing = Voicing({"semantic": models.semantic, "acoustic": models.acoustic})
    voicing.add("a", adapter)
    voicing.set({"a": 0.5})
    merged = MusicGenerator(CheckpointStore(store.entry("violin.adapter").root, (tmp_path,)), torch.device("cpu"))
    assert names == ["text_to_music.semantic", "text_to_music.acoustic"]
    for key, value in merged.semantic.state_dict().items():
        assert torch.allclose(value, models.semantic.state_dict()[key], atol=2e-2, rtol=2e-3), key


def test_a_strength_out_of_range_is_refused(store: CheckpointStore, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="strength"):
        export(store, random_adapter(store), 2.0, tmp_path)
