"""The static-cache decoder gives the package's logits, samples as asked, reports and stops."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from backend.errors import Cancelled
from backend.job import Job, Step
from backend.musiclm import package_sample
from backend.musiclm.compose import Wish
from backend.musiclm.events import (
    BAR,
    CAST,
    FIELDS,
    KEYS,
    PLAYER,
    SETTING,
    Events,
    Setting,
    notes_of,
    tempo_code,
    window_events,
)
from backend.musiclm.package_compose import compose
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


def clip_tokens(n_events: int, n_clips: int = 2, n_frames: int = 14) -> TokenBatch:
    generator = torch.Generator().manual_seed(9)
    return TokenBatch(
        torch.randint(TINY.semantic_codebook_size, (n_clips, n_events, TINY.semantic_quantizers), generator=generator),
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
def test_logits_after_primed_frames_equal_the_packages_forward(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_sample, "MOST_AT_ONCE", 7)  # the prefix is taken in several parts
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


def test_forbidden_codes_and_those_outside_the_nucleus_are_never_drawn() -> None:
    logits = torch.tensor([5.0, 1.0, 1.0, -2.0]).expand(5000, -1)
    masked = sample(logits, StageSampling(1.0, 2, 1.0), seeded(), torch.tensor([[False, True, True, True]]))
    assert set(masked.tolist()) == {1, 2}
    assert sample(logits, StageSampling(1.0, 0, 1.0, 0.9), seeded()).unique().tolist() == [0]
    assert set(sample(logits, StageSampling(1.0, 0, 1.0, 0.98), seeded()).tolist()) == {0, 1}


def test_a_sequence_ends_after_the_frame_that_is_enough() -> None:
    own = clip_tokens(5).semantic
    taken: list[int] = []

    def choose(index: int, _: Tensor) -> Tensor:
        taken.append(index)
        return own.flatten(1)[:, index]

    stage = StageDecoder("semantic", perturbed("semantic"), TINY)
    out = stage.run(clip_tokens(5).cond, 5, choose, enough=lambda: len(taken) >= 11)
    assert torch.equal(out, own[:, :3])


@pytest.fixture(scope="module")
def decoder() -> PackageDecoder:
    return PackageDecoder({stage: perturbed(stage, i) for i, stage in enumerate(STAGES)}, TINY)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("seconds", [0.24, 0.8, 1.7])  # below, at and beyond one window of codes
def test_clips_have_the_asked_length_and_codes_in_range(decoder: PackageDecoder, seconds: float) -> None:
    tokens = decoder.decode(torch.randn(3, 1, TINY.cond_dim), seconds, generator=seeded())
    assert len(tokens.events) == 3
    assert tokens.codes.shape == (3, TINY.codec_frames(seconds), TINY.n_quantizers)
    assert tokens.codes.min() >= 0 and tokens.codes.max() < TINY.codebook_size
    assert tokens.codes.float().std(1).min() > 0


def test_even_an_untrained_stage_writes_playable_pieces(decoder: PackageDecoder) -> None:
    for events in compose_only(decoder, 12.0):
        assert events[0, 0] == SETTING and events[1, 0] == PLAYER and events.shape[1] == len(FIELDS)
        notes = notes_of(events)
        assert len(notes) == int((events[:, 0] < BAR).sum()) and notes["onset_s"].max(initial=0) < 12.0
        assert set(notes["instrument"].tolist()) <= set(events[events[:, 0] == PLAYER, 1].tolist())
        assert all(CAST[n["instrument"]].is_drum or CAST[n["instrument"]].low <= n["pitch"] for n in notes)


def test_a_full_window_is_followed_by_one_that_begins_with_head_and_latest_events(
    decoder: PackageDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    primed: list[Tensor] = []
    stage, window = decoder.stages["semantic"], TINY.semantic_frames(TINY.semantic_window_s)
    run = stage.run

    def spy(*args: Any, **kwargs: Any) -> Tensor:
        primed.append(kwargs["primed"])
        return run(*args, **kwargs)

    monkeypatch.setattr(stage, "run", spy)
    pieces = compose_only(decoder, 45.0)
    longest = max(range(3), key=lambda i: len(pieces[i]))
    events = pieces[longest]
    head = int((events[:, 0] >= SETTING).sum())
    kept = [*events[:head], *events[window - (window // 2 - head) : window]]
    assert len(events) > window and primed[0] is None
    assert primed[1][longest].tolist() == np.array(kept).tolist()


def compose_only(decoder: PackageDecoder, seconds: float, wishes: list[Wish] | None = None) -> list[Events]:
    cond = torch.randn(3, 1, TINY.cond_dim, generator=seeded())
    stage = decoder.stages["semantic"]
    return compose(stage, cond, seconds, StageSampling(), seeded(), null_cond=torch.zeros_like(cond), wishes=wishes)


def test_each_row_keeps_the_tempo_and_key_it_was_given(decoder: PackageDecoder) -> None:
    wishes = [Wish(tempo_code(70), KEYS.index("A minor")), Wish(tempo_code(140)), Wish(key=3)]
    settings = [Setting.of_event(events[0].tolist()) for events in compose_only(decoder, 1.0, wishes)]
    assert [settings[0].tempo, settings[1].tempo] == [tempo_code(70), tempo_code(140)]
    assert [KEYS[settings[0].key], settings[2].key] == ["A minor", 3]


def test_equal_seeds_give_equal_tokens_and_others_differ(decoder: PackageDecoder) -> None:
    cond = torch.randn(2, 1, TINY.cond_dim, generator=seeded())
    first, again, other = (decoder.decode(cond, 0.8, generator=seeded(seed)).codes for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def scale() -> Events:
    """A flute plays a crotchet of C major a beat, 120 beats a minute."""
    times = (0, 24, 48, 72, 96, 24)  # 96: the next bar
    notes = [[time, 0, pitch, 18, 9] for time, pitch in zip(times, (60, 62, 64, 65, 67, 69), strict=True)]
    return np.array([[SETTING, tempo_code(120), 0, 2, 0], [PLAYER, 0, 64, 0, 14], *notes], np.uint8)


def test_given_notes_are_sounded_and_not_composed(decoder: PackageDecoder) -> None:
    steps: list[Step] = []
    cond = torch.randn(1, 1, TINY.cond_dim, generator=seeded())
    first, again, other = (
        decoder.decode(cond, 0.8, generator=seeded(), events=[events], job=Job(steps.append))
        for events in (scale(), scale(), scale()[:3])
    )
    assert np.array_equal(first.events[0], scale())
    assert torch.equal(first.codes, again.codes) and not torch.equal(first.codes, other.codes)
    assert not any("semantic" in step.message for step in steps)


def test_each_coarse_window_is_given_its_own_notes(decoder: PackageDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Tensor] = []
    run = decoder._run

    def spy(*args: Any, **kwargs: Any) -> Tensor:
        given.append(kwargs["given"])
        return run(*args, **kwargs)

    monkeypatch.setattr(decoder, "_run", spy)
    decoder.decode(torch.randn(1, 1, TINY.cond_dim), 1.7, generator=seeded(), events=[scale()], lead_in_s=0.1)
    slots = TINY.semantic_frames(TINY.coarse_window_s)
    for window, start_s in zip(given, (0.0, 0.4, 0.8, 1.2), strict=False):  # windows of 0.8 s overlap by 0.4 s
        expected = window_events(scale(), start_s - 0.1, TINY.coarse_window_s, slots)
        assert window[0].tolist() == expected.tolist()
        assert notes_of(expected)["onset_s"][0] == pytest.approx(-start_s % 0.5 + 0.1, abs=0.02)


def test_negative_condition_equal_to_the_condition_cancels_guidance(decoder: PackageDecoder) -> None:
    cond = torch.randn(1, 1, TINY.cond_dim, generator=seeded())
    guided = decoder.decode(
        cond, 0.4, generator=seeded(), null_cond=cond, sampling={s: StageSampling() for s in STAGES}
    )
    plain = decoder.decode(cond, 0.4, generator=seeded(), sampling=UNGUIDED)
    assert torch.equal(guided.codes, plain.codes)


def test_progress_rises_over_the_notes_and_counts_every_code(decoder: PackageDecoder) -> None:
    steps: list[Step] = []
    decoder.decode(torch.randn(1, 1, TINY.cond_dim), 1.7, generator=seeded(), job=Job(steps.append))
    done = [step.done for step in steps]
    assert done == sorted(done) and done[-1] == steps[-1].total and {step.total for step in steps} == {steps[0].total}
    stages = [step.message.split()[1] for step in steps]
    assert list(dict.fromkeys(stages)) == list(STAGES)
    codes = done[stages.index("coarse") :]
    assert codes == list(range(TINY.semantic_frames(1.7) * 5, int(steps[0].total) + 1))


def test_cancel_stops_at_the_next_token(decoder: PackageDecoder) -> None:
    steps: list[Step] = []

    def report(step: Step) -> None:
        steps.append(step)
        if len(steps) == 20:
            job.cancel()

    job = Job(report)
    with pytest.raises(Cancelled):
        decoder.decode(torch.randn(1, 1, TINY.cond_dim), 1.7, generator=seeded(), job=job)
    assert len(steps) == 20
