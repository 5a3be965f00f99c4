"""How the evaluation counts: chance by shuffling, reached between chance and ceiling, what is judged and kept."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from backend.audio.io import read
from backend.audio.waveform import Waveform
from backend.instruments.text_to_music.evaluate import (
    Judgement,
    _distances,
    _keep,
    _safe,
    attribute_figures,
    cosine_figures,
    generate,
)
from backend.instruments.text_to_music.instrument import TextToMusic
from backend.metrics.frechet import frechet_distance
from backend.metrics.listener import Listener, ListenerConfig

FAMILIES, CLIPS = 12, 120
RNG = np.random.default_rng(0)
ROWS: list[dict[str, Any]] = [
    {"families": [i % FAMILIES], "tempo_class": ("slow", "medium", "fast")[i % 3], "mode": ("major", "minor")[i % 2]}
    for i in range(CLIPS)
]


def judged(right: float) -> Judgement:
    """A judgement that agrees with `ROWS` on about the share ``right`` of the clips and is random on the others."""
    rng, judgement = np.random.default_rng(1), Judgement.__new__(Judgement)
    hears = [ROWS[i] if rng.random() < right else ROWS[rng.integers(CLIPS)] for i in range(CLIPS)]
    judgement.families = np.array([np.eye(FAMILIES)[row["families"][0]] for row in hears])
    judgement.tempo = [row["tempo_class"] for row in hears]
    judgement.mode = [row["mode"] for row in hears]
    return judgement


def test_music_that_follows_every_prompt_reaches_one_and_music_that_follows_none_reaches_nothing() -> None:
    perfect, deaf = (attribute_figures(judged(p), judged(1.0), ROWS, np.random.default_rng(2)) for p in (1.0, 0.0))
    chance = {"instrument_family": 1 / 12, "tempo_class": 1 / 3, "mode": 1 / 2}
    for name, expected in chance.items():
        assert perfect[name]["hit"] == perfect[name]["codec_ceiling"] == perfect[name]["reached"] == 1.0
        assert perfect[name]["chance"] == pytest.approx(expected, abs=0.02)
        assert abs(deaf[name]["reached"]) < 0.2


def test_reached_is_measured_between_chance_and_what_the_codec_allows() -> None:
    figures = attribute_figures(judged(0.5), judged(0.8), ROWS, np.random.default_rng(2))
    for row in figures.values():
        assert row["reached"] == pytest.approx((row["hit"] - row["chance"]) / (row["codec_ceiling"] - row["chance"]))
        assert 0.3 < row["reached"] < 0.9


def test_a_judgement_hears_instruments_tempo_mode_and_melody() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        listener = Listener(ListenerConfig(width=4, embed_dim=16)).eval()
    t = np.arange(4 * 24_000) / 24_000
    arpeggio = np.array([261.6, 329.6, 392.0, 523.3])[(2 * t).astype(int) % 4]  # C major, two notes a second
    phase = 2 * np.pi * np.cumsum(arpeggio) / 24_000
    samples = 0.3 * np.sin(phase) * np.exp(-4 * (2 * t % 1))
    judgement = Judgement([Waveform(samples.astype(np.float32), 24_000)], listener)
    hits = judgement.hits([{"families": [0, 1], "tempo_class": judgement.tempo[0], "mode": "major"}])
    assert hits["mode"].tolist() == [1.0] and hits["tempo_class"].tolist() == [1.0]
    assert judgement.tempo[0] in ("slow", "medium", "fast") and judgement.embedding.shape == (1, 16)
    assert judgement.top_pitches[0] >= 4


def test_clips_are_made_in_batches_of_the_right_length(instrument: TextToMusic) -> None:
    models = instrument._generator
    assert models is not None
    calls: list[tuple[int, float]] = []

    def fake(embed: torch.Tensor, keep: int, duration_s: float, *_: Any, **__: Any) -> Any:
        calls.append((len(embed), duration_s))
        return SimpleNamespace(audio=torch.full((len(embed), 240_000), 2.0))

    stand_in: Any = SimpleNamespace(embed=models.embed, best=fake)
    clips = generate(stand_in, ["slow harp"] * 17, 0, 3.0, 1.0)
    assert calls == [(16, 10), (1, 10)]
    assert len(clips) == 17 and float(clips[0].samples.max()) == 1.0  # scaled, not clipped


def test_cycle_consistency_compares_with_the_prompts_of_other_clips() -> None:
    eye = torch.eye(4)
    numbers = iter(range(4))
    mulan = SimpleNamespace(
        audio_embed=lambda samples: eye[next(numbers)][None], text_embed=lambda prompts: eye[: len(prompts)]
    )
    clips = [Waveform(np.zeros(100, np.float32), 24_000)] * 4
    models: Any = SimpleNamespace(mulan=mulan)
    assert cosine_figures(models, clips, ["a", "b", "c", "d"]) == {"prompt": 1.0, "shuffled": 0.0}


def test_loud_sound_is_scaled_quiet_sound_is_left_and_silence_survives() -> None:
    assert np.allclose(_safe(np.array([2.0, -4.0], np.float32)).samples, [[0.5, -1.0]])
    assert np.allclose(_safe(np.array([0.1, 0.0], np.float32)).samples, [[0.1, 0.0]])
    assert not _safe(np.zeros(4, np.float32)).samples.any()


def test_distances_are_taken_from_the_real_clips() -> None:
    real = RNG.standard_normal((60, 4))
    figures = _distances(frechet_distance, real, {"same": real, "far": real + 3.0})
    assert figures["same"] == pytest.approx(0, abs=1e-6) and figures["far"] == pytest.approx(36, rel=1e-6)


def test_judged_clips_can_be_kept_to_be_listened_to(tmp_path: Path) -> None:
    clip = Waveform(np.full(2400, 0.25, np.float32), 24_000)
    _keep(tmp_path / "kept", {"generated": [clip, clip], "codec": [clip]}, ["a harp", "a flute"])
    assert {p.name for p in (tmp_path / "kept").iterdir()} == {
        "prompts.txt", "generated_000.wav", "generated_001.wav", "codec_000.wav",
    }  # fmt: skip
    assert read(tmp_path / "kept/codec_000.wav").n_samples == 2400
    assert (tmp_path / "kept/prompts.txt").read_text().splitlines() == ["a harp", "a flute"]
