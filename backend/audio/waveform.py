"""The one carrier of sound between floors: samples and their rate, never apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backend.errors import AudioError

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Waveform:
    """Float32 samples ``[channels, samples]`` in [-1, 1] with their ``sample_rate`` in Hz.

    Raises:
        AudioError: wrong shape, or a value that is not finite.
    """

    samples: FloatArray
    sample_rate: int

    def __post_init__(self) -> None:
        samples = np.ascontiguousarray(self.samples, dtype=np.float32)
        if samples.ndim == 1:
            samples = samples[None]
        if samples.ndim != 2 or samples.shape[0] < 1:
            raise AudioError(f"A waveform is [channels, samples]; got shape {self.samples.shape}.")
        if not np.isfinite(samples).all():
            raise AudioError("The sound contains values that are not numbers.")
        object.__setattr__(self, "samples", samples)

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return int(self.samples.shape[0])

    @property
    def n_samples(self) -> int:
        """Samples a channel."""
        return int(self.samples.shape[1])

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate

    def mono(self) -> Waveform:
        """Mean of the channels."""
        return self if self.n_channels == 1 else Waveform(self.samples.mean(0, keepdims=True), self.sample_rate)

    def slice(self, start_s: float, stop_s: float) -> Waveform:
        """The part from ``start_s`` to ``stop_s`` seconds, clipped to what there is."""
        a, b = (max(0, round(t * self.sample_rate)) for t in (start_s, stop_s))
        return Waveform(self.samples[:, a:b], self.sample_rate)
