"""Audio musaicing: a sound put together from another one's frames.

Driedger, Prätzlich and Müller, "Let it Bee – towards NMF-inspired audio mosaicing", ISMIR 2015: the dictionary is the
style's magnitude frames and stays fixed, the activations are learnt by multiplicative updates of the Kullback–Leibler
divergence, and between updates they are kept from repeating a frame (r), from sounding too many at once (p), and drawn
to runs of successive frames (c). The sound is the activations times the style's *complex* frames, so its phases are
real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from backend.audio.waveform import Waveform
from backend.instruments.genre_transfer.separation import samples_of, spectrum_of

EPSILON = 1e-9
N_FFT, HOP = 4096, 2048


@dataclass(frozen=True)
class Bee:
    """How frames may be used (section 2 of the paper).

    Attributes:
        repetition: r, frames on either side in which a dictionary frame sounds once; 0 does not restrict.
        polyphony: p, dictionary frames that may sound at once.
        continuity: c, successive frames on either side that are drawn along.
        iterations: updates.
    """

    repetition: int = 3
    polyphony: int = 10
    continuity: int = 3
    iterations: int = 20


PLAIN = Bee(7, 10, 3, 80)
"""The values of the baseline row."""


def activations(
    target: Tensor,
    dictionary: Tensor,
    bee: Bee,
    generator: torch.Generator,
    step: Callable[[int], None] | None = None,
    prior: Tensor | None = None,
) -> Tensor:
    """Non-negative ``H`` with ``dictionary @ H ≈ target``.

    Args:
        target: magnitudes ``[features, frames]``.
        dictionary: magnitudes ``[features, atoms]``; successive atoms are successive frames of the style.
        bee: the constraints.
        generator: draws the first activations.
        step: called after every update with its number.
        prior: how welcome each atom is in each frame, 0 to 1, ``[atoms, frames]``; all alike without it.

    Returns:
        ``[atoms, frames]``.
    """
    scale = float(target.mean()) / max(float(dictionary.mean()) * dictionary.shape[1], EPSILON)
    h = (0.5 + torch.rand(dictionary.shape[1], target.shape[1], generator=generator)) * scale
    total = dictionary.sum(0)[:, None] + EPSILON
    for index in range(bee.iterations):
        damping = 1.0 - (index + 1) / bee.iterations
        h = _constrained(h, bee, damping)
        if prior is not None:
            h *= prior
        h *= (dictionary.T @ (target / (dictionary @ h + EPSILON))) / total
        if step is not None:
            step(index + 1)
    return h


def _constrained(h: Tensor, bee: Bee, damping: float) -> Tensor:
    """Equations 4 to 6 of the paper: what breaks a constraint is damped, more with every iteration."""
    if bee.repetition:
        width = 2 * bee.repetition + 1
        loudest = functional.max_pool1d(h[:, None], width, 1, bee.repetition)[:, 0]
        h = torch.where(h >= loudest, h, h * damping)
    if bee.polyphony < h.shape[0]:
        least = h.topk(bee.polyphony, 0).values[-1:]
        h = torch.where(h >= least, h, h * damping)
    return _along_diagonals(h, bee.continuity) if bee.continuity else h


def _along_diagonals(h: Tensor, reach: int) -> Tensor:
    """Sum over the neighbours that continue a run: frame ``k ± d`` at time ``t ± d``, both by the same ``d``."""
    atoms, frames = h.shape
    out = h.clone()
    for d in range(1, reach + 1):
        if d < min(atoms, frames):
            out[d:, d:] += h[:-d, :-d]
            out[:-d, :-d] += h[d:, d:]
    return out


def musaic(
    content: Waveform, style: Waveform, seed: int, bee: Bee = PLAIN, step: Callable[[int], None] | None = None
) -> Waveform:
    """The baseline: the whole mix, at the pitches and times the style's own frames happen to have.

    Args:
        content: what shall be heard.
        style: at the same rate and number of channels; what it is put together from.
        seed: of the first activations.
        bee: the constraints.
        step: called after every update.

    Returns:
        As long as the content.
    """
    generator = torch.Generator().manual_seed(seed)
    frames = torch.from_numpy(spectrum_of(style.samples, N_FFT, HOP))
    target = torch.from_numpy(spectrum_of(content.samples, N_FFT, HOP)).abs().mean(0)
    h = activations(target, frames.abs().mean(0), bee, generator, step)
    mixed = torch.complex(frames.real @ h, frames.imag @ h).numpy()
    return Waveform(samples_of(mixed, N_FFT, HOP, content.n_samples).clip(-8, 8), content.sample_rate)
