"""Gradient ascent on a loop: what the chosen neurons hear best, reached in audible steps.

Each update hears the loop as it is and, beside it, versions shifted in time and pitch and with regions hidden
(Herrmann, Immersions, NeurIPS 2019 workshop, section 2.3). The step is scaled to a unit root mean square, so that the
learning rate is the size of the change in full scale whatever the network. Nothing that comes in can break a loop: an
update whose gradient is not a number is left out, its size is bounded, and the loop's level and peaks are held after
every one.

Departures from the paper: the loop may not grow louder than its start, or the easiest way to excite a neuron would be
to turn the sound up; and by default the spectrum is moved, not the samples (see `parameterisation`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backend.audio.io import resample
from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.neurons import transforms
from backend.instruments.neurons.frames import LoopFrames
from backend.instruments.neurons.level import level_loop
from backend.instruments.neurons.objective import Network, Normaliser, Objective, layer_sizes
from backend.instruments.neurons.parameterisation import parameterisation
from backend.instruments.neurons.penalties import equaliser, noise_penalty, pulled
from backend.instruments.neurons.settings import MAX_LEARNING_RATE, Settings

__all__ = ["Optimiser", "Settings", "StepFigures"]

FLOOR_RMS = 1e-4
"""Noise under the start: in exact silence a scalogram has no gradient."""

LEVEL_RMS = 0.1
"""A start quieter than this may grow up to it (-20 dBFS)."""

SHORTEST_S = 0.25


@dataclass(frozen=True)
class StepFigures:
    """One update, measured on the untransformed loop before it.

    Attributes:
        update: its number, from 1.
        activation: weighted mean of the targets, in deviations.
        targets: of each target.
        loss: what was minimised, over the batch.
        skipped: the gradient was not a number, so the loop stayed as it was.
    """

    update: int
    activation: float
    targets: tuple[float, ...]
    loss: float
    skipped: bool


class Optimiser:
    """Moves one loop towards what its targets respond to.

    Args:
        network: the ear; its parameters must not require gradients.
        start: the loop to begin with, mixed to mono and resampled to the network's rate.
        settings: what to do; see `change`.
        seed: of shifts, masks and noise. The same seed, start and settings give the same loop on a CPU.
        normaliser: the scale of activations.
        device: of the network.

    Raises:
        RequestError: the start is shorter than 0.25 s, or a target does not exist in the network.
    """

    def __init__(
        self,
        network: Network,
        start: Waveform,
        settings: Settings,
        seed: int,
        *,
        normaliser: Normaliser,
        device: torch.device | None = None,
    ) -> None:
        if start.duration_s < SHORTEST_S:
            raise RequestError("start", f"{start.duration_s:.2f} s of sound", f"at least {SHORTEST_S} s")
        self._network, self._normaliser = network, normaliser
        self._device = device or torch.device("cpu")
        self._generator = torch.Generator().manual_seed(seed)
        mono = resample(start.mono(), network.sample_rate).samples[0]
        self._start = torch.from_numpy(mono - mono.mean()).to(self._device)
        self._loop = self._start + FLOOR_RMS * self._noise()
        self._ceiling = max(_rms(self._start), LEVEL_RMS)
        self._frames = LoopFrames(len(mono), network.sample_rate, self._device)
        self._velocity = torch.zeros_like(self._loop)
        with torch.no_grad():
            self._silence = network.scalogram(torch.zeros_like(self._loop)[None])
        self.sizes = layer_sizes(network, self._silence)
        self._updates = 0
        self._settings = settings
        self._objective = self._aim(settings)
        self._map = parameterisation(settings.parameterisation, self._frames)

    @property
    def settings(self) -> Settings:
        """What holds from the next step on."""
        return self._settings

    @property
    def loop(self) -> Tensor:
        """The loop as the network hears it, ``[samples]``."""
        return self._loop

    def change(self, settings: Settings) -> None:
        """Take these settings from the next step on.

        Raises:
            RequestError: a target does not exist; the settings stay as they were.
        """
        if settings.targets != self._objective.targets:
            self._objective = self._aim(settings)
        self._map = parameterisation(settings.parameterisation, self._frames)
        self._settings = settings

    def step(self) -> StepFigures:
        """One update."""
        settings = self._settings
        with torch.enable_grad():
            loop = self._loop.detach().requires_grad_(True)
            loss, total, targets = self._hear(loop)
            (gradient,) = torch.autograd.grad(loss, loop)
        with torch.no_grad():
            sound = torch.isfinite(gradient).all() & torch.isfinite(loss)
            ascent = transforms.unit(torch.where(sound, -gradient, torch.zeros_like(gradient)))
            direction = self._map.direction(self._loop, ascent, settings.gradient_noise, self._generator)
            self._move(transforms.unit(direction), sound)
            figures = torch.cat([torch.stack([total, loss.detach(), sound.to(total)]), targets]).tolist()
        self._updates += 1
        return StepFigures(
            self._updates, _finite(figures[0]), tuple(map(_finite, figures[3:])), _finite(figures[1]), not figures[2],
        )  # fmt: skip

    @torch.no_grad()
    def measure(self) -> tuple[float, tuple[float, ...]]:
        """Weighted mean of the targets, and each of them, in deviations, on the loop as it is."""
        response = self._objective.respond(self._network.scalogram(self._loop[None]), penalise=False)
        total, *targets = torch.cat([response.total, response.targets[0]]).tolist()
        return _finite(total), tuple(map(_finite, targets))

    def change_rms(self) -> float:
        """Distance from the start, root mean square in full scale."""
        return _rms(self._loop - self._start)

    def audio(self) -> Waveform:
        """The mix of start and loop, levelled and limited; mono at the network's rate."""
        mix = self._settings.mix
        return level_loop((mix * self._loop + (1 - mix) * self._start).cpu().numpy(), self._network.sample_rate)

    def _aim(self, settings: Settings) -> Objective:
        return Objective(self._network, self._normaliser, settings.targets, self.sizes)

    def _hear(self, loop: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss over the batch; activation and single targets of its first, untransformed item."""
        settings = self._settings
        shifts = transforms.time_shifts(settings.batch, settings.time_shift, len(loop), self._generator)
        scalogram = self._network.scalogram(transforms.shifted(loop, shifts))
        response = self._objective.respond(
            torch.stack([scalogram[0], *map(self._transformed, scalogram[1:])]),
            [shift / len(loop) for shift in shifts],
            penalise=settings.activation_penalty > 0,
        )
        loss = (settings.activation_penalty * response.others - response.total).mean()
        if settings.noise_penalty > 0:
            loss = loss + settings.noise_penalty * noise_penalty(scalogram[:1]).mean()
        return loss, response.total[0].detach(), response.targets[0].detach()

    def _transformed(self, scalogram: Tensor) -> Tensor:
        """One scalogram ``[2, bins, frames]`` shifted in pitch, with regions hidden."""
        settings, silence = self._settings, self._silence[0]
        if settings.pitch_shift > 0:
            octaves = transforms.uniform(-settings.pitch_shift, settings.pitch_shift, self._generator) / 12
            scalogram = transforms.pitch_shift(scalogram, round(octaves * self._network.bins_per_octave), silence)
        if settings.mask_time > 0 or settings.mask_pitch > 0:
            scalogram = transforms.mask_regions(
                scalogram, silence, settings.mask_time, settings.mask_pitch, self._generator
            )
        return scalogram

    def _move(self, direction: Tensor, sound: Tensor) -> None:
        """One step of the loop; it stays where it is when the gradient was not ``sound``."""
        settings, before = self._settings, self._loop
        bands = equaliser(before, settings.eq_low, settings.eq_mid, settings.eq_high, self._network.sample_rate)
        self._velocity = settings.momentum * self._velocity + (1 - settings.momentum) * (direction + bands)
        after = before + min(settings.learning_rate, MAX_LEARNING_RATE) * self._velocity
        after = transforms.denoise(pulled(after, self._start, settings.pull), settings.denoise, self._frames)
        after = after * (self._ceiling / after.square().mean().sqrt().clamp(min=self._ceiling))
        self._loop = torch.where(sound, after.clamp(-1.0, 1.0), before)

    def _noise(self) -> Tensor:
        """White noise like the loop, from the CPU generator so that a seed means the same on every device."""
        return torch.randn(len(self._start), generator=self._generator).to(self._device)


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def _finite(value: float) -> float:
    return value if np.isfinite(value) else 0.0


def curve(figures: Sequence[StepFigures]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Activation of the targets over the updates, ``[updates, 1 + targets]``, the weighted mean first."""
    return np.array([[one.activation, *one.targets] for one in figures], np.float32)
