"""The calm model: shapes, sizes, what depends on what, and that it is the same after it was stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.checkpoints import CheckpointStore
from backend.errors import CheckpointError
from backend.instruments.calm.model import BASE, CHECKPOINT, TINY, CalmVAE, config_of


def tiny(seed: int = 0) -> CalmVAE:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CalmVAE(TINY).eval()


def rolls(batch: int, bars: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy((np.random.default_rng(seed).random((batch, 2, bars, 16, 88)) < 0.02).astype(np.float32))


@pytest.mark.parametrize("bars", [4, 7, 16])
def test_every_bar_has_a_latent_and_comes_back_as_onsets_and_holds(bars: int) -> None:
    mu, logvar = tiny().encode(rolls(3, bars))
    assert mu.shape == logvar.shape == (3, bars, TINY.latent_dim)
    assert tiny().decode(mu).shape == (3, 2, bars, 16, 88)


def test_the_bundled_size_has_at_most_six_million_parameters() -> None:
    with torch.device("meta"):
        model = CalmVAE(BASE)
    assert sum(p.numel() for p in model.parameters()) <= 6_000_000


def test_decoding_draws_nothing() -> None:
    z = torch.randn(2, 4, TINY.latent_dim, generator=torch.Generator().manual_seed(1))
    assert tiny().decode(z).equal(tiny().decode(z))


def test_a_passage_is_encoded_alike_alone_and_in_a_batch() -> None:
    model, music = tiny(), rolls(4, 8)
    assert torch.allclose(model.encode(music)[0][2], model.encode(music[2:3])[0][0], atol=1e-5)


def test_a_bar_changes_its_own_latent_most() -> None:
    model, music = tiny(), rolls(1, 8)
    other = music.clone()
    other[:, :, 3] = rolls(1, 1, seed=9)[:, :, 0]
    change = (model.encode(music)[0] - model.encode(other)[0]).norm(dim=-1)[0]
    assert int(change.argmax()) == 3


def test_a_stored_model_decodes_as_before(tmp_path: Path) -> None:
    model, store = tiny(), CheckpointStore(tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        CalmVAE.from_store(store)
    store.save(CHECKPOINT, model.state_dict(), model.as_config(), {}, "calm/README.md")
    back = CalmVAE.from_store(store)
    z = torch.randn(1, 4, TINY.latent_dim, generator=torch.Generator().manual_seed(1))
    assert back.config == TINY and back.decode(z).equal(model.decode(z))


def test_a_checkpoint_of_another_configuration_is_named(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(CHECKPOINT, tiny().state_dict(), {**tiny().as_config(), "latent_dim": 8}, {}, "calm/README.md")
    with pytest.raises(CheckpointError, match="do not fit"):
        CalmVAE.from_store(store)
    with pytest.raises(CheckpointError, match="not of the calm model"):
        config_of({"codebook_size": 1024})
