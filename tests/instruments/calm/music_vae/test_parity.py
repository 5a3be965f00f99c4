"""Our MusicVAE against the real magenta package on the checkpoints that it saved; see `magenta_reference`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import note_seq
import numpy as np
import pytest
import torch

from backend.audio.midi import Notes
from backend.checkpoints import CheckpointStore
from backend.instruments.calm.music_vae.config import CONFIGS, MusicVaeConfig
from backend.instruments.calm.music_vae.model import MusicVae
from backend.instruments.calm.music_vae.sampling import checkpoint_name, encode, interpolate, load_model
from backend.instruments.calm.music_vae.sequences import only_window, to_notes, windows

ROOT = Path(__file__).resolve().parents[4]
NAMES = list(CONFIGS)
TOLERANCE = 1e-4

pytestmark = pytest.mark.timeout(1200)  # TensorFlow's import alone takes minutes where the cores are taken


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("magenta")
    done = subprocess.run(
        [sys.executable, "-m", "tests.instruments.calm.music_vae.magenta_reference", str(made)],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return made


@pytest.fixture(scope="module")
def answers(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "answers.json").read_text())
    return found


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def arrays(folder: Path, name: str) -> Any:
    return np.load(folder / f"{name}.npz")


@pytest.fixture
def model(folder: Path, name: str) -> MusicVae:
    return load_model(CheckpointStore(folder / "store"), checkpoint_name(CONFIGS[name]), torch.device("cpu"))


def pieces_of(answers: dict[str, Any], name: str) -> list[Any]:
    return [note_seq.NoteSequence.FromString(bytes.fromhex(text)) for text in answers[name]["pieces"]]


def rows(notes: Notes) -> list[list[float]]:
    fields = ["start_s", "end_s", "pitch", "velocity", "program", "is_drum"]
    return sorted([float(note[field]) for field in fields] for note in notes)


def test_the_configurations_have_magentas_sizes(answers: dict[str, Any]) -> None:
    def ours(config: MusicVaeConfig) -> dict[str, Any]:
        return {
            "z_size": config.z_size,
            "max_seq_len": config.steps,
            "enc_rnn_size": list(config.enc_rnn_size),
            "dec_rnn_size": list(config.dec_rnn_size),
            "depth": sum(config.classes),
        }

    assert {name: ours(config) for name, config in CONFIGS.items()} == answers["sizes"]


def test_the_excerpts_of_a_piece_are_magentas(answers: dict[str, Any]) -> None:
    for case in answers["extracted"]:
        sequence = note_seq.NoteSequence.FromString(bytes.fromhex(case["sequence"]))
        found = {labels.tobytes().hex() for labels in windows(sequence, CONFIGS[case["config"]])}
        assert found == set(case["windows"]), case["config"]
    assert all(case["windows"] for case in answers["extracted"])


def test_a_piece_is_read_as_magenta_reads_it(answers: dict[str, Any], arrays: Any, name: str) -> None:
    for piece, expected in zip(pieces_of(answers, name), arrays["pieces"], strict=True):
        np.testing.assert_array_equal(only_window(piece, CONFIGS[name]), expected)


def test_encoder_mean_and_deviation_are_magentas(arrays: Any, model: MusicVae) -> None:
    posterior = encode(model, list(arrays["pieces"]))
    np.testing.assert_allclose(posterior.mu, arrays["mu"], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(posterior.sigma, arrays["sigma"], atol=TOLERANCE, rtol=0)
    assert np.abs(arrays["mu"][0] - arrays["mu"][1]).max() > 0.1  # the pieces are told apart


def test_decoder_logits_and_greedy_choices_are_magentas(arrays: Any, model: MusicVae) -> None:
    decoded = model.decode(torch.from_numpy(arrays["z"]), keep_logits=True)
    assert decoded.logits is not None
    np.testing.assert_array_equal(decoded.labels, arrays["labels"])
    np.testing.assert_allclose(decoded.logits, arrays["logits"], atol=TOLERANCE, rtol=0)
    assert len(np.unique(arrays["labels"][..., 0])) > 5  # not one note all along


def test_greedy_notes_are_magentas(answers: dict[str, Any], arrays: Any, model: MusicVae, name: str) -> None:
    decoded = model.decode(torch.from_numpy(arrays["z"]))
    assert [rows(to_notes(one.numpy(), model.config)) for one in decoded.labels] == answers[name]["decoded"]


@pytest.mark.parametrize("name", [name for name, config in CONFIGS.items() if not config.is_trio])
def test_the_road_between_two_pieces_is_magentas(answers: dict[str, Any], model: MusicVae, name: str) -> None:
    start, end = (only_window(piece, model.config) for piece in pieces_of(answers, name))
    road = interpolate(model, start, end, len(answers[name]["interpolated"]), temperature=0)
    assert [rows(to_notes(one, model.config)) for one in road] == answers[name]["interpolated"]


def test_the_command_line_imports_an_archive(answers: dict[str, Any], folder: Path) -> None:
    report = answers["command line"]
    assert report["status"] == 0 and report["ok"]
    assert report["checkpoint"] == "calm.cat_mel_2bar_small"
    entry = CheckpointStore(folder / "store").entry(report["checkpoint"])
    assert report["bytes"] == sum(file.bytes for file in entry.files) > 4 * report["parameters"]


def test_what_is_not_the_checkpoint_it_is_said_to_be_is_refused_in_one_sentence(answers: dict[str, Any]) -> None:
    refused = answers["refusals"]
    assert refused["another config"] == "The checkpoint is of cat-mel_2bar_small, not of cat-mel_2bar_big."
    assert refused["no config"].startswith("The checkpoint is not of cat-mel_2bar_small: encoder/mu/kernel is (")
    assert refused["cut"].startswith("cut is truncated or damaged: ")
    assert refused["noise"] == "noise is no TensorFlow checkpoint, or damaged."
    assert refused["alone"].startswith("alone is ") and refused["alone"].endswith(".")
    assert all(text.count(". ") == 0 for text in refused.values())
