"""Contrastive predictive coding: what an ear learns from sound without labels (van den Oord et al., arXiv 1807.03748).

From a context c the encodings of the next steps are predicted, each step k by its own linear map M_k, and the right
encoding has to be found among those of the other excerpts of the batch at the same step (seed 004, equation of 2.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.errors import RequestError
from backend.instruments.neurons.architecture import EarConfig, config_of
from backend.instruments.neurons.ear import Ear


def info_nce(z: Tensor, c: Tensor, predictors: Tensor, first: int, context_hop: int) -> tuple[Tensor, Tensor]:
    """Scores of the candidates and the loss.

    The paper sums over batch and steps; the mean is taken here, so that chance is log(batch) for any size. Scores are
    divided by √z_channels, which M_k could do itself, so that Adam's first steps do not throw them far.

    Args:
        z: encodings ``[batch, z_channels, steps]``.
        c: contexts ``[batch, c_channels, n]`` in a row.
        predictors: M_k ``[predicted, z_channels, c_channels]``.
        first: last encoding that ``c[..., 0]`` has heard.
        context_hop: encodings between contexts.

    Returns:
        The loss, and whether the right candidate scored highest, ``[n, predicted, batch]``.
    """
    n, predicted = c.shape[-1], len(predictors)
    offset = first + 1 + torch.arange(n)[:, None] * context_hop + torch.arange(predicted)
    futures = z[:, :, offset.to(z.device)].permute(2, 3, 0, 1)  # [n, predicted, batch, z_channels]
    predictions = torch.einsum("kde,bei->ikbd", predictors, c)
    scores = z.shape[1] ** -0.5 * predictions @ futures.transpose(-1, -2)  # [n, predicted, batch n, candidates m]
    right = torch.arange(len(z), device=z.device).expand(n, predicted, -1)
    loss = functional.cross_entropy(scores.flatten(0, 2), right.flatten())
    return loss, scores.argmax(-1) == right


class Cpc(nn.Module):
    """An ear with its predictors: ``{"audio", "shift", "mask"}`` → ``(loss, figures)``.

    Args:
        config: the ear.
        contexts: contexts of an excerpt that predict, ending with the one after ``config.visible`` encodings. The paper
            has one; more teach more for the same sound, because earlier ones have had less to listen to.

    Raises:
        RequestError: there are not so many contexts.
    """

    def __init__(self, config: EarConfig, contexts: int = 1) -> None:
        super().__init__()
        if not 1 <= contexts <= config.visible // config.context_hop:
            raise RequestError("contexts", contexts, f"1 to {config.visible // config.context_hop}")
        self.contexts = contexts
        self.ear = Ear(config)
        size = config.predicted, config.z_channels, config.c_channels
        # Small, because the sums of residual blocks are not: scores should begin with a deviation near 1.
        self.predictors = nn.Parameter(torch.randn(size) * config.c_channels**-0.5 / 4)

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """InfoNCE of one batch.

        Args:
            batch: ``audio`` ``[batch, samples]``; optionally ``shift`` ``[batch]``, bins that the scalogram moves up,
                and ``mask`` ``[batch, 4]``: first bin, number of bins, first frame and number of frames to silence.
        """
        with torch.no_grad():  # the sound itself is not learned
            scalogram = augmented(self.ear.scalogram(batch["audio"]), batch)
        config = self.ear.config
        z = self.ear.encode(scalogram)
        c = self.ear.remember(z[..., : config.visible])[..., -self.contexts :]
        first = config.visible - 1 - (self.contexts - 1) * config.context_hop
        with torch.autocast(z.device.type, enabled=False):
            loss, right = info_nce(z.float(), c.float(), self.predictors, first, config.context_hop)
        figures = {"accuracy": right, "accuracy_first": right[:, 0], "accuracy_last": right[:, -1]}
        return loss, {name: value.detach().float().mean() for name, value in figures.items()}

    def as_config(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {"contexts": self.contexts, "ear": self.ear.config.as_config()}

    @classmethod
    def from_config(cls, values: Mapping[str, Any]) -> Cpc:
        """A new model of a stored configuration."""
        return cls(config_of(values["ear"]), int(values["contexts"]))


def augmented(scalogram: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """The scalograms moved along pitch and with regions silenced, as ``batch`` says; silence is 0."""
    if "shift" in batch:
        moved = torch.zeros_like(scalogram)
        for target, source, shift in zip(moved, scalogram, batch["shift"].tolist(), strict=True):
            bins = source.shape[1] - abs(shift)
            target[:, max(0, shift) :][:, :bins] = source[:, max(0, -shift) :][:, :bins]
        scalogram = moved
    if "mask" in batch:
        for item, (low, bins, start, frames) in zip(scalogram, batch["mask"].tolist(), strict=True):
            item[:, low : low + bins] = 0
            item[:, :, start : start + frames] = 0
    return scalogram
