"""The calm model: a variational autoencoder with a latent a bar and a decoder without feedback.

The hierarchy is MusicVAE's (arXiv 1803.05428), a network over bars above a network over steps, in both directions.
Two things differ. There is a latent for every bar, not one for all of them, so that sixteen polyphonic bars survive.
And all onsets and holds of a bar are decided at once and not note after note: decoding is a function of the latent, so
an interpolation has no sampling noise, and nine steps cost one batch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.errors import CheckpointError
from backend.instruments.calm.piece import MAX_BARS, N_PITCHES, STEPS_PER_BAR

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore

CHECKPOINT = "calm.model"
ONSET_BIAS, HOLD_BIAS = -4.5, -3.0  # logits of the base rates, from which training starts
LOGVAR_RANGE = (-9.0, 2.0)


@dataclass(frozen=True)
class CalmConfig:
    """Sizes.

    Attributes:
        latent_dim: of the latent of a bar.
        step_width: channels of a step.
        step_hidden: of its feed-forward layers.
        step_groups: groups of channels that mix the steps of a bar each in its own way.
        squeeze: channels of a step on the way between steps and bar.
        encoder_blocks: step blocks before the bar.
        decoder_blocks: step blocks after it.
        bar_width: channels of a bar.
        bar_hidden: of its feed-forward layers.
        heads: of the attention over bars.
        encoder_bars: attention blocks before the latent.
        decoder_bars: attention blocks after it.
        dropout: inside the blocks over bars, in training.
        bank_size: remembered passages that sampling starts from.
        bank_bars: their length.
    """

    latent_dim: int = 160
    step_width: int = 192
    step_hidden: int = 512
    step_groups: int = 8
    squeeze: int = 64
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    bar_width: int = 320
    bar_hidden: int = 960
    heads: int = 5
    encoder_bars: int = 1
    decoder_bars: int = 2
    dropout: float = 0.05
    bank_size: int = 128
    bank_bars: int = 8


BASE = CalmConfig()
TINY = CalmConfig(
    latent_dim=16, step_width=32, step_hidden=48, step_groups=4, squeeze=16, encoder_blocks=1, decoder_blocks=1,
    bar_width=48, bar_hidden=64, heads=2, encoder_bars=1, decoder_bars=1, dropout=0.0, bank_size=4,
)  # fmt: skip


def config_of(values: Mapping[str, Any]) -> CalmConfig:
    """The configuration stored with a checkpoint.

    Raises:
        CheckpointError: it is another model's.
    """
    try:
        return CalmConfig(**values)
    except TypeError as error:
        raise CheckpointError(f"The checkpoint {CHECKPOINT} is not of the calm model: {error}.") from error


class StepBlock(nn.Module):
    """Mixes the 16 steps of a bar, then the channels of each: ``[bars, 16, width]`` → the same.

    The steps of a bar have fixed places, so a learned 16 × 16 matrix a group of channels does what attention would
    (MLP-Mixer, arXiv 2105.01601, with groups).
    """

    def __init__(self, config: CalmConfig) -> None:
        super().__init__()
        self.groups = config.step_groups
        self.mix_norm, self.norm = nn.LayerNorm(config.step_width), nn.LayerNorm(config.step_width)
        near = torch.exp(-0.5 * (torch.arange(16.0)[:, None] - torch.arange(16.0)) ** 2)
        self.mix = nn.Parameter(0.2 * near * torch.randn(config.step_groups, STEPS_PER_BAR, STEPS_PER_BAR))
        self.up = nn.Linear(config.step_width, config.step_hidden)
        self.down = nn.Linear(config.step_hidden, config.step_width)

    def forward(self, x: Tensor) -> Tensor:
        """One block with two residual branches."""
        bars, steps, width = x.shape
        grouped = self.mix_norm(x).view(bars, steps, self.groups, width // self.groups)
        x = x + torch.einsum("gts,bsgc->btgc", self.mix, grouped).reshape(bars, steps, width)
        out: Tensor = x + self.down(functional.gelu(self.up(self.norm(x))))
        return out


class BarBlock(nn.Module):
    """Attention over the bars, with a learned bias by their distance: ``[batch, bars, width]`` → the same."""

    def __init__(self, config: CalmConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm, self.mlp_norm = nn.LayerNorm(config.bar_width), nn.LayerNorm(config.bar_width)
        self.qkv = nn.Linear(config.bar_width, 3 * config.bar_width)
        self.out = nn.Linear(config.bar_width, config.bar_width)
        self.distance = nn.Parameter(torch.zeros(config.heads, 2 * MAX_BARS - 1))
        self.up = nn.Linear(config.bar_width, config.bar_hidden)
        self.down = nn.Linear(config.bar_hidden, config.bar_width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """One block."""
        batch, bars, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(batch, bars, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        place = torch.arange(bars, device=x.device)
        bias = self.distance[:, place[:, None] - place + MAX_BARS - 1].to(q.dtype)
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(batch, -1, -1, -1))
        x = x + self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, bars, width)))
        out: Tensor = x + self.dropout(self.down(functional.gelu(self.up(self.mlp_norm(x)))))
        return out


class CalmVAE(nn.Module):
    """Rolls ``[batch, 2, bars, 16, 88]`` (onsets, holds) ↔ latents ``[batch, bars, latent_dim]``.

    Beside the weights it keeps what was measured on the training pieces after training, as buffers:

    Attributes:
        floor: least probability of a note that is played, chosen on validation pieces.
        latent_mean: mean of the posterior means ``[latent_dim]``.
        latent_sd: their standard deviation ``[latent_dim]``.
        directions: what to add to every bar's latent to raise each attribute by one standard deviation
            ``[4, latent_dim]``.
        attribute_sd: that standard deviation in the attribute's unit ``[4]``.
        map_axes: two axes of the latent map ``[2, latent_dim]``.
        bank: posterior means of calm training passages ``[bank_size, bank_bars, latent_dim]``.
        bank_major: which of them are in major, as 0 or 1 ``[bank_size]``.
    """

    floor: Tensor
    latent_mean: Tensor
    latent_sd: Tensor
    directions: Tensor
    attribute_sd: Tensor
    map_axes: Tensor
    bank: Tensor
    bank_major: Tensor

    def __init__(self, config: CalmConfig = BASE) -> None:
        super().__init__()
        self.config = config
        steps, bar, z = config.step_width, config.bar_width, config.latent_dim
        self.step_in = nn.Linear(2 * N_PITCHES, steps)
        self.step_place = nn.Parameter(0.02 * torch.randn(2, STEPS_PER_BAR, steps))
        self.encoder_steps = nn.Sequential(*(StepBlock(config) for _ in range(config.encoder_blocks)))
        self.squeeze = nn.Linear(steps, config.squeeze)
        self.bar_in = nn.Linear(STEPS_PER_BAR * config.squeeze, bar)
        self.encoder_bars = nn.Sequential(*(BarBlock(config) for _ in range(config.encoder_bars)))
        self.posterior = nn.Sequential(nn.LayerNorm(bar), nn.Linear(bar, 2 * z))
        self.latent_in = nn.Linear(z, bar)
        self.decoder_bars = nn.Sequential(*(BarBlock(config) for _ in range(config.decoder_bars)))
        self.bar_out = nn.Sequential(nn.LayerNorm(bar), nn.Linear(bar, STEPS_PER_BAR * config.squeeze))
        self.unsqueeze = nn.Linear(config.squeeze, steps)
        self.decoder_steps = nn.Sequential(*(StepBlock(config) for _ in range(config.decoder_blocks)))
        self.step_out = nn.Sequential(nn.LayerNorm(steps), nn.Linear(steps, 2 * N_PITCHES))
        with torch.no_grad():
            last: Any = self.step_out[1]
            last.bias[:N_PITCHES], last.bias[N_PITCHES:] = ONSET_BIAS, HOLD_BIAS
            head: Any = self.posterior[1]
            head.bias[z:] = 2 * math.log(0.3)
        self.register_buffer("floor", torch.tensor(0.35))
        self.register_buffer("latent_mean", torch.zeros(z))
        self.register_buffer("latent_sd", torch.ones(z))
        self.register_buffer("directions", torch.zeros(4, z))
        self.register_buffer("attribute_sd", torch.ones(4))
        self.register_buffer("map_axes", torch.eye(2, z))
        self.register_buffer("bank", torch.zeros(config.bank_size, config.bank_bars, z))
        self.register_buffer("bank_major", torch.ones(config.bank_size))

    @classmethod
    def from_store(cls, store: CheckpointStore, device: torch.device | None = None) -> CalmVAE:
        """The bundled model, ready to be used.

        Raises:
            CheckpointError: it is missing, damaged or of another configuration.
        """
        model = cls(config_of(store.config(CHECKPOINT)))
        try:
            model.load_state_dict(store.load(CHECKPOINT))
        except RuntimeError as error:
            raise CheckpointError(f"The weights of {CHECKPOINT} do not fit its configuration.") from error
        return model.to(device).eval() if device is not None else model.eval()

    def encode(self, rolls: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance ``[batch, bars, latent_dim]`` of rolls ``[batch, 2, bars, 16, 88]``."""
        batch, _, bars = rolls.shape[:3]
        steps = rolls.permute(0, 2, 3, 1, 4).reshape(batch * bars, STEPS_PER_BAR, 2 * N_PITCHES)
        x = self.encoder_steps(self.step_in(steps) + self.step_place[0])
        x = self.bar_in(self.squeeze(x).reshape(batch, bars, -1))
        mu, logvar = self.posterior(self.encoder_bars(x)).float().chunk(2, -1)
        return mu, logvar.clamp(*LOGVAR_RANGE)

    def decode(self, z: Tensor) -> Tensor:
        """Logits of onsets and holds ``[batch, 2, bars, 16, 88]`` of latents ``[batch, bars, latent_dim]``."""
        batch, bars = z.shape[:2]
        x = self.bar_out(self.decoder_bars(self.latent_in(z)))
        x = self.unsqueeze(x.reshape(batch * bars, STEPS_PER_BAR, -1)) + self.step_place[1]
        x = self.step_out(self.decoder_steps(x)).float()
        out: Tensor = x.view(batch, bars, STEPS_PER_BAR, 2, N_PITCHES).permute(0, 3, 1, 2, 4)
        return out

    def as_config(self) -> dict[str, Any]:
        """The configuration as plain values, for the checkpoint."""
        return dataclasses.asdict(self.config)
