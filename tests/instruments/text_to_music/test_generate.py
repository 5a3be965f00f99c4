"""The command line: files with provenance, JSON on stdout, one sentence and status 1 for what cannot be done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.audio.io import read, read_provenance
from backend.instruments.text_to_music.generate import main
from backend.instruments.text_to_music.instrument import TextToMusic
from backend.instruments.text_to_music.request import TextToMusicRequest
from backend.musiclm.text import SentenceEncoder
from tests.musiclm.tiny import word_states


@pytest.fixture(autouse=True)
def miniature(store_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEUROMUSE_CHECKPOINTS", str(store_folder))
    monkeypatch.setattr(SentenceEncoder, "encode", word_states)


def test_each_variation_is_a_file_that_says_how_to_make_it_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "clip.flac"
    assert main(["slow sad violin", "--duration", "4", "--seed", "7", "--variations", "2", "--out", str(out)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["files"] == [str(tmp_path / "clip_1.flac"), str(tmp_path / "clip_2.flac")]
    for file in answer["files"]:
        waveform = read(file)
        assert (waveform.sample_rate, waveform.n_channels, waveform.duration_s) == (24_000, 1, 4.0)
        provenance = read_provenance(file)
        assert provenance is not None and provenance["checkpoints"] == answer["provenance"]["checkpoints"]
        request = TextToMusicRequest.from_dict(provenance["request"])
        assert (request.prompt, request.seed, request.variations) == ("slow sad violin", 7, 2)
    assert len(answer["provenance"]["checkpoints"]) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["", "--out", "clip.wav"], "prompt: got ''"),
        (["harp", "--duration", "1e9"], "duration_s: got 1000000000.0, expected a number from 4 to 30."),
        (["harp", "--guidance", "nan"], "guidance_scale: got nan"),
        (["harp", "--seed", "-1"], "seed: got -1"),
        (["harp", "--out", "clip.xyz"], "out: got 'clip.xyz'"),
        (["harp", "--device", "toaster"], "device: got 'toaster'"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_nothing_is_loaded(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TextToMusic, "load", lambda *_: pytest.fail("loaded"))
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith(said) and captured.err.count("\n") == 1


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["harp", "--duration", "4", "--out", str(tmp_path / "nowhere" / "clip.wav")]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "Traceback" not in captured.err and "a folder that exists" in captured.err
