"""Guidance."""

import torch

from backend.musiclm.decode import guide_logits

CONDITIONED = torch.log(torch.tensor([[0.90, 0.097, 0.003]]))
UNCONDITIONED = torch.log(torch.tensor([[0.50, 0.49999, 0.00001]]))
BOTH = torch.cat([CONDITIONED, UNCONDITIONED])


def test_guidance_alone_raises_what_both_branches_find_all_but_impossible() -> None:
    assert int(guide_logits(BOTH, 4.0).argmax()) == 2


def test_with_a_least_share_it_chooses_among_what_the_condition_makes_likely() -> None:
    guided = guide_logits(BOTH, 4.0, min_p=0.1)
    assert int(guided.argmax()) == 0
    assert torch.isinf(guided[0, 2]) and torch.isfinite(guided[0, :2]).all()


def test_without_guidance_there_is_nothing_to_hold_back() -> None:
    assert torch.equal(guide_logits(CONDITIONED, 1.0, min_p=0.1), CONDITIONED)
