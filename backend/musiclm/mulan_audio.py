"""The audio tower of MuLan: the package's spectrogram transformer with a front end that can hear key and tempo.

The package's own front end is a linear spectrogram of 65 bins of 375 Hz. Here a band is a semitone, so that a
transposition is a shift, and the parts of music that need the whole clip at once have a short cut to the embedding: a
tempogram (autocorrelation of onsets; Grosche & Müller 2011) and a chroma profile pooled over its twelve rotations, the
same for every key. The patches see timbre and texture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.audio.spectral import stft
from backend.musiclm.package import AudioSpectrogramTransformer

SAMPLE_RATE = 24_000
HOP = 480
FRAME_RATE = SAMPLE_RATE // HOP
N_BANDS = 96
LOWEST_HZ = 41.203  # E1, the lowest string of a bass
FLOOR = 1e-4
LOUDEST_LOG = 3.0  # log magnitudes are shifted and scaled to about [-1, 1]
LAGS = (10, 101)  # frames: beats 0.2 to 2 s apart, 300 to 30 a minute
ONSET_BANDS = 4
SMOOTHING = (1 / 12, 3 / 12, 4 / 12, 3 / 12, 1 / 12)  # players are not exact to a frame of 20 ms, nor are frames
CHROMA_BANDS = (0, 60)  # five octaves; split in a bass and a treble profile


def semitone_filters(n_fft: int, first: int, count: int) -> Tensor:
    """Triangular filters ``[count, n_fft // 2 + 1]``, a semitone apart and at least a bin of the transform wide.

    Args:
        n_fft: transform length in samples at 24 kHz.
        first: semitones of the first band above E1.
        count: number of bands.
    """
    centres = LOWEST_HZ * 2 ** (torch.arange(first, first + count, dtype=torch.float64) / 12)
    width = (centres * (2 ** (1 / 12) - 1)).clamp(min=SAMPLE_RATE / n_fft)
    bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / n_fft
    return (1 - (bins[None] - centres[:, None]).abs() / width[:, None]).clamp(min=0).float()


class SemitoneSpectrogram(nn.Module):
    """``[batch, samples]`` at 24 kHz → ``[batch, 96, samples // 480]``: log magnitude in semitone bands, E1 to 10 kHz.

    The lower four octaves come from a window of 171 ms, which separates semitones from about 150 Hz up (every second
    frame, then doubled), the upper four from one of 43 ms, which places onsets. Buffers are not saved.
    """

    def __init__(self) -> None:
        super().__init__()
        half = N_BANDS // 2
        for name, n_fft, first in (("low", 4096, 0), ("high", 1024, half)):
            self.register_buffer(f"{name}_window", torch.hann_window(n_fft), persistent=False)
            self.register_buffer(f"{name}_filters", semitone_filters(n_fft, first, half), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """The spectrogram, in float32 whatever the autocast."""
        parts = []
        with torch.autocast(samples.device.type, enabled=False):
            for name, every in (("low", 2), ("high", 1)):
                window, filters = getattr(self, f"{name}_window"), getattr(self, f"{name}_filters")
                magnitude = stft(samples.float(), len(window), every * HOP, window).abs() / window.sum() * 2
                parts.append((filters @ magnitude).repeat_interleave(every, -1)[..., : samples.shape[-1] // HOP])
            return (torch.log(torch.cat(parts, 1).clamp(min=FLOOR)) + LOUDEST_LOG) / LOUDEST_LOG


def tempogram(spectrogram: Tensor) -> Tensor:
    """Autocorrelation of the onset strength in four bands: ``[batch, 96, frames]`` → ``[batch, 4, lags]``, at most 1.

    Args:
        spectrogram: log magnitudes at 50 frames a second; shorter than 2 s reads as "no periodicity" at the long lags.
    """
    rise = functional.relu(spectrogram[..., 1:] - spectrogram[..., :-1])
    onsets = rise.unflatten(1, (ONSET_BANDS, -1)).mean(2)
    kernel = torch.tensor(SMOOTHING, device=onsets.device).expand(ONSET_BANDS, 1, -1)
    onsets = functional.conv1d(onsets.float(), kernel, padding=len(SMOOTHING) // 2, groups=ONSET_BANDS)
    onsets = onsets - onsets.mean(-1, keepdim=True)
    length = onsets.shape[-1]
    spectrum = torch.fft.rfft(onsets, n=length + LAGS[1])
    correlation = torch.fft.irfft(spectrum.abs() ** 2, n=length + LAGS[1])
    unbiased = correlation[..., LAGS[0] : LAGS[1]]
    lag = torch.arange(*LAGS, device=spectrogram.device)
    unbiased = unbiased * length / (length - lag).clamp(min=length // 4 + 1)
    scaled: Tensor = unbiased / (correlation[..., :1] + 1e-6)
    return scaled


def chroma_profiles(spectrogram: Tensor) -> Tensor:
    """Mean energy of each pitch class in the bass and the treble: ``[batch, 96, frames]`` → ``[batch, 2, 12]``.

    Normalised to zero mean and unit deviation; the first class is E.
    """
    low, high = CHROMA_BANDS
    magnitude = torch.exp((spectrogram[:, low:high] - 1) * LOUDEST_LOG)
    loudness = magnitude.mean(1, keepdim=True).clamp(min=FLOOR)
    profile = (magnitude / loudness.sqrt()).mean(-1)  # between equal weight of frames and of energy
    octaves = profile.unflatten(1, (-1, 12))
    folded = torch.stack([octaves[:, :2].sum(1), octaves[:, 2:].sum(1)], 1)
    return (folded - folded.mean(-1, keepdim=True)) / (folded.std(-1, keepdim=True) + 1e-5)


class KeyFreeChroma(nn.Module):
    """Features of chroma profiles, the same in every key: a shared network on all rotations, then their maximum."""

    def __init__(self, hidden: int, dim: int) -> None:
        super().__init__()
        self.rotated = nn.Sequential(nn.Linear(24, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.out = nn.Sequential(nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, profiles: Tensor) -> Tensor:
        """``[batch, 2, 12]`` → ``[batch, dim]``."""
        rotations = torch.stack([profiles.roll(-k, -1).flatten(1) for k in range(12)], 1)
        pooled: Tensor = self.rotated(rotations).amax(1)
        return self.out(pooled)  # type: ignore[no-any-return]


class Stem(nn.Module):
    """Spectrogram ``[batch, 96, frames]`` → ``[batch, 1, frames // 20, dim]``: tokens of 0.4 s over all bands.

    Convolutions over time instead of one linear patch: what a token says hardly depends on where in it a note begins,
    and 25 tokens for ten seconds cost a sixth of patches of 16 by 16.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fine = nn.Conv1d(N_BANDS, dim, 5, stride=5)
        self.mix = nn.Sequential(nn.GELU(), nn.Conv1d(dim, dim, 3, padding=1, groups=dim // 32), nn.GELU())
        self.coarse = nn.Conv1d(dim, dim, 4, stride=4)
        self.norm = nn.LayerNorm(dim)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """The tokens."""
        x = self.fine(spectrogram)
        out: Tensor = self.norm(self.coarse(x + self.mix(x)).transpose(1, 2))
        return out[:, None]


class AudioTower(AudioSpectrogramTransformer):  # type: ignore[misc]
    """Waveforms ``[batch, samples]`` or spectrograms ``[batch, 96, frames]`` → ``[batch, dim]``.

    The transformer is the package's. What is replaced: the front end; the linear patches; its SpecAugment, whose 80-bin
    mask can erase every bin and whose stretch does nothing (the trainer masks with its own generator); patch dropout,
    which costs a position bias for every clip.

    Args:
        dim: width; a multiple of 64.
        depth: layers.
    """

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__(
            dim,
            depth,
            patch_size=(N_BANDS, 20),
            heads=dim // 64,
            accept_spec=True,
            accept_spec_time_first=False,
            patch_dropout_prob=0.0,
        )
        self.spec, self.aug, self.to_patch_tokens = SemitoneSpectrogram(), nn.Identity(), Stem(dim)
        lags = LAGS[1] - LAGS[0]
        self.rhythm = nn.Sequential(nn.Linear(ONSET_BANDS * lags, dim), nn.GELU(), nn.Linear(dim, dim))
        self.harmony = KeyFreeChroma(128, dim)
        self.timbre = nn.Sequential(nn.Linear(2 * N_BANDS, dim), nn.GELU(), nn.Linear(dim, dim))
        self.merge = nn.LayerNorm(dim)

    def forward(self, x: Tensor, return_all_layers: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Embedding, and with ``return_all_layers`` the hidden states ``[depth - 1, batch, patches, dim]`` too."""
        spectrogram = self.spec(x) if x.ndim == 2 else x
        frames = spectrogram.shape[-1] - spectrogram.shape[-1] % self.patch_size[1]
        spectrogram = spectrogram[..., :frames]
        pooled, layers = super().forward(spectrogram, return_all_layers=True)
        with torch.autocast(spectrogram.device.type, enabled=False):
            exact = spectrogram.float()
            rhythm, chroma = tempogram(exact).flatten(1), chroma_profiles(exact)
            average = torch.cat([exact.mean(-1), exact.std(-1)], 1)
        out: Tensor = self.merge(pooled + self.rhythm(rhythm) + self.harmony(chroma) + self.timbre(average))
        return (out, layers) if return_all_layers else out
