"""An imported MusicVAE in the instrument: its roads and pieces, what it refuses, provenance; the import as a job."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.audio.synth import find_soundfont
from backend.checkpoints import CheckpointStore
from backend.contract import Result
from backend.errors import Cancelled, CheckpointError, RequestError
from backend.instruments.calm import instrument as calm
from backend.instruments.calm.foreign import _labels
from backend.instruments.calm.model import TINY, CalmVAE
from backend.instruments.calm.music_vae.config import CAT_MEL_2BAR_SMALL
from backend.instruments.calm.music_vae.model import MusicVae
from backend.instruments.calm.music_vae.sampling import checkpoint_name
from backend.instruments.calm.music_vae.sequences import to_notes
from backend.instruments.calm.pieces import bundled
from backend.instruments.calm.request import CalmRequest, ImportRequest
from backend.instruments.calm.room import LEAD_S
from backend.instruments.calm.sound import Player
from backend.job import Job, Step

SMALL = CAT_MEL_2BAR_SMALL.name


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a MusicVAE of random weights."""
    folder = tmp_path_factory.mktemp("imported")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MusicVae(CAT_MEL_2BAR_SMALL)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    config = dataclasses.asdict(CAT_MEL_2BAR_SMALL)
    CheckpointStore(folder).save(
        checkpoint_name(CAT_MEL_2BAR_SMALL), model.state_dict(), config, {}, force=True, max_shard_bytes=100_000_000
    )
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CheckpointStore:
    folder = tmp_path_factory.mktemp("store")
    model = CalmVAE(TINY)
    CheckpointStore(folder).save("calm.model", model.state_dict(), dataclasses.asdict(TINY), {}, force=True)
    return CheckpointStore(folder)


@pytest.fixture(scope="module")
def instrument(store: CheckpointStore) -> Iterator[calm.Calm]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calm, "Player", lambda: Player(find_soundfont(folders=())))
        loaded = calm.Calm()
        loaded.load(store, torch.device("cpu"))
        yield loaded


def play(instrument: calm.Calm, **changes: Any) -> Result:
    return instrument.generate(CalmRequest(**changes), Job())


def test_a_road_of_an_imported_model_has_its_length_our_tempo_and_no_map(
    instrument: calm.Calm, store: CheckpointStore, weights: Path
) -> None:
    result = play(instrument, model=SMALL, weights=weights, steps=3, density=2)
    assert len(result.waveforms) == len(result.notes) == 3
    assert result.arrays["piece_tempo_bpm"][[0, -1]] == pytest.approx([66, 63])
    assert result.waveforms[0].duration_s == pytest.approx(LEAD_S + 32 * 15 / 66 + 3, abs=0.01)
    assert "map_corpus" not in result.arrays and result.arrays["piece_cues"].shape == (3, 8)
    assert any(SMALL in str(remark) for remark in result.arrays["remarks"])
    assert checkpoint_name(CAT_MEL_2BAR_SMALL) in store.opened
    play(instrument, steps=2, bars=4)
    assert list(store.opened) == ["calm.model"]  # what it did not make it is not named for


def test_new_pieces_and_relatives_differ_by_seed_and_repeat_with_it(instrument: calm.Calm, weights: Path) -> None:
    for anchors in ((), ("tide",)):
        asked: dict[str, Any] = dict(mode="sample", anchors=anchors, model=SMALL, weights=weights, variations=2)
        first, again, other = (play(instrument, seed=seed, **asked).notes for seed in (1, 1, 2))
        assert [table.tobytes() for table in first] == [table.tobytes() for table in again]
        assert first[0].tobytes() != first[1].tobytes() and first[0].tobytes() != other[0].tobytes()


def test_the_melody_that_goes_in_is_the_pieces_own() -> None:
    piece = bundled("lullaby").first_bars(4)
    notes = to_notes(_labels(piece, 64), CAT_MEL_2BAR_SMALL, piece.tempo_bpm)
    melody = piece.notes[piece.notes["hand"] == 0]
    assert notes["pitch"].tolist() == melody["pitch"].tolist()
    assert notes["start_s"] * piece.tempo_bpm / 15 == pytest.approx(melody["step"].astype(float))
    assert np.array_equal(_labels(piece, 128)[64:], _labels(piece, 64))  # a short one is played again


def test_what_an_imported_model_cannot_do_is_one_sentence(instrument: calm.Calm, weights: Path) -> None:
    with pytest.raises(RequestError, match="'calm' for a session"):
        CalmRequest(mode="session", model=SMALL)
    with pytest.raises(RequestError, match="whose checkpoint was imported before"):
        play(instrument, model=SMALL)
    with pytest.raises(RequestError, match="one of calm, cat-mel_2bar_small"):
        CalmRequest(model="gpt")
    assert "weights" not in CalmRequest(model=SMALL, weights=weights).to_dict()


def test_an_import_reports_refuses_in_one_sentence_and_can_be_stopped(
    instrument: calm.Calm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "letter.tar"
    text.write_text("not a checkpoint")
    steps: list[Step] = []
    with pytest.raises(CheckpointError, match=r"letter\.tar is no TensorFlow checkpoint"):
        instrument.generate(ImportRequest(source=text, config=SMALL, folder=tmp_path), Job(steps.append))
    assert steps and all(step.total == 0 for step in steps)
    with pytest.raises(RequestError, match="hierdec-trio_16bar"):
        ImportRequest(source=text, config="gpt", folder=tmp_path)

    def report(step: Step) -> None:
        job.cancel()

    job = Job(report)
    with pytest.raises(Cancelled):
        instrument.generate(ImportRequest(source=text, config=SMALL, folder=tmp_path), job)
