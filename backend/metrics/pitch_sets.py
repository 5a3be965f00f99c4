"""Which pitches sound at the same time in two sounds: the Jaccard distance of their pitch sets, frame by frame.

The figure of Cífka et al. ("Self-supervised VQ-VAE for one-shot music style transfer", ICASSP 2021): estimate the set
of pitches in every frame of both sounds and take ``1 - |A ∩ B| / |A ∪ B|``, averaged over the frames in which either
has a pitch. They use a trained estimator; ours is non-negative deconvolution of a constant-Q spectrum into harmonic
notes (`backend.metrics.pitch.note_activity`), trained on nothing, so the figures compare within this house only. 0 is
the same pitches throughout; two unrelated pieces lie near 0.85. Drums are heard as a few wrong pitches in both sounds,
which adds the same to every row.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter

from backend.audio.io import resample
from backend.audio.waveform import Waveform
from backend.metrics.pitch import TONAL, note_activity

SAMPLE_RATE = 22_050
SHARE_OF_SOUND, SHARE_OF_FRAME = 0.15, 0.3
HELD_FRAMES = 7  # 160 ms at 22,050 Hz


def pitch_sets(waveform: Waveform) -> npt.NDArray[np.bool_]:
    """Which of the 72 notes from C1 sound in each frame of 23 ms, ``[72, frames]``.

    A note counts when it reaches a share of the sound's loud notes, a share of the strongest note beside it, and that
    one stands out of the frame as noise does not.
    """
    if waveform.n_samples < 2:
        return np.zeros((72, 1), np.bool_)
    activity = median_filter(note_activity(resample(waveform.mono(), SAMPLE_RATE)), (1, HELD_FRAMES))
    strongest = activity.max(0)
    loud = float(np.quantile(strongest, 0.9))
    if loud <= 0.0:
        return np.zeros(activity.shape, np.bool_)
    tonal = strongest > TONAL * activity.mean(0)
    return cast(
        "npt.NDArray[np.bool_]", (activity > SHARE_OF_SOUND * loud) & (activity > SHARE_OF_FRAME * strongest) & tonal
    )


def pitch_jaccard_distance(reference: Waveform, other: Waveform) -> float:
    """Mean Jaccard distance of the pitch sets, 0 to 1; 0 when neither has a pitch. The longer sound is cut."""
    return jaccard_distance(pitch_sets(reference), pitch_sets(other))


def jaccard_distance(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    """`pitch_jaccard_distance` of sets that are known."""
    n = min(a.shape[1], b.shape[1])
    both, either = (a[:, :n] & b[:, :n]).sum(0), (a[:, :n] | b[:, :n]).sum(0)
    sounding = either > 0
    return float((1 - both[sounding] / either[sounding]).mean()) if sounding.any() else 0.0
