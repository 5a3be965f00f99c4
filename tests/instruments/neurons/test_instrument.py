"""The instrument with a stand-in ear: passes, live changes, safety, and what is shown of it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from backend.audio.loudness import true_peak_db
from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.contract import Result
from backend.errors import Cancelled, CheckpointError, RequestError
from backend.instruments.neurons import instrument as module
from backend.instruments.neurons.activity import BRIGHTEST, activity, index
from backend.instruments.neurons.console import Console, LoopPass
from backend.instruments.neurons.ear import TINY, Ear
from backend.instruments.neurons.graph import LayerShape
from backend.instruments.neurons.instrument import Neurons
from backend.instruments.neurons.networks import EarNetwork
from backend.instruments.neurons.objective import layer_sizes
from backend.instruments.neurons.request import NeuronsRequest
from backend.instruments.neurons.settings import KNOBS, Settings, Target
from backend.job import Job, Step
from tests.instruments.neurons.listening import CPU, RATE, Plain, StandIn, noise, plain, tone

TARGET = Target(layer="second", channel=3)


class OpenStandIn(StandIn):
    normaliser = Plain()
    shapes = (LayerShape("first", 6, 96), LayerShape("second", 8, 48), LayerShape("third", 10))


@pytest.fixture
def neurons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Neurons]:
    monkeypatch.setattr(module, "open_network", lambda name, store, device: OpenStandIn())
    made = Neurons()
    made.load(CheckpointStore(tmp_path), CPU)
    yield made
    made.unload()


def play(neurons: Neurons, job: Job | None = None, **values: Any) -> Result:
    asked: dict[str, Any] = {"settings": plain(TARGET), "passes": 2, "updates_per_pass": 3, "bars": 1, "tempo_bpm": 180}
    return neurons.generate(NeuronsRequest(**{**asked, **values}), job or Job())


def watched(neurons: Neurons, act: Any = lambda step: None, **values: Any) -> tuple[Result, list[LoopPass]]:
    shown: list[LoopPass] = []

    def report(step: Step) -> None:
        if isinstance(step.preview, LoopPass):
            shown.append(step.preview)
        act(step)

    return play(neurons, Job(report), **values), shown


def test_every_pass_is_shown_as_a_safe_loop_and_the_target_rises(neurons: Neurons) -> None:
    result, shown = watched(neurons, passes=3)
    assert [one.number for one in shown] == [0, 1, 2, 3] and [one.updates for one in shown] == [0, 3, 6, 9]
    assert all(one.loop.samples.shape == (1, round(4 / 3 * RATE)) and true_peak_db(one.loop) <= -0.99 for one in shown)
    assert np.array_equal(shown[-1].loop.samples, result.waveforms[0].samples)
    assert shown[-1].activation > shown[0].activation and shown[-1].change_rms > shown[0].change_rms
    assert result.arrays["activation"].shape == (9, 2)
    assert result.arrays["scalogram_before"].shape == result.arrays["scalogram_after"].shape
    assert not np.array_equal(result.arrays["scalogram_before"], result.arrays["scalogram_after"])


def test_progress_counts_every_update_and_ends_with_all(neurons: Neurons) -> None:
    done: list[tuple[float, float]] = []
    play(neurons, Job(lambda step: done.append((step.done, step.total))))
    assert done[1:] == [(n, 6) for n in (0, 1, 2, 3, 3, 4, 5, 6, 6)]


def test_the_same_request_gives_the_same_samples(neurons: Neurons) -> None:
    settings = Settings(targets=(TARGET,))
    first, again, other = (play(neurons, settings=settings, seed=seed).waveforms[0].samples for seed in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize(
    "values",
    [
        {"start": "silence"},
        {"start": "noise"},
        {"start": "upload", "sound": tone(seconds=0.3, rate=44_100)},
        {"start": "last", "sound": noise(4.0)},
        {"start": "upload", "sound": Waveform(np.ones((8, 96_000), np.float32), 48_000)},
    ],
)
def test_any_start_is_taken(neurons: Neurons, values: dict[str, Any]) -> None:
    result = play(neurons, settings=Settings(targets=(TARGET,)), **values)
    assert np.isfinite(result.waveforms[0].samples).all() and not result.arrays["skipped"]


def test_a_change_sent_while_it_runs_holds_from_the_next_update(neurons: Neurons) -> None:
    console = Console()

    def act(step: Step) -> None:
        if step.done == 3:
            console.send(plain(TARGET, learning_rate=0.0))

    _, shown = watched(neurons, act, console=console.token)
    assert shown[1].settings.learning_rate > 0 == shown[2].settings.learning_rate
    assert shown[1].activation == shown[2].activation and console.attached


def test_a_refused_change_is_told_and_the_loop_goes_on(neurons: Neurons) -> None:
    console = Console()

    def act(step: Step) -> None:
        if step.done == 1:
            console.send(plain(Target(layer="nowhere")))
        if step.done == 4:
            console.send(plain(TARGET, mix=0.5))

    _, shown = watched(neurons, act, console=console.token)
    assert "layer: got 'nowhere'" in shown[1].refused and shown[1].settings == plain(TARGET)
    assert shown[2].refused == "" and shown[2].settings.mix == 0.5 and shown[2].activation > shown[1].activation


def test_another_console_disturbs_nothing(neurons: Neurons) -> None:
    mine, yours = Console(), Console()
    yours.send(plain(TARGET, learning_rate=0.0))
    _, shown = watched(neurons, console=mine.token)
    assert shown[-1].settings == plain(TARGET) and not yours.attached


def test_a_target_that_does_not_exist_at_the_start_is_refused(neurons: Neurons) -> None:
    with pytest.raises(RequestError, match="channel: got 99"):
        play(neurons, settings=plain(Target(layer="second", channel=99)))


def test_a_live_pass_waits_for_the_player_and_can_be_stopped_while_it_waits(neurons: Neurons) -> None:
    job = Job()
    threading.Timer(0.5, job.cancel).start()
    with pytest.raises(Cancelled):
        play(neurons, job, live=True, passes=10_000, updates_per_pass=1)


def test_a_live_pass_ends_with_the_loop_when_updates_are_slow(
    neurons: Neurons, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count(0.0, 0.3)  # seconds from one look at the clock to the next; the loop lasts 1.33
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(ticks), sleep=lambda s: None))
    _, shown = watched(neurons, live=True, updates_per_pass=200)
    assert [one.updates for one in shown] == [0, 5, 10]


def test_activity_has_a_row_for_every_neuron_in_the_maps_order(neurons: Neurons) -> None:
    _, shown = watched(neurons, activity_fps=30)
    network, loop = StandIn(), torch.from_numpy(tone().samples[0])
    sizes = layer_sizes(network, network.scalogram(torch.zeros(1, RATE)))
    neurons_in_all = sum(size.channels * size.pitch for size in sizes.values())
    assert all(one.activity is not None and one.activity.shape == (neurons_in_all, 40) for one in shown)
    lit = activity(network, Plain(), loop, 100)
    found = network.respond(network.scalogram(loop[None]))
    row = (found["second"][0, 5, 7] * 255 / BRIGHTEST).clamp(0, 255).to(torch.uint8).numpy()
    assert np.array_equal(lit[index(sizes, "second", 5, 7)], row) and lit.max() > 0
    with pytest.raises(KeyError):
        index(sizes, "fourth", 0, 0)


def test_with_no_passes_the_network_only_listens_whatever_the_targets(neurons: Neurons) -> None:
    result, shown = watched(neurons, passes=0, settings=plain(Target(layer="nowhere")), activity_fps=10)
    assert [one.number for one in shown] == [0] and result.arrays["activation"].size == 0
    assert shown[0].activity is not None and shown[0].change_rms < 1e-3


def test_every_pass_says_who_listens_and_draws_rings_where_no_map_was_bundled(neurons: Neurons) -> None:
    _, shown = watched(neurons, activity_fps=10)
    listener = shown[0].listener
    assert listener is not None and all(one.listener is listener for one in shown)
    chart = listener.chart
    assert (listener.label, chart.network) == ("Stand-in", "ear:score")
    assert chart.positions.shape == (sum(shape.neurons for shape in OpenStandIn.shapes), 2)
    radius = np.hypot(*chart.positions.T)
    outer, inner = radius[chart.layer == 0], radius[chart.layer == 2]
    assert radius.max() <= 1 and outer.min() > inner.max()  # the input lies around what listens to it


def test_a_real_ear_is_excited_with_every_regulariser_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ear = EarNetwork(Ear(TINY), "Untrained")
    monkeypatch.setattr(module, "open_network", lambda name, store, device: ear)
    neurons = Neurons()
    neurons.load(CheckpointStore(tmp_path), CPU)
    neurons_in_all = sum(shape.channels * shape.pitch for shape in ear.shapes)
    settings = Settings(targets=(Target(layer="encoder0b", channel=1),), eq_low=0.1, eq_mid=-0.1, eq_high=0.1)
    assert all(getattr(settings, name) for name in KNOBS)
    result, shown = watched(neurons, settings=settings, passes=4, activity_fps=10)
    assert shown[-1].activation > shown[0].activation and not result.arrays["skipped"]
    assert shown[-1].activity is not None and len(shown[-1].activity) == neurons_in_all


def test_an_unloaded_instrument_says_so() -> None:
    with pytest.raises(CheckpointError):
        play(Neurons())
