"""audiolm-pytorch's SoundStream (arXiv 2107.03312) behind this project's codec interface.

Selectable beside the default codec, and trained with the package's own losses: reconstruction, multi-spectral, and
discriminators of the waveform and of its complex STFT.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backend.errors import CheckpointError
from backend.musiclm.package import SoundStream

MAX_GRAD_NORM = 0.5  # the package's trainer clips the codec, not the discriminators


@dataclass(frozen=True, kw_only=True)
class SoundStreamConfig:
    """Sizes of the codec.

    Attributes:
        channels: of the first convolution; doubled by every block.
        codebook_dim: width of a frame before quantising.
        codebook_size, n_quantizers: of the residual quantizer.
        strides: of the encoder's blocks; their product is the hop in samples.
        sample_rate: Hz.
        attention_heads, attention_window: of the local attention around the quantizer; the window is in frames.
        discriminator_scales: shares of the sample rate at which the package's waveform discriminator listens; its size
            (5.6 M parameters each) is fixed by the package.
        stft_channels: of the complex-STFT discriminator.
    """

    channels: int = 32
    codebook_dim: int = 512
    codebook_size: int = 1024
    n_quantizers: int = 8
    strides: tuple[int, ...] = (2, 4, 5, 12)
    sample_rate: int = 24_000
    attention_heads: int = 8
    attention_window: int = 128
    discriminator_scales: tuple[float, ...] = (1, 0.5, 0.25)
    stft_channels: int = 32


BASE = SoundStreamConfig()
TINY = SoundStreamConfig(
    channels=4,
    codebook_dim=16,
    codebook_size=16,
    n_quantizers=3,
    attention_heads=2,
    attention_window=16,
    stft_channels=4,
)


class SoundStreamCodec(nn.Module):
    """The package's codec with codes ``[b, frames, n_quantizers]`` and audio ``[b, samples]``.

    Without weights the codebooks are those of the first audio it meets, by k-means, in `encode` as in training.

    Args:
        config: sizes.
        weights: a state dict of the package's ``SoundStream``; random weights without it.

    Raises:
        CheckpointError: the weights are those of another configuration.
    """

    def __init__(self, config: SoundStreamConfig = BASE, weights: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.config = config
        self.hop = math.prod(config.strides)
        self.sample_rate, self.frame_rate = config.sample_rate, config.sample_rate / self.hop
        self.n_quantizers, self.codebook_size = config.n_quantizers, config.codebook_size
        self.model: Any = SoundStream(
            channels=config.channels,
            strides=config.strides,
            codebook_dim=config.codebook_dim,
            codebook_size=config.codebook_size,
            rq_num_quantizers=config.n_quantizers,
            target_sample_hz=config.sample_rate,
            attn_heads=config.attention_heads,
            attn_window_size=config.attention_window,
            discr_multi_scales=config.discriminator_scales,
            complex_stft_discr_kwargs={"channels": config.stft_channels},
        )
        if weights is not None:
            try:
                self.model.load_state_dict(dict(weights))
            except RuntimeError as error:
                raise CheckpointError("The weights are not those of a SoundStream of this configuration.") from error
        self.eval()

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        """Audio ``[b, samples]`` → codes ``[b, samples // hop, n_quantizers]``."""
        with self._evaluating():
            _, codes, _ = self.model(audio, return_encoded=True)
        return torch.as_tensor(codes)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[b, frames, ≤ n_quantizers]`` → audio ``[b, frames * hop]``."""
        with self._evaluating():
            audio = self.model.decode_from_codebook_indices(codes)
        return torch.as_tensor(audio)[:, 0]

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation mode for a moment: a quantizer in training would move its codebooks and drop codes at random."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)

    def generator_parameters(self) -> list[nn.Parameter]:
        """What the codec's optimiser moves."""
        return list(self.model.non_discr_parameters())

    def discriminator_parameters(self) -> list[nn.Parameter]:
        """What the discriminators' optimiser moves."""
        return [*self.model.discriminators.parameters(), *self.model.stft_discriminator.parameters()]

    def train_step(self, audio: Tensor, codec_optimizer: torch.optim.Optimizer, judge: torch.optim.Optimizer) -> float:
        """One step of the codec, then one of the discriminators, as the package's trainer takes them.

        The first batch initialises the codebooks: give it many more frames than ``codebook_size``.

        Args:
            audio: ``[b, samples]``.
            codec_optimizer: over `generator_parameters`.
            judge: over `discriminator_parameters`.

        Returns:
            The codec's total loss.
        """
        self.train()
        codec_optimizer.zero_grad()
        loss = self.model(audio)
        loss.backward()
        nn.utils.clip_grad_norm_(self.generator_parameters(), MAX_GRAD_NORM)
        codec_optimizer.step()
        judge.zero_grad()  # the codec's loss has left gradients in the discriminators
        self.model(audio, return_discr_loss=True).backward()
        judge.step()
        return float(loss.detach())
