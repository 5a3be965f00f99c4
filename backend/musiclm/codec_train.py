"""Training of the codec, in two phases.

``encoder``: encoder and decoder learn together without quantiser, with a little noise on the latents. ``decoder``:
the encoder is frozen, the residual quantiser is fitted to what it puts out (principal axes and k-means, level by
level), and the decoder learns to sound the quantised latents. Against the usual joint training this keeps every
codebook in use (a moving encoder empties codes faster than they are refilled in so short a training), and the codes
are final as soon as the first phase is: the stages can be trained while the decoder still improves.

Loss: multi-resolution log-mel L1, plus spectral convergence so that loud partials keep their level, plus L1 of
log-pitch, which alone sees a bass note that is a semitone off.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.audio.spectral import LogPitch, MultiResolutionLogMel
from backend.errors import AudioError
from backend.musiclm.codec import Codec, CodecConfig
from backend.musiclm.quantize import perplexity

PHASES = ("encoder", "decoder")
LATENT_NOISE = 0.1
FIT_VECTORS = 60_000
PITCH_HOP = 2048  # samples, of the loss
COARSE_SHARE = 0.12  # of the decoder's batches hear the first half of the codebooks only, as a preview does


class CodecObjective(nn.Module):
    """Codec with its loss: audio ``[batch, samples]`` → ``(loss, figures)``."""

    def __init__(self, config: CodecConfig, phase: str = "encoder") -> None:
        super().__init__()
        self.codec = Codec(config)
        self.distance = MultiResolutionLogMel(config.sample_rate)
        self.pitch = LogPitch(config.sample_rate, hop=PITCH_HOP)
        self.phase = phase
        if phase == "decoder":
            for part in (self.codec.encoder, self.codec.quantizer):
                part.requires_grad_(False)

    def latents(self, audio: Tensor) -> Tensor:
        """What the decoder gets in this phase."""
        if self.phase == "decoder":
            with torch.no_grad():
                self.codec.quantizer.eval()  # the codebooks no longer follow
                quantised: Tensor
                quantised, codes, _ = self.codec.quantizer(self.codec.encoder(audio))
                if self.training and float(torch.rand(())) < COARSE_SHARE:
                    quantised = self.codec.quantizer.decode(codes[..., : codes.shape[-1] // 2])
                return quantised
        latents: Tensor = self.codec.encoder(audio)
        if self.training:
            latents = latents + LATENT_NOISE * latents.detach().std() * torch.randn_like(latents)
        return latents

    def forward(self, audio: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts for one batch."""
        decoded = self.codec.decoder(self.latents(audio))
        with torch.autocast(audio.device.type, enabled=False):
            log_mel = self.distance(decoded.float(), audio.float())
            spectral = spectral_convergence(decoded.float(), audio.float())
            pitch = functional.l1_loss(self.pitch(decoded.float()), self.pitch(audio.float()))
        figures = {"log_mel": log_mel.detach(), "spectral": spectral.detach(), "pitch": pitch.detach()}
        return log_mel + 0.2 * spectral + 0.2 * pitch, figures


def spectral_convergence(decoded: Tensor, audio: Tensor) -> Tensor:
    """‖S - Ŝ‖ / ‖S‖ of STFT magnitudes over two resolutions (Arik et al., arXiv 1808.06719, equation 3)."""
    total = audio.new_zeros(())
    for n_fft in (512, 2048):
        window = torch.hann_window(n_fft, device=audio.device)
        real, fake = (
            torch.stft(x, n_fft, n_fft // 4, window=window, return_complex=True).abs() for x in (audio, decoded)
        )
        total = total + (real - fake).norm() / (
            real.norm() + 1.0
        )  # over the batch: a silent excerpt must not weigh most
    return total / 2


class CodecTask:
    """Random one-second excerpts of the training clips; fixed excerpts of held-out clips for validation."""

    def __init__(self, corpus: Path, config: CodecConfig, batch: int, seconds: float, workers: int = 0) -> None:
        self.rate, self.batch, self.length = config.sample_rate, batch, round(seconds * config.sample_rate)
        self.train = sorted((corpus / "audio" / "train").iterdir())
        self.held_out = sorted((corpus / "audio" / "valid").iterdir())[:48]
        self._valid = torch.stack([read_excerpt(p, 4 * self.rate, 2 * self.rate) for p in self.held_out])

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Batches ``[batch, samples]``; near-silent excerpts are rare on purpose (one in ten is kept)."""
        while True:
            rows: list[Tensor] = []
            while len(rows) < self.batch:
                path = self.train[int(torch.randint(len(self.train), (), generator=generator))]
                start = int(torch.randint(0, 28 * self.rate, (), generator=generator))
                excerpt = read_excerpt(path, start, self.length)
                if float(excerpt.abs().max()) > 0.01 or float(torch.rand((), generator=generator)) < 0.1:
                    rows.append(excerpt * (0.4 + 0.8 * float(torch.rand((), generator=generator))))
            yield torch.stack(rows)

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """Held-out log-mel L1 (the loss) and, with the quantiser, the perplexities of the codebooks."""
        codec: Any = module.codec
        device = next(module.parameters()).device
        distances, pitches, codes = [], [], []
        objective: Any = module
        for part in self._valid.split(12):
            audio = part.to(device)
            decoded = codec.decoder(objective.latents(audio))
            distances.append(float(objective.distance(decoded, audio)))
            pitches.append(float(functional.l1_loss(objective.pitch(decoded), objective.pitch(audio))))
            if module.phase == "decoder":
                codes.append(codec.encode(audio).cpu())
        figures = {"loss": float(np.mean(distances)), "pitch": float(np.mean(pitches))}
        if codes:
            use = perplexity(torch.cat(codes), codec.codebook_size)
            figures |= {"perplexity_min": min(use), "perplexity_first": use[0]}
        return figures

    @torch.no_grad()
    def fit_quantiser(self, codec: Codec, seed: int = 0) -> None:
        """Fit the codebooks to the frozen encoder's latents of training audio."""
        source = self.batches(torch.Generator().manual_seed(seed))
        frames = self.length // codec.config.hop
        device = next(codec.parameters()).device
        needed = -(-FIT_VECTORS // (self.batch * frames))
        latents = [codec.encoder(next(source).to(device)).flatten(0, 1) for _ in range(needed)]
        codec.quantizer.initialise(torch.cat(latents))


def read_excerpt(path: Path, start: int, length: int) -> Tensor:
    """``length`` mono samples from ``start``, zero-padded at the end of the file.

    Python's own ``wave`` reads what `backend.corpus.build` writes, and a bare machine has it.

    Raises:
        AudioError: not a 16-bit WAV file.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, frames, bits = file.getnchannels(), file.getnframes(), 8 * file.getsampwidth()
            if bits != 16:
                raise AudioError(f"{path.name} holds {bits}-bit samples; training reads 16-bit WAV.")
            file.setpos(max(0, min(start, frames - length)))
            data = np.frombuffer(file.readframes(length), "<i2").reshape(-1, channels)
    except (wave.Error, EOFError) as error:
        raise AudioError(f"{path.name} is not a 16-bit WAV file.") from error
    audio = torch.from_numpy(data.mean(1, dtype=np.float32) / np.float32(32768))
    return functional.pad(audio, (0, length - len(audio)))
