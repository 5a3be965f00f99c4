"""What Lil Data is compared with: softmax regression on the image, and a small residual net."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from backend.checkpoints import CheckpointStore
from backend.errors import RequestError
from backend.instruments.genre_transfer.genres import GENRES
from backend.instruments.genre_transfer.lil_data import CENTRE, SPREAD
from backend.instruments.genre_transfer.spectrogram import Spectrogram


class Heard(nn.Module):
    """A classifier of images ``[n, 1, 631, 631]`` that can be given sound."""

    def __init__(self, genres: tuple[str, ...]) -> None:
        super().__init__()
        self.genres = genres
        self.spectrogram = Spectrogram()

    @torch.no_grad()
    def probabilities(self, samples: Tensor) -> Tensor:
        """``[n, samples]`` at 22,050 Hz → ``[n, genres]``."""
        return torch.softmax(self(self.spectrogram(samples)[:, None]), -1)

    def as_config(self) -> dict[str, Any]:
        """As JSON values."""
        return {"genres": list(self.genres)}


class SoftmaxRegression(Heard):
    """One linear layer on the image averaged over 4 × 4 pixels: knows where energy is, not what shape it has."""

    def __init__(self, genres: tuple[str, ...] = GENRES) -> None:
        super().__init__(genres)
        self.out = nn.Linear(157 * 157, len(genres))

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[n, genres]``."""
        return cast("Tensor", self.out(nn.functional.avg_pool2d((image - CENTRE) / SPREAD, 4).flatten(1)))


class Residual(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut (He et al., arXiv 1512.03385, figure 2)."""

    def __init__(self, wide_in: int, wide_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(wide_in, wide_out, 3, stride, 1, bias=False), nn.BatchNorm2d(wide_out), nn.ReLU(),
            nn.Conv2d(wide_out, wide_out, 3, 1, 1, bias=False), nn.BatchNorm2d(wide_out),
        )  # fmt: skip
        same = wide_in == wide_out and stride == 1
        self.shortcut: nn.Module = nn.Identity() if same else nn.Conv2d(wide_in, wide_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Same or halved size."""
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNet(Heard):
    """A residual net of ten layers, a quarter as wide as ResNet-18, for one channel."""

    def __init__(self, genres: tuple[str, ...] = GENRES, width: int = 16) -> None:
        super().__init__(genres)
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 7, 4, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)
        )
        widths = (width, width, 2 * width, 4 * width, 8 * width)
        stages = zip(widths, widths[1:], (1, 2, 2, 2), strict=False)
        self.stages = nn.Sequential(*(Residual(a, b, stride) for a, b, stride in stages))
        self.out = nn.Linear(widths[-1], len(genres))

    def forward(self, image: Tensor) -> Tensor:
        """Logits ``[n, genres]``."""
        return cast("Tensor", self.out(self.stages(self.stem((image - CENTRE) / SPREAD)).mean((-2, -1))))


def make_baseline(kind: str, genres: tuple[str, ...]) -> Heard:
    """``softmax`` or ``resnet``, untrained.

    Raises:
        RequestError: another kind.
    """
    if kind == "softmax":
        return SoftmaxRegression(genres)
    if kind == "resnet":
        return ResNet(genres)
    raise RequestError("baseline", kind, "softmax or resnet")


def load_baseline(store: CheckpointStore, kind: str) -> Heard:
    """A trained baseline, stored as ``genre_transfer.<kind>``.

    Raises:
        CheckpointError: there is none, or it does not fit.
    """
    name = f"genre_transfer.{kind}"
    net = make_baseline(kind, tuple(store.config(name)["genres"]))
    net.load_state_dict(store.load(name))
    return net.eval().requires_grad_(False)
