"""The training loop: budget, resuming, averages, the best checkpoint and its curve."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backend.musiclm import fit as fit_module
from backend.musiclm.fit import FitConfig, WeightAverage, fit, lr_factor


class Line(nn.Module):
    """Learns y = 3x."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        with torch.no_grad():
            self.layer.weight.fill_(0.0)
            self.layer.bias.fill_(0.0)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (self.layer(x) - 3 * x).pow(2).mean()
        return loss, {"again": loss.detach()}


class LineTask:
    """Its validation gives scripted losses, or the true one."""

    def __init__(self, losses: list[float] | None = None) -> None:
        self.losses, self.weights, self.trained = losses, list[float](), list[bool]()

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        while True:
            yield torch.randn(8, 1, generator=generator)

    def validate(self, module: Any) -> Mapping[str, float]:
        self.weights.append(float(module.layer.weight))
        self.trained.append(module.training)
        return {"loss": self.losses.pop(0) if self.losses else (float(module.layer.weight) - 3) ** 2}


@pytest.fixture(autouse=True)
def one_second_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock finds one second gone."""
    clock = itertools.count()
    monkeypatch.setattr(fit_module, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))


def config(seconds: float, **changes: Any) -> FitConfig:
    values = {"lr": 0.3, "warmup_steps": 2, "validate_every_s": 4.0, "precision": "no", **changes}
    return FitConfig(minutes=seconds / 60, **values)


def curve(out: Path) -> list[dict[str, str]]:
    with (out / "curve.csv").open() as file:
        return list(csv.DictReader(file))


def test_training_ends_with_its_budget_and_leaves_its_curve(tmp_path: Path) -> None:
    module, task = Line(), LineTask()
    figures = fit(module, task, config(40), tmp_path, cpu=True)
    assert abs(module.layer.weight.item() - 3) < 0.5 and figures["loss"] < 0.3
    rows = curve(tmp_path)
    assert [int(row["step"]) for row in rows] == list(range(4, 41, 4))
    assert {"minutes", "train_loss", "again", "valid_loss"} <= rows[0].keys()
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert not any(task.trained)  # validated in evaluation mode
    assert list(tmp_path.glob("*.part")) == []


def test_a_resumed_run_continues_steps_budget_and_weights(tmp_path: Path) -> None:
    fit(Line(), LineTask(), config(8), tmp_path, cpu=True)
    state = torch.load(tmp_path / "state.pt", weights_only=False)
    assert (state["progress"]["step"], state["progress"]["elapsed_s"]) == (8, 8.0)
    starts: list[tuple[int, float]] = []

    def note(module: Any, step: int, progress: float) -> None:
        starts.append((step, float(module.layer.weight)))

    fit(Line(), LineTask(), config(20), tmp_path, cpu=True, on_step=note)
    assert starts[0] == (8, float(state["module"]["layer.weight"]))
    assert len(starts) == 12  # the budget counts both runs
    assert [int(row["step"]) for row in curve(tmp_path)] == [4, 8, 12, 16, 20]


def test_a_run_in_pieces_follows_the_schedule_of_the_whole_budget(tmp_path: Path) -> None:
    progress: list[float] = []
    for _ in range(4):
        fit(
            Line(), LineTask(), config(12, piece_minutes=4 / 60), tmp_path, cpu=True,
            on_step=lambda module, step, done: progress.append(done),
        )  # fmt: skip
    assert progress == pytest.approx([step / 12 for step in range(12)])  # the fourth piece had nothing left to do


def test_a_used_up_budget_trains_no_more_and_answers_with_the_best_figures(tmp_path: Path) -> None:
    first = fit(Line(), LineTask(), config(8), tmp_path, cpu=True)
    again = fit(Line(), LineTask(), config(8), tmp_path, cpu=True, on_step=lambda *_: pytest.fail("trained"))
    assert again == first and first["loss"] > 0


def test_only_a_better_validation_replaces_the_best_weights_also_after_a_resume(tmp_path: Path) -> None:
    task = LineTask([2.0, 1.0, 5.0])
    fit(Line(), task, config(12), tmp_path, cpu=True)
    best = torch.load(tmp_path / "best.pt", weights_only=False)
    assert best["figures"]["loss"] == 1.0
    assert float(best["module"]["layer.weight"]) == task.weights[1]
    figures = fit(Line(), LineTask([1.5]), config(16), tmp_path, cpu=True)
    assert figures["loss"] == 1.0


def test_equal_seeds_train_equal_weights_and_others_do_not(tmp_path: Path) -> None:
    weights = []
    for i, seed in enumerate((1, 1, 2)):
        module = Line()
        fit(module, LineTask(), config(6, seed=seed), tmp_path / str(i), cpu=True)
        weights.append(float(module.layer.weight))
    assert weights[0] == weights[1] != weights[2]


def test_the_average_is_what_is_validated_and_kept_and_training_goes_on_with_its_own_weights(tmp_path: Path) -> None:
    module, task = Line(), LineTask()
    fit(module, task, config(12, ema_decay=0.9), tmp_path, cpu=True)
    own = float(module.layer.weight)
    best = torch.load(tmp_path / "best.pt", weights_only=False)["module"]["layer.weight"]
    assert float(best) == task.weights[-1] != own
    assert torch.load(tmp_path / "state.pt", weights_only=False)["module"]["layer.weight"] == own


def test_an_average_follows_its_decay_and_copies_what_is_no_parameter() -> None:
    module = nn.BatchNorm1d(1)
    average = WeightAverage(module, 0.5)
    with torch.no_grad():
        module.weight.fill_(3.0)
        module.running_mean.fill_(7.0)
        module.num_batches_tracked.fill_(4)
    average.update(module, 1000)
    assert float(average.shadow["weight"]) == 2.0
    assert float(average.shadow["running_mean"]) == 7.0 and int(average.shadow["num_batches_tracked"]) == 4


def test_the_learning_rate_warms_up_then_falls_to_a_twentieth() -> None:
    assert [lr_factor(step, 0.0, 4) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert lr_factor(99, 0.5, 4) == pytest.approx(0.525)
    assert lr_factor(99, 1.0, 4) == lr_factor(99, 2.0, 4) == pytest.approx(0.05)
