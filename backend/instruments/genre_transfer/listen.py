"""What a classifier hears in a sound of any length, and how well it hears: accuracy, confusion, calibration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from backend.audio.io import resample
from backend.audio.waveform import Waveform
from backend.errors import AudioError, RequestError
from backend.instruments.genre_transfer.genres import SEED_GENRES
from backend.instruments.genre_transfer.spectrogram import CLIP_SAMPLES, SAMPLE_RATE

SHORTEST_S = 0.1
MOST_WINDOWS = 60
BATCH = 4


class Ear(Protocol):
    """A classifier."""

    @property
    def genres(self) -> tuple[str, ...]:
        """Names of what it tells apart."""

    def probabilities(self, samples: Tensor) -> Tensor:
        """``[n, 110250]`` at 22,050 Hz → ``[n, genres]``."""


def hear(ear: Ear, waveform: Waveform, hop_s: float = 2.5) -> list[tuple[str, float]]:
    """Genres and their mean probability over windows of five seconds, likeliest first.

    Args:
        ear: the classifier.
        waveform: any rate and channels, at least 0.1 s; what is shorter than a window is repeated. Of very long sound
            60 windows spread over it are heard.
        hop_s: between windows.

    Raises:
        AudioError: the sound is too short.
    """
    if waveform.duration_s < SHORTEST_S:
        raise AudioError(f"The sound lasts {waveform.duration_s:.3f} seconds; at least {SHORTEST_S} are needed.")
    samples = windows(waveform, hop_s)
    heard = torch.cat([ear.probabilities(part) for part in samples.split(BATCH)]).mean(0)
    return sorted(zip(ear.genres, heard.tolist(), strict=True), key=lambda pair: -pair[1])


def p_target(ear: Ear, waveform: Waveform, genre: str, hop_s: float = 2.5) -> float:
    """Mean probability of one genre.

    Raises:
        RequestError: the classifier does not know it.
    """
    if genre not in ear.genres:
        raise RequestError("genre", genre, f"one of {', '.join(ear.genres)}")
    return dict(hear(ear, waveform, hop_s))[genre]


def windows(waveform: Waveform, hop_s: float = 2.5) -> Tensor:
    """Windows ``[n, 110250]`` of the mono mix at 22,050 Hz; the last one ends with the sound."""
    length = CLIP_SAMPLES / SAMPLE_RATE
    last = max(0.0, waveform.duration_s - length)
    starts = list(np.arange(0, last + 1e-9, hop_s))
    if last - starts[-1] > 0.5:
        starts.append(last)
    if len(starts) > MOST_WINDOWS:
        starts = [starts[i] for i in np.linspace(0, len(starts) - 1, MOST_WINDOWS).astype(int)]
    return torch.stack([_window(waveform, start) for start in starts])


def _window(waveform: Waveform, start_s: float) -> Tensor:
    part = resample(waveform.slice(start_s, start_s + 5.05).mono(), SAMPLE_RATE).samples[0]
    return torch.from_numpy(np.take(part, np.arange(CLIP_SAMPLES) % len(part)))


def classifier_figures(ear: Ear, clips: Iterable[tuple[str, Tensor]]) -> dict[str, Any]:
    """Accuracy over clips of held-out tracks.

    The figure for the seed's four genres is the same net with its softmax restricted to them, on clips of those four.

    Args:
        ear: the classifier.
        clips: genre and sound ``[110250]`` at 22,050 Hz.

    Returns:
        ``classifier_8_genres`` and ``classifier_4_genres`` (of all genres it knows; the second only if it knows the
        four), ``clips``, ``confusion`` (rows: true genre), ``ece`` (expected calibration error of ten bins, Guo et al.,
        arXiv 1706.04599), ``mean_p_true``.
    """
    names = list(ear.genres)
    rows, labels = [], []
    pending: list[Tensor] = []
    for genre, samples in clips:
        labels.append(names.index(genre))
        pending.append(samples)
        if len(pending) == BATCH:
            rows.append(ear.probabilities(torch.stack(pending)))
            pending = []
    if pending:
        rows.append(ear.probabilities(torch.stack(pending)))
    return figures_of(torch.cat(rows), torch.tensor(labels), names)


def figures_of(probabilities: Tensor, labels: Tensor, names: list[str]) -> dict[str, Any]:
    """`classifier_figures` of probabilities ``[clips, genres]`` and labels ``[clips]``."""
    guesses = probabilities.argmax(-1)
    confusion = torch.zeros(len(names), len(names), dtype=torch.long)
    confusion.index_put_((labels, guesses), torch.ones(len(labels), dtype=torch.long), accumulate=True)
    figures: dict[str, Any] = {"classifier_8_genres": float((guesses == labels).double().mean())}
    if set(SEED_GENRES) <= set(names):
        four = torch.tensor([names.index(genre) for genre in SEED_GENRES])
        own = torch.isin(labels, four)
        restricted = four[probabilities[own][:, four].argmax(-1)]
        figures["classifier_4_genres"] = float((restricted == labels[own]).double().mean())
    sure = probabilities.amax(-1)
    bins = (sure * 10).long().clamp(max=9)
    right = (guesses == labels).double()
    gaps = [
        float((right[bins == b].mean() - sure[bins == b].double().mean()).abs()) * int((bins == b).sum())
        for b in bins.unique()
    ]
    figures |= {
        "clips": len(labels), "mean_p_true": float(probabilities[torch.arange(len(labels)), labels].mean()),
        "ece": sum(gaps) / len(labels), "genres": names, "confusion": confusion.tolist(),
    }  # fmt: skip
    return figures
