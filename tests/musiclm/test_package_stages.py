"""The package's stages: loss, null condition, cropping, weights."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest
import torch

from backend.errors import CheckpointError
from backend.musiclm.events import PAD
from backend.musiclm.package_stages import (
    BASE,
    STAGES,
    TINY,
    Stage,
    TokenBatch,
    build_stage,
    drop_condition,
    flatten_semantic,
    load_stage,
    package_loss,
    stage_logits,
)
from backend.musiclm.stages_train import PackageObjective


def batch_of(n_clips: int = 2, n_events: int = 5, n_frames: int = 12, seed: int = 0) -> TokenBatch:
    """Random tokens, none of them padding."""
    generator = torch.Generator().manual_seed(seed)
    return TokenBatch(
        torch.randint(PAD, (n_clips, n_events, TINY.semantic_quantizers), generator=generator),
        torch.randint(TINY.codebook_size, (n_clips, n_frames, TINY.n_quantizers), generator=generator),
        torch.randn(n_clips, 2, TINY.cond_dim, generator=generator),
    )


@pytest.mark.parametrize("stage", STAGES)
def test_overfits_one_batch(stage: Stage) -> None:
    module = build_stage(stage, TINY).train()
    batch = batch_of(n_events=2, n_frames=8)
    optimizer = torch.optim.AdamW(module.parameters(), 2e-2)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = package_loss(stage, module, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    chance = {"semantic": TINY.semantic_codebook_size}.get(stage, TINY.codebook_size)
    assert losses[0] == pytest.approx(float(torch.tensor(chance).log()), rel=0.5)
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("stage", STAGES)
def test_null_condition_changes_the_logits(stage: Stage) -> None:
    module, batch = build_stage(stage, TINY), batch_of()
    with torch.no_grad():
        given, _ = stage_logits(stage, module, batch)
        null, _ = stage_logits(stage, module, drop_condition(batch, 1.0, torch.Generator()))
        kept, _ = stage_logits(stage, module, drop_condition(batch, 0.0, torch.Generator()))
    assert (given - null).abs().mean() > 1e-3
    assert torch.equal(given, kept)


@pytest.mark.parametrize("stage", STAGES)
def test_forgetful_mask_changes_the_loss_and_is_seeded(stage: Stage) -> None:
    module, batch = build_stage(stage, TINY), batch_of()
    losses = [
        package_loss(stage, module, batch, forget=share, generator=torch.Generator().manual_seed(seed)).item()
        for share, seed in ((0.0, 0), (0.3, 0), (0.3, 0), (0.3, 1))
    ]
    assert losses[1] == losses[2]
    assert len(set(losses)) == 3


def test_semantic_loss_equals_cross_entropy_over_the_codebook_of_each_position() -> None:
    module: Any = build_stage("semantic", TINY)
    batch, size = batch_of(), TINY.semantic_codebook_size
    ids = flatten_semantic(batch.semantic, size)
    with torch.no_grad():
        logits = module(ids=ids[:, :-1], text_embeds=batch.cond, cond_drop_prob=0.0)
        expected = []
        for clip in range(ids.shape[0]):
            for position in range(ids.shape[1]):
                first = position % TINY.semantic_quantizers * size
                log_p = logits[clip, position, first : first + size].log_softmax(0)
                expected.append(-log_p[ids[clip, position] - first])
        assert package_loss("semantic", module, batch).item() == pytest.approx(
            torch.stack(expected).mean().item(), abs=1e-5
        )


def test_padding_events_are_not_learned() -> None:
    module, batch = build_stage("semantic", TINY), batch_of(n_events=4)
    padded = torch.cat((batch.semantic, torch.full((2, 3, 1), PAD).expand(-1, -1, 5)), 1)
    with torch.no_grad():
        losses = [
            package_loss("semantic", module, dataclasses.replace(batch, semantic=semantic)).item()
            for semantic in (batch.semantic, padded)
        ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_a_window_of_ten_seconds_has_256_event_slots() -> None:
    assert (BASE.semantic_frames(10.0), BASE.semantic_frames(0.1), BASE.codec_frames(1.00004)) == (256, 3, 51)


@pytest.mark.parametrize(("kind", "window"), [("semantic", 21), ("coarse", 40), ("fine", 10)])
def test_the_objective_trains_each_stage_on_windows_of_its_own_length(kind: Stage, window: int) -> None:
    objective = PackageObjective(kind, TINY, 0)
    assert objective.window == window
    batch = batch_of(n_events=21, n_frames=window)
    codes = {"semantic": batch.semantic, "coarse": batch.codes[..., : TINY.n_coarse], "fine": batch.codes}[kind]
    tokens = {"codes": codes, "embed": batch.cond[:, 0], "drop": torch.tensor([False, True])}
    loss, _ = objective(tokens | ({"guide": batch.semantic} if kind == "coarse" else {}))
    expected = package_loss(kind, objective.stage, dataclasses.replace(batch, cond=null_second(batch.cond[:, :1])))
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)


def null_second(cond: torch.Tensor) -> torch.Tensor:
    return cond * torch.tensor([1.0, 0.0])[:, None, None]


def test_weights_load_back_to_equal_logits_and_auxiliary_heads_are_left_out() -> None:
    module, batch = build_stage("fine", TINY, seed=1), batch_of()
    tensors = {**module.state_dict(), "coarse_logit_weights": torch.zeros(1)}
    with torch.no_grad():
        again, _ = stage_logits("fine", load_stage("fine", TINY, tensors), batch)
        assert torch.equal(again, stage_logits("fine", module, batch)[0])


def test_loading_names_the_weight_that_does_not_fit() -> None:
    tensors = build_stage("semantic", TINY).state_dict()
    with pytest.raises(CheckpointError, match=r"'start_token' is absent in the file, 32 in the model"):
        load_stage("semantic", TINY, {k: v for k, v in tensors.items() if k != "start_token"})
    with pytest.raises(CheckpointError, match=r"'start_token' is 33 in the file"):
        load_stage("semantic", TINY, {**tensors, "start_token": torch.zeros(33)})
    with pytest.raises(CheckpointError, match="absent in the model"):
        load_stage("semantic", TINY, {**tensors, "surprise": torch.zeros(1)})


def test_building_is_seeded_and_leaves_global_generators_alone() -> None:
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    first, second, other = (build_stage("coarse", TINY, seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == python_state
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
