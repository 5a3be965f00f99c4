"""Eight-bit storage: a quarter of the bytes, the same tensors within rounding, through any sharding."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from backend.checkpoints import CheckpointStore
from backend.errors import CheckpointError
from backend.rowwise import pack, unpack

NAME = "violin.adapter"


def state(rows: int = 300) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "matrix": torch.randn(rows, 64, generator=generator) * torch.logspace(-2, 1, rows)[:, None],
        "transposed": torch.randn(64, rows, generator=generator).T,
        "kernel": torch.randn(32, 16, 9, generator=generator),
        "bias": torch.randn(64, generator=generator),
        "codes": torch.arange(9000).view(90, 100),
        "scalar": torch.tensor(1.5, dtype=torch.float64),
    }


@pytest.mark.parametrize("limit", [1500, 5000, 9_500_000])
def test_shards_of_any_size_give_back_what_packing_alone_does(tmp_path: Path, limit: int) -> None:
    store, tensors = CheckpointStore(tmp_path), state()
    entry = store.save(NAME, tensors, {}, {}, dtype="int8", max_shard_bytes=limit)
    loaded, expected = store.load(NAME), unpack(pack(tensors))
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[key], expected[key]) for key in tensors)
    assert all((tmp_path / file.path).stat().st_size == file.bytes <= limit for file in entry.files)
    assert len(entry.files) > 10 or limit > 5000  # a matrix larger than a file was cut


def test_a_matrix_takes_a_quarter_of_its_bytes_and_is_off_by_less_than_one_percent_of_its_rows_peak(
    tmp_path: Path,
) -> None:
    store, matrix = CheckpointStore(tmp_path), {"matrix": state(2000)["matrix"]}
    entry = store.save(NAME, matrix, {}, {}, dtype="int8")
    assert sum(file.bytes for file in entry.files) < 0.27 * matrix["matrix"].nbytes
    error = (store.load(NAME)["matrix"] - matrix["matrix"]).abs()
    assert (error <= 0.005 * matrix["matrix"].abs().amax(1, keepdim=True)).all()


def test_the_storage_is_told_apart_by_manifest_and_digest(tmp_path: Path) -> None:
    digests = set()
    for dtype in (None, "float16", "int8"):
        store = CheckpointStore(tmp_path / str(dtype))
        store.save(NAME, state(), {}, {}, dtype=dtype)
        digests.add(store.digest(NAME))
        assert store.entry(NAME).storage == (dtype or "exact")
    assert len(digests) == 3


@pytest.mark.parametrize("value", [torch.inf, torch.nan, 1e30])
@pytest.mark.parametrize("shape", [(3,), (100, 100)])
def test_values_eight_bits_cannot_hold_are_refused_by_name(
    tmp_path: Path, value: float, shape: tuple[int, ...]
) -> None:
    tensor = torch.zeros(shape)
    tensor.view(-1)[1] = value
    if len(shape) == 1 and value != 1e30:  # a vector is float16, which knows infinity and NaN
        CheckpointStore(tmp_path).save(NAME, {"mask": tensor}, {}, {}, dtype="int8")
        return
    with pytest.raises(CheckpointError, match="mask has values beyond the range"):
        CheckpointStore(tmp_path).save(NAME, {"mask": tensor}, {}, {}, dtype="int8")
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_a_name_that_packing_needs_is_refused_and_so_is_an_unknown_storage(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="@scale"):
        CheckpointStore(tmp_path).save(NAME, {"w@scale": torch.zeros(3)}, {}, {}, dtype="int8")
    with pytest.raises(CheckpointError, match="int4"):
        CheckpointStore(tmp_path).save(NAME, state(), {}, {}, dtype="int4")
