"""The instrument with miniature models: deterministic, level, exact in length, safe, stoppable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.audio.loudness import true_peak_db
from backend.checkpoints import CheckpointStore
from backend.contract import Result
from backend.errors import Cancelled, CheckpointError, DeadlineExceeded
from backend.instruments.text_to_music.instrument import TextToMusic
from backend.instruments.text_to_music.request import TextToMusicRequest
from backend.job import Job, Step
from backend.musiclm.events import KEYS, Setting
from backend.musiclm.text import SentenceEncoder
from tests.musiclm.tiny import word_states, write_package, write_store


def play(instrument: TextToMusic, job: Job | None = None, **changes: Any) -> Result:
    values: dict[str, Any] = {"prompt": "slow sad violin", "duration_s": 4, **changes}
    return instrument.generate(TextToMusicRequest(**values), job or Job())


def samples(result: Result) -> list[bytes]:
    return [waveform.samples.tobytes() for waveform in result.waveforms]


@pytest.fixture(scope="module")
def first(instrument: TextToMusic) -> Result:
    return play(instrument)


def test_the_same_seed_gives_the_same_samples_and_nothing_is_kept_between_jobs(
    instrument: TextToMusic, first: Result
) -> None:
    other = play(instrument, seed=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        before = torch.random.get_rng_state()
        again = play(instrument)
        assert torch.equal(torch.random.get_rng_state(), before)  # torch's own generator is not touched
    assert samples(again) == samples(first) != samples(other)


@pytest.mark.parametrize("changes", [{"prompt": "fast loud drums"}, {"negative_prompt": "fast loud drums"}])
def test_words_change_the_music(instrument: TextToMusic, first: Result, changes: dict[str, str]) -> None:
    assert samples(play(instrument, **changes)) != samples(first)


def test_four_variations_differ_and_each_has_its_notes(instrument: TextToMusic) -> None:
    result = play(instrument, variations=4.0, duration_s=4.1)  # a slider says 4.0
    assert len(set(samples(result))) == 4
    assert all(waveform.samples.shape == (1, 98_400) for waveform in result.waveforms)
    assert len(result.notes) == 4 and all(len(notes) and notes["start_s"].max() < 4.1 for notes in result.notes)


def test_a_tempo_and_a_key_in_the_prompt_are_kept_to(instrument: TextToMusic, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    models = instrument._generator
    assert models is not None
    generate = models.generate
    monkeypatch.setattr(models, "generate", lambda *a, **k: made.append(generate(*a, **k)) or made[-1])
    play(instrument, prompt="flute in A minor, 70 bpm", variations=2)
    for events in made[0].events:
        setting = Setting.of_event(events[0].tolist())
        assert abs(setting.bpm - 70) < 0.5 and KEYS[setting.key] == "A minor"


def test_the_sound_is_level_and_below_the_ceiling(first: Result) -> None:
    waveform = first.waveforms[0]
    assert waveform.sample_rate == 24_000 and waveform.n_samples == 96_000
    assert true_peak_db(waveform) <= -0.99
    assert 0.01 < float(np.sqrt((waveform.samples**2).mean())) < 0.5
    assert abs(float(waveform.samples[0, 0])) < 1e-3 and abs(float(waveform.samples[0, -1])) < 1e-2  # faded


def test_a_model_gone_wrong_is_limited_and_never_not_a_number(
    instrument: TextToMusic, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = instrument._generator
    assert models is not None

    def broken(codes: torch.Tensor) -> torch.Tensor:
        audio = torch.zeros(len(codes), codes.shape[1] * 480)
        for i, value in enumerate((torch.nan, torch.inf, -torch.inf, 1e30, 0.5)):
            audio[:, 20_000 * i : 20_000 * i + 100] = value
        return audio

    monkeypatch.setattr(models.codec, "decode", broken)
    waveform = play(instrument).waveforms[0]
    assert np.isfinite(waveform.samples).all() and true_peak_db(waveform) <= -0.99


def test_stop_and_deadline_end_the_job_and_the_next_one_runs(instrument: TextToMusic, first: Result) -> None:
    seen: list[Step] = []

    def report(step: Step) -> None:
        seen.append(step)
        if len(seen) == 8:
            job.cancel()

    job = Job(report)
    with pytest.raises(Cancelled):
        play(instrument, job)
    assert len(seen) == 8
    with pytest.raises(DeadlineExceeded):
        play(instrument, Job(deadline_s=-1))
    assert samples(play(instrument)) == samples(first)


def test_package_stages_are_read_when_first_asked_for(
    instrument: TextToMusic, first: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CheckpointError, match="bundled stages"):
        play(instrument, stages="package")
    monkeypatch.setattr(SentenceEncoder, "encode", word_states)
    store, other = write_store(tmp_path), TextToMusic()
    write_package(store)
    other.load(store, torch.device("cpu"))
    assert not any("package" in name for name in store.opened)
    result = play(other, stages="package", variations=2)
    assert len({*samples(result), *samples(first)}) == 3
    assert sum("package" in name for name in store.opened) == 3  # provenance names them


def test_without_its_models_the_instrument_says_so(store_folder: Path) -> None:
    unloaded = TextToMusic()
    with pytest.raises(CheckpointError, match="not loaded"):
        play(unloaded)
    unloaded.load(CheckpointStore(store_folder), torch.device("cpu"))
    unloaded.unload()
    with pytest.raises(CheckpointError, match="not loaded"):
        play(unloaded)
