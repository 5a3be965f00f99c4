from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from backend.audio.loudness import integrated_lufs, true_peak_db
from backend.audio.waveform import Waveform
from backend.errors import Cancelled, CheckpointError
from backend.instruments.genre_transfer import studio
from backend.instruments.genre_transfer.instrument import GenreTransfer, WorkInProgress, chosen
from backend.instruments.genre_transfer.lil_data import BASE, LilData
from backend.instruments.genre_transfer.request import GenreTransferRequest
from backend.job import Job, Step
from tests.instruments.genre_transfer.sounds import song


@pytest.fixture
def instrument(monkeypatch: pytest.MonkeyPatch) -> GenreTransfer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = LilData(BASE).eval()
    made = GenreTransfer()
    monkeypatch.setattr(made, "_lil_data", net)
    monkeypatch.setattr(made, "_store", object())
    monkeypatch.setattr(studio.Controls, "__init__", _quick(studio.Controls.__init__))
    return made


def _quick(init: Any) -> Any:
    def quick(self: studio.Controls, *values: Any) -> None:
        init(self, *values, 3)

    return quick


def asked(**values: Any) -> GenreTransferRequest:
    sounds = {"content_sound": song(2.0), "style_sound": song(2.0, 100, 0.8)}
    return GenreTransferRequest(content="upload", style="upload", **{**sounds, **values})


@pytest.mark.parametrize("method", ["studio", "classic"])
def test_a_transfer_gives_three_level_matched_sounds_and_what_to_look_at(
    instrument: GenreTransfer, method: str
) -> None:
    steps = list[Step]()
    result = instrument.generate(asked(method=method, iterations=2), Job(steps.append))
    assert len(result.waveforms) == 3
    for sound in result.waveforms:
        assert sound.sample_rate == 44_100
        assert sound.n_channels == 2
        assert true_peak_db(sound) <= -0.9
        assert integrated_lufs(sound) == pytest.approx(integrated_lufs(result.waveforms[0]), abs=1.0)
    assert result.waveforms[0].n_samples == result.waveforms[1].n_samples
    for name in ("result", "content", "style"):
        assert result.arrays[f"heard_{name}"].sum() == pytest.approx(1.0, abs=1e-4)
        assert result.arrays[f"spectrogram_{name}"].shape[0] == 128
    assert result.arrays["spectrogram_difference"].shape == result.arrays["spectrogram_result"].shape
    shown = [step.preview for step in steps if step.preview is not None]
    assert shown
    for work in shown:
        assert isinstance(work, WorkInProgress)
        assert 0.0 <= float(work.image.min()) <= float(work.image.max()) <= 1.0


def test_listening_gives_the_clip_back_with_what_is_heard_in_it(instrument: GenreTransfer) -> None:
    request = asked(method="listen", style_sound=None)
    result = instrument.generate(request, Job())
    (sound,) = result.waveforms
    assert request.content_sound is not None
    assert sound.duration_s == pytest.approx(request.content_sound.duration_s, abs=0.01)
    assert set(result.arrays) == {"genres", "heard_content"}
    assert result.arrays["heard_content"].sum() == pytest.approx(1.0, abs=1e-4)


def test_a_stopped_job_ends_at_its_next_step(instrument: GenreTransfer) -> None:
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        instrument.generate(asked(), job)


def test_an_unloaded_instrument_says_so() -> None:
    with pytest.raises(CheckpointError):
        GenreTransfer().generate(asked(), Job())


def test_mono_surround_other_rates_and_a_constant_become_clean_stereo() -> None:
    for channels, rate in ((1, 8000), (6, 48_000), (2, 44_100)):
        samples = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((channels, rate)).astype(np.float32).clip(-4, 4)
        made = chosen("upload", Waveform(samples, rate))
        assert made.samples.shape == (2, 44_100)
        assert np.abs(made.samples.mean(1)).max() < 1e-3
