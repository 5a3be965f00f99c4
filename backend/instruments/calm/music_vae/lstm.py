"""The LSTM of Magenta's checkpoints, unrolled step by step in buffers that are made once. For inference only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class LstmCell(nn.Module):
    """Parameters of one layer (Zaremba et al. 2014, arXiv 1409.2329, equation 4, without dropout).

    A step is::

        i, f, o = sigmoid([x, h] K + b)      g = tanh([x, h] K + b)
        c' = f c + i g                       h' = o tanh(c')

    Attributes:
        kernel: ``[inputs + units, 4 units]``, rows of the input above rows of the state, columns i, f, o, g. Laid out
            so that a step is one product without a transposition, which is faster for few rows.
        bias: ``[4 units]``.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.inputs, self.units = inputs, units
        self.kernel = nn.Parameter(torch.empty(inputs + units, 4 * units), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(4 * units), requires_grad=False)
        nn.init.uniform_(self.kernel, -(units**-0.5), units**-0.5)

    @property
    def from_input(self) -> Tensor:
        """``[inputs, 4 units]``."""
        return self.kernel[: self.inputs]

    @property
    def from_state(self) -> Tensor:
        """``[units, 4 units]``."""
        return self.kernel[self.inputs :]


def packed(kernel: Tensor, rows: int) -> Tensor | None:
    """``kernel [inputs, outputs]`` in the order in which oneDNN multiplies it with so few rows, as a copy.

    Such a product waits for memory, and in this order it takes about half the time (two rows, 2048 units). The two
    operators are those torch's own compiler calls; None where they are missing.
    """
    here = kernel.device.type == "cpu" and kernel.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    if not here or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return None
    reordered: Tensor = torch.ops.mkldnn._reorder_linear_weight(kernel.T, rows)
    return reordered


class _Layer:
    """Buffers and views of one layer: whatever is reused by every step is sliced here, once."""

    def __init__(self, cell: LstmCell, inputs: int, rows: int, pack: bool) -> None:
        units = cell.units
        self._kernel = cell.kernel if inputs else cell.from_state
        self._packed = packed(self._kernel, rows) if pack else None
        self.joint = cell.kernel.new_zeros(rows, inputs + units)
        self.x, self.h = self.joint[:, :inputs], self.joint[:, inputs:]
        self.c = cell.kernel.new_zeros(rows, units)
        self.gates = cell.kernel.new_empty(rows, 4 * units)
        self._open, self._new = self.gates[:, : 3 * units], self.gates[:, 3 * units :]
        self._i, self._f, self._o = (self.gates[:, k * units : (k + 1) * units] for k in range(3))

    def advance(self, drive: Tensor) -> Tensor:
        """From ``drive [rows or 1, 4 units]``, ``x`` and ``h`` to the next ``c`` and ``h``; returns ``h``."""
        if self._packed is None:
            torch.addmm(drive, self.joint, self._kernel, out=self.gates)
        else:
            product = torch.ops.mkldnn._linear_pointwise(self.joint, self._packed, None, "none", [], "")
            torch.add(product, drive, out=self.gates)
        self._open.sigmoid_()
        self._new.tanh_()
        self.c.mul_(self._f).addcmul_(self._i, self._new)
        torch.tanh(self.c, out=self.h)
        return self.h.mul_(self._o)


class LstmStack:
    """Layers that run one step at a time, from a state of zeros until `start`.

    What enters the first layer is projected by the caller: all steps in one product, or as a row of a table.

    Args:
        cells: first layer first.
        rows: size of the batch.
        pack: copy the kernels into the order that is fastest, which pays after some ten steps.
    """

    def __init__(self, cells: Sequence[LstmCell], rows: int, *, pack: bool = False) -> None:
        self._cells = cells
        self._layers = [_Layer(cell, cell.inputs if i else 0, rows, pack) for i, cell in enumerate(cells)]

    def start(self, state: Tensor) -> None:
        """Set the state ``[rows, c0 + h0 + c1 + h1 …]``, as Magenta's dense layer gives it."""
        sizes = [cell.units for cell in self._cells for _ in ("c", "h")]
        parts = state.split(sizes, dim=-1)
        for layer, c, h in zip(self._layers, parts[::2], parts[1::2], strict=True):
            layer.c.copy_(c)
            layer.h.copy_(h)

    def step(self, drive: Tensor) -> Tensor:
        """One step.

        Args:
            drive: ``[rows, 4 units]``, the first layer's projected input with its bias.

        Returns:
            The last layer's ``h [rows, units]``: a view that the next step overwrites.
        """
        output = self._layers[0].advance(drive)
        for cell, layer in zip(self._cells[1:], self._layers[1:], strict=True):
            layer.x.copy_(output)
            output = layer.advance(cell.bias)
        return output
