"""Short-time spectra of a loop: what passes its end goes on at its beginning."""

from __future__ import annotations

import torch
from torch import Tensor

WINDOW_S = 0.043
"""The transform is the power of two nearest to it: 1,024 samples at 24 kHz, 2,048 at 44.1 kHz."""


class LoopFrames:
    """Circular STFT of loops of one length, half overlapped, with a root-Hann window on both ways.

    The squares of the windows add up to 1, so that `join` is the inverse of `split` and its adjoint (a tight frame).

    Args:
        n_samples: of the loop.
        sample_rate: Hz.
        device: where the loop is.
    """

    def __init__(self, n_samples: int, sample_rate: int, device: torch.device) -> None:
        self.n_fft = 1 << round(torch.tensor(WINDOW_S * sample_rate).log2().item())
        self.hop = self.n_fft // 2
        self._n_samples = n_samples
        self._window = torch.hann_window(self.n_fft, device=device).sqrt()
        # A frame's worth before the loop; after it, too, and on to a whole number of hops.
        length = n_samples + 2 * self.n_fft + (-n_samples) % self.hop
        self._around = (torch.arange(length, device=device) - self.n_fft) % n_samples

    def split(self, loop: Tensor) -> Tensor:
        """Loop ``[samples]`` → complex ``[n_fft / 2 + 1, frames]``."""
        return torch.stft(
            loop[self._around], self.n_fft, self.hop, window=self._window, return_complex=True, pad_mode="constant"
        )

    def join(self, spectrum: Tensor) -> Tensor:
        """The loop of these spectra."""
        whole = torch.istft(spectrum, self.n_fft, self.hop, window=self._window, length=len(self._around))
        return whole[self.n_fft : self.n_fft + self._n_samples]
