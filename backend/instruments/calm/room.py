"""Instruments with their tone and room: one stereo impulse response each, convolved block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import butter, sosfilt

from backend.audio.loudness import fade
from backend.audio.waveform import Waveform

Samples = npt.NDArray[np.float32]

SAMPLE_RATE = 44_100
LEAD_S, RING_S = 0.1, 3.0  # around a piece that is played by itself


@dataclass(frozen=True)
class Sound:
    """An instrument: its title, General MIDI programs of melody and accompaniment, tone and room.

    Attributes:
        title: what the page says.
        programs: of part 0 and of every other part, from 0.
        cutoff_hz: where the treble starts to fall, 12 dB an octave.
        wet_db: the room against the instrument.
        reverb_s: time in which the room falls by 60 dB.
    """

    title: str
    programs: tuple[int, int]
    cutoff_hz: float
    wet_db: float = -12.0
    reverb_s: float = 1.8


SOUNDS = {
    "felt_piano": Sound("Felt piano", (0, 0), 2_200.0),
    "harp": Sound("Harp", (46, 46), 6_000.0),
    "strings": Sound("Strings", (49, 49), 4_500.0, -14.0, 2.2),
    "pad": Sound("Pad", (89, 89), 4_000.0, -15.0, 2.4),
    "guitar": Sound("Guitar", (24, 24), 5_000.0, -13.0, 1.5),
    "celesta": Sound("Celesta over harp", (8, 46), 6_000.0),
}


class Room:
    """Convolution with a stereo impulse response, block by block, by overlap and add.

    Args:
        response: ``[2, samples]``, one for each channel.
    """

    def __init__(self, response: Samples) -> None:
        self._response, self._spectra = response, dict[int, npt.NDArray[np.complex64]]()
        self._tail = np.zeros((2, response.shape[1] - 1), np.float32)

    def filter(self, block: Samples) -> Samples:
        """The next samples, ``[2, samples]`` as they come in; what rings on is kept for the next block."""
        n, extra = block.shape[1], self._tail.shape[1]
        size = next_fast_len(n + extra, real=True)
        if size not in self._spectra:
            self._spectra[size] = rfft(self._response, size)
        wet = irfft(rfft(block, size) * self._spectra[size], size)[:, : n + extra]
        wet[:, :extra] += self._tail
        self._tail = np.ascontiguousarray(wet[:, n:])
        return np.ascontiguousarray(wet[:, :n])


def impulse_response(sound: Sound, treble: float = 1.0) -> Samples:
    """Tone and room in one stereo response: a low-pass, and decaying noise 20 ms later that is duller still.

    Exponentially decaying noise is the late sound of a good hall (Moorer, "About this reverberation business", 1979);
    independent noise in both ears makes it wide. The noise is always the same, so that a seed gives the same sound.

    Args:
        sound: its cutoff, room level and reverberation time.
        treble: factor of the cutoff.

    Returns:
        ``[2, samples]``.
    """
    length, late = round(sound.reverb_s * SAMPLE_RATE), round(0.02 * SAMPLE_RATE)
    seconds = np.arange(length - late) / SAMPLE_RATE
    noise = np.random.default_rng(1979).normal(size=(2, length - late))
    noise = sosfilt(butter(1, 2_500.0, fs=SAMPLE_RATE, output="sos"), noise, axis=1)
    noise *= 10.0 ** (-3.0 * seconds / sound.reverb_s) * np.minimum(seconds / 0.02, 1.0)
    noise *= 10.0 ** (sound.wet_db / 20.0) / np.sqrt((noise**2).sum(1, keepdims=True))
    response = np.zeros((2, length))
    response[:, 0], response[:, late:] = 1.0, noise
    cutoff_hz = float(np.clip(sound.cutoff_hz * treble, 300.0, 18_000.0))
    toned = sosfilt(butter(2, cutoff_hz, fs=SAMPLE_RATE, output="sos"), response, axis=1)
    return fade(Waveform(toned.astype(np.float32), SAMPLE_RATE), 0.0, 0.05).samples
