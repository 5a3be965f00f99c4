"""The violin judge's training data, and the figures it is reported with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.checkpoints import CheckpointStore
from backend.corpus.catalogue import Clip, read_catalogue
from backend.metrics.violinist import TINY
from backend.musiclm import violinist_data
from backend.musiclm.generator import MusicGenerator
from backend.musiclm.text import SentenceEncoder
from backend.musiclm.violinist_data import HELD_OUT_RECORDING, Sound, SoundCache, augment, gather, group_of
from backend.musiclm.violinist_train import (
    SHARES,
    ViolinistObjective,
    ViolinistTask,
    auc,
    balanced_loss,
    fit_temperature,
    report,
)
from tests.musiclm.tiny import RATE, word_states, write_corpus, write_store


def sound(group: str, split: str, variant: str = "raw", level: float = 0.3, seconds: float = 12) -> Sound:
    t = np.arange(int(seconds * RATE)) / RATE
    samples = (32767 * level * np.sin(2 * np.pi * (440 if "violin" in group else 180) * t)).astype(np.int16)
    return Sound(group, "violin" in group, split, variant, samples)


def clip(*names: str) -> Clip:
    meta: dict[str, Any] = {"instruments": [{"name": name} for name in names]}
    return Clip("x", "train", Path("a"), Path("n"), meta)


def test_a_band_with_a_violin_in_it_is_neither_one_thing_nor_the_other() -> None:
    assert group_of(clip("violin")) == "violin"
    assert group_of(clip("piano", "violin")) is None and group_of(clip("fiddle", "drums")) is None
    assert group_of(clip("piano", "flute")) == "band" and group_of(clip("viola")) == "viola"


def test_a_window_beyond_the_end_begins_again() -> None:
    short = sound("violin", "train", seconds=1.0)
    window = short.window(RATE // 2, 2 * RATE)
    assert window.shape == (2 * RATE,)
    assert np.allclose(window[RATE // 2 : 3 * RATE // 2], short.samples / np.float32(32768), atol=1e-6)


def test_augmentation_keeps_the_shape_and_is_finite_even_for_silence() -> None:
    audio = torch.stack([sound("violin", "train").window(0, RATE), torch.zeros(RATE)])
    out = augment(audio, torch.Generator().manual_seed(0))
    assert out.shape == audio.shape and bool(out.isfinite().all())
    assert not torch.allclose(out[0], audio[0], atol=0.01) and float(out[1].abs().max()) < 1e-3
    assert torch.equal(out, augment(audio, torch.Generator().manual_seed(0)))


def test_half_of_what_is_drawn_is_violin_and_nothing_is_of_a_held_out_split() -> None:
    assert sum(SHARES.values()) == pytest.approx(1.0)
    assert SHARES["violin"] + SHARES["real violin"] == pytest.approx(0.5)
    train = [sound(g, "train", v) for g in ("violin", "viola", "band", "piano", "real other") for v in ("raw", "codec")]
    train += [sound("real violin", "train")]
    held = [sound("real violin", "test", level=0.9), sound("viola", "valid", level=0.9)]
    task = ViolinistTask([*train, *held], frozenset({"viola"}), 4)
    drawn = {id(s) for pool in task.pools.values() for group in pool for s in group}
    assert drawn == {id(s) for s in train} and set(task.pools) == set(SHARES)
    batches = task.batches(torch.Generator().manual_seed(0))
    targets = torch.cat([next(batches)["violin"] for _ in range(12)])
    assert 0.3 < float(targets.mean()) < 0.7


def test_the_loss_teaches_every_weight_and_is_validated() -> None:
    sounds = [sound(g, s) for g in ("violin", "viola") for s in ("train", "valid")]
    task = ViolinistTask(sounds, frozenset({"viola"}), 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        objective = ViolinistObjective(TINY).train()
    loss, figures = objective(next(task.batches(torch.Generator().manual_seed(0))))
    loss.backward()
    assert 0 <= float(figures["wrong"]) <= 1
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters())
    assert set(task.validate(objective.eval())) == {"loss", "auc"}


def test_area_under_the_curve_counts_pairs_in_the_right_order() -> None:
    assert auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert auc(np.array([1.0]), np.array([1.0, 0.0])) == 0.75


def test_the_temperature_undoes_logits_that_were_scaled() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20_000)
    targets = rng.random(20_000) < 1 / (1 + np.exp(-logits))
    assert fit_temperature(3 * logits, targets) == pytest.approx(3.0, rel=0.1)
    assert balanced_loss(logits, targets) < balanced_loss(3 * logits, targets)


def test_the_held_out_recording_is_reported_apart() -> None:
    judge = ViolinistObjective(TINY).violinist.eval()
    test = [sound(g, "test", v) for g in ("violin", "string ensemble", "band") for v in ("raw", "codec")]
    figures = report(judge, [*test, sound("real violin", "test", seconds=26), sound("viola", "train")])
    assert set(figures) == {"raw", "codec", "real_raw"}
    assert set(figures["raw"]["probability"]) == {"violin", "string_ensemble", "band"}
    assert figures["raw"]["windows"] == 3 and figures["real_raw"]["windows"] == 4


def test_sounds_are_made_once_in_every_variant_and_the_held_out_recording_is_test_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SentenceEncoder, "encode", word_states)
    corpus, real = write_corpus(tmp_path / "corpus"), tmp_path / "real"
    real.mkdir()
    source = next((corpus / "audio").rglob("*.wav"))
    for name in (HELD_OUT_RECORDING, "other"):
        (real / f"{name}.wav").write_bytes(source.read_bytes())
    lines = [json.loads(line) for line in (corpus / "clips.jsonl").read_text().splitlines()]
    store: CheckpointStore = write_store(tmp_path / "store")
    cache = SoundCache(tmp_path / "sounds", MusicGenerator(store, torch.device("cpu")))
    most = {"train": 5, "valid": 5, "test": 5}
    sounds = gather(cache, {"corpus": corpus}, real, None, most)
    assert len(lines) == len(read_catalogue(corpus)) == 3
    assert {(s.group, s.split) for s in sounds if s.group == "real violin"} == {
        ("real violin", "test"), ("real violin", "train"),
    }  # fmt: skip
    bands = [s for s in sounds if s.group == "band"]
    assert sorted((s.split, s.variant) for s in bands) == sorted(
        (split, variant) for split in most for variant in violinist_data.VARIANTS
    )
    lengths = {(s.split == "train", s.variant): len(s.samples) / RATE for s in bands}
    assert lengths == {
        (a, v): 30.0 if a and v == "raw" else 10.0 for a in (True, False) for v in violinist_data.VARIANTS
    }
    monkeypatch.setattr(cache, "coded", None)  # nothing is left to be made
    assert len(gather(cache, {"corpus": corpus}, real, None, most)) == len(sounds)
