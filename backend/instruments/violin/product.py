"""A matrix with a low-rank product beside it, quick to play before it is merged.

Apart from `lora` because peft takes seconds to import, which only training needs.
"""

from __future__ import annotations

from typing import Any, cast

from peft.tuners.lora.layer import Linear
from torch import Tensor
from torch.nn import functional


class LinearWithProduct(Linear):
    """peft's layer, of which playing with one adapter takes two calls more than the matrix alone.

    While one position at a time is played the calls cost more than the numbers, and over many positions each pass over
    the result does: the product is scaled and added in place by its second multiplication. Training, several adapters,
    mixed types and merged weights go peft's way.
    """

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Map ``x`` [..., in] to [..., out]."""
        active = self.active_adapters
        if self.training or args or kwargs or self.merged_adapters or self._disable_adapters or len(active) != 1:
            return super().forward(x, *args, **kwargs)
        # Looked up in the dictionary: as an attribute, a module's module costs a microsecond each time.
        name, parts = active[0], cast(dict[str, Any], self._modules)
        products = parts["lora_A"]._modules
        if name not in products or name in self.lora_variant or x.dtype is not products[name].weight.dtype:
            return super().forward(x)
        played: Tensor = parts["base_layer"](x)
        if played.dtype is not x.dtype:  # under autocast
            return super().forward(x)
        down, up = products[name].weight, parts["lora_B"]._modules[name].weight
        rank, width = down.shape[0], up.shape[0]
        small = functional.linear(x, down).view(-1, rank)
        played.view(-1, width).addmm_(small, up.t(), alpha=self.scaling[name])
        return played
