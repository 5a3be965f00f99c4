"""Where a training runs: through ``accelerate`` where it is installed, else on one device with what torch brings.

The training kit (`backend.musiclm.pack`) goes to machines that have torch and numpy only.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)


class SingleDevice:
    """The part of ``accelerate.Accelerator`` that `backend.musiclm.fit` uses, for one process on one device.

    Args:
        cpu: stay on the CPU even where CUDA is found.
        mixed_precision: ``bf16`` or ``no``.
    """

    process_index = 0
    num_processes = 1
    is_main_process = True

    def __init__(self, cpu: bool = False, mixed_precision: str = "bf16") -> None:
        self.device = torch.device("cpu" if cpu or not torch.cuda.is_available() else "cuda")
        self.mixed_precision = mixed_precision

    def autocast(self) -> AbstractContextManager[Any]:
        """Matrix products in bfloat16, if that was asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed_precision == "bf16")

    def prepare(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Module and optimiser, on the device."""
        return module.to(self.device), optimizer

    def unwrap_model(self, module: nn.Module) -> nn.Module:
        """The module itself."""
        return module

    def backward(self, loss: Tensor) -> None:
        """Gradients of ``loss``."""
        loss.backward()

    def clip_grad_norm_(self, parameters: Iterable[Tensor], max_norm: float) -> Tensor:
        """Scale the gradients to at most ``max_norm`` together; their norm before."""
        return torch.nn.utils.clip_grad_norm_(parameters, max_norm)


def find_accelerator(cpu: bool, precision: str) -> Any:
    """``accelerate``'s ``Accelerator``, or `SingleDevice` where the package is missing.

    Args:
        cpu: force the CPU.
        precision: ``bf16`` or ``no``.
    """
    try:
        from accelerate import Accelerator, DistributedDataParallelKwargs
        from accelerate.state import AcceleratorState
    except ImportError:
        logger.info("accelerate is not installed: one process, one device")
        return SingleDevice(cpu, precision)
    AcceleratorState._reset_state()  # an earlier training of this process may have had another precision
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a quantiser not yet in use
    return Accelerator(cpu=cpu, mixed_precision=precision, kwargs_handlers=[unused])


def read_ahead(batches: Iterator[Any], depth: int = 4) -> Iterator[Any]:
    """The same batches, drawn up to ``depth`` ahead by a thread, so that a GPU does not wait for numpy.

    The thread ends with the process or with the iterator; an exception in it is raised here.
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def draw() -> None:
        try:
            for batch in batches:
                if not _offer(ready, (batch, None), stop):
                    return
        except BaseException as error:  # whatever ends the source must end the training, not hang it
            _offer(ready, (None, error), stop)
        else:
            _offer(ready, (None, StopIteration()), stop)

    threading.Thread(target=draw, name="read-ahead", daemon=True).start()
    try:
        while True:
            batch, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield batch
    finally:
        stop.set()


def _offer(ready: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    """Put ``item`` when there is room; False when nobody wants it any more."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.2)
            return True
        except queue.Full:
            continue
    return False
