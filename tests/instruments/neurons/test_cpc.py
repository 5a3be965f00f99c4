from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from backend.errors import RequestError
from backend.instruments.neurons.architecture import TINY
from backend.instruments.neurons.cpc import Cpc, augmented, info_nce


def model(contexts: int = 2) -> Cpc:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Cpc(TINY, contexts)


def tones(n: int) -> torch.Tensor:
    """Excerpts that differ: tones a third apart, each with its own pulse."""
    t = np.arange(TINY.excerpt_samples) / TINY.cqt.sample_rate
    rows = [np.sin(2 * np.pi * 150 * 1.26**i * t) * (np.sin(2 * np.pi * (2 + i) * t) > 0) for i in range(n)]
    return torch.from_numpy(np.stack(rows)).float() * 0.5


def test_predictors_that_know_nothing_score_at_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    z, c = torch.randn(5, 4, 12, generator=generator), torch.randn(5, 3, 2, generator=generator)
    loss, _ = info_nce(z, c, torch.zeros(3, 4, 3), first=3, context_hop=2)
    assert float(loss) == pytest.approx(math.log(5))


def test_the_loss_is_the_papers_equation() -> None:
    generator = torch.Generator().manual_seed(0)
    batch, dim, steps, predicted, first, hop = 4, 3, 10, 3, 2, 2
    z, c = torch.randn(batch, dim, steps, generator=generator), torch.randn(batch, 2, 3, generator=generator)
    predictors = torch.randn(predicted, dim, 2, generator=generator)
    loss, right = info_nce(z, c, predictors, first, hop)
    total, hits = 0.0, 0
    for i in range(3):
        for k in range(predicted):
            at = first + i * hop + 1 + k
            for n in range(batch):
                scores = torch.stack([z[m, :, at] @ predictors[k] @ c[n, :, i] for m in range(batch)]) / dim**0.5
                total -= float(scores.log_softmax(0)[n])
                hits += int(scores.argmax()) == n
    assert float(loss) == pytest.approx(total / (3 * predicted * batch), rel=1e-5)
    assert int(right.sum()) == hits


def test_a_perfect_prediction_is_always_found() -> None:
    z = torch.eye(6)[:, :, None].repeat(1, 1, 8) * 10  # each excerpt its own direction
    loss, right = info_nce(z, z[..., :2], torch.eye(6).repeat(2, 1, 1), first=3, context_hop=1)
    assert bool(right.all()) and float(loss) < 1e-3


def test_one_batch_can_be_learned_by_heart() -> None:
    cpc, batch = model(), {"audio": tones(6)}
    optimizer = torch.optim.Adam(cpc.parameters(), 3e-3)
    for _ in range(40):
        loss, figures = cpc(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5 * math.log(6)
    assert float(figures["accuracy"]) > 0.8


def test_every_parameter_learns() -> None:
    cpc = model()
    cpc({"audio": tones(4)})[0].backward()
    assert [name for name, p in cpc.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []


def test_the_shift_moves_pitch_and_fills_with_silence() -> None:
    seen = torch.arange(2 * 6 * 3.0).reshape(1, 2, 6, 3).repeat(3, 1, 1, 1) + 1
    moved = augmented(seen, {"shift": torch.tensor([0, 2, -1])})
    assert torch.equal(moved[0], seen[0])
    assert torch.equal(moved[1, :, 2:], seen[1, :, :4]) and not moved[1, :, :2].any()
    assert torch.equal(moved[2, :, :5], seen[2, :, 1:]) and not moved[2, :, 5:].any()


def test_the_mask_silences_bins_and_frames() -> None:
    seen = augmented(torch.ones(2, 2, 5, 7), {"mask": torch.tensor([[1, 2, 3, 1], [0, 0, 0, 0]])})
    hidden = seen[0, 0] == 0
    assert hidden[1:3].all() and hidden[:, 3].all() and int(hidden.sum()) == 2 * 7 + 3
    assert seen[1].all()


def test_a_stored_configuration_builds_the_same_model() -> None:
    cpc = model()
    again = Cpc.from_config(cpc.as_config())
    again.load_state_dict(cpc.state_dict())
    with torch.no_grad():
        first, second = (float(x.eval()({"audio": tones(3)})[0]) for x in (cpc, again))
    assert first == pytest.approx(second)


@pytest.mark.parametrize("contexts", [0, 5])
def test_contexts_that_do_not_exist_cannot_predict(contexts: int) -> None:
    with pytest.raises(RequestError, match="contexts"):
        Cpc(TINY, contexts)
