"""Any length in pieces: windows that begin on beats and are faded into each other, so that cost grows with length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from backend.audio.waveform import FloatArray
from backend.instruments.genre_transfer.tempo import Times

WINDOW_S, OVERLAP_S = 12.0, 0.5


@dataclass(frozen=True)
class Window:
    """Samples ``start`` to ``stop``; the first ``fade_in`` of them overlap the window before."""

    start: int
    stop: int
    fade_in: int


def windows(length: int, sample_rate: int, beats_s: Times, window_s: float = WINDOW_S) -> tuple[Window, ...]:
    """Windows of at most ``1.5 window_s`` that cover the sound, each beginning on a beat where there are beats.

    Args:
        length: samples.
        sample_rate: Hz.
        beats_s: beat times; may be empty.
        window_s: wanted length.
    """
    overlap = round(OVERLAP_S * sample_rate)
    pieces = max(1, round(length / sample_rate / window_s))
    cuts = [0]
    for index in range(1, pieces):
        even_s = index * length / pieces / sample_rate
        near = float(beats_s[np.abs(beats_s - even_s).argmin()]) if len(beats_s) else even_s
        near = near if abs(near - even_s) < window_s / 4 else even_s
        cuts.append(round(near * sample_rate))
    cuts.append(length)
    found = []
    for index, (start, stop) in enumerate(pairwise(cuts)):
        # what overlaps lies before the beat: the beat itself is the new window's alone
        fade = min(overlap, start) if index else 0
        found.append(Window(start - fade, stop, fade))
    return tuple(found)


def assemble(length: int, pieces: Sequence[tuple[Window, FloatArray]]) -> FloatArray:
    """The pieces ``[channels, samples]`` of windows, faded into each other, ``[channels, length]``.

    Raised cosines that add up to one: neighbours are versions of the same sound, so their amplitudes add.
    """
    out = np.zeros((pieces[0][1].shape[0], length), np.float32)
    for window, piece in pieces:
        fade = window.fade_in
        if fade:
            rise = np.sin(0.5 * np.pi * (np.arange(fade, dtype=np.float32) + 0.5) / fade) ** 2
            out[:, window.start : window.start + fade] *= 1 - rise
            piece = piece.copy()
            piece[:, :fade] *= rise
        out[:, window.start : window.stop] += piece
    return out


def in_windows(
    samples: FloatArray, sample_rate: int, change: Callable[[FloatArray], Sequence[FloatArray]], window_s: float = 30.0
) -> list[FloatArray]:
    """Apply what needs the whole sound in memory to a long one; each of its outputs, as long as the sound."""
    plan = windows(samples.shape[1], sample_rate, np.zeros(0), window_s)
    made = [change(samples[:, w.start : w.stop]) for w in plan]
    count = len(made[0])
    return [assemble(samples.shape[1], [(w, m[i]) for w, m in zip(plan, made, strict=True)]) for i in range(count)]
