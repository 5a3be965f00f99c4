"""The seed's transfer: neural style on spectrogram images (Gatys et al. 2015, with the losses of seed 002).

``J_content = ½ |a_C − a_G|²`` in one layer; ``J_style = Σ λ / (2 n_h n_w n_c)² Σ (G_S − G_G)²`` over Gram matrices of
several; ``J = α J_content + β J_style``, minimised over the pixels, starting from the content. The seed names layers,
weights and iterations, not the optimiser: we use Adam and keep pixels in their range. To come back to sound the image
keeps the content's phases, which here sounds better than phases estimated from the image alone. It is part of the
history of the idea and sounds like it: Gram matrices of small kernels see timbre averaged over time, and so they add a
buzz.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from backend.audio.waveform import FloatArray, Waveform
from backend.errors import CheckpointError
from backend.instruments.genre_transfer import spectrogram
from backend.instruments.genre_transfer.overlap import Window, assemble

LEARNING_RATE = 0.005
"""Of pixels in [0, 1]: of those tried, the one that brought J lowest in a hundred updates."""

ACTIVATION_SCALE = 64.0
"""The seed's pixels run from 0 to 255 (Keras' normalisation for ResNet 50), Lil Data's input over about four units.
``J_style`` grows with the fourth power of the activations and ``J_content`` with the second, so the seed's α and β mean
what they meant only at its scale; at ours the content would weigh four thousand times more, and nothing would move."""

OVERLAP_S = 0.25
VGG_FILE = "vgg19-dcbb9e9d.pth"
VGG_CONVOLUTIONS = {
    "block1_conv1": 0, "block2_conv1": 5, "block3_conv1": 10, "block4_conv1": 19, "block5_conv1": 28,
}  # fmt: skip
"""Keras' names of the layers → their places in torchvision's `features`."""


class Features(Protocol):
    """A network that shows what its layers make of an image."""

    def __call__(self, image: Tensor, names: Sequence[str]) -> Mapping[str, Tensor]:
        """``[1, 1, 631, 631]`` → activations ``[1, channels, height, width]`` of the named layers."""


@dataclass(frozen=True)
class Recipe:
    """One column of the seed's table: layers, their weights λ, and α and β."""

    style: tuple[str, ...]
    weights: tuple[float, ...]
    content: str
    alpha: float
    beta: float


LIL_DATA = Recipe(("conv1", "conv2", "conv3", "conv4"), (0.3, 0.4, 0.2, 0.1), "conv4", 50.0, 500.0)
VGG_19 = Recipe(tuple(VGG_CONVOLUTIONS)[:4], (0.3, 0.4, 0.2, 0.1), "block5_conv1", 100.0, 1000.0)

Step = Callable[[int, float, Tensor], None]


def gram(activation: Tensor) -> Tensor:
    """Products of every two channels, summed over the image, ``[1, c, h, w]`` → ``[c, c]``."""
    flat = activation[0].flatten(1)
    return flat @ flat.T


def losses(
    activations: Mapping[str, Tensor], content: Tensor, grams: Mapping[str, Tensor], recipe: Recipe
) -> tuple[Tensor, Tensor]:
    """``J_content`` and ``J_style`` of one image's activations."""
    j_content = 0.5 * ((activations[recipe.content] - content) ** 2).sum()
    j_style = torch.zeros(())
    for name, weight in zip(recipe.style, recipe.weights, strict=True):
        _, channels, height, width = activations[name].shape
        difference = ((gram(activations[name]) - grams[name]) ** 2).sum()
        j_style = j_style + weight / (2 * height * width * channels) ** 2 * difference
    return j_content, j_style


def stylise(
    content: Tensor, style: Tensor, features: Features, recipe: Recipe, iterations: int, step: Step | None = None
) -> Tensor:
    """Image ``[631, 631]`` in [0, 1] that minimises ``J``.

    Args:
        content: image to begin with.
        style: image whose Gram matrices are wanted.
        features: the network.
        recipe: layers and weights.
        iterations: updates.
        step: called after each with its number, ``J`` before it, and the image.
    """
    names = tuple(dict.fromkeys((*recipe.style, recipe.content)))
    with torch.no_grad():
        wanted = features(content[None, None], (recipe.content,))[recipe.content]
        grams = {name: gram(activation) for name, activation in features(style[None, None], recipe.style).items()}
    pixels = content.clone().requires_grad_(True)
    optimiser = torch.optim.Adam([pixels], lr=LEARNING_RATE)
    for index in range(iterations):
        j_content, j_style = losses(features(pixels[None, None], names), wanted, grams, recipe)
        total = recipe.alpha * j_content + recipe.beta * j_style
        (pixels.grad,) = torch.autograd.grad(total, pixels)
        optimiser.step()
        with torch.no_grad():
            pixels.clamp_(0.0, 1.0)
        if step is not None:
            step(index + 1, float(total.detach()), pixels.detach())
    return pixels.detach()


def at_the_seeds_scale(features: Features) -> Features:
    """The same network, its activations as large as they are for pixels from 0 to 255."""

    def scaled(image: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        return {name: ACTIVATION_SCALE * found for name, found in features(image, names).items()}

    return scaled


def transfer(
    content: Waveform,
    style: Waveform,
    features: Features,
    recipe: Recipe,
    iterations: int,
    step: Callable[[int, int, Tensor], None] | None = None,
) -> FloatArray:
    """Mono samples ``[1, samples]`` at `spectrogram.SAMPLE_RATE`: the content in images of five seconds.

    Args:
        content: any length; the last image is padded with silence.
        style: its first five seconds give the style.
        features: the network.
        recipe: layers and weights.
        iterations: updates of each image.
        step: called after each update with how many are done, of how many, and the image.
    """
    rate, size = spectrogram.SAMPLE_RATE, spectrogram.CLIP_SAMPLES
    length = max(1, round(content.duration_s * rate))
    overlap = round(OVERLAP_S * rate)
    starts = [0, *range(size - overlap, max(1, length - overlap), size - overlap)]
    features = at_the_seeds_scale(features)
    wanted = spectrogram.analyse(spectrogram.mono_clip(style)).image
    pieces = list[tuple[Window, FloatArray]]()
    for number, start in enumerate(starts):
        clip = spectrogram.mono_clip(content, start_s=start / rate)
        seen = spectrogram.analyse(clip)

        def report(index: int, loss: float, image: Tensor, number: int = number) -> None:
            if step is not None:
                step(number * iterations + index, len(starts) * iterations, image)

        image = stylise(seen.image, wanted, features, recipe, iterations, report)
        sound = spectrogram.synthesise(image, seen.phase, seen.reference, size)
        stop = min(start + size, length)
        window = Window(start, stop, overlap if number else 0)
        pieces.append((window, sound.numpy()[None, : stop - start].astype(np.float32)))
    return assemble(length, pieces)


def vgg_features(folder: Path | None = None) -> Features:
    """VGG-19 with ImageNet's weights, from the hub's folder; nothing is downloaded.

    Raises:
        CheckpointError: the weights are not on this machine.
    """
    from torchvision.models import vgg19

    path = (Path(torch.hub.get_dir()) / "checkpoints" if folder is None else folder) / VGG_FILE
    if not path.is_file():
        raise CheckpointError(f"VGG-19 needs {VGG_FILE} in torch's hub folder; Lil Data works without it.")
    model: Any = vgg19()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    layers = model.features.eval().requires_grad_(False)
    mean, spread = (torch.tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def features(image: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        wanted = {VGG_CONVOLUTIONS[name]: name for name in names}
        x, found = (image.expand(-1, 3, -1, -1) - mean) / spread, dict[str, Tensor]()
        for index, layer in enumerate(layers[: max(wanted) + 1]):
            x = layer(x)
            if index in wanted:
                found[wanted[index]] = x = functional.relu(x)  # as Keras counts: its convolutions end with a rectifier
        return found

    return features
