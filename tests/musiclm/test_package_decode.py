"""The static-cache decoder gives the package's logits, samples as asked, reports and stops."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from backend.errors import Cancelled
from backend.job import Job, Step
from backend.musiclm.package_decode import PackageDecoder
from backend.musiclm.package_sample import StageDecoder, StageSampling, sample
from backend.musiclm.package_stages import STAGES, TINY, Stage, TokenBatch, build_stage, stage_logits

UNGUIDED = {stage: StageSampling(1.0, 0, 1.0) for stage in STAGES}


def perturbed(stage: Stage, seed: int = 0) -> nn.Module:
    """Random weights in which what starts at zero or one (gains, hyper-connections, cross bias) is random too."""
    module = build_stage(stage, TINY, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weights in module.named_parameters():
            if weights.ndim < 2 or any(part in name for part in ("static", "dynamic", "cross_attn_bias")):
                weights += 0.2 * torch.randn(weights.shape, generator=generator)
    return module


def clip_tokens(n_semantic: int, n_clips: int = 2) -> TokenBatch:
    generator = torch.Generator().manual_seed(9)
    n_frames = n_semantic * TINY.codec_frames_per_semantic
    return TokenBatch(
        torch.randint(
            TINY.semantic_codebook_size, (n_clips, n_semantic, TINY.semantic_quantizers), generator=generator
        ),
        torch.randint(TINY.codebook_size, (n_clips, n_frames, TINY.n_quantizers), generator=generator),
        torch.randn(n_clips, 3, TINY.cond_dim, generator=generator),
    )


def inputs(stage: Stage, batch: TokenBatch) -> tuple[Tensor, Tensor | None]:
    """The stage's own tokens and the tokens it is given."""
    coarse, fine = batch.codes.split([TINY.n_coarse, TINY.n_fine], 2)
    return {"semantic": (batch.semantic, None), "coarse": (coarse, batch.semantic), "fine": (fine, coarse)}[stage]


def decoded_logits(stage: Stage, module: nn.Module, batch: TokenBatch, n_primed: int = 0) -> Tensor:
    """Logits seen by ``choose`` when it answers with the true codes."""
    own, given = inputs(stage, batch)
    seen: list[Tensor] = []

    def choose(index: int, logits: Tensor) -> Tensor:
        seen.append(logits.clone())
        return own[:, n_primed:].flatten(1)[:, index]

    primed = own[:, :n_primed] if n_primed else None
    out = StageDecoder(stage, module, TINY).run(batch.cond, own.shape[1], choose, primed=primed, given=given)
    assert torch.equal(out, own)
    return torch.stack(seen, 1)


@pytest.mark.parametrize("condition", ["given", "null", "one of each"])
@pytest.mark.parametrize("stage", STAGES)
def test_logits_equal_the_packages_forward_at_every_position(stage: Stage, condition: str) -> None:
    module, batch = perturbed(stage), clip_tokens(5)
    keep = {"given": [1.0, 1.0], "null": [0.0, 0.0], "one of each": [1.0, 0.0]}[condition]
    batch = dataclasses.replace(batch, cond=batch.cond * torch.tensor(keep)[:, None, None])
    with torch.no_grad():
        expected, _ = stage_logits(stage, module, batch)
    torch.testing.assert_close(decoded_logits(stage, module, batch), expected, atol=1e-4, rtol=0)
    assert expected.std() > 0.3  # not a comparison of zeros


@pytest.mark.parametrize("stage", STAGES)
def test_logits_after_primed_frames_equal_the_packages_forward(stage: Stage) -> None:
    module, batch = perturbed(stage), clip_tokens(5)
    n_primed = 3
    with torch.no_grad():
        expected, _ = stage_logits(stage, module, batch)
    expected = expected[:, n_primed * inputs(stage, batch)[0].shape[2] :]
    torch.testing.assert_close(decoded_logits(stage, module, batch, n_primed), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("stage", STAGES)
def test_one_position_at_a_time_equals_all_at_once(stage: Stage) -> None:
    decoder, batch = StageDecoder(stage, perturbed(stage), TINY), clip_tokens(3)
    own, given = inputs(stage, batch)
    with torch.inference_mode():
        whole, prefix = decoder.open(batch.cond, own.shape[1], given)
        x = torch.cat((prefix, torch.randn(2, own.shape[1] * own.shape[2] - 1, TINY.dim)), 1)
        single, _ = decoder.open(batch.cond, own.shape[1], given)
        steps = torch.cat([single.extend(x[:, i : i + 1]) for i in range(x.shape[1])], 1)
        torch.testing.assert_close(whole.extend(x), steps, atol=1e-5, rtol=0)
        with pytest.raises(ValueError, match="positions"):
            single.extend(x[:, :1])


def test_guidance_extrapolates_from_null_to_condition() -> None:
    conditioned, null = torch.tensor([[0.0, 1.0, 0.0, 0.4]]), torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    rows = torch.cat((conditioned, null)) * 100

    def pick(scale: float) -> list[int]:
        sampling = StageSampling(temperature=0.01, guidance_scale=scale)
        return sample(rows if scale != 1 else rows[:1], sampling, torch.Generator().manual_seed(0)).tolist()

    assert pick(1.0) == [1]
    assert pick(2.0) == [1, 1]
    assert pick(4.0) == [3, 3]  # 4 x 0.4 > 1


def test_samples_follow_the_softmax_and_top_k() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0])
    generator = torch.Generator().manual_seed(0)
    for top_k, temperature in ((0, 1.0), (2, 0.7)):
        drawn = sample(logits.expand(20_000, -1), StageSampling(temperature, top_k, 1.0), generator)
        kept = logits if not top_k else logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
        share = torch.bincount(drawn, minlength=4) / len(drawn)
        torch.testing.assert_close(share, (kept / temperature).softmax(0), atol=0.015, rtol=0)


@pytest.fixture(scope="module")
def decoder() -> PackageDecoder:
    return PackageDecoder({stage: perturbed(stage, i) for i, stage in enumerate(STAGES)}, TINY)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seconds", [0.24, 0.8, 1.7])  # below, at and beyond one window
def test_clips_have_the_asked_length_and_codes_in_range(decoder: PackageDecoder, seconds: float) -> None:
    tokens = decoder.decode(torch.randn(3, 1, TINY.cond_dim), seconds, generator=seeded())
    n_semantic = TINY.semantic_frames(seconds)
    assert tokens.semantic.shape == (3, n_semantic, TINY.semantic_quantizers)
    assert tokens.codes.shape == (3, n_semantic * TINY.codec_frames_per_semantic, TINY.n_quantizers)
    for codes, size in ((tokens.semantic, TINY.semantic_codebook_size), (tokens.codes, TINY.codebook_size)):
        assert codes.min() >= 0
        assert codes.max() < size
    assert tokens.codes.float().std(1).min() > 0


def test_equal_seeds_give_equal_tokens_and_others_differ(decoder: PackageDecoder) -> None:
    cond = torch.randn(2, 1, TINY.cond_dim, generator=seeded())
    first, again, other = (decoder.decode(cond, 0.8, generator=seeded(seed)).codes for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_a_given_melody_begins_the_clip(decoder: PackageDecoder) -> None:
    melody = torch.arange(12).view(1, 4, 3)
    tokens = decoder.decode(torch.randn(1, 1, TINY.cond_dim), 0.8, generator=seeded(), semantic=melody)
    assert torch.equal(tokens.semantic[:, :4], melody)


def test_negative_condition_equal_to_the_condition_cancels_guidance(decoder: PackageDecoder) -> None:
    cond = torch.randn(1, 1, TINY.cond_dim, generator=seeded())
    guided = decoder.decode(
        cond, 0.4, generator=seeded(), null_cond=cond, sampling={s: StageSampling() for s in STAGES}
    )
    plain = decoder.decode(cond, 0.4, generator=seeded(), sampling=UNGUIDED)
    assert torch.equal(guided.codes, plain.codes)


def test_every_token_is_reported_up_to_the_total(decoder: PackageDecoder) -> None:
    steps: list[Step] = []
    decoder.decode(torch.randn(1, 1, TINY.cond_dim), 1.7, generator=seeded(), job=Job(steps.append))
    assert [step.done for step in steps] == list(range(int(steps[0].total) + 1))
    assert {step.total for step in steps} == {steps[0].total}
    assert [message.split()[1] for message in dict.fromkeys(step.message for step in steps)] == list(STAGES)


def test_cancel_stops_at_the_next_token(decoder: PackageDecoder) -> None:
    steps: list[Step] = []

    def report(step: Step) -> None:
        steps.append(step)
        if step.done == 20:
            job.cancel()

    job = Job(report)
    with pytest.raises(Cancelled):
        decoder.decode(torch.randn(1, 1, TINY.cond_dim), 1.7, generator=seeded(), job=job)
    assert steps[-1].done == 20
