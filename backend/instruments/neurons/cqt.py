"""Constant-Q transform as one FFT and a band of windows on its lines: differentiable, exact at any hop, circular.

Brown and Puckette (JASA 92, 1992) multiply the spectrum of every frame by spectral kernels. Here, as in the
non-stationary Gabor transform (Velasco et al., DAFx 2011), the whole sound is transformed once: the filter of bin k is
a short real window around its frequency, and because a frame every ``samples / frames`` samples folds the spectrum
onto ``frames`` lines, one small inverse FFT a bin gives exactly the filter's output at the frames.

The filters are those of ``librosa.cqt``: Hann windows of Q/f_k seconds. Their spectrum has a closed form, of which the
main lobe and the first side lobes are kept (`LOBES`).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from backend.errors import RequestError

LOBES = 3.0
"""Half-width of a filter's window in units of 1/length: the Hann spectrum is zero there, beyond it at most -41 dB."""

PLANS = 8  # of the last lengths; a live session uses one, training two


@dataclass(frozen=True)
class CqtConfig:
    """A constant-Q transform.

    Attributes:
        sample_rate: of the sound, in Hz.
        f_min: centre of the lowest bin in Hz.
        bins: number of bins.
        bins_per_octave: bins an octave, which also sets Q.
        hop: samples between frames.

    Raises:
        RequestError: a value is not positive, or the highest filter reaches beyond half the sample rate.
    """

    sample_rate: int
    f_min: float
    bins: int
    bins_per_octave: int
    hop: int

    def __post_init__(self) -> None:
        for name in ("sample_rate", "f_min", "bins", "bins_per_octave", "hop"):
            if not 0 < getattr(self, name) < float("inf"):
                raise RequestError(name, getattr(self, name), "a positive number")
        top = float(self.frequencies[-1] * (1 + 2 / self.q))
        if top > self.sample_rate / 2:
            raise RequestError(
                "bins", self.bins, f"filters below {self.sample_rate / 2:.0f} Hz; this reaches {top:.0f}"
            )

    @property
    def q(self) -> float:
        """Centre frequency times filter length, as in librosa since 0.10 (relative bandwidth of a bin inverted)."""
        square: float = 2.0 ** (2.0 / self.bins_per_octave)
        return (square + 1) / (square - 1)

    @property
    def frequencies(self) -> npt.NDArray[np.float64]:
        """Centres in Hz ``[bins]``."""
        return self.f_min * 2.0 ** (np.arange(self.bins) / self.bins_per_octave)

    @property
    def longest_s(self) -> float:
        """Length of the lowest bin's filter in seconds."""
        return self.q / self.f_min


TINY = CqtConfig(sample_rate=8_000, f_min=110.0, bins=48, bins_per_octave=12, hop=80)
BASE = CqtConfig(sample_rate=44_100, f_min=40.0, bins=216, bins_per_octave=24, hop=512)
"""The paper's."""
LIGHT = CqtConfig(sample_rate=24_000, f_min=40.0, bins=192, bins_per_octave=24, hop=250)
"""Eight octaves at the corpus' rate, 96 frames a second: 384 for two bars at 120 beats a minute."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Windows for sounds of one length: bin k reads ``counts[k]`` blocks of spectral lines from ``starts[k]`` on.

    A block is ``frames`` lines wide, so adding blocks is the folding. ``windows`` has a row for each block that is
    read, ``[sum(counts), 2 * frames]``; every weight stands twice, for the real and the imaginary part.
    """

    samples: int
    frames: int
    blocks: int
    starts: tuple[int, ...]
    counts: tuple[int, ...]
    windows: Tensor


def plan(config: CqtConfig, samples: int, frames: int, device: torch.device) -> Plan:
    """Windows for ``samples`` samples and ``frames`` frames; scaled so that a sine of amplitude a reads a."""
    lines = np.arange(samples // 2 + 1) * (config.sample_rate / samples)
    starts, counts, rows = [], [], []
    for frequency in config.frequencies:
        length = config.q / frequency
        low, high = np.searchsorted(lines, [frequency - LOBES / length, frequency + LOBES / length])
        start = int(low) // frames
        count = max(1, -(-int(high) // frames) - start)
        window = np.zeros(count * frames)
        window[low - start * frames : high - start * frames] = hann_spectrum((lines[low:high] - frequency) * length)
        starts.append(start)
        counts.append(count)
        rows.append(window.reshape(count, frames))
    windows = np.repeat(np.concatenate(rows) * (2 * frames / samples), 2, axis=1)
    blocks = max(start + count for start, count in zip(starts, counts, strict=True))
    weights = torch.from_numpy(windows.astype(np.float32)).to(device)
    return Plan(samples, frames, blocks, tuple(starts), tuple(counts), weights)


def hann_spectrum(offset: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Fourier transform of a Hann window of length and area 1: sinc(x) / (1 - x²), 1/2 at |x| = 1."""
    pole = np.isclose(np.abs(offset), 1.0, atol=1e-6)
    safe = np.where(pole, 0.0, offset)
    return np.where(pole, 0.5, np.sinc(safe) / (1 - safe**2))


class _Bands(torch.autograd.Function):
    """Spectrum blocks ``[batch, blocks, 2 frames]`` → folded bands ``[batch, bins, 2 frames]``.

    It is linear. Autograd of the same slices would keep every product; this keeps nothing, at two calls a bin.
    """

    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, plan: Plan) -> Tensor:
        ctx.plan, ctx.shape = plan, spectrum.shape
        folded = spectrum.new_empty(spectrum.shape[0], len(plan.starts), spectrum.shape[2])
        row = 0
        for index, (start, count) in enumerate(zip(plan.starts, plan.counts, strict=True)):
            windows = plan.windows[row : row + count]
            row += count
            if count == 1:
                torch.mul(spectrum[:, start], windows[0], out=folded[:, index])
            else:
                torch.sum(spectrum[:, start : start + count] * windows, 1, out=folded[:, index])
        return folded

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        plan: Plan = ctx.plan
        spectrum = gradient.new_zeros(ctx.shape)
        row = 0
        for index, (start, count) in enumerate(zip(plan.starts, plan.counts, strict=True)):
            spectrum[:, start : start + count].addcmul_(gradient[:, index : index + 1], plan.windows[row : row + count])
            row += count
        return spectrum, None


class ConstantQ(nn.Module):
    """Audio ``[batch, samples]`` → complex constant-Q coefficients ``[batch, bins, frames]``.

    A sine of amplitude a at a bin's centre reads magnitude a; the phase is the sine's own at the frame.
    """

    def __init__(self, config: CqtConfig) -> None:
        super().__init__()
        self.config = config
        self._plans: OrderedDict[tuple[int, int, torch.device], Plan] = OrderedDict()

    def forward(self, audio: Tensor, circular: bool = False, frames: int | None = None) -> Tensor:
        """Transform.

        Args:
            audio: ``[batch, samples]``, any length above 0; computed in float32.
            circular: the sound is a loop. Frames divide it evenly, the last filter reads on at the start.
                Otherwise the sound is surrounded by silence and frame n is centred at sample n · hop.
            frames: number of frames of a loop; by default the one that brings the hop nearest to ``config.hop``.

        Raises:
            RequestError: not ``[batch, samples]``, or no samples.
        """
        if audio.ndim != 2 or audio.shape[1] == 0:
            raise RequestError("audio", tuple(audio.shape), "a shape [batch, samples] with samples above 0")
        samples, hop = audio.shape[1], self.config.hop
        kept = length = 0
        if circular:
            length, kept = samples, frames or max(1, round(samples / hop))
            total = kept
        else:
            # Half a filter of silence keeps the end from being heard at the start; both sides share it.
            margin = round(self.config.longest_s * self.config.sample_rate / 2)
            kept, total = 1 + samples // hop, next_fast_len(-(-(samples + margin) // hop))
            length = total * hop
        with torch.autocast(audio.device.type, enabled=False):
            spectrum = torch.fft.rfft(audio.float(), n=length)
            chosen = self._plan(length, total, audio.device)
            lines = chosen.blocks * total
            missing = max(0, lines - spectrum.shape[1])
            spectrum = nn.functional.pad(torch.view_as_real(spectrum)[:, :lines], (0, 0, 0, missing))
            folded: Tensor = _Bands.apply(  # type: ignore[no-untyped-call]
                spectrum.reshape(len(audio), chosen.blocks, 2 * total), chosen
            )
            bands = torch.view_as_complex(folded.unflatten(-1, (total, 2)))
            coefficients: Tensor = torch.fft.ifft(bands)
            return coefficients[..., :kept]

    def _plan(self, samples: int, frames: int, device: torch.device) -> Plan:
        key = (samples, frames, device)
        found = self._plans.pop(key, None)
        self._plans[key] = found or plan(self.config, samples, frames, device)  # the last used is dropped last
        while len(self._plans) > PLANS:
            self._plans.popitem(last=False)
        return self._plans[key]
