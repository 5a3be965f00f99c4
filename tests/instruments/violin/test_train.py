"""Training: examples survive their file, splits keep recordings apart, the products learn and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.audio.transcribe import NOTE, Transcription
from backend.checkpoints import CheckpointStore
from backend.errors import Cancelled
from backend.instruments.violin.adapter import Adapter
from backend.instruments.violin.examples import (
    VIOLIN,
    Example,
    load_examples,
    nearest_instrument,
    nearest_sound,
    save_examples,
    shifted,
    with_sound,
)
from backend.instruments.violin.lora import LoraSettings, adapter_state
from backend.instruments.violin.objective import AdapterObjective, AdapterTask, TrainingData
from backend.instruments.violin.replay import make_replay, replay_prompts
from backend.instruments.violin.status import Status, StatusFile, ask_to_stop, read_status
from backend.job import Job
from backend.musiclm.events import CAST
from backend.musiclm.fit import FitConfig, fit
from backend.musiclm.generator import MusicGenerator
from tests.instruments.violin.bowed import bowed


def data_of(examples: list[Example]) -> TrainingData:
    return TrainingData(examples[:4], examples[4:], [])


def test_examples_survive_their_file(examples: list[Example], tmp_path: Path) -> None:
    import dataclasses

    silent = dataclasses.replace(examples[1], codes=None)
    save_examples(tmp_path / "e.npz", [examples[0], silent])
    first, second = load_examples(tmp_path / "e.npz")
    assert np.array_equal(first.piece.events(), examples[0].piece.events())
    assert first.codes is not None and np.array_equal(first.codes, examples[0].codes)
    assert np.array_equal(first.notes, examples[0].notes) and first.source == examples[0].source
    assert second.codes is None and np.array_equal(second.texts, silent.texts)


def test_notes_of_a_recording_keep_their_times_and_pitches(examples: list[Example]) -> None:
    _, onsets, pitches = bowed(0)
    assert np.allclose(examples[0].notes["onset_s"], onsets, atol=1e-3)
    assert examples[0].notes["pitch"].tolist() == pitches.tolist()
    assert (examples[0].notes["instrument"] == VIOLIN).all()


def test_a_recording_moved_up_is_shorter_and_its_notes_are_moved_along() -> None:
    waveform, onsets, pitches = bowed(0)
    notes = np.zeros(len(onsets), NOTE)
    notes["onset_s"], notes["duration_s"], notes["pitch"] = onsets, 0.4, pitches
    heard = Transcription(notes, np.zeros(1, np.float32), 100.0, 1.0, 120.0, 1.0)
    up, moved = shifted(waveform, heard, 12)
    assert up.duration_s == pytest.approx(waveform.duration_s / 2, rel=0.01)
    assert np.allclose(moved.notes["onset_s"], onsets / 2) and (moved.notes["pitch"] == pitches + 12).all()
    spectrum = [np.abs(np.fft.rfft(w.samples[0, :RATE_S])) for w in (waveform, up)]
    peak = [float(np.argmax(s)) for s in spectrum]
    assert peak[1] > 1.5 * peak[0] or peak[1] > peak[0]


RATE_S = 12_000


def test_the_products_learn_a_batch_and_the_base_stays(
    models: MusicGenerator, examples: list[Example], tmp_path: Path
) -> None:
    base = {k: v.clone() for k, v in models.semantic.state_dict().items()}
    objective = AdapterObjective(models, LoraSettings(rank=4, dropout=0.0))
    task = AdapterTask(data_of(examples), 2, models.semantic.config.window, models.codec.frame_rate)
    before = task.validate(objective.eval())
    figures = fit(
        objective, task, FitConfig(minutes=0.05, lr=2e-2, warmup_steps=2, weight_decay=0.0, precision="no"), tmp_path
    )
    assert figures["loss"] < before["loss"]
    after = models.semantic.state_dict()
    for key, value in base.items():
        stem, _, leaf = key.rpartition(".")
        assert torch.equal(after[key if key in after else f"{stem}.base_layer.{leaf}"], value)
    saved = torch.load(tmp_path / "state.pt", weights_only=False)["module"]
    assert saved and all("lora" in name for name in saved)


def test_a_run_goes_on_where_it_was_cut_off(models: MusicGenerator, examples: list[Example], tmp_path: Path) -> None:
    objective = AdapterObjective(models, LoraSettings(rank=2))
    task = AdapterTask(data_of(examples), 2, models.semantic.config.window, models.codec.frame_rate)
    config = FitConfig(minutes=0.2, piece_minutes=0.04, warmup_steps=2, precision="no")
    fit(objective, task, config, tmp_path)
    first = torch.load(tmp_path / "state.pt", weights_only=False)["progress"]
    again = AdapterObjective(MusicGenerator(_store_of(models), torch.device("cpu")), LoraSettings(rank=2))
    fit(again, task, config, tmp_path)
    second = torch.load(tmp_path / "state.pt", weights_only=False)["progress"]
    assert second["step"] > first["step"] > 0 and second["elapsed_s"] > first["elapsed_s"]


_STORES: dict[int, CheckpointStore] = {}


def _store_of(models: MusicGenerator) -> CheckpointStore:
    return _STORES[0]


@pytest.fixture(autouse=True)
def _remember(store: CheckpointStore) -> None:
    _STORES[0] = store


def test_training_that_no_longer_helps_ends_early(
    models: MusicGenerator, examples: list[Example], tmp_path: Path
) -> None:
    objective = AdapterObjective(models, LoraSettings(rank=2))
    task = AdapterTask(data_of(examples), 2, models.semantic.config.window, models.codec.frame_rate)
    config = FitConfig(minutes=5, lr=1e-12, patience=2, validate_every_s=0.05, precision="no", warmup_steps=1)
    fit(objective, task, config, tmp_path)
    assert len((tmp_path / "curve.csv").read_text().splitlines()) < 20


def test_replay_is_what_the_base_plays_and_names_every_other_instrument_once(models: MusicGenerator) -> None:
    prompts = replay_prompts(len(CAST), np.random.default_rng(0))
    players = [wish.players[0][0] for _, wish in prompts]
    assert VIOLIN not in players and len(set(players)) == len(CAST) - 2
    replay = make_replay(models, 2, 0, Job())
    assert all(e.codes is not None and e.source.startswith("base/") for e in replay)


def test_the_nearest_sound_does_not_depend_on_what_an_example_says_of_itself(
    models: MusicGenerator, examples: list[Example]
) -> None:
    found = nearest_sound(models, examples[:1])
    assert found == nearest_sound(models, [with_sound(examples[0], 7)])
    assert nearest_sound(models, []) == 0
    assert with_sound(examples[0], 7).piece.setting.sound == 7


def test_captions_may_name_another_instrument() -> None:
    assert CAST[nearest_instrument("slow cello and piano")].name == "cello"
    assert nearest_instrument("slow line") == VIOLIN


def test_the_status_file_tells_and_obeys(tmp_path: Path) -> None:
    status = StatusFile(tmp_path)
    status.step(1, 4, "Step 1", state="training", force=True)
    assert read_status(tmp_path) == Status("training", "Step 1", 1, 4)
    ask_to_stop(tmp_path)
    with pytest.raises(Cancelled):
        status.step(2, 4, "Step 2", force=True)
    (tmp_path / "status.json").write_text("{broken")
    assert read_status(tmp_path) is None


def test_weights_of_a_training_make_an_adapter(models: MusicGenerator, store: CheckpointStore, tmp_path: Path) -> None:
    objective = AdapterObjective(models, LoraSettings(rank=3, output_layer=True))
    state = adapter_state(objective.stages)
    adapter = Adapter("mine", state, 2.0, {}, settings={"rank": 3})
    assert set(Adapter.load(adapter.save(tmp_path / "a")).tensors) == set(state)
