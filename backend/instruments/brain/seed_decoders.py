"""The two decoders of the project this one grew from, as baselines: a linear layer and a small network, by gradients.

Li, Masi and McArn trained a fully connected layer with L2 regularisation for 300 epochs on single volumes, each with
the embedding of its clip, and averaged the ten predictions of a clip; they wished for, but had no memory for, three
layers with ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.instruments.brain.ridge import Groups

FloatArray = npt.NDArray[np.float32]


class SeedLinear:
    """One linear layer by Adam.

    Args:
        epochs: passes over the training rows.
        seed: of first weights and order.
        batch: rows a step.
        weight_decay: L2 regularisation.
    """

    name: ClassVar[str] = "seed_linear"

    def __init__(self, epochs: int = 300, seed: int = 0, batch: int = 32, weight_decay: float = 1e-4) -> None:
        self.epochs, self.seed, self.batch, self.weight_decay = epochs, seed, batch, weight_decay
        self._model: nn.Module | None = None
        self.held_out: FloatArray | None = None

    def build(self, voxels: int, targets: int) -> nn.Module:
        """The untrained network."""
        return nn.Linear(voxels, targets)

    def fit(self, x: FloatArray, y: FloatArray, groups: Groups | None = None) -> Self:
        """Minimise the squared error; nothing is held out, as in the original."""
        generator = torch.Generator().manual_seed(self.seed)
        with torch.enable_grad():
            model = self.build(x.shape[1], y.shape[1])
            for parameter in model.parameters():
                bound = parameter.shape[-1] ** -0.5
                nn.init.uniform_(parameter, -bound, bound, generator=generator)
            optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=self.weight_decay)
            inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
            for _ in range(self.epochs):
                for rows in torch.randperm(len(x), generator=generator).split(self.batch):
                    optimiser.zero_grad()
                    functional.mse_loss(model(inputs[rows]), targets[rows]).backward()
                    optimiser.step()
        self._model = model.requires_grad_(False).eval()
        return self

    def predict(self, x: FloatArray) -> FloatArray:
        """Voxels ``[samples, voxels]`` → embeddings ``[samples, 128]``.

        Raises:
            ValueError: not fitted.
        """
        if self._model is None:
            raise ValueError("the decoder is not fitted")
        out: Tensor = self._model(torch.from_numpy(x))
        return np.asarray(out.numpy())

    def state(self) -> dict[str, Tensor]:
        """The network's tensors."""
        return {} if self._model is None else dict(self._model.state_dict())

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """The decoder of a `state`."""
        weights = [value for key, value in state.items() if key.endswith("weight")]
        model = self.build(weights[0].shape[1], weights[-1].shape[0])
        model.load_state_dict({key: value.float() for key, value in state.items()})
        self._model = model.requires_grad_(False).eval()
        return self


class SeedMlp(SeedLinear):
    """Three layers with ReLU between them."""

    name: ClassVar[str] = "seed_mlp"

    def __init__(self, epochs: int = 60, seed: int = 0, batch: int = 32, width: int = 256) -> None:
        super().__init__(epochs, seed, batch)
        self.width = width

    def build(self, voxels: int, targets: int) -> nn.Module:
        """The untrained network."""
        return nn.Sequential(
            nn.Linear(voxels, self.width), nn.ReLU(),
            nn.Linear(self.width, self.width), nn.ReLU(),
            nn.Linear(self.width, targets),
        )  # fmt: skip
