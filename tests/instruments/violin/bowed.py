"""A bowed line of known notes, written by the tests themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from backend.audio.waveform import Waveform

RATE = 24_000


def bowed(seed: int, seconds: float = 4.5) -> tuple[Waveform, npt.NDArray[Any], npt.NDArray[Any]]:
    """Half-second notes with vibrato and eight harmonics: sound, onsets in seconds, MIDI pitches."""
    rng = np.random.default_rng(seed)
    onsets = np.arange(0.1, seconds - 0.5, 0.5)
    pitches = 67 + np.cumsum(rng.choice([-2, -1, 1, 2, 4], len(onsets))) % 17
    t = np.arange(round(seconds * RATE)) / RATE
    out = np.zeros_like(t)
    for onset, pitch in zip(onsets, pitches, strict=True):
        local = t - onset
        hertz = 440 * 2 ** ((pitch - 69 + 0.3 * np.sin(2 * np.pi * 5.5 * local)) / 12)
        phase = 2 * np.pi * np.cumsum(hertz) / RATE
        envelope = np.clip(local / 0.03, 0, 1) * np.clip((0.45 - local) / 0.04, 0, 1)
        out += envelope * sum(np.sin(k * phase) / k for k in range(1, 9))
    return Waveform((0.1 * out)[None].astype(np.float32), RATE), onsets, pitches
