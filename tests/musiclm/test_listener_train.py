"""The judge's training data: what sounds in a window, and figures that name what they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backend.corpus.instruments import FAMILIES
from backend.metrics.listener import ListenerConfig
from backend.musiclm.listener_train import ListenerObjective, ListenerTask

SMALL = ListenerConfig(width=4, embed_dim=16)


@pytest.fixture(scope="module")
def task(tiny_corpus: Path) -> ListenerTask:
    return ListenerTask(tiny_corpus, SMALL, 2)


def test_targets_are_the_families_whose_notes_sound_in_the_window(task: ListenerTask) -> None:
    batch = next(task.batches(torch.Generator().manual_seed(0)))
    assert batch["audio"].shape == (2, 240_000) and float(batch["audio"].abs().max()) > 0.01
    for row, lead in zip(batch["families"], batch["lead"], strict=True):
        assert {FAMILIES[i] for i in row.nonzero()[:, 0].tolist()} == {"woodwind", "bass", "drums"}
        assert FAMILIES[int(lead)] == "woodwind"


def test_the_loss_is_finite_and_teaches_every_weight(task: ListenerTask) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        objective = ListenerObjective(SMALL).train()
    loss, figures = objective(next(task.batches(torch.Generator().manual_seed(0))))
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(figures["families"]) + 0.5 * float(figures["lead"]))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters())


def test_a_judge_that_names_the_right_families_scores_one(task: ListenerTask) -> None:
    objective = ListenerObjective(SMALL).eval()
    wanted = [FAMILIES.index(name) for name in ("woodwind", "bass", "drums")]
    with torch.no_grad():
        for head, strong in ((objective.listener.families, wanted), (objective.listener.lead, wanted[:1])):
            head.weight.zero_()
            head.bias.fill_(-3.0)
            head.bias[strong] = 3.0
        figures = task.validate(objective)
        assert (figures["share"], figures["lead_accuracy"]) == (1.0, 1.0)
        objective.listener.families.bias.neg_()
        assert task.validate(objective)["share"] == 0.0
