"""Prompt to sound with miniature models from a store: seeds, guidance, length, steps, damage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.checkpoints import CheckpointStore
from backend.errors import Cancelled, CheckpointError
from backend.job import Job, Step
from backend.musiclm.compose import Wish
from backend.musiclm.events import KEYS, PLAYER, SETTING, tempo_code
from backend.musiclm.generator import CHECKPOINTS, Clip, MusicGenerator
from backend.musiclm.package_generator import PackageGenerator
from backend.musiclm.text import SentenceEncoder
from tests.musiclm.tiny import random_models, word_states, write_package, write_store

CPU = torch.device("cpu")
Generator = MusicGenerator | PackageGenerator


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CheckpointStore:
    store = write_store(tmp_path_factory.mktemp("store"))
    write_package(store)
    return store


@pytest.fixture(scope="module")
def models(store: CheckpointStore) -> Iterator[MusicGenerator]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SentenceEncoder, "encode", word_states)
        yield MusicGenerator(store, CPU)


@pytest.fixture(scope="module", params=["bundled", "package"])
def stages(request: pytest.FixtureRequest, store: CheckpointStore, models: MusicGenerator) -> Generator:
    return models if request.param == "bundled" else PackageGenerator(store, models.codec)


def make(stages: Generator, embed: torch.Tensor, seed: int = 0, seconds: float | None = None, **changes: Any) -> Clip:
    values: dict[str, Any] = {"guidance_scale": 3.0, "temperature": 1.0, "job": Job(), **changes}
    job = values.pop("job")
    if seconds is None:  # an untrained semantic stage of ours may rest for a second
        seconds = 3.0 if isinstance(stages, MusicGenerator) else 1.0
    return stages.generate(embed, seconds, job, generator=torch.Generator().manual_seed(seed), **values)


def two_prompts(models: MusicGenerator) -> torch.Tensor:
    """Unquantised, since the miniature codebooks are too coarse to tell them apart."""
    return models.mulan.text_embed(["slow sad violin", "fast drums"])


def test_texts_become_unit_vectors_that_their_codes_stand_for(models: MusicGenerator) -> None:
    vectors = models.embed(["slow sad violin", "fast drums"])
    assert vectors.shape == (2, 8)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(models.embed(["fast drums"])[0], vectors[1], atol=1e-5)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.03, 1.00004])
def test_the_length_is_exact_to_the_sample(stages: Generator, models: MusicGenerator, seconds: float) -> None:
    clip = make(stages, models.embed(["slow sad violin"]), seconds=seconds)
    assert clip.audio.shape == (1, round(seconds * 24_000)) and clip.audio.dtype == torch.float32
    assert clip.codes.shape[1] == -(-clip.audio.shape[1] // models.codec.config.hop)
    assert clip.audio.isfinite().all()


def test_equal_seeds_give_equal_samples_and_other_seeds_or_prompts_do_not(
    stages: Generator, models: MusicGenerator
) -> None:
    embed = two_prompts(models)
    first = make(stages, embed[:1])
    assert torch.equal(first.audio, make(stages, embed[:1]).audio)
    assert not torch.equal(first.codes, make(stages, embed[:1], seed=1).codes)
    assert not torch.equal(first.codes, make(stages, embed[1:]).codes)


def test_four_variations_of_one_prompt_differ(stages: Generator, models: MusicGenerator) -> None:
    clip = make(stages, models.embed(["slow sad violin"]).expand(4, -1))
    assert clip.audio.shape[0] == 4
    assert len({tuple(codes.flatten().tolist()) for codes in clip.codes}) == 4


def test_guidance_and_what_to_steer_away_from_change_the_music(stages: Generator, models: MusicGenerator) -> None:
    embed = two_prompts(models)
    plain, strong = make(stages, embed[:1], guidance_scale=1.0), make(stages, embed[:1], guidance_scale=6.0)
    away = make(stages, embed[:1], negative=embed[1:], guidance_scale=6.0)
    assert not torch.equal(plain.codes, strong.codes) and not torch.equal(strong.codes, away.codes)


def test_progress_only_rises_and_ends_at_its_total(stages: Generator, models: MusicGenerator) -> None:
    steps: list[Step] = []
    make(stages, models.embed(["slow sad violin"]), job=Job(steps.append))
    done = [step.done / step.total for step in steps]
    assert done == sorted(done) and done[0] < 0.05 and done[-1] == 1.0
    assert len({step.message for step in steps}) >= 2


def test_a_cancelled_job_ends_at_its_next_step(stages: Generator, models: MusicGenerator) -> None:
    seen: list[Step] = []

    def report(step: Step) -> None:
        seen.append(step)
        if len(seen) == 6:
            job.cancel()

    job = Job(report)
    with pytest.raises(Cancelled):
        make(stages, models.embed(["slow sad violin"]), job=job)
    assert len(seen) == 6


def test_given_notes_are_sounded_and_not_composed(stages: Generator, models: MusicGenerator) -> None:
    embed, steps = models.embed(["slow sad violin"]), list[Step]()
    chord = [[0, 0, pitch, 18, 9] for pitch in (60, 64, 67)]
    notes = np.array([[SETTING, tempo_code(120), 0, 2, 0], [PLAYER, 0, 64, 0, 14], *chord], np.uint8)
    clip = make(stages, embed, events=[notes], job=Job(steps.append))
    assert np.array_equal(clip.events[0], notes)
    assert not {"Composing", "Sampling semantic tokens"} & {step.message for step in steps}
    assert not torch.equal(clip.codes, make(stages, embed, events=[notes[:2]]).codes)  # nobody plays


def test_each_variation_keeps_the_tempo_and_key_it_is_given(stages: Generator, models: MusicGenerator) -> None:
    wishes = [Wish(tempo=tempo_code(70)), Wish(key=KEYS.index("A minor"))]
    clip = make(stages, models.embed(["slow sad violin"]).expand(2, -1), wishes=wishes)
    assert clip.events[0][0, 1] == tempo_code(70) and clip.events[1][0, 2] == KEYS.index("A minor")


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_missing_model_is_named(store: CheckpointStore, tmp_path: Path, name: str) -> None:
    partial = CheckpointStore(tmp_path)
    for other in CHECKPOINTS:
        if other != name:
            partial.save(other, store.load(other), store.config(other), {})
    with pytest.raises(CheckpointError, match=name):
        MusicGenerator(partial, CPU)


def test_weights_of_another_configuration_are_one_sentence(store: CheckpointStore, tmp_path: Path) -> None:
    wrong = CheckpointStore(tmp_path)
    for name in CHECKPOINTS:
        config = store.config(name)
        wrong.save(name, store.load(name), {**config, "dim": 48} if name.endswith(".acoustic") else config, {})
    with pytest.raises(CheckpointError, match=r"^text_to_music.acoustic does not fit its configuration \(.*\)\.$"):
        MusicGenerator(wrong, CPU)


def test_package_stages_that_are_not_there_are_said_with_what_to_do(tmp_path: Path, models: MusicGenerator) -> None:
    with pytest.raises(CheckpointError, match=r"package_semantic.*backend.musiclm.bundle"):
        PackageGenerator(CheckpointStore(tmp_path), models.codec)


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"codebook_size": 64}, "another codec"), ({"semantic_quantizers": 3}, "note events"), ({"depth": 2}, "sizes")],
)
def test_package_stages_that_do_not_fit_are_refused(
    store: CheckpointStore, models: MusicGenerator, tmp_path: Path, change: dict[str, int], reason: str
) -> None:
    wrong = CheckpointStore(tmp_path)
    for stage in ("semantic", "coarse", "fine"):
        name = f"text_to_music.package_{stage}"
        changed = change if reason != "sizes" or stage == "fine" else {}
        wrong.save(name, store.load(name), {**store.config(name), **changed}, {})
    with pytest.raises(CheckpointError, match=reason):
        PackageGenerator(wrong, models.codec)


def test_weights_survive_the_store_exactly(store: CheckpointStore, models: MusicGenerator) -> None:
    for name, (module, _) in random_models().items():
        kept = store.load(f"text_to_music.{name}")
        assert all(torch.equal(kept[key], value) for key, value in module.state_dict().items())
    assert not models.codec.training and not models.semantic.training
