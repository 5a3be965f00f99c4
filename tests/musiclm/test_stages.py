"""The semantic stage: causal, learnable, and decoded step by step with the logits of the full forward."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from backend.musiclm.decode import Sampling, StageDecoder, draw, guide_logits
from backend.musiclm.stages import TINY_SEMANTIC, Stage, StageConfig


def make(config: StageConfig) -> Stage:
    torch.manual_seed(0)
    stage = Stage(config).eval()
    with torch.no_grad():
        stage.null.normal_()
    return stage


def batch_of(config: StageConfig, frames: int, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(config.codebook_size, (batch, frames, config.n_codes), generator=generator)
    return codes, functional.normalize(torch.randn(batch, config.embed_dim, generator=generator), dim=-1)


def test_a_code_changes_no_logit_of_earlier_codes() -> None:
    stage = make(TINY_SEMANTIC)
    codes, embed = batch_of(TINY_SEMANTIC, TINY_SEMANTIC.window)
    changed = codes.clone()
    changed[:, 7, 1] = (changed[:, 7, 1] + 1) % TINY_SEMANTIC.codebook_size
    with torch.no_grad():
        before, after = stage(codes, embed), stage(changed, embed)
    for i, (x, y) in enumerate(zip(before, after, strict=True)):
        first_free = 8 if i <= 1 else 7  # code 1 of frame 7 may act on the later codes of the same frame
        assert torch.equal(x[:, :first_free], y[:, :first_free])
        assert not torch.allclose(x[:, 8:], y[:, 8:])


@pytest.mark.parametrize("chunk", [1, 5])
def test_static_cache_gives_the_logits_of_the_full_forward(chunk: int) -> None:
    stage = make(TINY_SEMANTIC)
    window = TINY_SEMANTIC.window
    codes, embed = batch_of(TINY_SEMANTIC, window)
    drop = torch.tensor([False, True])
    with torch.no_grad():
        full = stage(codes, embed, drop)
        decoder = StageDecoder(stage, stage.condition(embed, drop))
        states = [decoder.begin()[:, None]]
        for frame in range(1, window, chunk):
            states.append(decoder.extend(decoder.embed(codes[:, frame - 1 : min(window, frame + chunk) - 1])))
        state = torch.cat(states, 1)
        for i, head in enumerate(stage.heads):
            torch.testing.assert_close(head(state), full[i], atol=1e-4, rtol=1e-4)
            if i < len(stage.chain):
                state = state + stage.chain[i](codes[..., i])


def test_guidance_of_one_is_the_plain_condition_and_more_moves_away_from_the_null() -> None:
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    assert torch.equal(guide_logits(logits, 3.0), torch.tensor([[4.0, 0.0]]))
    assert guide_logits(logits, 1.0) is logits


def test_top_k_temperature_and_nucleus_restrict_what_is_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.arange(10.0).repeat(4000, 1)
    drawn = draw(logits, Sampling(top_k=3), generator)
    assert set(drawn.tolist()) == {7, 8, 9}
    share = (drawn == 9).float().mean()
    expected = torch.softmax(torch.tensor([7.0, 8.0, 9.0]), 0)[2]
    assert abs(float(share - expected)) < 0.03
    assert draw(logits, Sampling(temperature=0.0), generator).unique().tolist() == [9]
    assert set(draw(logits, Sampling(top_p=0.8), generator).tolist()) == {8, 9}  # 9 alone is .63 of all


def test_one_batch_can_be_overfitted() -> None:
    stage = make(TINY_SEMANTIC).train()
    codes, embed = batch_of(TINY_SEMANTIC, TINY_SEMANTIC.window)
    optimizer = torch.optim.AdamW(stage.parameters(), 3e-3)
    for _ in range(80):
        parts = [
            functional.cross_entropy(x.flatten(0, 1), codes[..., i].flatten())
            for i, x in enumerate(stage(codes, embed))
        ]
        loss = torch.stack(parts).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5 * TINY_SEMANTIC.n_codes  # chance is ln 256 = 5.5 a code
