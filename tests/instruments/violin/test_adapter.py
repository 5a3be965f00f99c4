"""Adapters: peft's products, their file, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from peft.tuners.lora.layer import Linear
from torch import nn

from backend.checkpoints import CheckpointStore
from backend.errors import CheckpointError, RequestError
from backend.instruments.violin import voicing as voicing_module
from backend.instruments.violin.adapter import CONFIG, WEIGHTS, Adapter
from backend.instruments.violin.lora import (
    ADAPTER,
    PACKAGE_TARGETS,
    LoraSettings,
    adapter_state,
    inject,
    set_adapter_state,
    set_strength,
    trained_parameters,
)
from backend.instruments.violin.product import LinearWithProduct
from backend.instruments.violin.voicing import PARTS, Voicing
from backend.musiclm.generator import MusicGenerator
from backend.musiclm.package_stages import build_stage
from tests.instruments.violin.conftest import random_adapter
from tests.musiclm.tiny import PACKAGE, write_store


def stages_of(models: MusicGenerator) -> nn.ModuleDict:
    return nn.ModuleDict({"semantic": models.semantic, "acoustic": models.acoustic})


def weights(models: MusicGenerator) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in stages_of(models).state_dict().items()}


def test_only_the_products_are_trained_and_they_start_as_nothing(models: MusicGenerator) -> None:
    stages, codes = stages_of(models), torch.randint(0, 200, (1, 6, 5))
    embed = torch.ones(1, 8)
    before = models.semantic(codes, embed)
    total = sum(p.numel() for p in stages.parameters())
    inject(stages, LoraSettings(rank=2))
    assert all(torch.equal(a, b) for a, b in zip(before, models.semantic(codes, embed), strict=True))
    assert 0 < trained_parameters(stages) < 0.2 * total
    assert all("lora" in name for name, p in stages.named_parameters() if p.requires_grad)


def test_audiolm_pytorchs_stages_are_adapted_by_the_same_functions() -> None:
    stage = build_stage("coarse", PACKAGE, 0)
    inject(stage, LoraSettings(rank=2), PACKAGE_TARGETS)
    state = adapter_state(stage)
    assert any("to_q" in key for key in state) and any("to_out" in key for key in state)
    set_adapter_state(stage, {key: value + 1 for key, value in state.items()})
    assert torch.equal(next(iter(adapter_state(stage).values())), next(iter(state.values())) + 1)


@pytest.mark.parametrize("output_layer", [False, True])
def test_merged_weights_play_what_peft_plays_at_any_strength(
    store: CheckpointStore, models: MusicGenerator, output_layer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = random_adapter(store, output_layer=output_layer)
    other = MusicGenerator(store, torch.device("cpu"))
    settings = LoraSettings(rank=4, alpha=8.0, output_layer=output_layer, dropout=0.0)
    monkeypatch.setattr(voicing_module, "SOUND_SHARE", 1.0)
    injected = stages_of(other)
    inject(injected, settings)
    set_adapter_state(injected, adapter.tensors)
    voicing = Voicing({"semantic": models.semantic, "acoustic": models.acoustic})
    voicing.add("violin", adapter)
    codes, embed = torch.randint(0, 200, (2, 6, 5), generator=torch.Generator().manual_seed(0)), torch.ones(2, 8)
    for strength in (1.0,) if output_layer else (0.4, 1.0, 1.5):  # of the semantic stage, which has no limit
        voicing.set({"violin": strength})
        set_strength(injected, settings, strength)
        for a, b in zip(models.semantic(codes, embed), other.semantic.eval()(codes, embed), strict=True):
            assert torch.allclose(a, b, atol=2e-3, rtol=1e-3)


def test_a_product_beside_its_matrix_plays_to_the_last_digits_what_pefts_own_layer_does(models: MusicGenerator) -> None:
    stages = stages_of(models)
    inject(stages, LoraSettings(rank=2, dropout=0.0))
    set_adapter_state(stages, {key: torch.randn_like(value) for key, value in adapter_state(stages).items()})
    layers = [module for module in stages.modules() if isinstance(module, LinearWithProduct)]
    assert len(layers) > 8
    for layer in layers:
        x = torch.randn(2, 3, layer.in_features)
        for change in (layer.eval, layer.train, lambda layer=layer: layer.eval().enable_adapters(False)):
            change()
            assert torch.allclose(layer(x), Linear.forward(layer, x), rtol=1e-5, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        layers[0].eval().enable_adapters(True)
        x = torch.randn(1, 2, layers[0].in_features)
        assert torch.equal(layers[0](x), Linear.forward(layers[0], x))


def test_taking_an_adapter_off_gives_the_base_back_to_the_bit(store: CheckpointStore, models: MusicGenerator) -> None:
    before = weights(models)
    voicing = Voicing({"semantic": models.semantic, "acoustic": models.acoustic})
    voicing.add("a", random_adapter(store, 1))
    voicing.add("b", random_adapter(store, 2))
    for strengths in ({"a": 0.7}, {"a": 1.5, "b": 0.2}, {"b": 1.0}, {"a": 0.0}):
        voicing.set(strengths)
    assert all(torch.equal(before[key], value) for key, value in weights(models).items())


def test_two_adapters_add_up_and_a_part_leaves_the_other_stage_alone(
    store: CheckpointStore, models: MusicGenerator
) -> None:
    before = weights(models)
    voicing = Voicing({"semantic": models.semantic, "acoustic": models.acoustic})
    voicing.add("a", random_adapter(store, 1))
    voicing.add("b", random_adapter(store, 2))
    deltas = []
    for strengths in ({"a": 1.0}, {"b": 1.0}, {"a": 1.0, "b": 1.0}):
        voicing.set(strengths)
        deltas.append({key: value - before[key] for key, value in weights(models).items()})
    assert all(torch.allclose(deltas[0][k] + deltas[1][k], deltas[2][k], atol=1e-4) for k in before)
    for part, stages in PARTS.items():
        voicing.set({"a": 1.0}, part)
        changed = {key.split(".")[0] for key, value in weights(models).items() if not torch.equal(value, before[key])}
        assert changed == set(stages), part


def test_above_strength_1_only_what_is_played_goes_on(store: CheckpointStore, models: MusicGenerator) -> None:
    voicing = Voicing({"semantic": models.semantic, "acoustic": models.acoustic})
    voicing.add("a", random_adapter(store, 1))
    found = []
    for strength in (1.0, 1.5):
        voicing.set({"a": strength})
        found.append(weights(models))
    changed = {key.split(".")[0] for key, value in found[0].items() if not torch.equal(value, found[1][key])}
    assert changed == {"semantic"}


def test_an_adapter_survives_its_file_and_peft_reads_it(store: CheckpointStore, tmp_path: Path) -> None:
    from peft import LoraConfig

    adapter = random_adapter(store)
    for path in (adapter.save(tmp_path / "mine"), adapter.archive(tmp_path / "zipped.zip")):
        again = Adapter.load(path)
        assert again.name == adapter.name
        assert (again.scale, again.base, again.licence, again.figures) == (2.0, adapter.base, "CC0", {"loss": 1.0})
        assert all(torch.allclose(again.tensors[k], v, atol=2e-3) for k, v in adapter.tensors.items())
    config = LoraConfig.from_pretrained(str(tmp_path / "mine"))
    assert (config.r, config.lora_alpha) == (4, 8.0)


def test_an_adapter_of_another_base_is_refused_by_name(store: CheckpointStore, tmp_path: Path) -> None:
    other = write_store(tmp_path)
    state = {k: v + 1 for k, v in other.load("text_to_music.semantic").items()}
    other.save("text_to_music.semantic", state, other.config("text_to_music.semantic"), {}, force=True)
    with pytest.raises(CheckpointError, match=r"'random' belongs to another base: text_to_music\.semantic"):
        random_adapter(store).require_base(other)


def test_pickled_weights_are_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "ran"),))  # type: ignore[return-value]

    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / CONFIG).write_text("{}")
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="pickled"):
        Adapter.load(folder)
    (folder / WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="pickled"):
        Adapter.load(folder)
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr("adapter_model.bin", "x")
    with pytest.raises(CheckpointError, match="pickled"):
        Adapter.load(tmp_path / "bad.zip")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\x08\x00\x00\x00\x00\x00\x00\x00{broken}"])
def test_damaged_files_are_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / WEIGHTS).write_bytes(content)
    (tmp_path / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    with pytest.raises(CheckpointError, match="safetensors"):
        Adapter.load(tmp_path)


@pytest.mark.parametrize("change", [{"r": 0}, {"peft_type": "LOHA"}, {"lora_alpha": "many"}])
def test_an_impossible_configuration_is_a_sentence(
    store: CheckpointStore, tmp_path: Path, change: dict[str, object]
) -> None:
    folder = random_adapter(store).save(tmp_path / "mine")
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | change))
    with pytest.raises(CheckpointError, match="configuration"):
        Adapter.load(folder)


def test_foreign_tensors_and_sizes_are_refused(store: CheckpointStore, models: MusicGenerator) -> None:
    good = random_adapter(store)
    with pytest.raises(CheckpointError, match="no adapter"):
        dataclasses.replace(good, tensors={"unet.conv.weight": torch.zeros(2, 2)})
    wide = {k: torch.zeros(v.shape[0], v.shape[1] + 1) if "lora_A" in k else v for k, v in good.tensors.items()}
    with pytest.raises(CheckpointError, match="does not fit"):
        Voicing({"semantic": models.semantic, "acoustic": models.acoustic}).add(
            "x", dataclasses.replace(good, tensors=wide)
        )


@pytest.mark.parametrize(("field", "value"), [("rank", 0), ("rank", 65), ("alpha", 0), ("dropout", 0.9), ("rank", 2.5)])
def test_settings_out_of_range_name_the_field(field: str, value: float) -> None:
    with pytest.raises(RequestError, match=f"lora_{field}"):
        LoraSettings(**{field: value})


def test_the_products_name_is_not_in_the_file(store: CheckpointStore) -> None:
    assert not any(f".{ADAPTER}." in key for key in random_adapter(store).tensors)
