"""Which processor runs the models, chosen once, and what it can hold. The only file that asks torch about hardware."""

from __future__ import annotations

import contextlib
import gc
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import RequestError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

CPU_SHARE, GPU_SHARE = 0.5, 0.8  # of all memory; the rest is for activations and, on the CPU, everybody else
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
ALLOCATION_FAILURES = ("can't allocate memory", "not enough memory", "out of memory", "alloc_failed")


def choose_devices(wanted: str = "auto") -> tuple[torch.device, ...]:
    """Devices to run on, one worker each: every CUDA GPU, else Apple's GPU, else the CPU.

    Args:
        wanted: ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:<number>``.

    Raises:
        RequestError: the wanted device is not in this machine.
    """
    import torch

    kind, _, index = wanted.partition(":")
    n_cuda = torch.cuda.device_count() if kind in ("auto", "cuda") and torch.cuda.is_available() else 0
    if kind == "cuda" and (int(index) if index else 0) >= n_cuda:
        raise RequestError("NEUROMUSE_DEVICE", wanted, f"one of the {n_cuda} CUDA devices here, or 'auto'")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise RequestError("NEUROMUSE_DEVICE", wanted, "a device of this machine, or 'auto'")
    if n_cuda:
        return (torch.device(wanted),) if index else tuple(torch.device("cuda", i) for i in range(n_cuda))
    if kind == "mps" or (kind == "auto" and torch.backends.mps.is_available()):
        return (torch.device("mps"),)
    return (torch.device("cpu"),)


def set_threads(threads: int = 0) -> int:
    """Let torch use ``threads`` CPU threads, or one a physical core that this process may use; returns the number.

    More than one a core makes small matrix products slower, not faster.
    """
    import psutil
    import torch

    if threads < 1:
        threads = psutil.cpu_count(logical=False) or 1
        if sys.platform == "linux":
            threads = min(threads, len(psutil.Process().cpu_affinity()))
    torch.set_num_threads(threads)
    return threads


def make_current(device: torch.device) -> None:
    """Let this thread's CUDA calls that name no device use this one."""
    import torch

    if device.type == "cuda":
        torch.cuda.set_device(device)


def total_memory_mb(device: torch.device) -> int:
    """Memory of the device in MiB; on the CPU within the container's limit."""
    import psutil
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1] >> 20)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() >> 20)
    total = int(psutil.virtual_memory().total)
    for path in CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # "max" means no limit
            total = min(total, int(path.read_text()))
    return total >> 20


def free_memory_mb(device: torch.device) -> int:
    """What is free on the device now, in MiB."""
    import psutil
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] >> 20)
    if device.type == "mps":
        return int((torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()) >> 20)
    return int(psutil.virtual_memory().available >> 20)


def model_budget_mb(device: torch.device) -> int:
    """What loaded models may hold when the settings do not say."""
    return int(total_memory_mb(device) * (CPU_SHARE if device.type == "cpu" else GPU_SHARE))


def precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Bfloat16 autocast on CUDA; plain float32 elsewhere, where it is faster or must be repeatable."""
    import torch

    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else contextlib.nullcontext()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine or a device ran out of memory, in any of the ways torch says so."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in ALLOCATION_FAILURES)


def free_caches(device: torch.device) -> None:
    """Give unused memory back to the device."""
    import torch

    gc.collect()
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
