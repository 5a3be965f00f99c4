from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from backend.engine import devices
from backend.errors import RequestError

CPU = torch.device("cpu")


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("four_gpus")
def test_every_gpu_gets_a_worker_unless_one_is_named() -> None:
    assert devices.choose_devices("auto") == tuple(torch.device("cuda", i) for i in range(4))
    assert devices.choose_devices("cuda:2") == (torch.device("cuda:2"),)
    assert devices.choose_devices("cpu") == (CPU,)
    with pytest.raises(RequestError, match=r"'cuda:4'.*4 CUDA devices"):
        devices.choose_devices("cuda:4")


@pytest.mark.usefixtures("no_gpu")
def test_without_a_gpu_the_cpu_runs_and_a_named_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert devices.choose_devices() == (CPU,)
    for wanted in ("cuda", "cuda:0", "mps"):
        with pytest.raises(RequestError, match="NEUROMUSE_DEVICE"):
            devices.choose_devices(wanted)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.choose_devices() == devices.choose_devices("mps") == (torch.device("mps"),)


def test_threads_are_at_most_the_cores_this_process_may_use() -> None:
    before = torch.get_num_threads()
    try:
        assert devices.set_threads(3) == torch.get_num_threads() == 3
        assert 1 <= devices.set_threads() <= (os.cpu_count() or 1)
    finally:
        torch.set_num_threads(before)


def test_a_containers_memory_limit_is_the_machines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit, unlimited = tmp_path / "limit", tmp_path / "unlimited"
    limit.write_text(f"{64 << 20}\n")
    unlimited.write_text("max\n")
    monkeypatch.setattr(devices, "CGROUP_LIMITS", (unlimited, limit, tmp_path / "absent"))
    assert devices.total_memory_mb(CPU) == 64
    assert devices.model_budget_mb(CPU) == 32
    monkeypatch.setattr(devices, "CGROUP_LIMITS", (unlimited,))
    assert 0 < devices.free_memory_mb(CPU) <= devices.total_memory_mb(CPU)


def test_a_real_allocation_failure_of_torch_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert devices.is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("The size of tensor a (3) must match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_told_from_other_errors(error: Exception, expected: bool) -> None:
    assert devices.is_out_of_memory(error) is expected


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_only_cuda_computes_in_bfloat16() -> None:
    with devices.precision(CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert isinstance(devices.precision(torch.device("cuda")), torch.autocast)
