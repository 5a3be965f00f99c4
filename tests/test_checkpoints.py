from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.checkpoints import CheckpointStore, main
from backend.errors import Cancelled, CheckpointError
from backend.manifest import MANIFEST, plain_values

NAME = "violin.adapter"


def state(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "matrix": torch.randn(100, 50, generator=generator),
        "transposed": torch.randn(8, 4, generator=generator).T,
        "scalar": torch.tensor(1.5, dtype=torch.float64),
        "brain": torch.randn(5, generator=generator).bfloat16(),
        "codes": torch.arange(7),
        "mask": torch.tensor([True, False]),
        "empty": torch.zeros(0, 3),
    }


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


def test_what_is_saved_is_loaded_with_values_types_and_configuration(store: CheckpointStore) -> None:
    config = {
        "dim": 64,
        "rate": 1e-5,
        "strides": (2, 4),
        "causal": True,
        "name": 'a "b"\n\x7fü',
        "nested": {"x y": [1]},
    }
    store.save(NAME, state(), config, {"loss": np.float32(0.25)}, "violin/README.md")
    assert same(store.load(NAME), state())
    assert store.config(NAME) == {**config, "strides": [2, 4]}
    assert store.entry(NAME).metrics == {"loss": 0.25}
    assert store.names() == (NAME,)


@settings(max_examples=40, deadline=None)
@given(st.integers(700, 40_000), st.integers(0, 300), st.integers(1, 40))
def test_any_shape_survives_any_shard_size(
    tmp_path_factory: pytest.TempPathFactory, limit: int, rows: int, columns: int
) -> None:
    root = tmp_path_factory.mktemp("shards")
    tensors = {"a": torch.randn(rows, columns), "b": torch.arange(rows), "c": torch.tensor(1)}
    entry = CheckpointStore(root).save(NAME, tensors, {}, {}, max_shard_bytes=limit)
    assert same(CheckpointStore(root).load(NAME), tensors)
    assert all((root / file.path).stat().st_size == file.bytes <= limit for file in entry.files)


def test_float16_storage_halves_the_file_and_loads_as_float32(store: CheckpointStore) -> None:
    tensors = {"w": torch.randn(1000), "codes": torch.arange(4), "mask": torch.tensor([-torch.inf, 0.0])}
    entry = store.save(NAME, tensors, {}, {}, dtype="float16")
    loaded = store.load(NAME)
    assert entry.files[0].bytes < 2500
    assert torch.equal(loaded["w"], tensors["w"].half().float())
    assert loaded["codes"].dtype == torch.int64
    assert torch.equal(loaded["mask"], tensors["mask"])
    with pytest.raises(CheckpointError, match="beyond the range of float16"):
        store.save("violin.loud", {"w": torch.tensor([1e6])}, {}, {}, dtype="float16")


def test_a_row_larger_than_a_file_is_refused(store: CheckpointStore) -> None:
    with pytest.raises(CheckpointError, match="One row of wide"):
        store.save(NAME, {"wide": torch.zeros(2, 1000)}, {}, {}, max_shard_bytes=1000)


@pytest.mark.parametrize(
    ("better", "metric", "replaced"),
    [("lower loss", 0.9, True), ("lower loss", 1.0, False), ("higher loss", 1.1, True), ("higher loss", 0.9, False)],
)
def test_only_a_better_checkpoint_replaces_one_and_both_figures_are_kept(
    store: CheckpointStore, better: str, metric: float, replaced: bool
) -> None:
    store.save(NAME, state(0), {}, {"valid": {"loss": 1.0}})
    better = better.replace("loss", "valid.loss")
    if not replaced:
        with pytest.raises(CheckpointError, match=rf"kept: valid.loss would be {metric:g}"):
            store.save(NAME, state(1), {}, {"valid": {"loss": metric}}, better=better)
        assert same(store.load(NAME), state(0))
        return
    store.save(NAME, state(1), {}, {"valid": {"loss": metric}}, better=better)
    assert same(store.load(NAME), state(1))
    assert store.entry(NAME).previous == {"valid": {"loss": 1.0}}


def test_replacing_needs_a_comparison_or_force(store: CheckpointStore) -> None:
    store.save(NAME, state(0), {}, {"loss": 1.0})
    for better in (None, "loss", "lower ", "lower accuracy"):
        with pytest.raises(CheckpointError, match="exists"):
            store.save(NAME, state(1), {}, {"loss": 0.5}, better=better)
    store.save(NAME, state(1), {}, {"loss": 2.0}, force=True)
    assert store.entry(NAME).previous == {"loss": 1.0}


def test_replacing_leaves_no_file_of_the_old_one_and_none_of_others_is_touched(
    store: CheckpointStore, tmp_path: Path
) -> None:
    store.save("violin.other", state(5), {}, {})
    store.save(NAME, state(0), {}, {}, max_shard_bytes=6000)
    entry = store.save(NAME, state(1), {}, {}, force=True)
    expected = {file.path for file in (*entry.files, *store.entry("violin.other").files)} | {MANIFEST}
    root = tmp_path / "checkpoints"
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == expected
    store.save(NAME, state(1), {}, {}, force=True)  # the same content: same file name, and it must survive
    assert same(store.load(NAME), state(1))
    assert same(store.load("violin.other"), state(5))


def test_trainers_that_finish_at_once_lose_no_entry(store: CheckpointStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: store.save(f"violin.m{i}", {"x": torch.tensor(i)}, {}, {}), range(16)))
    assert [int(store.load(f"violin.m{i}")["x"]) for i in range(16)] == list(range(16))


@pytest.mark.parametrize("damage", ["missing", "truncated", "longer", "altered"])
def test_a_damaged_file_is_named_with_both_hashes(store: CheckpointStore, tmp_path: Path, damage: str) -> None:
    file = store.save(NAME, state(), {}, {}, max_shard_bytes=6000).files[1]
    path = tmp_path / "checkpoints" / file.path
    data = path.read_bytes()
    new = {"truncated": data[:100], "longer": data + b"x", "altered": data[:-1] + bytes([data[-1] ^ 1])}.get(damage)
    if new is None:
        path.unlink()
    else:
        path.write_bytes(new)
    with pytest.raises(CheckpointError) as caught:
        store.load(NAME)
    assert file.path in str(caught.value)
    assert file.sha256 in str(caught.value)
    assert ("found none" if new is None else hashlib.sha256(new).hexdigest()) in str(caught.value)
    assert NAME not in store.opened


@pytest.mark.parametrize(
    "text",
    [
        "not toml [",
        "checkpoints = 3",
        '[checkpoints."a.b"]\nstorage = "exact"',
        '[checkpoints."a.b"]\nstorage = "exact"\nfiles = [{path = "x", bytes = "many", sha256 = ""}]',
        '[checkpoints."a.b"]\nstorage = "exact"\nfiles = [{path = "../../etc/passwd", bytes = 1, sha256 = ""}]',
        '[checkpoints."a.b"]\nstorage = "exact"\nfiles = [{path = "/etc/passwd", bytes = 1, sha256 = ""}]',
    ],
)
def test_a_malformed_or_hostile_manifest_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match="not a manifest this program wrote"):
        CheckpointStore(tmp_path).load("a.b")


def test_an_unknown_name_is_said_with_where_it_was_looked_for(store: CheckpointStore, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint 'violin.adapter' in .*manifest.toml"):
        store.load(NAME)


@pytest.mark.parametrize("name", ["violin", "../x.y", "Violin.a", "violin.", "violin/a.b", ""])
def test_a_name_that_is_no_name_is_refused(store: CheckpointStore, name: str) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint name"):
        store.save(name, {}, {}, {})


@pytest.mark.parametrize("value", [None, b"raw", {1, 2}, object(), torch.zeros(2)])
def test_a_value_toml_has_no_place_for_is_refused_before_anything_is_written(
    store: CheckpointStore, tmp_path: Path, value: object
) -> None:
    with pytest.raises(CheckpointError, match="config: "):
        store.save(NAME, state(), {"x": value}, {})
    assert list(tmp_path.rglob("*.safetensors")) == []


PLAIN = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_every_plain_value_comes_back_from_toml(values: dict[str, object]) -> None:
    assert plain_values(values, "config") == values


def test_the_users_own_weights_win_over_the_bundled_ones(tmp_path: Path) -> None:
    bundled, own = CheckpointStore(tmp_path / "bundled"), CheckpointStore(tmp_path / "own")
    bundled.save(NAME, state(0), {}, {})
    bundled.save("violin.base", state(2), {}, {})
    own.save(NAME, state(1), {}, {})
    both = CheckpointStore(tmp_path / "bundled", [tmp_path / "own"])
    assert same(both.load(NAME), state(1))
    assert same(both.load("violin.base"), state(2))
    assert both.names() == (NAME, "violin.base")
    assert both.opened == {NAME: own.digest(NAME), "violin.base": bundled.digest("violin.base")}


def test_a_folder_beside_the_store_is_looked_into_first_and_its_opening_is_counted(tmp_path: Path) -> None:
    bundled, imported = CheckpointStore(tmp_path / "a"), tmp_path / "b"
    bundled.save("calm.model", state(), {}, {})
    CheckpointStore(imported).save("calm.other", state(1), {}, {})
    view = bundled.beside(imported)
    assert view.names() == ("calm.model", "calm.other") and bundled.names() == ("calm.model",)
    view.load("calm.other")
    assert list(bundled.opened) == ["calm.other"]


def test_the_digest_tells_weights_and_configurations_apart(tmp_path: Path) -> None:
    digests = set()
    for i, (seed, config) in enumerate([(0, {"a": 1}), (0, {"a": 2}), (1, {"a": 1}), (0, {"a": 1})]):
        digests.add(CheckpointStore(tmp_path / str(i)).save(NAME, state(seed), config, {}).digest)
    assert len(digests) == 3


def test_a_load_can_be_stopped_between_two_files(store: CheckpointStore) -> None:
    entry = store.save(NAME, state(), {}, {}, max_shard_bytes=6000)
    reads: list[int] = []

    def stop_at_the_third() -> None:
        reads.append(1)
        if len(reads) == 3:
            raise Cancelled

    assert len(entry.files) > 3
    with pytest.raises(Cancelled):
        store.watched(stop_at_the_third).load(NAME)
    assert same(store.load(NAME), state())


def test_a_full_disk_is_one_sentence_and_the_old_checkpoint_stays(
    store: CheckpointStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(NAME, state(0), {}, {})
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        write_bytes(path, data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CheckpointError, match=r"Cannot write violin.adapter .*No space left on device\.$"):
        store.save(NAME, state(1), {}, {}, force=True)
    monkeypatch.undo()
    assert same(store.load(NAME), state(0))
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 2  # the manifest and the one file


def test_verify_reports_every_problem_as_json(
    store: CheckpointStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "checkpoints"
    file = store.save(NAME, state(), {}, {}, "violin/README.md").files[0]
    assert main(["verify", "--root", str(root)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["checkpoints"][NAME]["problems"] == ["The model card 'violin/README.md' is missing."]
    (root / "violin/README.md").write_text("data, recipe, metrics, limits")
    assert main(["verify", "--root", str(root)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["total_bytes"]) == (True, file.bytes)
    (root / file.path).unlink()
    assert main(["verify", "--root", str(root)]) == 1
    (root / MANIFEST).write_text("[")
    assert main(["verify", "--root", str(root)]) == 1
    assert "manifest" in capsys.readouterr().out


def test_the_bundled_checkpoints_are_whole() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "backend.checkpoints", "verify"], capture_output=True, text=True, timeout=120
    )
    report = json.loads(done.stdout)
    assert report["ok"], report
    assert report["total_bytes"] <= 100_000_000
