"""Adapters on the generator while it plays: any number, each at its own strength, changed without reading anything.

The products are added to the weights (LoRA merged), so a generator with an adapter is as fast as one without. The base
weights are kept, so taking all adapters off gives back the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from backend.errors import CheckpointError
from backend.instruments.violin.adapter import Adapter

PARTS: dict[str, tuple[str, ...]] = {"both": ("semantic", "acoustic"), "notes": ("semantic",), "sound": ("acoustic",)}
"""What an adapter is let change: what is played and how it sounds, or one of the two."""
SOUND_SHARE = 0.75
"""Of its products, the acoustic stage gets this share at strength 1, and no more above it. It predicts the mean of the
sounds a note may have; in recordings these differ more than in renderings, and at the full share the mean is a blur. On
validation pieces the error of the latents is .346 instead of .342 (base .504), and the pitch of what is played follows
the notes with .79 instead of .61 (base .81)."""


class Voicing:
    """The stages of one generator and what is laid over them.

    Args:
        stages: by name, ``semantic`` and ``acoustic``; changed in place by `set`.
    """

    def __init__(self, stages: Mapping[str, nn.Module]) -> None:
        self._parameters = {
            f"{stage}.{name}": parameter
            for stage, module in stages.items()
            for name, parameter in module.named_parameters()
        }
        self._base: dict[str, Tensor] = {}
        self._adapters: dict[str, Adapter] = {}
        self._now: tuple[tuple[str, float, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Adapters that are loaded."""
        return tuple(self._adapters)

    def add(self, name: str, adapter: Adapter) -> None:
        """Load an adapter (again).

        Raises:
            CheckpointError: its products do not fit the stages.
        """
        for key, shape in _shapes(adapter).items():
            parameter = self._parameters.get(key)
            if parameter is None or tuple(parameter.shape) != shape:
                raise CheckpointError(f"The adapter {adapter.name!r} does not fit: {key} is of another size here.")
        self._adapters[name] = adapter
        self._now = ()

    def adapter(self, name: str) -> Adapter:
        """A loaded adapter."""
        return self._adapters[name]

    def drop(self, name: str) -> None:
        """Forget an adapter; the stages are the base's again."""
        self._adapters.pop(name, None)
        self.set({})

    @torch.no_grad()
    def set(self, strengths: Mapping[str, float], part: str = "both") -> None:
        """Lay loaded adapters over the base, each at its strength; those not named, or at 0, are taken off.

        Args:
            strengths: adapter's name → 0 (off) to 1.5.
            part: one of `PARTS`.
        """
        wanted = tuple(sorted((name, float(s), part) for name, s in strengths.items() if s != 0.0))
        if wanted == self._now and (wanted or not self._base):
            return
        for key, value in self._base.items():
            self._parameters[key].copy_(value)
        self._base.clear()
        for name, strength, _ in wanted:
            adapter = self._adapters[name]
            for key in _shapes(adapter):
                stage = key.split(".")[0]
                if stage in PARTS[part]:
                    share = SOUND_SHARE * min(strength, 1.0) if stage == "acoustic" else strength
                    parameter = self._parameters[key]
                    base = self._base.setdefault(key, parameter.detach().clone())
                    parameter.add_(change_of(adapter, key, base), alpha=share)
        self._now = wanted


def change_of(adapter: Adapter, key: str, base: Tensor) -> Tensor:
    """What an adapter at strength 1 adds to the weight ``key``: ``α/r · B A``, or a whole layer's difference."""
    stem, _, leaf = key.rpartition(".")
    a, b = (adapter.tensors.get(f"{stem}.lora_{letter}.weight") for letter in "AB")
    if leaf == "weight" and a is not None and b is not None:
        return (adapter.scale * (b @ a)).to(base)
    return adapter.tensors[key].to(base) - base


def _shapes(adapter: Adapter) -> dict[str, tuple[int, ...]]:
    """Names of the weights that an adapter changes, and their shapes."""
    shapes: dict[str, tuple[int, ...]] = {}
    for key, tensor in adapter.tensors.items():
        if key.endswith(".lora_A.weight"):
            stem = key.removesuffix(".lora_A.weight")
            shapes[f"{stem}.weight"] = (adapter.tensors[f"{stem}.lora_B.weight"].shape[0], tensor.shape[1])
        elif not key.endswith(".lora_B.weight"):
            shapes[key] = tuple(tensor.shape)
    return shapes
