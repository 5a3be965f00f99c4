"""What the simulated listener's cortex responds to: mel bands, pitch classes, onsets and rhythm, one row a volume.

None of it is the decoder's target. A listener simulated from MuLan's own embedding would flatter a MuLan decoder.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.spectral import LogMel, stft
from backend.audio.waveform import Waveform

FloatArray = npt.NDArray[np.float32]

TR_S = 1.5
N_MELS = 48
N_ONSET_BANDS = 6
RHYTHM_HZ = (0.67, 1.33, 2.0, 3.0, 4.33, 6.33, 9.0, 13.0)
GROUPS = (("mel", 0, 48), ("chroma", 48, 60), ("onset", 60, 72), ("rhythm", 72, 114))
"""Name, first and last column of each kind of feature."""

N_FEATURES = 114
_FRAME_RATE = 50
_CHROMA_FFT = 4096


def sound_features(sound: Waveform, tr_s: float = TR_S) -> FloatArray:
    """Features of each repetition time: ``[volumes, 114]``.

    48 log-mel bands (mean); 12 pitch classes (share of the magnitude from 55 Hz to 2 kHz, mean); the strength of
    onsets in six bands (mean and deviation); and how strongly onsets of each band come at seven rates between 0.67 and
    13 a second.

    Args:
        sound: any rate and number of channels.
        tr_s: repetition time in seconds; a last volume that is less than half covered is dropped.
    """
    rate = sound.sample_rate
    hop = rate // _FRAME_RATE
    samples = torch.from_numpy(sound.mono().samples[0])
    with torch.no_grad():
        mel = LogMel(rate, 2048, hop, N_MELS, clamp=1e-4)(samples).numpy().T
        magnitude = stft(samples, _CHROMA_FFT, hop).abs().numpy().T
    chroma = pitch_classes(magnitude, rate, _CHROMA_FFT)
    rise = np.maximum(np.diff(mel, axis=0, prepend=mel[:1]), 0).reshape(len(mel), N_ONSET_BANDS, -1).mean(2)
    length = round(tr_s * _FRAME_RATE)
    rows = []
    for i in range(max(1, int(sound.duration_s / tr_s + 0.5))):
        part = slice(i * length, (i + 1) * length)
        onsets = rise[part]
        rows.append(
            np.concatenate([mel[part].mean(0), chroma[part].mean(0), onsets.mean(0), onsets.std(0), rhythm(onsets)])
        )
    return np.array(rows, np.float32)


def pitch_classes(magnitude: FloatArray, rate: int, n_fft: int) -> FloatArray:
    """Shares of the twelve pitch classes, C first; silent frames are even.

    Args:
        magnitude: ``[frames, n_fft // 2 + 1]``.
        rate: of the sound in Hz.
        n_fft: length of the transform.
    """
    frequency = np.arange(magnitude.shape[1]) * rate / n_fft
    heard = (frequency >= 55.0) & (frequency <= 2000.0)
    pitch_class = np.round(12 * np.log2(frequency[heard] / 440.0) + 69).astype(int) % 12
    folded = magnitude[:, heard] @ np.eye(12, dtype=np.float32)[pitch_class] + 1e-4
    return np.asarray(folded / folded.sum(1, keepdims=True), np.float32)


def rhythm(onsets: FloatArray) -> FloatArray:
    """Spectrum of the onset strength ``[frames, 6]`` in seven bands: ``[42]``."""
    moving = (onsets - onsets.mean(0)) * np.hanning(len(onsets))[:, None]
    spectrum = np.abs(np.fft.rfft(moving, 150, axis=0))
    hertz = np.fft.rfftfreq(150, 1 / _FRAME_RATE)
    bands = [(hertz >= a - 1e-6) & (hertz < b - 1e-6) for a, b in pairwise(RHYTHM_HZ)]
    return np.asarray(np.concatenate([spectrum[band].mean(0) for band in bands]), np.float32)
