"""The training commands, from a corpus of three clips to a bundled model, and what they say to wrong arguments."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from backend.musiclm import codec_train, fit
from backend.musiclm.codec import BASE, CodecConfig
from backend.musiclm.train import BATCH, EMA, KINDS, LEARNING_RATE, _sized, main, parser

SMALL_CODEC = (
    "n_quantizers=3", "codebook_size=16", "latent_dim=8", "encoder_dim=8", "encoder_blocks=1", "decoder_dim=8",
    "decoder_blocks=1", "synthesis_dim=8", "synthesis_blocks=1",
)  # fmt: skip
SMALL_TOKENS = ("n_mels=20", "dim=8", "codebook_size=16", "latent_dim=8", "code_dim=4")


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
    train("tokenizer", models / "tokenizer", *corpus, sizes=SMALL_TOKENS)
    assert torch.load(models / "tokenizer/config.pt", weights_only=False)["dim"] == 8
    train("tokens", tokens, *corpus, "--models", str(models))
    assert np.load(tokens / "acoustic.npy").shape == (3, 1500, 3)
    assert np.load(tokens / "semantic.npy").shape == (3, 375, 3)
    for name, rows in (("audio_embed", 3), ("text_embed", 5)):  # test_tokenise makes real ones
        np.save(tokens / f"{name}.npy", np.eye(8, dtype=np.float16)[None, :rows].repeat(3, 0))
    stage = ("codebook_size=16", "dim=16", "depth=1", "heads=2", "window=24", "embed_dim=8", "prefix=1")
    train("semantic", tmp_path / "semantic", "--tokens", str(tokens), sizes=stage)
    coarse = (*stage, "n_codes=2", "guide_size=16")
    train("coarse", tmp_path / "coarse", "--tokens", str(tokens), sizes=coarse)
    fine = ("n_coarse=2", "n_fine=1", "codebook_size=16", "dim=8", "blocks=1", "embed_dim=8")
    train("fine", tmp_path / "fine", "--tokens", str(tokens), sizes=fine)
    for name in ("semantic", "coarse", "fine"):
        figures = torch.load(tmp_path / name / "best.pt", weights_only=False)["figures"]
        assert 0 < figures["loss"] < 2 * np.log(16)  # near chance, in nats a code
        assert (tmp_path / name / "curve.csv").exists()


def test_a_repeated_command_goes_on_where_it_stopped(tiny_corpus: Path, tmp_path: Path) -> None:
    sizes = ("width=4", "embed_dim=8")
    for steps in (1, 3):
        train("listener", tmp_path, "--corpus", str(tiny_corpus), sizes=sizes, steps=steps)
        assert torch.load(tmp_path / "state.pt", weights_only=False)["progress"]["step"] == steps
