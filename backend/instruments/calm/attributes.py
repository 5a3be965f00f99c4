"""What the sliders name, as numbers: density, register, brightness and rhythm of onsets and holds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from backend.instruments.calm.piece import LOWEST, STEPS_PER_BAR, CalmPiece, Roll, roll

Array = npt.NDArray[np.float64]

ATTRIBUTES = ("density", "register", "brightness", "rhythm")
"""Notes a beat; mean pitch; how much more C major than A minor, -2 to 2; how far onsets lie off the beat, 0 to 1."""

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 4, 5, 7, 8, 9, 11)}
"""Pitch classes of the normal keys: C major, and A minor with both its natural and its raised seventh."""

# Krumhansl and Kessler (1982), probe-tone profiles, on C and on A.
_C_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_A_MINOR = np.roll([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17], 9)
_WEAKNESS = np.array([0, 3, 2, 3, 1, 3, 2, 3] * 2) / 3.0
"""Of each sixteenth: 0 on half notes, 1/3 on other beats, 2/3 on eighths, 1 between."""

_CLASSES = (np.arange(LOWEST, LOWEST + 88)[:, None] % 12 == np.arange(12)).astype(np.float64)


def attributes_of_rolls(onset: npt.NDArray[np.generic], hold: npt.NDArray[np.generic]) -> Array:
    """The four attributes ``[..., 4]`` of onsets and holds ``[..., steps, 88]``, steps a multiple of 16.

    Register and rhythm of silence are NaN; its brightness is 0.
    """
    onset, hold = np.asarray(onset, np.float64), np.asarray(hold, np.float64)
    steps = onset.shape[-2]
    by_pitch, by_step = onset.sum(-2), onset.sum(-1) > 0
    count = by_pitch.sum(-1)
    pitch = np.arange(LOWEST, LOWEST + 88)
    weakness = np.tile(_WEAKNESS, steps // STEPS_PER_BAR)
    chroma = (by_pitch + hold.sum(-2)) @ _CLASSES
    bright = _correlation(chroma, _C_MAJOR) - _correlation(chroma, _A_MINOR)
    with np.errstate(invalid="ignore", divide="ignore"):
        register = by_pitch @ pitch / count
        rhythm = by_step @ weakness / by_step.sum(-1)
    return np.stack([4.0 * count / steps, register, bright, rhythm], -1)


def attributes_of(piece: CalmPiece) -> dict[str, float]:
    """The four attributes of a piece, measured on its notes."""
    return dict(zip(ATTRIBUTES, (float(v) for v in attributes_of_rolls(*roll(piece))), strict=True))


def in_scale(onset: Roll, mode: str) -> float:
    """Share of the notes in the scale of the normal key; 1 for silence.

    Args:
        onset: onsets ``[..., steps, 88]``.
        mode: ``major`` or ``minor``.
    """
    total = float(onset.sum())
    return float(onset[..., scale_mask(mode)].sum()) / total if total else 1.0


def scale_mask(mode: str) -> Roll:
    """Which of the 88 pitches are in the scale ``[88]``."""
    return np.isin(np.arange(LOWEST, LOWEST + 88) % 12, SCALES[mode])


def _correlation(chroma: Array, profile: Array) -> Array:
    """Pearson correlation of ``[..., 12]`` with a profile ``[12]``; 0 for a flat one."""
    centred, reference = chroma - chroma.mean(-1, keepdims=True), profile - profile.mean()
    scale = np.sqrt((centred**2).sum(-1) * (reference**2).sum())
    return np.asarray(centred @ reference / np.maximum(scale, 1e-9))
