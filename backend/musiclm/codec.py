"""The sound's alphabet: 24 kHz audio ↔ eight codes of 1,024 fifty times a second (4 kbit/s).

A frame-domain codec in the manner of Vocos (arXiv 2306.00814): log-mel in, ConvNeXt blocks, residual quantiser,
ConvNeXt blocks, inverse STFT out. All layers run at the frame rate, which is what makes it trainable and fast without
a GPU; a time-domain SoundStream spends most of its work at the sample rate. Departures from Vocos: three analyses (an
attack's, a timbre's, and semitones as a mel spectrogram cannot part them below 250 Hz), quantised latents, and
oscillators beside the inverse STFT, which alone cannot hold a steady tone (`backend.musiclm.oscillators`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.audio.spectral import LogMel, LogPitch
from backend.musiclm.oscillators import OscillatorBank
from backend.musiclm.quantize import ResidualQuantizer


class AudioCodec(Protocol):
    """What the stages need of a codec; audiolm-pytorch's SoundStream fits behind it too."""

    sample_rate: int
    frame_rate: float
    n_quantizers: int
    codebook_size: int

    def encode(self, audio: Tensor) -> Tensor:
        """Audio ``[batch, samples]`` → codes ``[batch, frames, n_quantizers]``."""

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[batch, frames, ≤ n_quantizers]`` → audio ``[batch, samples]``."""


@dataclass(frozen=True)
class CodecConfig:
    """Sizes of the codec.

    Attributes:
        hop: samples a coded frame; synthesis runs ``synthesis_rate`` times as fast.
        pitch_bands: of the encoder's log-frequency analysis, two a semitone; 0 for none.
        oscillators: of the decoder, one a semitone; 0 for none.
    """

    sample_rate: int = 24_000
    hop: int = 480
    n_quantizers: int = 8
    codebook_size: int = 1024
    code_dim: int = 8
    latent_dim: int = 128
    encoder_dim: int = 256
    encoder_blocks: int = 4
    decoder_dim: int = 384
    decoder_blocks: int = 4
    synthesis_dim: int = 384
    synthesis_blocks: int = 3
    n_fft: int = 2048
    synthesis_rate: int = 1
    pitch_bands: int = 0
    oscillators: int = 0

    @property
    def bits_per_second(self) -> float:
        """Bit rate of the codes."""
        return self.sample_rate / self.hop * self.n_quantizers * (self.codebook_size.bit_length() - 1)


BASE = CodecConfig(pitch_bands=128, oscillators=84)
TINY = CodecConfig(
    n_quantizers=3, codebook_size=32, latent_dim=16, encoder_dim=16, encoder_blocks=1,
    decoder_dim=16, decoder_blocks=1, synthesis_dim=16, synthesis_blocks=1, pitch_bands=24, oscillators=48,
)  # fmt: skip


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over frames, then a pointwise bottleneck (arXiv 2201.03545); ``[batch, frames, dim]``."""

    def __init__(self, dim: int, expansion: int = 3, kernel_size: int = 7, dilation: int = 1) -> None:
        super().__init__()
        padding = kernel_size // 2 * dilation
        self.depthwise = nn.Conv1d(dim, dim, kernel_size, padding=padding, dilation=dilation, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, expansion * dim)
        self.contract = nn.Linear(expansion * dim, dim)
        self.gain = nn.Parameter(torch.full((dim,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, frames, dim]`` → the same shape."""
        h = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.gain * self.contract(functional.gelu(self.expand(self.norm(h))))
        return out


class Encoder(nn.Module):
    """Audio → latents at the frame rate, from log-mels over 85 and 21 ms and log-pitch over 341 ms."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        half = config.hop // 2
        self.tonal = LogMel(config.sample_rate, n_fft=2048, hop=half, n_mels=128)
        self.transient = LogMel(config.sample_rate, n_fft=512, hop=half, n_mels=40)
        self.pitch = LogPitch(config.sample_rate, config.hop, config.pitch_bands) if config.pitch_bands else None
        self.mix = nn.Linear(168 + config.pitch_bands, config.encoder_dim)
        self.fast = ConvNeXtBlock(config.encoder_dim)
        self.down = nn.Conv1d(config.encoder_dim, config.encoder_dim, 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(config.encoder_dim) for _ in range(config.encoder_blocks)])
        self.norm = nn.LayerNorm(config.encoder_dim)
        self.out = nn.Linear(config.encoder_dim, config.latent_dim)
        self.hop = config.hop

    def forward(self, audio: Tensor) -> Tensor:
        """``[batch, samples]`` → ``[batch, samples // hop, latent_dim]``."""
        frames = audio.shape[-1] // self.hop
        with torch.autocast(audio.device.type, enabled=False):
            seen = [analysis(audio.float())[..., : 2 * frames] for analysis in (self.tonal, self.transient)]
            if self.pitch is not None:
                seen.append(self.pitch(audio.float())[..., :frames].repeat_interleave(2, -1))
        x = self.fast(self.mix(torch.cat(seen, 1).transpose(1, 2) / 4 + 1))
        x = self.down(x.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.out(self.norm(self.blocks(x)))
        return out


class Decoder(nn.Module):
    """Latents at the frame rate → audio: a complex spectrogram through the inverse STFT, plus oscillators."""

    window: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.n_fft, self.rate = config.n_fft, config.synthesis_rate
        self.hop = config.hop // self.rate
        self.mix = nn.Conv1d(config.latent_dim, config.decoder_dim, 3, padding=1)
        self.blocks = nn.Sequential(*[ConvNeXtBlock(config.decoder_dim) for _ in range(config.decoder_blocks)])
        self.up = nn.Linear(config.decoder_dim, self.rate * config.synthesis_dim)
        self.fine = nn.Sequential(*[ConvNeXtBlock(config.synthesis_dim) for _ in range(config.synthesis_blocks)])
        self.norm = nn.LayerNorm(config.synthesis_dim)
        self.head = nn.Linear(config.synthesis_dim, config.n_fft + 2)
        self.tones = (
            OscillatorBank(config.synthesis_dim, config.oscillators, self.hop, config.sample_rate)
            if config.oscillators
            else None
        )
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """``[batch, frames, latent_dim]`` → ``[batch, frames × hop]``."""
        batch, frames, _ = latents.shape
        x = self.blocks(self.mix(latents.transpose(1, 2)).transpose(1, 2))
        x = self.fine(self.up(x).reshape(batch, self.rate * frames, -1))
        x = self.norm(x)
        spectrum = self.head(x).float().transpose(1, 2)
        log_magnitude, phase = spectrum.chunk(2, 1)
        magnitude = log_magnitude.clamp(max=5.0).exp()  # above e^5 one bin alone would leave [-1, 1]
        with torch.autocast(latents.device.type, enabled=False):
            complex_spectrum = torch.polar(magnitude, phase)
            complex_spectrum = functional.pad(complex_spectrum, (0, 1))
            length = self.rate * frames * self.hop
            audio = torch.istft(complex_spectrum, self.n_fft, self.hop, window=self.window, length=length, center=True)
        return audio if self.tones is None else audio + self.tones(x)


class Codec(nn.Module):
    """Encoder, residual quantiser, decoder."""

    def __init__(self, config: CodecConfig = BASE) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.n_quantizers = config.sample_rate, config.n_quantizers
        self.codebook_size, self.frame_rate = config.codebook_size, config.sample_rate / config.hop
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.quantizer = ResidualQuantizer(
            config.latent_dim, config.n_quantizers, config.codebook_size, config.code_dim
        )

    def forward(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """``[batch, samples]`` → decoded audio of the same length in whole frames, codes."""
        quantised, codes, _ = self.quantizer(self.encoder(audio))
        return self.decoder(quantised), codes

    @torch.no_grad()
    def encode(self, audio: Tensor) -> Tensor:
        """Audio ``[batch, samples]`` → codes ``[batch, samples // hop, n_quantizers]``."""
        codes: Tensor = self.quantizer(self.encoder(audio))[1]
        return codes

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[batch, frames, ≤ n_quantizers]`` → audio ``[batch, frames × hop]``."""
        out: Tensor = self.decoder(self.quantizer.decode(codes))
        return out


def config_of(values: dict[str, Any]) -> CodecConfig:
    """The configuration stored beside a checkpoint."""
    return CodecConfig(**{k: v for k, v in values.items() if k in asdict(BASE)})
