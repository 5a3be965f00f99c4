"""Residual quantisation: codes in use, error falling level by level, gradients passing through."""

from __future__ import annotations

import pytest
import torch

from backend.musiclm.quantize import Codebook, ResidualQuantizer, perplexity


def clusters(n: int = 3000, dim: int = 12, centres: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(4)
    middle = torch.randn(centres, dim, generator=generator)
    picked = middle[torch.randint(centres, (n,), generator=generator)]
    return picked + 0.2 * torch.randn(n, dim, generator=generator)


@pytest.fixture(scope="module")
def quantizer() -> ResidualQuantizer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer = ResidualQuantizer(12, 4, 64, 6)
        assert quantizer.untouched()
        quantizer.initialise(clusters())
    return quantizer.eval()


def test_k_means_uses_nearly_all_codes(quantizer: ResidualQuantizer) -> None:
    codes = quantizer(clusters()[None])[1]
    assert all(len(level.unique()) >= 60 for level in codes[0].T)
    assert min(perplexity(codes, 64)) > 40
    assert not quantizer.untouched()


def test_the_error_falls_with_every_level(quantizer: ResidualQuantizer) -> None:
    x = clusters()[None]
    with torch.no_grad():
        codes = quantizer(x)[1]
        errors = [float((quantizer.decode(codes[..., :n]) - x).pow(2).mean() / x.var()) for n in (1, 2, 3, 4)]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[0] < 0.6 and errors[3] < 0.1


def test_decoding_the_codes_gives_what_the_forward_gave(quantizer: ResidualQuantizer) -> None:
    x = clusters(50)[None]
    quantised, codes, loss = quantizer(x)
    assert codes.shape == (1, 50, 4) and int(codes.min()) >= 0 and int(codes.max()) < 64
    torch.testing.assert_close(quantizer.decode(codes), quantised, atol=1e-5, rtol=1e-4)
    assert float(loss) > 0


def test_gradients_pass_straight_through_to_the_encoder(quantizer: ResidualQuantizer) -> None:
    x = clusters(50)[None].requires_grad_()
    quantizer(x)[0].sum().backward()
    assert x.grad is not None and float(x.grad.abs().mean()) > 1e-3


def test_evaluation_changes_no_statistics_and_training_does(quantizer: ResidualQuantizer) -> None:
    again = ResidualQuantizer(12, 4, 64, 6).eval()
    again.load_state_dict(quantizer.state_dict())
    before = {name: value.clone() for name, value in again.named_buffers()}
    again(clusters(200)[None])
    assert all(torch.equal(value, before[name]) for name, value in again.named_buffers())
    again.train()(clusters(200)[None])
    assert not torch.equal(again.levels[0].embed, before["levels.0.embed"])


def test_a_code_nothing_is_near_to_is_replaced_by_one_that_is_used() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        book, x = Codebook(12, 16, 6), clusters()
        book.initialise(x)
        book.embed[3] = 100.0
        book.total[3] = 0.0
        book.usage[3] = 0.0
        book.train()(x)
        codes = book.eval()(x)[1]
    assert float(book.embed[3].abs().max()) < 20
    assert 3 in codes.unique().tolist()


def test_perplexity_counts_the_codes_as_if_used_evenly() -> None:
    even = torch.arange(64).repeat(3)
    one, two = torch.zeros(192, dtype=torch.long), torch.arange(192) % 2
    assert perplexity(torch.stack([even, one, two], -1), 64) == pytest.approx([64, 1, 2], rel=1e-5)
