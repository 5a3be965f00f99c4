"""The training commands, from a corpus of three clips to a bundled model, and what they say to wrong arguments."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from backend.musiclm import codec_train, fit
from backend.musiclm.acoustic import BASE as ACOUSTIC
from backend.musiclm.codec import BASE, CodecConfig
from backend.musiclm.stages import SEMANTIC
from backend.musiclm.text import SentenceEncoder
from backend.musiclm.train import BATCH, EMA, KINDS, LEARNING_RATE, _sized, main, parser
from tests.musiclm.tiny import random_models, word_states

SMALL_CODEC = (
    "n_quantizers=3", "codebook_size=16", "latent_dim=8", "encoder_dim=8", "encoder_blocks=1", "decoder_dim=8",
    "decoder_blocks=1", "synthesis_dim=8", "synthesis_blocks=1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_second_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock finds one second gone, so that a budget is a number of steps."""
    clock = itertools.count()
    monkeypatch.setattr(fit, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))


def train(kind: str, out: Path, *more: str, sizes: Sequence[str] = (), steps: int = 1) -> int:
    threads = torch.get_num_threads()
    common = ["--out", str(out), "--minutes", str(steps / 60), "--batch", "2", "--threads", str(threads)]
    with torch.random.fork_rng(devices=[]):
        return main([kind, *common, "--precision", "no", *more, *(["--set", *sizes] if sizes else [])])


def test_every_kind_has_its_defaults() -> None:
    assert parser().parse_args(["codec", "--out", "x"]).minutes == 30
    trained = set(KINDS) - {"mulan", "tokens"}
    assert trained == set(BATCH) == set(LEARNING_RATE) == set(EMA)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["codec", "--out", "x"], "codec needs --corpus"),
        (["semantic", "--out", "x", "--corpus", "y"], "semantic needs --tokens"),
        (["tokens", "--out", "x", "--corpus", "y"], "tokens needs --models"),
        (["vocoder", "--out", "x"], "invalid choice"),
        (["codec", "--corpus", "y"], "--out"),
    ],
)
def test_what_is_missing_is_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in capsys.readouterr().err


def test_sizes_are_changed_by_name_and_wrong_ones_are_refused() -> None:
    changed = _sized(BASE, ["latent_dim=64", "decoder_blocks=2"])
    assert isinstance(changed, CodecConfig) and (changed.latent_dim, changed.decoder_blocks) == (64, 2)
    for change in ("depth=3", "latent_dim=big", "latent_dim"):
        with pytest.raises(SystemExit, match="expected NAME=NUMBER with a name out of sample_rate"):
            _sized(BASE, [change])


def test_codec_and_tokens_are_trained_from_a_corpus_and_the_stages_from_their_codes(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_train, "FIT_VECTORS", 300)
    monkeypatch.setattr(SentenceEncoder, "encode", word_states)
    corpus, models, tokens = ("--corpus", str(tiny_corpus)), tmp_path / "models", tmp_path / "tokens"
    train("codec", tmp_path / "first", *corpus, sizes=SMALL_CODEC)
    start = ("--phase", "decoder", "--start", str(tmp_path / "first/best.pt"))
    train("codec", models / "codec", *corpus, *start, sizes=SMALL_CODEC)
    first, second = (
        torch.load(folder / "best.pt", weights_only=False)["module"]
        for folder in (tmp_path / "first", models / "codec")
    )
    assert all(torch.equal(second[key], value) for key, value in first.items() if key.startswith("codec.encoder"))
    assert not torch.equal(second["codec.quantizer.levels.0.embed"], first["codec.quantizer.levels.0.embed"])
    mulan, sizes = random_models()["mulan"]
    torch.save({"state": mulan.state_dict(), "config": dataclasses.asdict(sizes)}, models / "mulan.pt")
    train("tokens", tokens, *corpus, "--models", str(models))
    assert np.load(tokens / "acoustic.npy").shape == (3, 1500, 3)
    assert np.load(tokens / "text_embed.npy").shape == (3, 5, 8)
    stage = ("dim=16", "depth=1", "heads=2", "window=24", "embed_dim=8", "prefix=1")
    train("semantic", tmp_path / "semantic", "--tokens", str(tokens), sizes=stage)
    acoustic = ("latent_dim=8", "dim=16", "blocks=1", "longest=1", "embed_dim=8")
    train("acoustic", tmp_path / "acoustic", "--tokens", str(tokens), sizes=acoustic)
    coarse = ("dim=32", "depth=1", "heads=2", "dim_head=16", "cond_dim=8", "codebook_size=16", "n_quantizers=3")
    windows = ("n_coarse=2", "semantic_window_s=2.0", "coarse_window_s=0.8")
    train("coarse", tmp_path / "coarse", "--tokens", str(tokens), sizes=(*coarse, *windows))
    chance = {"semantic": 2 * np.log(256), "acoustic": 1.5, "coarse": np.log(16)}  # the first counts notes and heads
    for name, loss in chance.items():
        figures = torch.load(tmp_path / name / "best.pt", weights_only=False)["figures"]
        assert 0 < figures["loss"] < 2 * loss
        assert (tmp_path / name / "curve.csv").exists()


def test_sizes_a_stage_does_not_have_are_refused() -> None:
    with pytest.raises(SystemExit, match="name out of n_codes, codebook_size, dim, depth, heads, window, embed_dim"):
        _sized(SEMANTIC, ["guide_size=16"])
    with pytest.raises(SystemExit, match="name out of frame_rate, latent_dim, dim, blocks, longest, embed_dim"):
        _sized(ACOUSTIC, ["depth=3"])
    assert _sized(SEMANTIC, ["depth=2", "dropout=0.2"]).dropout == 0.2
    assert _sized(ACOUSTIC, ["blocks=2"]).blocks == 2


def test_a_repeated_command_goes_on_where_it_stopped(tiny_corpus: Path, tmp_path: Path) -> None:
    sizes = ("width=4", "embed_dim=8")
    for steps in (1, 3):
        train("listener", tmp_path, "--corpus", str(tiny_corpus), sizes=sizes, steps=steps)
        assert torch.load(tmp_path / "state.pt", weights_only=False)["progress"]["step"] == steps
