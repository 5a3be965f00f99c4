"""MuLan's data, losses, judging and training, on a small corpus written by the test."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional

from backend.musiclm import mulan_train
from backend.musiclm.mulan import TINY, MuLanEmbedder
from backend.musiclm.mulan_data import CROP_FRAMES, Pairs, Vocabulary, augmented, kept_words, read_clips
from backend.musiclm.mulan_evaluate import nearest_agrees, ranks, recall, zero_shot
from backend.musiclm.mulan_loss import AttributeHeads, agreement, soft_contrastive_loss, soft_sigmoid_loss
from backend.musiclm.package import MuLaN, mulan_parts

RATE = 24_000


def line(index: int) -> dict[str, Any]:
    """Metadata of a clip: strings or piano, major or minor, slow or fast."""
    family, mode = ("strings", "piano")[index % 2], ("major", "minor")[index // 2 % 2]
    bpm, speed = ((60.0, "slow"), (150.0, "fast"))[index // 4 % 2]
    split = "valid" if index < 4 else "test" if index < 8 else "train"
    wordings = [f"{speed} {family} number {i}, {mode} key" for i in range(14)]
    return {
        "id": f"{split}_{index:03d}",
        "audio": f"audio/{index:03d}.wav",
        "split": split,
        "captions": wordings,
        "caption_unseen": [f"imagine {family}: {mode} tonality"],
        "instruments": [{"name": family, "family": family}],
        "families": [family],
        "lead_family": family,
        "tempo_bpm": bpm,
        "tempo_class": speed,
        "mode": mode,
        "mood": "",
        "style": "classical",
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "audio").mkdir()
    time = np.arange(8 * RATE) / RATE
    with (folder / "clips.jsonl").open("w") as file:
        for index in range(24):
            meta = line(index)
            third = 3 if meta["mode"] == "minor" else 4
            partials = range(1, 6 if meta["lead_family"] == "strings" else 2)
            sound = sum(np.sin(2 * np.pi * 220 * 2 ** (i / 12) * k * time) / k for i in (0, third, 7) for k in partials)
            beat = np.exp(-4 * ((time * meta["tempo_bpm"] / 60) % 1))
            soundfile.write(folder / meta["audio"], (0.1 * sound * beat).astype("f4"), RATE)
            file.write(json.dumps(meta) + "\n")
        file.write(json.dumps(line(24))[:50])  # a line still being written
    return folder


@pytest.fixture(scope="module")
def pairs(corpus: Path) -> tuple[dict[str, Pairs], Vocabulary]:
    return mulan_train.load_pairs(corpus, corpus / "cache", "minilm")


def test_a_half_written_line_and_a_missing_sound_are_left_out(corpus: Path) -> None:
    assert len(read_clips(corpus)) == 24
    assert {clip.split for clip in read_clips(corpus, ("valid",))} == {"valid"}


def test_training_clips_keep_no_unseen_wording(corpus: Path) -> None:
    kept = {clip.split: (len(clip.captions), len(clip.unseen)) for clip in read_clips(corpus, wordings=5)}
    assert kept == {"train": (5, 0), "valid": (14, 1), "test": (14, 1)}


def test_features_are_computed_once(corpus: Path, pairs: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.musiclm.mulan_data.clip_spectrogram", lambda *_: pytest.fail("computed again"))
    again, _ = mulan_train.load_pairs(corpus, corpus / "cache", "minilm")
    assert len(again["train"]) == 16


def test_a_damaged_cache_file_is_named_and_mended(corpus: Path, pairs: object, tmp_path: Path) -> None:
    clip = read_clips(corpus)[0]
    cache = mulan_train.FeatureCache(tmp_path, mulan_train.SentenceEncoder())
    (tmp_path / f"{clip.id}.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=clip.id):
        cache.read(clip)
    cache.fill([clip])
    assert len(cache.read(clip)[1]) == len(clip.captions) + len(clip.unseen)


def test_attributes_with_one_value_or_none_are_not_trained_on(pairs: tuple[dict[str, Pairs], Vocabulary]) -> None:
    train, vocabulary = pairs[0]["train"], pairs[1]
    assert vocabulary.values["mode"] == ["major", "minor"]
    assert "style" not in vocabulary.values and "mood" not in vocabulary.values
    assert train.targets["families"].sum(1).eq(1).all()
    assert train.targets["log2_bpm"].min() == pytest.approx(math.log2(60))


def test_the_same_generator_gives_the_same_batches_and_every_clip_comes_once_a_round(
    pairs: tuple[dict[str, Pairs], Vocabulary],
) -> None:
    train = pairs[0]["train"]
    first, second = (train.batches(16, 2, torch.Generator().manual_seed(4)) for _ in range(2))
    a, b = next(first), next(second)
    assert torch.equal(a["spectrogram"], b["spectrogram"]) and torch.equal(a["texts"][1], b["texts"][1])
    assert a["spectrogram"].shape == (16, 96, CROP_FRAMES) and len(a["texts"]) == 2
    assert torch.equal(a["targets"]["log2_bpm"].sort().values, train.targets["log2_bpm"].sort().values)


def test_augmentation_changes_level_and_pitch_but_keeps_the_music() -> None:
    generator = torch.Generator().manual_seed(0)
    music = torch.randn(8, 96, 1500, generator=generator)
    out = augmented(music.half(), generator)
    assert out.shape == (8, 96, CROP_FRAMES) and torch.isfinite(out).all()
    kept = [kept_words(20, generator) for _ in range(50)]
    assert all(mask[0] and mask[-1] and mask.sum() > 8 for mask in kept)


def test_graded_losses_with_the_identity_are_clips_and_the_packages() -> None:
    generator = torch.Generator().manual_seed(0)
    audio, text = (functional.normalize(torch.randn(6, 8, generator=generator), dim=-1) for _ in range(2))
    scale, eye = torch.tensor(10.0), torch.eye(6)
    logits, own = scale * audio @ text.T, torch.arange(6)
    clip = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
    assert torch.allclose(soft_contrastive_loss(audio, text, scale, eye), clip)
    package = mulan_parts.SigmoidContrastiveLearning()
    ours = soft_sigmoid_loss(audio, text, package.temperatures.exp().squeeze(), package.bias.squeeze(), eye)
    assert torch.allclose(ours, package(audio, text), rtol=1e-5)


def test_a_caption_is_true_of_other_clips_as_far_as_what_it_states() -> None:
    targets = {
        "lead_family": torch.tensor([0, 0, 1]),
        "mode": torch.tensor([0, 1, 0]),
        "log2_bpm": torch.tensor([6.0, 6.0, 7.0]),
    }
    silent = {"mode": torch.zeros(3, dtype=torch.bool), "log2_bpm": torch.zeros(3, dtype=torch.bool)}
    table = agreement(targets, silent)
    assert torch.equal(table, torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]))
    stated = agreement(targets, silent | {"mode": torch.tensor([True, False, False])})
    assert float(stated[1, 0]) == pytest.approx(0.25 / 0.45) and float(stated[0, 1]) == 1


def test_attribute_heads_ignore_missing_values_and_learn() -> None:
    vocabulary = Vocabulary({"mode": ["major", "minor"], "families": ["piano", "strings"]})
    heads = AttributeHeads(8, vocabulary)
    latents = functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=-1)
    targets = {
        "mode": torch.tensor([0, 1, -1, -1]),
        "families": torch.eye(2)[[0, 1, 0, 1]],
        "log2_bpm": torch.tensor([6.0, 7.0, 6.5, 7.3]),
    }
    optimizer = torch.optim.Adam(heads.parameters(), 0.1)
    losses = []
    for _ in range(60):
        loss, figures = heads(latents, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0] and float(figures["mode"]) == 1
    missing, _ = heads(latents, targets | {"mode": torch.full((4,), -1)})
    assert torch.isfinite(missing)


def test_ranks_and_recall_of_known_similarities() -> None:
    answers = torch.eye(4)
    queries = functional.normalize(
        torch.tensor([[1.0, 0, 0, 0], [0.9, 0.5, 0, 0], [1, 1, 0.5, 0], [0, 0, 0, 1]]), dim=-1
    )
    assert ranks(queries, answers).tolist() == [1, 2, 3, 1]
    assert recall(queries, answers, 1) == 0.5 and recall(queries, answers, 2) == 0.75


def test_nearest_other_clip_and_zero_shot_are_judged_beside_chance() -> None:
    audio = functional.normalize(torch.tensor([[1.0, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]]), dim=-1)
    labels = ["slow", "slow", "fast", None]
    assert nearest_agrees(audio, audio, ["slow", "slow", "fast", "fast"]) == {"hit": 1.0, "chance": 0.5}
    assert nearest_agrees(audio, audio, labels)["hit"] == pytest.approx(2 / 3)
    vectors = {"slow": torch.tensor([1.0, 0]), "fast": torch.tensor([0, 1.0]), "medium": torch.tensor([-1.0, 0])}
    assert zero_shot(audio, vectors, labels) == {"balanced_hit": 1.0, "chance": 0.5}


def test_training_on_one_batch_lowers_its_loss(pairs: tuple[dict[str, Pairs], Vocabulary]) -> None:
    splits, vocabulary = pairs
    with torch.random.fork_rng():
        torch.manual_seed(0)
        objective = mulan_train.MuLanObjective(TINY, vocabulary)
    batch = next(splits["train"].batches(16, 1, torch.Generator().manual_seed(0)))
    optimizer = torch.optim.AdamW(objective.parameters(), 3e-3)
    first = objective(batch)[0].item()
    for _ in range(15):
        loss, _ = objective(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.9 * first
    assert isinstance(objective.embedder.mulan, MuLaN)


def test_the_packages_tower_reads_token_numbers(pairs: tuple[dict[str, Pairs], Vocabulary], corpus: Path) -> None:
    splits, vocabulary = pairs
    cache = mulan_train.FeatureCache(corpus / "cache", mulan_train.SentenceEncoder())
    read = Pairs(splits["valid"].clips, cache, vocabulary, mulan_parts.tokenizer.tokenize)
    batch = next(read.batches(4, 1, torch.Generator().manual_seed(0)))
    assert batch["texts"][0].dtype == torch.int64
    config = dataclasses.replace(TINY, text_tower="package")
    assert MuLanEmbedder(config).state_embed(batch["texts"][0]).shape == (4, TINY.latent_dim)


def test_the_command_trains_fits_the_codes_and_resumes(
    corpus: Path, pairs: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--corpus", str(corpus), "--out", str(tmp_path), "--cache", str(corpus / "cache"), "--size", "tiny"]
    command += ["--batch", "8", "--device", "cpu", "--resume", "--minutes"]
    mulan_train.main([*command, "0.001"])
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"retrieval_seen", "nearest_mode_unseen", "zero_shot_tempo_class", "codes_audio"} <= set(metrics)
    saved = torch.load(tmp_path / "mulan.pt", weights_only=True)
    embedder = MuLanEmbedder.from_state(saved["state"], saved["config"])
    vector = embedder.text_embed(["slow strings, minor key"])
    codes = embedder.quantize(vector)
    assert codes.shape == (1, TINY.n_quantizers) and embedder.dequantize(codes).shape == (1, TINY.latent_dim)
    curve = (tmp_path / "curve.csv").read_text().splitlines()
    assert (tmp_path / "curve.png").exists()
    mulan_train.main([*command, str(float(curve[-1].split(",")[1]) + 0.01)])
    assert len((tmp_path / "curve.csv").read_text().splitlines()) > len(curve)
