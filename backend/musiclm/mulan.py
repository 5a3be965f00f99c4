"""MuLan (arXiv 2208.12415): music and sentences in one space of 128 dimensions; the embedder the stages condition on.

The model is musiclm-pytorch's ``MuLaN`` with our audio tower and one of two text towers: the package's transformer over
its own vocabulary, or a small transformer over the states of a frozen sentence encoder (the default: it understands
wordings our captions never use). See ``mulan_train`` for the losses.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.errors import CheckpointError
from backend.musiclm.mulan_audio import SAMPLE_RATE, AudioTower
from backend.musiclm.mulan_quantizer import EmbeddingQuantizer
from backend.musiclm.package import MuLaN, TextTransformer, mulan_parts
from backend.musiclm.text import MAX_TOKENS, STATE_DIM, SentenceEncoder, padding_mask

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore

CHECKPOINT = "text_to_music.mulan"
WINDOW = 10 * SAMPLE_RATE
SHORTEST = SAMPLE_RATE // 2


@dataclass(frozen=True)
class MuLanConfig:
    """Sizes. Widths are multiples of 64.

    Attributes:
        text_tower: ``minilm`` (frozen sentence encoder and a small head) or ``package`` (trained from nothing).
        n_quantizers: levels of the residual quantiser of the embedding.
        codebook_size: codes a level.
    """

    audio_dim: int = 256
    audio_depth: int = 3
    text_dim: int = 192
    text_depth: int = 2
    latent_dim: int = 128
    text_tower: str = "minilm"
    n_quantizers: int = 12
    codebook_size: int = 512

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return dataclasses.asdict(self)


BASE = MuLanConfig()
TINY = MuLanConfig(64, 2, 64, 2, 32, n_quantizers=3, codebook_size=16)


class SentenceTower(TextTransformer):  # type: ignore[misc]
    """The package's text transformer over token states ``[batch, tokens, 384]`` instead of its vocabulary.

    Its class token attends to the words; the mean state, which is what the sentence encoder was trained to make
    meaningful, is added to it, so an unknown wording lands at least near its neighbours.
    """

    def __init__(self, dim: int, depth: int) -> None:
        super().__init__(dim, depth, num_tokens=1, max_seq_len=MAX_TOKENS, heads=dim // 64)
        self.token_emb = nn.Sequential(nn.LayerNorm(STATE_DIM), nn.Linear(STATE_DIM, dim))
        self.sentence = nn.Sequential(nn.LayerNorm(STATE_DIM), nn.Linear(STATE_DIM, dim))
        self.merge = nn.LayerNorm(dim)

    def forward(
        self,
        x: Tensor | None = None,
        raw_texts: list[str] | None = None,
        mask: Tensor | None = None,
        return_all_layers: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """States (zero rows are padding) → ``[batch, dim]``; texts are encoded by the embedder, not here."""
        if x is None or raw_texts is not None:
            raise ValueError("the sentence tower takes token states; encode texts with SentenceEncoder first")
        mask = padding_mask(x) if mask is None else mask
        tokens = self.token_emb(x) + self.pos_emb(torch.arange(x.shape[1], device=x.device))
        tokens = torch.cat([self.cls_token.expand(len(x), 1, -1), tokens], 1)
        tokens, layers = self.transformer(tokens, mask=functional.pad(mask, (1, 0), value=True), return_all_layers=True)
        mean = (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        out: Tensor = self.merge(self.norm(tokens[:, 0]) + self.sentence(mean))
        return (out, layers) if return_all_layers else out


def build_mulan(config: MuLanConfig) -> MuLaN:
    """The package's two-tower model of ``config``, randomly initialised.

    Raises:
        ValueError: an unknown text tower.
    """
    text: nn.Module
    if config.text_tower == "minilm":
        text = SentenceTower(config.text_dim, config.text_depth)
    elif config.text_tower == "package":
        text = TextTransformer(config.text_dim, config.text_depth, heads=config.text_dim // 64)
    else:
        raise ValueError(f"text_tower: got {config.text_tower!r}, expected 'minilm' or 'package'")
    audio = AudioTower(config.audio_dim, config.audio_depth)
    return MuLaN(audio, text, dim_latent=config.latent_dim, sigmoid_contrastive_loss=True)


class MuLanEmbedder(nn.Module):
    """Sound or words → unit vectors ``[batch, latent_dim]`` of one space, and their codes.

    The two modalities occupy two separate cones of the sphere (the modality gap, arXiv 2203.02053). A generator trained
    on the sound's vectors would see foreign ones at inference, so each modality's mean over the training clips is
    subtracted and the rest normalised again; ``audio_mean`` and ``text_mean`` are zero until they are measured.
    """

    audio_mean: Tensor
    text_mean: Tensor

    def __init__(self, config: MuLanConfig, encoder: SentenceEncoder | None = None) -> None:
        super().__init__()
        self.config, self.sentence_encoder = config, encoder or SentenceEncoder()
        self.mulan = build_mulan(config)
        self.quantizer = EmbeddingQuantizer(config.latent_dim, config.n_quantizers, config.codebook_size)
        self.register_buffer("audio_mean", torch.zeros(config.latent_dim))
        self.register_buffer("text_mean", torch.zeros(config.latent_dim))
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.audio_mean.device

    def _centre(self, latents: Tensor, mean: Tensor) -> Tensor:
        return functional.normalize(latents.float() - mean, dim=-1)

    @torch.no_grad()
    def audio_embed(self, waveform: Tensor) -> Tensor:
        """Unit vectors of mono sound ``[batch, samples]`` at 24 kHz.

        The tower listens to 10 s; a longer sound is the mean over windows that cover it, one below half a second is
        padded with silence.
        """
        waveform = functional.pad(waveform, (0, max(0, SHORTEST - waveform.shape[-1])))
        length = waveform.shape[-1]
        starts = [*range(0, max(1, length - WINDOW + 1), WINDOW)]
        if length > WINDOW and length % WINDOW:
            starts.append(length - WINDOW)
        latents = [self.mulan.get_audio_latents(waveform[:, s : s + WINDOW]).float() for s in starts]
        return self._centre(functional.normalize(torch.stack(latents).mean(0), dim=-1), self.audio_mean)

    @torch.no_grad()
    def spectrogram_embed(self, spectrogram: Tensor) -> Tensor:
        """As `audio_embed`, from the audio tower's ``[batch, bands, frames]`` (cached by the trainer), one window."""
        return self._centre(self.mulan.get_audio_latents(spectrogram), self.audio_mean)

    @torch.no_grad()
    def text_embed(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of the texts."""
        return self.state_embed(self.text_input(texts))

    @torch.no_grad()
    def state_embed(self, text_input: Tensor) -> Tensor:
        """As `text_embed`, from `text_input`."""
        return self._centre(self.mulan.get_text_latents(text_input), self.text_mean)

    def text_input(self, texts: Sequence[str]) -> Tensor:
        """What the text tower reads: token states, or token numbers ``[batch, tokens]`` for the package's tower."""
        if self.config.text_tower == "minilm":
            return self.sentence_encoder.encode(texts, self.device)
        tokens: Tensor = mulan_parts.tokenizer.tokenize(list(texts), truncate_text=True)
        return tokens.long().to(self.device)

    def quantize(self, embedding: Tensor) -> Tensor:
        """Unit vectors ``[batch, latent_dim]`` → codes ``[batch, n_quantizers]``."""
        return self.quantizer.quantize(embedding)

    def dequantize(self, codes: Tensor) -> Tensor:
        """Codes → the unit vectors they stand for."""
        return self.quantizer.dequantize(codes)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Self:
        """The embedder of a saved state dict.

        Raises:
            CheckpointError: the tensors do not fit the configuration.
        """
        try:
            embedder = cls(MuLanConfig(**config))
            embedder.load_state_dict(dict(state))
        except (TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise CheckpointError(f"{CHECKPOINT} does not fit its configuration ({reason}).") from None
        return embedder.requires_grad_(False).eval()

    @classmethod
    def from_store(cls, store: CheckpointStore, name: str = CHECKPOINT) -> Self:
        """The embedder kept in ``store``, on the CPU.

        Raises:
            CheckpointError: missing, altered or of another configuration.
        """
        return cls.from_state(store.load(name), store.config(name))
