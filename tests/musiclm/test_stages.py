"""Our stages: causal, learnable, and decoded step by step with the logits of the full forward."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from backend.errors import Cancelled
from backend.musiclm.decode import Sampling, StageDecoder, draw, fill_fine, guide_logits, sample_stage
from backend.musiclm.stages import TINY_ACOUSTIC, TINY_FINE, TINY_SEMANTIC, FineStage, Stage, StageConfig


def make(config: StageConfig) -> Stage:
    torch.manual_seed(0)
    stage = Stage(config).eval()
    with torch.no_grad():
        stage.null.normal_()
    return stage


def batch_of(
    config: StageConfig, frames: int, batch: int = 2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(config.codebook_size, (batch, frames, config.n_codes), generator=generator)
    embed = functional.normalize(torch.randn(batch, config.embed_dim, generator=generator), dim=-1)
    guide = None
    if config.guide_codes:
        length = -(-frames // config.guide_stride)
        guide = torch.randint(config.guide_size, (batch, length, config.guide_codes), generator=generator)
    return codes, embed, guide


@pytest.mark.parametrize("config", [TINY_SEMANTIC, TINY_ACOUSTIC])
def test_a_code_changes_no_logit_of_earlier_codes(config: StageConfig) -> None:
    stage = make(config)
    codes, embed, guide = batch_of(config, config.window)
    changed = codes.clone()
    changed[:, 7, 1] = (changed[:, 7, 1] + 1) % config.codebook_size
    with torch.no_grad():
        before, after = stage(codes, embed, guide), stage(changed, embed, guide)
    for i, (x, y) in enumerate(zip(before, after, strict=True)):
        first_free = 8 if i <= 1 else 7  # code 1 of frame 7 may act on the later codes of the same frame
        assert torch.equal(x[:, :first_free], y[:, :first_free])
        assert not torch.allclose(x[:, 8:], y[:, 8:])


@pytest.mark.parametrize("config", [TINY_SEMANTIC, TINY_ACOUSTIC])
@pytest.mark.parametrize("chunk", [1, 5])
def test_static_cache_gives_the_logits_of_the_full_forward(config: StageConfig, chunk: int) -> None:
    stage = make(config)
    codes, embed, guide = batch_of(config, config.window)
    drop = torch.tensor([False, True])
    with torch.no_grad():
        full = stage(codes, embed, guide, drop)
        embedded = stage.guide(guide) if stage.guide is not None and guide is not None else None
        decoder = StageDecoder(stage, stage.condition(embed, drop), embedded)
        states = [decoder.begin(0)[:, None]]
        for frame in range(1, config.window, chunk):
            stop = min(config.window, frame + chunk)
            states.append(decoder.extend(decoder.embed(codes[:, frame - 1 : stop - 1], frame)))
        state = torch.cat(states, 1)
        for i, head in enumerate(stage.heads):
            torch.testing.assert_close(head(state), full[i], atol=1e-4, rtol=1e-4)
            if i < len(stage.chain):
                state = state + stage.chain[i](codes[..., i])


def test_same_seed_same_codes_and_another_seed_others() -> None:
    stage = make(TINY_SEMANTIC)
    _, embed, _ = batch_of(TINY_SEMANTIC, 1)
    runs = [
        sample_stage(stage, embed, 30, Sampling(), torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    ]  # 30 frames are more than the window of 12: the past is carried over
    assert runs[0].shape == (2, 30, 3)
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_guidance_of_one_is_the_plain_condition_and_more_moves_away_from_the_null() -> None:
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    assert torch.equal(guide_logits(logits, 3.0), torch.tensor([[4.0, 0.0]]))
    assert guide_logits(logits, 1.0) is logits


def test_top_k_and_temperature_restrict_what_is_drawn() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.arange(10.0).repeat(4000, 1)
    drawn = draw(logits, Sampling(top_k=3), generator)
    assert set(drawn.tolist()) == {7, 8, 9}
    share = (drawn == 9).float().mean()
    expected = torch.softmax(torch.tensor([7.0, 8.0, 9.0]), 0)[2]
    assert abs(float(share - expected)) < 0.03
    assert draw(logits, Sampling(temperature=0.0), generator).unique().tolist() == [9]


def test_stopping_in_a_step_ends_the_sampling() -> None:
    def stop(done: int, total: int) -> None:
        if done == 3:
            raise Cancelled

    stage = make(TINY_SEMANTIC)
    _, embed, _ = batch_of(TINY_SEMANTIC, 1)
    with pytest.raises(Cancelled):
        sample_stage(stage, embed, 12, Sampling(), torch.Generator(), on_step=stop)


@pytest.mark.parametrize("config", [TINY_SEMANTIC, TINY_ACOUSTIC])
def test_one_batch_can_be_overfitted(config: StageConfig) -> None:
    stage = make(config).train()
    codes, embed, guide = batch_of(config, config.window)
    optimizer = torch.optim.AdamW(stage.parameters(), 3e-3)
    for _ in range(80):
        loss = sum(
            functional.cross_entropy(x.flatten(0, 1), codes[..., i].flatten())
            for i, x in enumerate(stage(codes, embed, guide))
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        optimizer.step()
    assert float(loss) < 0.5 * config.n_codes  # chance is ln 32 = 3.5 a code


def test_fine_stage_keeps_the_coarse_codes_and_adds_its_levels() -> None:
    torch.manual_seed(0)
    fine = FineStage(TINY_FINE).eval()
    coarse = torch.randint(32, (2, 20, 2))
    codes = fill_fine(fine, coarse, torch.randn(2, 8), 0.4, torch.Generator().manual_seed(0))
    assert codes.shape == (2, 20, 3)
    assert torch.equal(codes[..., :2], coarse)
