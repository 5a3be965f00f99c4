"""The embedder that the stages condition on."""

import dataclasses

import pytest
import torch

from backend.errors import CheckpointError
from backend.musiclm.mulan import TINY, MuLanConfig, MuLanEmbedder, SentenceTower, build_mulan
from backend.musiclm.mulan_audio import SAMPLE_RATE
from backend.musiclm.mulan_quantizer import EmbeddingQuantizer, fit_codebooks
from backend.musiclm.package import MuLaN, MuLaNEmbedQuantizer


@pytest.fixture(scope="module")
def embedder() -> MuLanEmbedder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MuLanEmbedder(TINY)


def sound(seconds: float, batch: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(batch, int(seconds * SAMPLE_RATE), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("seconds", [0.01, 4, 10, 23])
def test_sound_of_any_length_becomes_unit_vectors(embedder: MuLanEmbedder, seconds: float) -> None:
    vectors = embedder.audio_embed(sound(seconds))
    assert vectors.shape == (2, TINY.latent_dim) and not vectors.requires_grad
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)


def test_a_long_sound_is_the_mean_of_its_ten_second_windows(embedder: MuLanEmbedder) -> None:
    long = sound(20, 1)
    halves = embedder.audio_embed(long[:, : 10 * SAMPLE_RATE]) + embedder.audio_embed(long[:, 10 * SAMPLE_RATE :])
    assert torch.allclose(embedder.audio_embed(long), torch.nn.functional.normalize(halves, dim=-1), atol=1e-5)


@pytest.mark.parametrize("tower", ["minilm", "package"])
def test_text_vectors_do_not_depend_on_the_batch(tower: str) -> None:
    model = MuLanEmbedder(dataclasses.replace(TINY, text_tower=tower))
    texts = ["sad violin", "a fast funk band with slap bass, drums and a bright trumpet lead at 118 bpm"]
    assert torch.allclose(model.text_embed(texts)[:1], model.text_embed(texts[:1]), atol=1e-4)


def test_the_towers_are_the_packages_model(embedder: MuLanEmbedder) -> None:
    assert isinstance(embedder.mulan, MuLaN)
    states = embedder.text_input(["a", "b c"])
    loss = embedder.mulan(sound(2), texts=states)  # its own sigmoid loss runs on our towers
    assert torch.isfinite(loss)


def test_an_unknown_text_tower_is_refused() -> None:
    with pytest.raises(ValueError, match="minilm"):
        build_mulan(MuLanConfig(text_tower="bert"))
    with pytest.raises(ValueError, match="states"):
        SentenceTower(64, 2)(raw_texts=["words"])


def test_saved_and_loaded_state_embeds_equally_and_holds_no_sentence_encoder(embedder: MuLanEmbedder) -> None:
    state = embedder.state_dict()
    assert not any("sentence_encoder" in key for key in state)
    again = MuLanEmbedder.from_state({k: v.clone() for k, v in state.items()}, TINY.to_dict())
    assert torch.equal(again.audio_embed(sound(2)), embedder.audio_embed(sound(2)))
    with pytest.raises(CheckpointError, match="mulan"):
        MuLanEmbedder.from_state({}, TINY.to_dict())
    with pytest.raises(CheckpointError, match="mulan"):
        MuLanEmbedder.from_state(state, {"width": 3})


def test_subtracting_the_modality_means_closes_a_constant_gap(embedder: MuLanEmbedder) -> None:
    mean = embedder.text_embed(["sad violin", "fast drums"]).mean(0)
    shifted = MuLanEmbedder.from_state(embedder.state_dict(), TINY.to_dict())
    shifted.text_mean.copy_(mean)
    pair = shifted.text_embed(["sad violin", "fast drums"])
    assert float(pair[0] @ pair[1]) == pytest.approx(-1, abs=0.02)


def test_codes_equal_those_of_the_packages_quantizer(embedder: MuLanEmbedder) -> None:
    vectors = torch.nn.functional.normalize(torch.randn(400, 32, generator=torch.Generator().manual_seed(5)), dim=-1)
    books = fit_codebooks(embedder.mulan, vectors, 3, 16, seed=0)
    assert torch.equal(books, fit_codebooks(embedder.mulan, vectors, 3, 16, seed=0))
    ours, theirs = (
        EmbeddingQuantizer(32, 3, 16),
        MuLaNEmbedQuantizer(embedder.mulan, (1,), 3, codebook_size=16, namespaces=("x",)),
    )
    ours.codebooks.copy_(books)
    for layer, book in zip(theirs.rq.layers, books, strict=True):
        layer._codebook.embed.copy_(book[None])
        layer._codebook.initted.fill_(True)
    theirs.rq.eval()
    quantised, codes, _ = theirs.rq(vectors[None])
    assert torch.equal(ours.quantize(vectors), codes[0])
    assert torch.allclose(ours.dequantize(codes[0]), torch.nn.functional.normalize(quantised[0], dim=-1), atol=1e-5)


def test_more_levels_come_nearer_to_the_vector(embedder: MuLanEmbedder) -> None:
    vectors = torch.nn.functional.normalize(torch.randn(600, 32, generator=torch.Generator().manual_seed(5)), dim=-1)
    quantizer = EmbeddingQuantizer(32, 3, 16)
    quantizer.codebooks.copy_(fit_codebooks(embedder.mulan, vectors, 3, 16, seed=0))
    codes = quantizer.quantize(vectors)
    cosines = [float((quantizer.dequantize(codes[:, :n]) * vectors).sum(1).mean()) for n in (1, 2, 3)]
    assert cosines[0] < cosines[1] < cosines[2]


def test_too_few_vectors_to_fit_the_codes_are_refused(embedder: MuLanEmbedder) -> None:
    with pytest.raises(ValueError, match="too few"):
        fit_codebooks(embedder.mulan, torch.randn(100, 32), 3, 16, seed=0)
