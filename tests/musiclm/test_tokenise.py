"""The corpus as tokens: aligned with the catalogue, resumable, what the stages' windows are cut from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.corpus.catalogue import read_catalogue
from backend.musiclm.codec import TINY, Codec
from backend.musiclm.codec_train import read_excerpt
from backend.musiclm.mulan import MuLanEmbedder
from backend.musiclm.stages import TINY_ACOUSTIC, TINY_FINE, TINY_SEMANTIC
from backend.musiclm.stages_train import StageTask, TokenCorpus
from backend.musiclm.text import SentenceEncoder
from backend.musiclm.tokenise import write_codes, write_embeddings, write_splits
from tests.musiclm.tiny import random_models, word_states

RATE = 24_000


@pytest.fixture(scope="module")
def tokens(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, models = tmp_path_factory.mktemp("tokens"), random_models()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SentenceEncoder, "encode", word_states)
        write_splits(tiny_corpus, out)
        for name, model in (("acoustic", "codec"), ("semantic", "semantic_codec")):
            codec = models[model][0].eval()
            assert isinstance(codec, torch.nn.Module)
            write_codes(tiny_corpus, out, codec, name)  # type: ignore[arg-type]
        embedder = models["mulan"][0]
        assert isinstance(embedder, MuLanEmbedder)
        write_embeddings(tiny_corpus, out, embedder, tmp_path_factory.mktemp("features"))
    return out


def test_every_clip_has_its_codes_and_unit_embeddings(tokens: Path) -> None:
    arrays = {path.stem: np.load(path) for path in tokens.glob("*.npy")}
    assert {name: array.shape for name, array in arrays.items()} == {
        "split": (3,), "acoustic": (3, 1500, 3), "semantic": (3, 375, 3), "audio_embed": (3, 3, 8),
        "text_embed": (3, 5, 8),
    }  # fmt: skip
    assert arrays["split"].tolist() == [0, 1, 2]
    assert (tokens / "ids.txt").read_text().split() == ["train_00000", "valid_00000", "test_00000"]
    for name in ("audio_embed", "text_embed"):
        assert np.allclose(np.linalg.norm(arrays[name].astype(float), axis=-1), 1, atol=1e-2)


def test_codes_are_those_of_the_clip_in_the_catalogues_order(tiny_corpus: Path, tokens: Path) -> None:
    codec = random_models()["codec"][0].eval()
    assert isinstance(codec, Codec)
    for clip, stored in zip(read_catalogue(tiny_corpus), np.load(tokens / "acoustic.npy"), strict=True):
        codes = codec.encode(read_excerpt(clip.audio_path, 0, 4 * RATE)[None])[0, :190].numpy()
        assert (codes == stored[:190]).mean() > 0.8  # they are computed in half the precision


def test_a_second_run_keeps_the_parts_that_are_there(tiny_corpus: Path, tokens: Path, tmp_path: Path) -> None:
    parts = tmp_path / "acoustic.parts"
    parts.mkdir()
    np.save(parts / "000000.npy", np.full((3, 1500, 3), 7, np.int16))
    write_codes(tiny_corpus, tmp_path, Codec(TINY), "acoustic")
    assert (np.load(tmp_path / "acoustic.npy") == 7).all()


def test_embeddings_are_written_as_they_come_back_from_their_codes(tokens: Path) -> None:
    mulan = random_models()["mulan"][0]
    assert isinstance(mulan, MuLanEmbedder)
    for name in ("audio_embed", "text_embed"):
        stored = torch.from_numpy(np.load(tokens / f"{name}.npy").astype(np.float32)).flatten(0, 1)
        every = mulan.dequantize(torch.cartesian_prod(*[torch.arange(16)] * 3))
        assert float(torch.cdist(stored, every).amin(1).max()) < 2e-3  # each is one of the 4,096 there are


def test_windows_of_the_acoustic_stage_are_aligned_with_their_guide(tokens: Path) -> None:
    corpus = TokenCorpus(tokens)
    corpus.acoustic = np.broadcast_to(np.arange(1500, dtype=np.int16)[None, :, None], (3, 1500, 3))
    corpus.semantic = np.broadcast_to(np.arange(375, dtype=np.int16)[None, :, None], (3, 375, 3))
    task = StageTask(corpus, "coarse", TINY_ACOUSTIC, 4, TINY_ACOUSTIC.window)
    batch = next(task.batches(torch.Generator().manual_seed(0)))
    assert batch["codes"].shape == (4, 24, 2) and batch["guide"].shape == (4, 6, 3)
    assert torch.equal(batch["codes"][:, ::4, 0], 4 * batch["guide"][..., 0])
    assert batch["drop"].dtype == torch.bool and batch["embed"].shape == (4, 8)


@pytest.mark.parametrize(("kind", "config"), [("semantic", TINY_SEMANTIC), ("fine", TINY_FINE)])
def test_other_stages_get_all_their_codes_and_no_guide(tokens: Path, kind: str, config: object) -> None:
    task = StageTask(TokenCorpus(tokens), kind, config, 2, 12)
    batch = next(task.batches(torch.Generator().manual_seed(0)))
    assert batch["codes"].shape == (2, 12, 3) and "guide" not in batch
    assert kind == "semantic" or int(batch["level"]) == 0  # the only fine level there is
    assert torch.allclose(batch["embed"].norm(dim=1), torch.ones(2), atol=1e-5)


def test_conditions_are_captions_or_sound_about_half_of_the_time(tokens: Path) -> None:
    corpus, generator = TokenCorpus(tokens), torch.Generator().manual_seed(0)
    corpus.text_embed = np.broadcast_to(np.eye(8, dtype=np.float16)[0], (3, 5, 8))
    corpus.audio_embed = np.broadcast_to(np.eye(8, dtype=np.float16)[1], (3, 3, 8))
    drawn = corpus.embeds(np.zeros(200, int), np.full(200, 5.0), 10.0, generator)
    assert 0.35 < float((drawn[:, 0] > 0.5).float().mean()) < 0.65
    assert (drawn[:, :2].amax(1) > 0.9).all()  # disturbed, but slightly


def test_a_condition_of_sound_is_of_the_windows_own_moment(tokens: Path) -> None:
    corpus, generator = TokenCorpus(tokens), torch.Generator().manual_seed(0)
    corpus.text_embed = np.broadcast_to(np.eye(8, dtype=np.float16)[7], (3, 5, 8))
    corpus.audio_embed = np.broadcast_to(np.eye(8, dtype=np.float16)[:3], (3, 3, 8))
    for start_s, window in ((0.0, 0), (9.0, 1), (20.0, 2)):
        drawn = corpus.embeds(np.zeros(100, int), np.full(100, start_s), 10.0, generator)
        assert set(drawn.argmax(1).tolist()) == {window, 7}
