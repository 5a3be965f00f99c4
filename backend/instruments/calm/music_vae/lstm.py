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


class _Layer:
    """Buffers and views of one layer: whatever is reused by every step is sliced here, once."""

    def __init__(self, cell: LstmCell, inputs: int, rows: int) -> None:
        units = cell.units
        self.joint = cell.kernel.new_zeros(rows, inputs + units)
        self.x, self.h = self.joint[:, :inputs], self.joint[:, inputs:]
        self.c = cell.kernel.new_zeros(rows, units)
        self.gates = cell.kernel.new_empty(rows, 4 * units)
        self._open, self._new = self.gates[:, : 3 * units], self.gates[:, 3 * units :]
        self._i, self._f, self._o = (self.gates[:, k * units : (k + 1) * units] for k in range(3))

    def advance(self) -> Tensor:
        """From the sums in ``gates`` to the next ``c`` and ``h``; returns ``h``."""
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
    """

    def __init__(self, cells: Sequence[LstmCell], rows: int) -> None:
        self._cells = cells
        self._layers = [_Layer(cell, cell.inputs if i else 0, rows) for i, cell in enumerate(cells)]

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
        output = drive
        for index, (cell, layer) in enumerate(zip(self._cells, self._layers, strict=True)):
            if index == 0:
                torch.addmm(drive, layer.h, cell.from_state, out=layer.gates)
            else:
                layer.x.copy_(output)
                torch.addmm(cell.bias, layer.joint, cell.kernel, out=layer.gates)
            output = layer.advance()
        return output
