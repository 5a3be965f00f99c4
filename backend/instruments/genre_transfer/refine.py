"""Refinement by gradients: the layers' gains, band by band and moment by moment, until the mix sounds like the style.

The mix is made in an STFT, turned into a waveform, and heard there; gradients of the terms flow back through both
transforms. What is moved is not the waveform's samples but the gains of real sounds: free samples pay best where a
log-spectrum is quiet, that is with a bed of noise, which is the buzz this instrument is to avoid. Each term's gradient
on the waveform is scaled to unit length before it is weighted, so that weights mean what they say whatever the terms'
units (GradNorm's aim, Chen et al. 2018, without its learning).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from backend.audio.spectral import istft, stft
from backend.audio.waveform import FloatArray
from backend.instruments.genre_transfer.bands import N_BANDS, filters
from backend.instruments.genre_transfer.terms import Listening, Statistics, distances

N_FFT, HOP = 2048, 512
FRAMES_PER_KNOT = 10
"""Gains have a knot every 116 ms and are linear in dB between: slower than a note's attack, so nothing flutters."""

MOST_NATS = 1.6  # 14 dB
LEARNING_RATE = 0.06

Step = Callable[[int, dict[str, float], Tensor], None]


@dataclass(frozen=True)
class Goal:
    """What to become: statistics to approach, and the weight of each term of `terms.NAMES`."""

    style: Statistics
    rhythm: Statistics
    content: Statistics
    weights: Mapping[str, float]


class Mixer:
    """Layers with gains that can be learnt.

    Args:
        layers: each ``[channels, samples]``, all alike.
        sample_rate: Hz.
    """

    def __init__(self, layers: Sequence[FloatArray], sample_rate: int) -> None:
        self.rate, self.length = sample_rate, layers[0].shape[1]
        self._stereo = [torch.from_numpy(layer) for layer in layers]
        self._mono = torch.stack([stft(layer.mean(0), N_FFT, HOP) for layer in self._stereo])
        self._filters = torch.from_numpy(filters(sample_rate, N_FFT))
        knots = max(2, -(-self._mono.shape[2] // FRAMES_PER_KNOT) + 1)
        self.raw = torch.zeros(len(layers), N_BANDS, knots, requires_grad=True)

    def mono(self) -> Tensor:
        """The mix of the channels' means as it is now, ``[samples]``."""
        mixed = (self._factors() * self._mono).sum(0)
        return istft(mixed, N_FFT, HOP, max(self.length, N_FFT))[..., : self.length]

    @torch.no_grad()
    def stereo(self) -> FloatArray:
        """The mix of all channels, ``[channels, samples]``."""
        factors = self._factors()
        channels = []
        for channel in range(self._stereo[0].shape[0]):
            mixed = sum(f * stft(layer[channel], N_FFT, HOP) for f, layer in zip(factors, self._stereo, strict=True))
            assert isinstance(mixed, Tensor)
            channels.append(istft(mixed, N_FFT, HOP, max(self.length, N_FFT))[..., : self.length])
        out: FloatArray = torch.stack(channels).numpy()
        return out

    def gains_db(self) -> Tensor:
        """Gains of layers and bands at the knots, ``[layers, bands, knots]``."""
        return (MOST_NATS * torch.tanh(self.raw / MOST_NATS) * 8.686).detach()

    def _factors(self) -> Tensor:
        """``[layers, bins, frames]``."""
        knots = MOST_NATS * torch.tanh(self.raw / MOST_NATS)
        gains = functional.interpolate(knots, self._mono.shape[2], mode="linear", align_corners=True)
        return torch.exp(torch.einsum("kb,lkt->lbt", self._filters, gains))


def refine(
    mixer: Mixer, listening: Listening, goal: Goal, iterations: int, step: Step | None = None
) -> list[dict[str, float]]:
    """Move the mixer's gains towards the goal; the terms before every update.

    Args:
        mixer: changed in place.
        listening: hears the mix.
        goal: what to become.
        iterations: updates.
        step: called after every update with its number, the terms before it and the mono mix before it.
    """
    optimiser = torch.optim.Adam([mixer.raw], lr=LEARNING_RATE, betas=(0.8, 0.98))
    active = {name: weight for name, weight in goal.weights.items() if weight > 0}
    curve = list[dict[str, float]]()
    for index in range(iterations if active else 0):
        sound = mixer.mono()
        heard = sound.detach().requires_grad_(True)
        terms = distances(listening.statistics(heard), goal.style, goal.rhythm, goal.content)
        optimiser.zero_grad()
        sound.backward(balanced({name: terms[name] for name in active}, heard, active))
        optimiser.step()
        curve.append({name: float(value.detach()) for name, value in terms.items()})
        if step is not None:
            step(index + 1, curve[-1], heard.detach())
    return curve


def balanced(terms: Mapping[str, Tensor], heard: Tensor, weights: Mapping[str, float]) -> Tensor:
    """Weighted sum of the terms' gradients on ``heard``, each scaled to unit length first; 0 where one has none."""
    total = torch.zeros_like(heard)
    for name, term in terms.items():
        (gradient,) = torch.autograd.grad(term, heard, retain_graph=True)
        gradient = torch.nan_to_num(gradient)
        length = gradient.norm()
        if length > 1e-12:
            total += weights[name] / length * gradient
    return total
