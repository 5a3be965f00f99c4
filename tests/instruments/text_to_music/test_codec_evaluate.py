"""The codec's figures: a perfect codec scores perfectly, baselines do not, recordings are found and levelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from backend.audio.spectral import chroma_cosine, cqt_chroma, multi_resolution_log_mel_l1
from backend.audio.waveform import Waveform
from backend.errors import NeuromuseError
from backend.instruments.text_to_music.codec_evaluate import (
    RATE,
    Comparison,
    compare,
    held_out_sounds,
    main,
    real_sounds,
)
from backend.musiclm.codec import TINY
from tests.musiclm.tiny import write_corpus


def tone(hertz: float, seconds: float = 2.0, rate: int = RATE) -> torch.Tensor:
    t = torch.arange(round(seconds * rate)) / rate
    return 0.4 * torch.sin(2 * torch.pi * hertz * t)


class Echo:
    """A codec whose codes are all there is to know: it gives back what it heard, softer with fewer codebooks."""

    config = TINY
    codebook_size = 32

    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        self.heard = audio
        return torch.arange(audio.shape[1] // 480)[None, :, None].repeat(1, 1, 8) % 32

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        return self.heard[:, : codes.shape[1] * 480] * codes.shape[2] / 8


def test_a_perfect_codec_scores_perfectly_and_its_baselines_do_not() -> None:
    codec: Any = Echo()
    rows, codes = compare(codec, [tone(440), tone(330)], np.random.default_rng(0))
    assert rows["codec"] == {"clips": 2, "log_mel_l1": 0.0, "chroma_cosine": pytest.approx(1.0)}
    assert 0.1 < rows["first_4_codebooks"]["log_mel_l1"] < rows["white_noise"]["log_mel_l1"]
    assert rows["first_4_codebooks"]["chroma_cosine"] == pytest.approx(1.0, abs=1e-3)  # softer, but in tune
    assert rows["white_noise"]["chroma_cosine"] < 0.7
    assert codes.shape == (200, 8)
    with pytest.raises(NeuromuseError, match="no sounds"):
        compare(codec, [], np.random.default_rng(0))


def test_figures_are_those_of_the_shared_definitions() -> None:
    a, b = tone(440), tone(466.16) + 0.01
    comparison = Comparison()
    comparison.add(a, b)
    figures = comparison.figures()
    assert figures["log_mel_l1"] == pytest.approx(multi_resolution_log_mel_l1(a, b), rel=1e-5)
    chroma = [cqt_chroma(Waveform(x.numpy(), RATE)) for x in (a, b)]
    assert figures["chroma_cosine"] == pytest.approx(float(np.median(chroma_cosine(*chroma))))
    assert figures["chroma_cosine"] < 0.8  # a semitone apart


def test_held_out_sounds_are_ten_seconds_of_test_clips(tmp_path: Path) -> None:
    sounds = list(held_out_sounds(write_corpus(tmp_path), 10))
    assert [sound.shape for sound in sounds] == [(240_000,)]
    with pytest.raises(NeuromuseError, match="is no corpus"):
        list(held_out_sounds(tmp_path / "nowhere", 1))


def test_recordings_are_resampled_levelled_and_unreadable_ones_passed_over(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    soundfile.write(tmp_path / "deep/a.flac", tone(440, 30, 44_100).numpy(), 44_100)
    (tmp_path / "b.mp3").write_bytes(b"not a sound")
    (tmp_path / "notes.txt").write_text("not a recording")
    sounds = list(real_sounds(tmp_path))
    assert [sound.shape for sound in sounds] == [(240_000,)] * 2
    for sound in sounds:
        assert float(sound.abs().max()) == pytest.approx(10 ** (-3 / 20), rel=1e-4)
        assert np.abs(np.fft.rfft(sound.numpy())).argmax() == 4400  # 440 Hz in tenths


def test_a_missing_checkpoint_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEUROMUSE_CHECKPOINTS", "")
    monkeypatch.setattr("backend.instruments.text_to_music.codec_evaluate.CHECKPOINT", "nothing.here")
    assert main(["--corpus", str(tmp_path)]) == 1
    assert "nothing.here" in capsys.readouterr().err


def test_the_command_ends_with_one_json_object(
    store_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NEUROMUSE_CHECKPOINTS", str(store_folder))
    assert main(["--corpus", str(write_corpus(tmp_path))]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["bits_per_second"] == 50 * 3 * 5
    assert len(figures["perplexity"]) == 3 and figures["perplexity_min"] == min(figures["perplexity"])
    assert set(figures["held_out"]) == {"codec", "first_4_codebooks", "white_noise"}
    assert "real" not in figures
