"""Evaluation: perfect and useless ears score as such; targets that rise, and stay risen, are told from others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.audio.io import write
from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.instruments.neurons import evaluate as evaluation
from backend.instruments.neurons import probing
from backend.instruments.neurons.architecture import TINY
from backend.instruments.neurons.cpc import Cpc
from backend.instruments.neurons.ear import Ear
from backend.instruments.neurons.excitation import UNREGULARISED, Excited, excite, random_targets, spread, summary
from backend.instruments.neurons.networks import EARS, EarNetwork
from backend.instruments.neurons.probing import Labelled, accuracies, labelled
from backend.instruments.neurons.train import CARD
from tests.instruments.neurons.sounds import RATE, corpus

CONFIG = TINY


@pytest.fixture(scope="module")
def network() -> EarNetwork:
    torch.manual_seed(0)
    return EarNetwork(Ear(CONFIG), "tiny")


def test_random_targets_are_of_all_kinds_in_all_layers_but_the_scalogram(network: EarNetwork) -> None:
    targets = random_targets(network, 24, np.random.default_rng(0))
    assert {target.layer for target in targets} == set(network.layers) - {"scalogram"}
    assert all(target.channel is not None for target in targets)
    assert {target.time is None for target in targets} == {True, False}
    heights = {target.pitch[1] - target.pitch[0] for target in targets if target.pitch is not None}
    assert 1 in heights and len(heights) > 1 and any(target.pitch is None for target in targets)
    assert targets == random_targets(network, 24, np.random.default_rng(0))


def test_what_is_excited_has_gained_and_an_optimiser_that_did_nothing_has_not(network: EarNetwork) -> None:
    targets = random_targets(network, 3, np.random.default_rng(1))
    rose = summary(excite(network, targets, [1.0] * 3, updates=12, changes=UNREGULARISED))
    still = summary(excite(network, targets, [1.0] * 3, updates=1, changes={"learning_rate": 0.0}))
    assert rose["gain_median"] > 5 * abs(still["gain_median"]) and rose["change_median"] > 0.05


def test_a_targets_deviation_is_that_of_its_activation_over_the_sounds(network: EarNetwork) -> None:
    targets = random_targets(network, 4, np.random.default_rng(2))
    one = torch.from_numpy(np.random.default_rng(3).standard_normal(2 * RATE).astype(np.float32) / 10)
    assert spread(network, targets, torch.stack([one, one])) == pytest.approx([0] * 4, abs=1e-5)
    assert min(spread(network, targets, torch.stack([one, one / 10]))) > 0.001


def test_the_summary_counts_only_what_rose_as_robust() -> None:
    rows = [
        Excited("a", 4.0, 2.0, 0.8, 1.0, 0.1),
        Excited("b", 2.0, 1.0, 0.6, 0.5, 0.1),
        Excited("c", -1.0, -1.0, 0.0, 0.0, 0.1),
    ]
    figures = summary(rows)
    assert figures["gain_median"] == 2 and figures["robust_share"] == pytest.approx(0.7)
    assert figures["specificity"] == pytest.approx(0.5) and figures["specificity_first"] == pytest.approx(1 / 3)


class Hears(Ear):
    """An ear whose encodings say how loud the sound is and nothing else."""

    def forward(self, audio: Tensor, circular: bool = False) -> tuple[Tensor, Tensor]:
        level = audio.square().mean(1, keepdim=True).sqrt()[..., None]
        return level.expand(-1, 1, 4), level.expand(-1, 1, 2)


def test_an_ear_that_hears_the_classes_wins_with_one_label_each() -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(36) % 2
    # Two classes of one loudness each, of one tone both: the shape of their spectrum says nothing.
    tones = np.sin(2 * np.pi * 300 * np.arange(CONFIG.excerpt_samples) / RATE)
    loud = 0.05 * 8.0 ** classes[:, None] * (1 + 0.05 * rng.standard_normal((36, 1)))
    audio = torch.from_numpy((loud * tones).astype(np.float32))
    side = Labelled(audio, classes.astype(np.int64), ("a", "b"))
    figures = accuracies(Hears(CONFIG), side, side, labels=2, repeats=1, steps=1)
    assert figures["ear"] == 1 and figures["chance"] == 0.5
    assert set(figures) == {"ear", "log_mel", "chance", "supervised"}
    deaf = Labelled(torch.zeros_like(audio), side.classes, side.names)
    assert accuracies(Hears(CONFIG), deaf, deaf, 2, 1, 0)["ear"] == 0.5


def test_questions_are_split_by_the_corpus_and_rare_classes_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "LEAST", 2)
    rows = []
    for number, (split, family) in enumerate(
        [*[("valid", "piano"), ("test", "piano"), ("valid", "organ"), ("test", "organ")] * 2, ("valid", "harp")]
    ):
        path = tmp_path / f"{number}.wav"
        write(Waveform(np.full(4 * RATE, 0.1, np.float32), RATE), path)
        one = {"audio": path.name, "split": split, "kind": "score", "lead_family": family, "style": "classical"}
        rows.append(one | {"instruments": [{}]})
    rows.append(rows[0] | {"split": "train"})
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    valid, test = labelled(tmp_path, "instrument_family", CONFIG)
    assert valid.names == test.names == ("organ", "piano")
    assert len(valid.classes) == len(test.classes) == 4 * probing.EXCERPTS
    assert valid.audio.shape[1] == CONFIG.excerpt_samples


def test_the_command_prints_all_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = CheckpointStore(tmp_path)
    (tmp_path / "neurons").mkdir()
    (tmp_path / CARD).write_text("card", "utf-8")
    for checkpoint, _ in EARS.values():
        torch.manual_seed(1)
        model = Cpc(CONFIG, 2)
        scale = EarNetwork(model.ear, "").normaliser
        tensors = {**model.state_dict(), **scale.tensors()}
        store.save(checkpoint, tensors, model.as_config(), {}, CARD, dtype="float16")
    monkeypatch.setattr(evaluation, "CheckpointStore", lambda **_: store)
    assert evaluation.main(["--targets", "2", "--updates", "2", "--threads", "1"]) == 0
    figures = json.loads(capsys.readouterr().out)
    wanted = {"gain_median", "robust_share", "specificity", "robust_share_unregularised", "gain_median_random_ear"}
    assert wanted <= set(figures) and figures["targets"] == 2


def test_info_nce_is_measured_on_the_test_pieces_alone(tmp_path: Path) -> None:
    corpus(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "clips.jsonl").read_text("utf-8").splitlines()]
    for line in lines:
        line["split"] = "test" if line["split"] == "valid" else line["split"]
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    torch.manual_seed(0)
    figures = evaluation.info_nce(cast(Cpc, Cpc(CONFIG, 2).eval()), tmp_path, "score")
    assert figures["pieces"] == 2 and figures["chance"] == 0.5 and 0 <= figures["accuracy"] <= 1
