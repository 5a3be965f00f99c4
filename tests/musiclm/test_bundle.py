"""What training leaves becomes checkpoints: the right part, its configuration and figures, in eight bits."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from backend.checkpoints import CheckpointStore
from backend.musiclm.bundle import PARTS, bundle
from backend.musiclm.codec import TINY, Codec, config_of
from backend.musiclm.train import part_of
from tests.musiclm.tiny import random_models


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder as ``backend.musiclm.train`` leaves it, with two of its models."""
    folder, made = tmp_path / "models", random_models()
    (folder / "codec").mkdir(parents=True)
    state = {f"codec.{key}": value for key, value in made["codec"][0].state_dict().items()}
    torch.save({"module": {**state, "distance.x": torch.zeros(3)}, "figures": {"loss": 0.5}}, folder / "codec/best.pt")
    torch.save(dataclasses.asdict(TINY), folder / "codec/config.pt")
    module, config = made["mulan"]
    kept = {"state": module.state_dict(), "config": dataclasses.asdict(config), "metrics": {"top1": 0.25}}
    torch.save(kept, folder / "mulan.pt")
    return folder


def test_the_codec_is_stored_without_its_objective_and_sounds_as_before(models: Path, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "store")
    bundle(models, store, set())
    assert store.names() == ("text_to_music.codec", "text_to_music.mulan")
    entry = store.entry("text_to_music.codec")
    assert (entry.storage, entry.metrics, entry.card) == ("int8", {"loss": 0.5}, "text_to_music/README.md")
    codec = Codec(config_of(store.config("text_to_music.codec"))).eval()
    codec.load_state_dict(store.load("text_to_music.codec"))
    original = random_models()["codec"][0].eval()
    assert isinstance(original, Codec)
    codes = torch.randint(32, (1, 40, 3), generator=torch.Generator().manual_seed(0))
    expected = original.decode(codes)
    error = (codec.decode(codes) - expected).pow(2).mean() / expected.pow(2).mean()
    assert float(error) < 1e-3  # 30 dB below


def test_only_what_is_named_is_stored(models: Path, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "store")
    bundle(models, store, {"text_to_music.mulan"})
    assert store.names() == ("text_to_music.mulan",)
    assert store.entry("text_to_music.mulan").metrics == {"top1": 0.25}


def test_storing_again_replaces_and_remembers_the_figures_before(models: Path, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "store")
    bundle(models, store, set())
    saved = torch.load(models / "codec/best.pt", weights_only=False)
    torch.save({**saved, "figures": {"loss": 0.4}}, models / "codec/best.pt")
    bundle(models, store, set())
    entry = store.entry("text_to_music.codec")
    assert (entry.metrics, entry.previous) == ({"loss": 0.4}, {"loss": 0.5})


def test_every_part_has_its_own_folder_and_a_prefix_is_cut_off_once() -> None:
    folders = [folder for folder, _ in PARTS.values()]
    assert len(set(folders)) == len(folders)
    assert part_of({"codec.codec.x": torch.ones(1), "distance.y": torch.ones(1)}, "codec.").keys() == {"codec.x"}
