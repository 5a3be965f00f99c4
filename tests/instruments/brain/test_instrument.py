"""The instrument with miniature models: a simulated listener to sound, silence where there is no signal, labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backend.contract import Result
from backend.errors import Cancelled, CheckpointError, RequestError
from backend.instruments.brain.instrument import Brain
from backend.instruments.brain.layout import LABEL
from backend.instruments.brain.request import BrainRequest
from backend.instruments.brain.stimuli import Stimuli, pack_codes, unpack_codes
from backend.job import Job


def hear(brain: Brain, job: Job | None = None, **changes: Any) -> Result:
    values: dict[str, Any] = {"snr": 3.0, "duration_s": 4, "candidates": 1, "decoder": "ridge", **changes}
    return brain.generate(BrainRequest(**values), job or Job())


@pytest.fixture(scope="module")
def first(brain: Brain) -> Result:
    return hear(brain, clip=4)


def test_a_simulated_listener_becomes_original_reconstruction_retrieval_and_three_controls(first: Result) -> None:
    names = first.arrays["names"].tolist()
    assert names == [
        "original", "reconstruction", "retrieval", "mean_embedding", "random_listener", "true_embedding",
    ]  # fmt: skip
    assert len(first.waveforms) == len(names) == len(first.arrays["cosine"])
    assert [round(w.duration_s) for w in first.waveforms] == [2, 4, 2, 4, 4, 4]


def test_everything_simulated_says_so(first: Result) -> None:
    assert str(first.arrays["label"]) == LABEL and "simulated" in str(first.arrays["file_stem"])


def test_a_strong_signal_is_reliable_and_its_arrays_fit_the_page(first: Result) -> None:
    a = first.arrays
    assert bool(a["reliable"]) and float(a["accuracy"]) > 0.7 and float(a["p"]) < 0.05
    assert a["surface"].shape == a["surface_significant"].shape == (2, 10242)
    assert a["similarity"].shape == (10,) and len(a["titles"]) == int(a["n_test"]) == 10
    assert np.allclose(a["probe"].sum(), 1, atol=1e-5) and a["time_course"].shape == (10,)
    assert 1 <= int(a["rank"]) <= 10 and len(a["region_names"]) == len(a["region_contribution"]) == 12


def test_noise_gives_one_sentence_and_no_reconstruction(brain: Brain) -> None:
    result = hear(brain, snr=0.0)
    assert not bool(result.arrays["reliable"]) and result.arrays["names"].tolist() == ["original"]
    assert "No reliable signal" in str(result.arrays["remarks"][-1])


def test_the_same_request_makes_the_same_sound_and_another_seed_another(brain: Brain, first: Result) -> None:
    again, other = hear(brain, clip=4), hear(brain, clip=4, seed=1)
    assert again.waveforms[1].samples.tobytes() == first.waveforms[1].samples.tobytes()
    assert other.waveforms[1].samples.tobytes() != first.waveforms[1].samples.tobytes()


def test_a_cancelled_job_stops_at_its_next_step(brain: Brain) -> None:
    job = Job()
    job.cancel()
    with pytest.raises(Cancelled):
        hear(brain, job)


def test_without_models_nothing_is_made() -> None:
    with pytest.raises(CheckpointError):
        hear(Brain())


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"clip": 60}, "clip"), ({"source": "dream"}, "source"), ({"decoder": "lstm"}, "decoder"),
        ({"region": "toe"}, "region"), ({"snr": float("nan")}, "snr"), ({"candidates": 9}, "candidates"),
        ({"source": "scan"}, "consent"), ({"source": "scan", "consent": True}, "bids"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused_by_name(values: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as caught:
        BrainRequest(**values)
    assert caught.value.field == field


def test_provenance_knows_no_path_of_a_scan_and_cannot_bring_one_back() -> None:
    from pathlib import Path

    request = BrainRequest(source="scan", consent=True, bids=Path("/secret/ward"), stimuli=Path("/secret/gtzan"))
    assert "secret" not in str(request.to_dict()) and "secret" not in repr(request)
    with pytest.raises(RequestError, match="given again"):
        BrainRequest.from_dict(request.to_dict())
    assert BrainRequest.from_dict(BrainRequest(clip=7).to_dict()) == BrainRequest(clip=7)


def test_codes_take_ten_bits_each(stimuli: Stimuli) -> None:
    packed = pack_codes(stimuli.codes)
    assert len(packed) == -(-stimuli.codes.numel() * 10 // 8)
    assert (unpack_codes(packed, list(stimuli.codes.shape)) == stimuli.codes).all()
