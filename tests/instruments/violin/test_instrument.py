"""The violin as an instrument: strength, comparison, melody, adapters of the user's, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.audio.loudness import true_peak_db
from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.contract import Result
from backend.errors import AudioError, Cancelled, CheckpointError, RequestError
from backend.instruments.text_to_music.instrument import TextToMusic
from backend.instruments.text_to_music.request import TextToMusicRequest
from backend.instruments.violin.instrument import Violin
from backend.instruments.violin.request import ViolinRequest
from backend.job import Job, Step
from tests.instruments.violin.bowed import RATE, bowed
from tests.instruments.violin.conftest import random_adapter


def play(violin: Violin, job: Job | None = None, **changes: Any) -> Result:
    values: dict[str, Any] = {"prompt": "slow line in D major, 60 bpm", "duration_s": 4, **changes}
    return violin.generate(ViolinRequest(**values), job or Job())


def samples(result: Result) -> list[bytes]:
    return [waveform.samples.tobytes() for waveform in result.waveforms]


def test_strength_0_is_text_to_music_to_the_bit(violin: Violin, store: CheckpointStore) -> None:
    base = TextToMusic()
    base.load(store, torch.device("cpu"))
    expected = base.generate(TextToMusicRequest(prompt="slow line in D major, 60 bpm", duration_s=4, seed=5), Job())
    loud = play(violin, seed=5)
    assert samples(play(violin, seed=5, strengths={"violin": 0.0})) == samples(expected) != samples(loud)


def test_a_comparison_ends_with_the_base_of_the_same_seed(violin: Violin) -> None:
    both = play(violin, compare=True, variations=2)
    assert len(both.waveforms) == len(both.notes) == 3
    alone, base = play(violin, variations=2), play(violin, strengths={})
    assert samples(both) == samples(alone) + samples(base)


def test_what_comes_out_is_finite_limited_and_as_long_as_asked(violin: Violin) -> None:
    (waveform,) = play(violin, strengths={"violin": 1.5}, duration_s=5).waveforms
    assert np.isfinite(waveform.samples).all()
    assert waveform.duration_s == pytest.approx(5, abs=0.01)
    assert true_peak_db(waveform) <= -0.9


def test_a_melody_is_followed_for_as_long_as_it_lasts(violin: Violin) -> None:
    sung, onsets, pitches = bowed(3)
    result = play(violin, melody=sung, prompt="calm solo violin", duration_s=20, strengths={})
    assert result.waveforms[0].duration_s == pytest.approx(onsets[-1] - onsets[0] + 0.45 + 0.6, abs=0.3)
    played = result.notes[0]["pitch"].astype(int)
    assert (played[: len(pitches)] == pitches).mean() > 0.8
    assert result.arrays["melody"].shape[1] == 3


def test_without_adherence_the_melody_is_only_listened_to(violin: Violin) -> None:
    sung, _, pitches = bowed(3)
    played = (
        play(violin, melody=sung, adherence=0.0, prompt="calm solo violin", strengths={}).notes[0]["pitch"].astype(int)
    )
    assert played[: len(pitches)].tolist() != pitches.tolist()


@pytest.mark.parametrize("kind", ["breath", "silence"])
def test_a_melody_without_a_pitch_is_a_sentence(violin: Violin, kind: str) -> None:
    noise = 0.05 * np.random.default_rng(0).standard_normal((1, 2 * RATE)) * (kind == "breath")
    with pytest.raises(AudioError, match=r"breath|silent"):
        play(violin, melody=Waveform(noise.astype(np.float32), RATE))


def test_an_adapter_of_the_users_is_used_at_once_and_read_again_when_it_changed(
    violin: Violin, store: CheckpointStore, tmp_path: Path
) -> None:
    path = random_adapter(store, 7).save(tmp_path / "mine")
    asked = {"strengths": {"mine": 1.0}, "adapter_paths": {"mine": path}}
    first = play(violin, **asked)
    assert samples(first) != samples(play(violin))
    random_adapter(store, 8).save(path)
    assert samples(play(violin, **asked)) != samples(first)


def test_an_adapter_of_another_base_is_refused(violin: Violin, store: CheckpointStore, tmp_path: Path) -> None:
    foreign = dataclasses.replace(random_adapter(store), base={"text_to_music.semantic": "0" * 64})
    path = foreign.save(tmp_path / "foreign")
    with pytest.raises(CheckpointError, match="another base"):
        play(violin, strengths={"foreign": 1.0}, adapter_paths={"foreign": path})
    with pytest.raises(CheckpointError, match="not there"):
        play(violin, strengths={"gone": 1.0}, adapter_paths={"gone": tmp_path / "gone"})
    assert samples(play(violin)) == samples(play(violin))  # and the bundled one plays on


def test_a_job_can_be_stopped_on_the_way(violin: Violin) -> None:
    job = Job(lambda step: job.cancel() if step.done > 10 else None)
    with pytest.raises(Cancelled):
        play(violin, job, duration_s=20)
    reports: list[Step] = []
    play(violin, Job(reports.append))
    assert reports[-1].done == 100


def test_settings_come_back_from_what_was_exported_but_recordings_must_be_given_again() -> None:
    sung, _, _ = bowed(0)
    values = ViolinRequest(prompt="slow air", melody=sung, strengths={"violin": 0.5}).to_dict()
    assert "adapter_paths" not in values and values["has_melody"] and "melody" not in values
    with pytest.raises(RequestError, match="given again"):
        ViolinRequest.from_dict(values)
    again = ViolinRequest.from_dict(values, melody=sung)
    assert again.to_dict() == values


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "123"}, {"prompt": "a" * 501}, {"duration_s": 3}, {"variations": 5}, {"strengths": {"violin": 1.6}},
        {"strengths": {"violin": float("nan")}}, {"strengths": {"mine": 1.0}}, {"adherence": 2}, {"part": "all"},
        {"strengths": dict.fromkeys("abcd", 0.0)}, {"melody": Waveform(np.zeros((1, 2400), np.float32), RATE)},
        {"melody": Waveform(np.zeros((1, 40 * 800), np.float32), 800)}, {"has_melody": True}, {"seed": -1},
    ],
)  # fmt: skip
def test_bad_requests_are_named(change: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        ViolinRequest(**{"prompt": "slow air", **change})
