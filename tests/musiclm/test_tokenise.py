"""The corpus as tokens: aligned with the catalogue, resumable, what the stages' windows are cut from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.corpus.catalogue import read_catalogue
from backend.musiclm.codec import TINY, Codec
from backend.musiclm.codec_train import read_excerpt
from backend.musiclm.events import SETTING, Piece, tempo_code, true_notes
from backend.musiclm.mulan import MuLanEmbedder
from backend.musiclm.stages import TINY_SEMANTIC
from backend.musiclm.stages_train import StageTask, TokenCorpus
from backend.musiclm.text import SentenceEncoder
from backend.musiclm.tokenise import (
    write_codebooks,
    write_codes,
    write_embeddings,
    write_notes,
    write_silent_embeddings,
    write_splits,
)
from tests.musiclm.tiny import PACKAGE, random_models, word_states, write_corpus

RATE = 24_000


SILENT = 3  # the row of the clip of notes alone


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three clips of the miniature corpus and one of notes alone: its flute, twice as fast, with two captions."""
    root = write_corpus(tmp_path_factory.mktemp("corpus"))
    clip = read_catalogue(root)[0]
    notes = {name: values[:30] for name, values in clip.notes().items()}
    for name in ("onset_s", "duration_s", "beats_s", "downbeats_s"):
        notes[name] = notes[name] / 2
    np.savez(root / "notes" / "train_silent_000000.npz", **notes)  # type: ignore[arg-type]
    meta = clip.meta | {"id": "train_silent_000000", "audio": "", "notes": "notes/train_silent_000000.npz"}
    meta |= {"tempo_bpm": 120.0, "instruments": meta["instruments"][:1], "captions": ["a flute", "flute alone"]}
    (root / "silent.jsonl").write_text(json.dumps(meta) + "\n")
    return root


@pytest.fixture(scope="module")
def tokens(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out, models = tmp_path_factory.mktemp("tokens"), random_models()
    codec, embedder = models["codec"][0].eval(), models["mulan"][0]
    assert isinstance(codec, Codec) and isinstance(embedder, MuLanEmbedder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SentenceEncoder, "encode", word_states)
        write_splits(corpus, out)
        write_notes(corpus, out)
        write_codebooks(out, codec)
        write_codes(corpus, out, codec, "acoustic")
        write_embeddings(corpus, out, embedder, tmp_path_factory.mktemp("features"))
        write_silent_embeddings(corpus, out, embedder)
    return out


def test_every_clip_has_its_codes_and_unit_embeddings(tokens: Path) -> None:
    arrays = {path.stem: np.load(path) for path in tokens.glob("*.npy")}
    assert {name: array.shape for name, array in arrays.items()} == {
        "split": (3,), "acoustic": (3, 1500, 3), "audio_embed": (3, 3, 8), "text_embed": (3, 5, 8),
        "silent_text_embed": (1, 5, 8), "codebooks": (3, 32, 16),
    }  # fmt: skip
    assert arrays["split"].tolist() == [0, 1, 2]
    assert (tokens / "ids.txt").read_text().split() == ["train_00000", "valid_00000", "test_00000"]
    for name in ("audio_embed", "text_embed", "silent_text_embed"):
        assert np.allclose(np.linalg.norm(arrays[name].astype(float), axis=-1), 1, atol=1e-2)


def test_captions_come_again_where_a_clip_of_notes_alone_has_few(tokens: Path) -> None:
    first, second, third, fourth, _ = np.load(tokens / "silent_text_embed.npy")[0]
    assert np.array_equal(first, third) and np.array_equal(second, fourth) and not np.array_equal(first, second)


def test_notes_are_those_of_the_clips_with_sound_and_then_of_the_others(corpus: Path, tokens: Path) -> None:
    stored = TokenCorpus(tokens)
    assert (stored.train.tolist(), stored.held_out.tolist(), stored.silent.tolist()) == ([0], [1], [SILENT])
    assert len(stored.notes) == 3
    for row, clip in enumerate([*read_catalogue(corpus), *read_catalogue(corpus, silent=True)]):
        expected, piece = Piece.of_clip(clip.notes(), clip.meta), stored.piece(row)
        assert (piece.setting, piece.lead_in_s) == (expected.setting, pytest.approx(expected.lead_in_s))
        assert np.array_equal(piece.events(), expected.events())
        if row != SILENT:
            assert np.array_equal(stored.notes[row], true_notes(clip.notes(), clip.meta))


def test_a_corpus_without_clips_of_notes_alone_has_none(tiny_corpus: Path, tmp_path: Path) -> None:
    embedder = random_models()["mulan"][0]
    assert isinstance(embedder, MuLanEmbedder)
    write_silent_embeddings(tiny_corpus, tmp_path, embedder)
    write_notes(tiny_corpus, tmp_path)
    assert np.load(tmp_path / "silent_text_embed.npy").shape == (0, 5, 8)
    with np.load(tmp_path / "notes.npz") as stored:
        assert len(stored["settings"]) == 3


def test_codes_are_those_of_the_clip_in_the_catalogues_order(corpus: Path, tokens: Path) -> None:
    codec = random_models()["codec"][0].eval()
    assert isinstance(codec, Codec)
    for clip, stored in zip(read_catalogue(corpus), np.load(tokens / "acoustic.npy"), strict=True):
        codes = codec.encode(read_excerpt(clip.audio_path, 0, 4 * RATE)[None])[0, :190].numpy()
        assert (codes == stored[:190]).mean() > 0.8  # they are computed in half the precision


def test_codebooks_add_up_to_what_the_codec_makes_of_codes(tokens: Path) -> None:
    codec, codes = random_models()["codec"][0].eval(), torch.from_numpy(np.load(tokens / "acoustic.npy"))[:, :50].long()
    assert isinstance(codec, Codec)
    latents = sum(table[codes[..., i]] for i, table in enumerate(torch.from_numpy(np.load(tokens / "codebooks.npy"))))
    assert torch.allclose(latents, codec.quantizer.decode(codes), atol=1e-5)


def test_a_second_run_keeps_the_parts_that_are_there(corpus: Path, tokens: Path, tmp_path: Path) -> None:
    parts = tmp_path / "acoustic.parts"
    parts.mkdir()
    np.save(parts / "000000.npy", np.full((3, 1500, 3), 7, np.int16))
    write_codes(corpus, tmp_path, Codec(TINY), "acoustic")
    assert (np.load(tmp_path / "acoustic.npy") == 7).all()


def test_embeddings_are_written_as_they_come_back_from_their_codes(tokens: Path) -> None:
    mulan = random_models()["mulan"][0]
    assert isinstance(mulan, MuLanEmbedder)
    for name in ("audio_embed", "text_embed", "silent_text_embed"):
        stored = torch.from_numpy(np.load(tokens / f"{name}.npy").astype(np.float32)).flatten(0, 1)
        every = mulan.dequantize(torch.cartesian_prod(*[torch.arange(16)] * 3))
        assert float(torch.cdist(stored, every).amin(1).max()) < 2e-3  # each is one of the 4,096 there are


def test_windows_of_the_acoustic_stage_come_with_the_notes_of_their_moment(tokens: Path) -> None:
    corpus = TokenCorpus(tokens)
    corpus.acoustic = np.broadcast_to(np.arange(1500, dtype=np.int16)[None, :, None], (3, 1500, 3))
    task = StageTask(corpus, "acoustic", None, 4, 24)
    batch = next(task.batches(torch.Generator().manual_seed(0)))
    assert batch["codes"].shape == (4, 24, 3) and batch["sound"].shape == (4,)
    assert batch["drop"].dtype == torch.bool and batch["embed"].shape == (4, 8)
    start_s = batch["codes"][:, 0, 0] / 50
    onset_s = batch["when"][..., 0] + start_s[:, None]
    there = batch["what"][..., 0] >= 0
    assert there.any(1).all()
    assert (onset_s - onset_s.round())[there].abs().max() < 1e-4  # they are struck on full seconds
    assert (batch["when"][..., 0][there] < 24 / 50).all()


def test_the_fine_stage_gets_all_codes_and_no_notes(tokens: Path) -> None:
    batch = next(StageTask(TokenCorpus(tokens), "fine", PACKAGE, 2, 12).batches(torch.Generator().manual_seed(0)))
    assert batch["codes"].shape == (2, 12, 3) and "what" not in batch
    assert torch.allclose(batch["embed"].norm(dim=1), torch.ones(2), atol=1e-5)


def test_a_coarse_stage_that_reads_tokens_gets_the_notes_as_events(tokens: Path) -> None:
    task = StageTask(TokenCorpus(tokens), "coarse", PACKAGE, 2, 24, guide_events=12)
    batch = next(task.batches(torch.Generator().manual_seed(0)))
    assert batch["codes"].shape == (2, 24, 2) and batch["guide"].shape == (2, 12, 5)
    assert (batch["guide"][:, 0, 0] == SETTING).all()


def test_the_semantic_stage_learns_events_of_clips_with_and_without_sound(tokens: Path) -> None:
    task = StageTask(TokenCorpus(tokens), "semantic", TINY_SEMANTIC, 16, TINY_SEMANTIC.window)
    batch = next(task.batches(torch.Generator().manual_seed(0)))
    assert batch["codes"].shape == (16, 24, 5) and (batch["codes"][:, 0, 0] == SETTING).all()
    assert set(batch["codes"][:, 0, 1].tolist()) == {tempo_code(60), tempo_code(120)}


def test_conditions_are_captions_or_sound_about_half_of_the_time(tokens: Path) -> None:
    corpus, generator = TokenCorpus(tokens), torch.Generator().manual_seed(0)
    corpus.text_embed = np.broadcast_to(np.eye(8, dtype=np.float16)[0], (4, 5, 8))
    corpus.audio_embed = np.broadcast_to(np.eye(8, dtype=np.float16)[1], (3, 3, 8))
    drawn = corpus.embeds(np.zeros(200, int), np.full(200, 5.0), 10.0, generator)
    assert 0.35 < float((drawn[:, 0] > 0.5).float().mean()) < 0.65
    assert (drawn[:, :2].amax(1) > 0.9).all()  # disturbed, but slightly
    drawn = corpus.embeds(np.full(50, SILENT), np.full(50, 5.0), 10.0, generator)
    assert (drawn[:, 0] > 0.9).all()  # there is no sound to take it from


def test_a_condition_of_sound_is_of_the_windows_own_moment(tokens: Path) -> None:
    corpus, generator = TokenCorpus(tokens), torch.Generator().manual_seed(0)
    corpus.text_embed = np.broadcast_to(np.eye(8, dtype=np.float16)[7], (4, 5, 8))
    corpus.audio_embed = np.broadcast_to(np.eye(8, dtype=np.float16)[:3], (3, 3, 8))
    for start_s, window in ((0.0, 0), (9.0, 1), (20.0, 2)):
        drawn = corpus.embeds(np.zeros(100, int), np.full(100, start_s), 10.0, generator)
        assert set(drawn.argmax(1).tolist()) == {window, 7}
