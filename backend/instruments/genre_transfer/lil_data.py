"""Lil Data, the seed's classifier: four 3 × 3 convolutions, each before a 4 × 4 pool, dense 48, dropout .5, softmax.

The seed names no widths; ours double. It is trained with a batch normalisation after each convolution, which `folded`
then absorbs exactly into the weights (Ioffe and Szegedy, arXiv 1502.03167, section 3.1): what is stored, listens and
transfers is the plain net of the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from backend.checkpoints import CheckpointStore
from backend.errors import RequestError
from backend.instruments.genre_transfer.genres import GENRES
from backend.instruments.genre_transfer.spectrogram import Spectrogram

CHECKPOINT = "genre_transfer.lil_data"
LAYERS = ("conv1", "conv2", "conv3", "conv4")
CENTRE, SPREAD = 0.45, 0.25
"""Of training images, about: the input is brought to mean 0 and variance 1, in place of the seed's normalisation."""


@dataclass(frozen=True)
class LilDataConfig:
    """Sizes.

    Attributes:
        channels: of the four convolutions.
        dense: units of the hidden layer.
        dropout: before the output.
        size: side of the image.
        batch_norm: only while it is trained.
        genres: outputs.
    """

    channels: tuple[int, int, int, int] = (8, 16, 32, 64)
    dense: int = 48
    dropout: float = 0.5
    size: int = 631
    batch_norm: bool = False
    genres: tuple[str, ...] = GENRES


BASE = LilDataConfig()
TINY = LilDataConfig(channels=(2, 3, 4, 4), dense=6, size=256)


class LilData(nn.Module):
    """Image ``[n, 1, size, size]`` in [0, 1] → logits ``[n, genres]``."""

    def __init__(self, config: LilDataConfig = BASE) -> None:
        super().__init__()
        self.config = config
        widths = (1, *config.channels)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        norms = (nn.BatchNorm2d(b) if config.batch_norm else nn.Identity() for b in config.channels)
        self.norms = nn.ModuleList(norms)
        side = config.size
        for _ in LAYERS:
            side //= 4
        self.pooled = max(1, side)
        self.dense = nn.Linear(config.channels[-1] * self.pooled**2, config.dense)
        self.drop = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.dense, len(config.genres))
        self.spectrogram = Spectrogram()

    @property
    def genres(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.config.genres

    def forward(self, image: Tensor) -> Tensor:
        """Logits. An image of another size is pooled to the same grid before the dense layer."""
        x = (image - CENTRE) / SPREAD
        for conv, norm in zip(self.convs, self.norms, strict=True):
            # The ReLU after the pool gives the same values, on a sixteenth of them.
            x = torch.relu(norm_after_pool(nn.functional.max_pool2d(conv(x), 4), norm))
        if x.shape[-2:] != (self.pooled, self.pooled):
            x = nn.functional.adaptive_avg_pool2d(x, self.pooled)
        return cast("Tensor", self.out(self.drop(torch.relu(self.dense(x.flatten(1))))))

    def activations(self, image: Tensor, names: Sequence[str] = LAYERS) -> dict[str, Tensor]:
        """What chosen layers see in an image, before pooling, ``[n, channels, h, w]``; stops after the last.

        Args:
            image: ``[n, 1, h, w]`` in [0, 1], differentiable.
            names: ``conv1`` to ``conv4`` (after the ReLU, as Keras's ``Conv2D(activation="relu")``), or with
                ``_linear`` before it.

        Raises:
            RequestError: an unknown layer, or the net is still one in training.
        """
        if self.config.batch_norm:
            raise RequestError("net", "a net with batch normalisation", "a folded one")
        unknown = [name for name in names if name.removesuffix("_linear") not in LAYERS]
        if unknown or not names:
            raise RequestError(
                "layer", unknown[0] if unknown else "none", f"one of {', '.join(LAYERS)}, or with _linear"
            )
        last = max(LAYERS.index(name.removesuffix("_linear")) for name in names)
        seen: dict[str, Tensor] = {}
        x = (image - CENTRE) / SPREAD
        for k in range(last + 1):
            linear = self.convs[k](x)
            active = torch.relu(linear)
            seen |= {LAYERS[k]: active, f"{LAYERS[k]}_linear": linear}
            if k < last:
                x = nn.functional.max_pool2d(active, 4)
        return {name: seen[name] for name in names}

    @torch.no_grad()
    def probabilities(self, samples: Tensor) -> Tensor:
        """``[n, samples]`` at 22,050 Hz → ``[n, genres]``."""
        return torch.softmax(self(self.spectrogram(samples)[:, None]), -1)

    @torch.no_grad()
    def folded(self) -> LilData:
        """The same function without batch normalisation."""
        plain = LilData(replace(self.config, batch_norm=False))
        weights = {k: v for k, v in self.state_dict().items() if not k.startswith("norms.")}
        for k, norm in enumerate(self.norms):
            if isinstance(norm, nn.BatchNorm2d):
                assert norm.running_mean is not None and norm.running_var is not None
                scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
                weights[f"convs.{k}.weight"] = weights[f"convs.{k}.weight"] * scale[:, None, None, None]
                bias = weights[f"convs.{k}.bias"] - norm.running_mean
                weights[f"convs.{k}.bias"] = bias * scale + norm.bias
        plain.load_state_dict(weights)
        return plain.eval()

    def as_config(self) -> dict[str, Any]:
        """Everything `from_config` needs, as JSON values."""
        values = asdict(self.config)
        return values | {"channels": list(self.config.channels), "genres": list(self.config.genres)}

    @classmethod
    def from_config(cls, values: dict[str, Any]) -> LilData:
        """The net a checkpoint's config describes, untrained."""
        known = dict(values)
        known["channels"], known["genres"] = tuple(values["channels"]), tuple(values["genres"])
        return cls(LilDataConfig(**known))


def norm_after_pool(pooled: Tensor, norm: nn.Module) -> Tensor:
    """Normalise after pooling, where there are sixteen times fewer values.

    A folded net pools what it has normalised; both are the same while the normalisation's gain is positive, which
    training keeps it (`keep_gains_positive`).
    """
    return cast("Tensor", norm(pooled))


@torch.no_grad()
def keep_gains_positive(module: nn.Module) -> None:
    """Hold every batch normalisation's gain above .05, so that it commutes with max pooling."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.clamp_(min=0.05)


def load_lil_data(store: CheckpointStore, name: str = CHECKPOINT) -> LilData:
    """The trained net, ready to listen.

    Raises:
        CheckpointError: there is none, or it does not fit.
    """
    net = LilData.from_config(store.config(name))
    net.load_state_dict(store.load(name))
    return net.eval().requires_grad_(False)
