"""Moving in the latent space: roads between two pieces, pieces like one, new ones, and sliders for what is heard.

Everything is a function of its arguments and the seed: the decoder draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backend.errors import RequestError
from backend.instruments.calm.attributes import ATTRIBUTES, scale_mask
from backend.instruments.calm.model import CalmVAE
from backend.instruments.calm.piece import (
    MAX_BARS,
    MIN_BARS,
    N_PITCHES,
    STEPS_PER_BAR,
    TONIC,
    CalmPiece,
    Roll,
    piece_of_roll,
    roll,
)
from backend.instruments.calm.similarity import distances

Method = Literal["lerp", "slerp"]

COARSE, FINE = 25, 40  # points on which a road is measured: evenly by share, then evenly by what was heard
DECODE_BARS = 512  # bars a batch
PERSISTENCE = 0.85  # of the noise from bar to bar, so that a variation keeps its direction
CERTAIN = 0.5
MAX_AMOUNT = 3.0


def lerp(a: Tensor, b: Tensor, share: Tensor | float) -> Tensor:
    """Straight line from ``a`` to ``b``; thins the music towards the middle."""
    return a + (b - a) * share


def slerp(a: Tensor, b: Tensor, share: Tensor | float) -> Tensor:
    """Great circle from ``a`` to ``b`` over the last axis, which keeps their distance from the origin.

    Shoemake, "Animating rotation with quaternion curves", 1985; a straight line where the two point the same way.
    """
    unit_a, unit_b = (x / x.norm(dim=-1, keepdim=True).clamp_min(1e-9) for x in (a, b))
    angle = (unit_a * unit_b).sum(-1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    near = sine < 1e-4
    sine = torch.where(near, torch.ones_like(sine), sine)
    round_ = ((1 - share) * angle).sin() / sine * a + (share * angle).sin() / sine * b
    return torch.where(near, lerp(a, b, share), round_)


def device_of(model: CalmVAE) -> torch.device:
    """Where the model's weights are."""
    return model.latent_mean.device


@torch.inference_mode()
def latent_of(model: CalmVAE, piece: CalmPiece) -> Tensor:
    """Posterior mean ``[bars, latent_dim]`` of a piece."""
    rolls = np.stack(roll(piece)).reshape(1, 2, piece.bars, STEPS_PER_BAR, N_PITCHES)
    return model.encode(torch.from_numpy(rolls.astype(np.float32)).to(device_of(model)))[0][0]


@torch.inference_mode()
def decode_rolls(model: CalmVAE, z: Tensor, allowed: Roll | None = None) -> tuple[Roll, Roll]:
    """What latents sound like: onsets and holds ``[n, steps, 88]`` of ``[n, bars, latent_dim]``.

    A bar plays as many notes as the model expects (the sum of its probabilities), the likeliest first: a fixed
    threshold would fall silent half-way between two pieces, where nothing is certain. A note struck on two
    neighbouring steps is one the model could not place, unless both are certain; the likelier stays.

    Args:
        allowed: pitches that may sound ``[n or 1, 88]``; None for all.
    """
    bars = z.shape[1]
    per_batch = max(1, DECODE_BARS // bars)
    onsets, held = [], []
    for part, mask in _parts(z, allowed, per_batch):
        p = model.decode(part).sigmoid()
        onset, hold = p[:, 0], p[:, 1]
        if mask is not None:
            onset = onset * mask[:, None, None, :]
        flat = onset.reshape(len(part), bars * STEPS_PER_BAR, N_PITCHES)
        padded = torch.nn.functional.pad(flat, (0, 0, 1, 1))
        beaten = (padded[:, :-2] >= flat) | (padded[:, 2:] > flat)
        likely = torch.where(beaten & (flat < CERTAIN), torch.zeros_like(flat), flat).view(len(part), bars, -1)
        expected = onset.flatten(2).sum(-1).round().long().clamp(max=likely.shape[-1] - 1)
        ranked = likely.sort(-1, descending=True).values
        least = ranked.gather(-1, (expected - 1).clamp_min(0)[..., None])
        played = (likely >= least.clamp_min(float(model.floor))) & (expected[..., None] > 0)
        struck = played.view_as(flat)
        onsets.append(struck.cpu().numpy())
        held.append(_held(struck, p[:, 0].reshape(flat.shape), hold.reshape(flat.shape)).cpu().numpy())
    return np.concatenate(onsets), np.concatenate(held)


def _parts(z: Tensor, allowed: Roll | None, size: int) -> list[tuple[Tensor, Tensor | None]]:
    if allowed is None:
        return [(part, None) for part in z.split(size)]
    mask = torch.from_numpy(np.broadcast_to(allowed, (len(z), N_PITCHES)).astype(np.float32)).to(z.device)
    return list(zip(z.split(size), mask.split(size), strict=True))


def _held(struck: Tensor, onset: Tensor, hold: Tensor) -> Tensor:
    """Where the played notes still sound ``[n, steps, 88]``, each for its median length given that it is played.

    A hold implies that the pitch sounded one step before, so the chance to go on is P(hold at t) over P(onset or hold
    at t - 1), and a note ends when the product of these since its onset falls below one half. Where the model is sure
    that is a threshold on the hold; half-way between two pieces, where every note is doubtful, a threshold would cut
    short those that are chosen.

    Args:
        struck: the played onsets, bool ``[n, steps, 88]``.
        onset: their probabilities, the same shape.
        hold: those of the holds.
    """
    onward = hold[:, 1:] / (onset + hold)[:, :-1].clamp_min(1e-6)
    kept, survival = torch.zeros_like(struck), struck[:, 0].float()
    for step in range(1, struck.shape[1]):
        survival = (survival * onward[:, step - 1]).clamp_max(1.0)
        kept[:, step] = (survival >= CERTAIN) & ~struck[:, step]
        survival = torch.where(struck[:, step], torch.ones_like(survival), survival * kept[:, step])
    return kept


def piece_of_latent(
    model: CalmVAE, z: Tensor, like: CalmPiece | None = None, *, mode: str = "major", constrain: bool = False
) -> CalmPiece:
    """The piece of latents ``[bars, latent_dim]``, in the tempo and key of ``like``.

    Args:
        mode: where there is no ``like``.
        constrain: keep to the scale of the mode.
    """
    mode = like.mode if like is not None else mode
    onset, hold = decode_rolls(model, z[None], scale_mask(mode)[None] if constrain else None)
    if like is None:
        return piece_of_roll(onset[0], hold[0], mode=mode)
    return piece_of_roll(onset[0], hold[0], tempo_bpm=like.tempo_bpm, mode=mode, transpose=like.transpose)


def path(
    model: CalmVAE,
    a: CalmPiece,
    b: CalmPiece,
    steps: int = 9,
    method: Method = "lerp",
    *,
    even: bool = True,
    constrain: bool = False,
) -> list[CalmPiece]:
    """The road from ``a`` to ``b``, both ends included, each decoded from its latent.

    Both are in the normal key already; the whole road sounds in the key of ``a``, in tempi that change by equal ratios,
    and is as long as the shorter of the two. With ``even`` the points divide what is *heard* evenly, not the latent
    line: they are at equal arc lengths under the metric that the decoder pulls back from the rolls (Arvanitidis et al.,
    "Latent space oddity", arXiv 1710.11379), here the Hamming distance between decoded rolls.

    Args:
        steps: 2 to 33 pieces.
        constrain: keep to the scale, that of the nearer end.

    Raises:
        RequestError: ``steps`` or ``method`` out of range.
    """
    onsets, holds, shares = road(model, a, b, steps, method, even=even, constrain=constrain)
    tempi = a.tempo_bpm * (b.tempo_bpm / a.tempo_bpm) ** np.linspace(0, 1, steps)
    return [
        piece_of_roll(onset, hold, tempo_bpm=float(tempo), mode=(a if share < 0.5 else b).mode, transpose=a.transpose)
        for onset, hold, tempo, share in zip(onsets, holds, tempi, shares, strict=True)
    ]


def road(
    model: CalmVAE, a: CalmPiece, b: CalmPiece, steps: int, method: Method, *, even: bool, constrain: bool
) -> tuple[Roll, Roll, npt.NDArray[np.float64]]:
    """Onsets and holds ``[steps, steps of a piece, 88]`` of `path`, and the share of ``b`` at each of its points."""
    if not 2 <= steps <= 33:
        raise RequestError("steps", steps, "a whole number from 2 to 33")
    if method not in ("lerp", "slerp"):
        raise RequestError("method", method, "'lerp' or 'slerp'")
    bars = min(a.bars, b.bars)
    ends = latent_of(model, a.first_bars(bars)), latent_of(model, b.first_bars(bars))
    between = lerp if method == "lerp" else slerp

    def decoded(shares: npt.NDArray[np.float64]) -> tuple[Roll, Roll]:
        at = torch.tensor(shares, dtype=torch.float32, device=ends[0].device)[:, None, None]
        allowed = np.stack([scale_mask((a if share < 0.5 else b).mode) for share in shares]) if constrain else None
        return decode_rolls(model, between(ends[0], ends[1], at), allowed)

    shares = np.linspace(0.0, 1.0, steps if not even else max(COARSE, steps))
    onsets, holds = decoded(shares)
    if not even:
        return onsets, holds, shares
    # Where much changes at once, look again more closely.
    length = np.concatenate(([0.0], np.cumsum(distances(onsets, holds))))
    if length[-1] > 0:
        wanted = np.linspace(0.0, length[-1], FINE + 2)[1:-1]
        extra = np.interp(wanted, length + 1e-9 * np.arange(len(length)), shares)
        more = decoded(extra)
        order = np.argsort(np.concatenate([shares, extra]), kind="stable")
        shares = np.concatenate([shares, extra])[order]
        onsets, holds = np.concatenate([onsets, more[0]])[order], np.concatenate([holds, more[1]])[order]
        length = np.concatenate(([0.0], np.cumsum(distances(onsets, holds))))
    chosen = even_points(length, steps)
    return onsets[chosen], holds[chosen], shares[chosen]


def even_points(length: npt.NDArray[np.float64], steps: int) -> npt.NDArray[np.int64]:
    """Places ``[steps]``, rising strictly from first to last, at which the arc length is nearest to even division.

    Args:
        length: arc length up to each point, starting at 0 ``[points]``, at least ``steps`` of them.
    """
    if length[-1] <= 0:
        return np.round(np.linspace(0, len(length) - 1, steps)).astype(np.int64)
    chosen = [0]
    for index in range(1, steps - 1):
        wanted = length[-1] * index / (steps - 1)
        low, high = chosen[-1] + 1, len(length) - (steps - index)  # leave a point for every step that follows
        chosen.append(low + int(np.abs(length[low : high + 1] - wanted).argmin()))
    return np.array([*chosen, len(length) - 1])


def around(model: CalmVAE, piece: CalmPiece, radius: float, seed: int, *, constrain: bool = False) -> CalmPiece:
    """A piece like this one.

    Args:
        radius: 0 gives the piece as the model knows it, 1 moves every latent by its spread among the training pieces.

    Raises:
        RequestError: ``radius`` is not from 0 to 2.
    """
    if not 0 <= radius <= 2:
        raise RequestError("radius", radius, "a number from 0 to 2")
    z = latent_of(model, piece)
    return piece_of_latent(model, z + radius * _drift(model, piece.bars, seed), piece, constrain=constrain)


def sample(
    model: CalmVAE,
    bars: int = 8,
    temperature: float = 0.6,
    seed: int = 0,
    *,
    mode: str | None = None,
    constrain: bool = False,
) -> CalmPiece:
    """A new piece from the aggregated posterior.

    That is a mixture of remembered passages. Two of one mode are drawn, a point between them, and noise around it that
    persists from bar to bar, so that the harmony moves as it does in music; a Gaussian over bars alone wanders.

    Args:
        bars: 4 to 16.
        temperature: scale of the noise, 0 to 2.
        mode: ``major`` or ``minor``; None draws as often as the training pieces do.

    Raises:
        RequestError: ``bars``, ``temperature`` or ``mode`` out of range.
    """
    if not MIN_BARS <= bars <= MAX_BARS:
        raise RequestError("bars", bars, f"a whole number from {MIN_BARS} to {MAX_BARS}")
    if not 0 <= temperature <= 2:
        raise RequestError("temperature", temperature, "a number from 0 to 2")
    if mode not in (None, *TONIC):
        raise RequestError("mode", mode, "'major', 'minor' or none")
    rng, major = np.random.default_rng(seed), model.bank_major.cpu().numpy() > 0.5
    allowed = np.flatnonzero(major == (mode == "major")) if mode else np.arange(len(major))
    first = int(rng.choice(allowed if len(allowed) else np.arange(len(major))))
    others = np.flatnonzero(major == major[first])
    second = int(rng.choice(others[others != first])) if len(others) > 1 else first
    share = float(rng.uniform(0.15, 0.5))
    z = lerp(model.bank[first], model.bank[second], share)
    z = torch.cat([z] * -(-bars // len(z)))[:bars]
    z = z + 0.5 * temperature * _drift(model, bars, int(rng.integers(2**32)))
    return piece_of_latent(model, z, mode="major" if major[first] else "minor", constrain=constrain)


def move(model: CalmVAE, piece: CalmPiece, amounts: Mapping[str, float], *, constrain: bool = False) -> CalmPiece:
    """The piece with attributes moved.

    Args:
        amounts: attribute → standard deviations among the training pieces, -3 to 3; see `ATTRIBUTES`.

    Raises:
        RequestError: an unknown attribute, or an amount out of range.
    """
    z = latent_of(model, piece)
    for name, amount in amounts.items():
        if name not in ATTRIBUTES:
            raise RequestError("attributes", name, f"one of {', '.join(ATTRIBUTES)}")
        if not -MAX_AMOUNT <= amount <= MAX_AMOUNT:
            raise RequestError(name, amount, f"a number from {-MAX_AMOUNT:g} to {MAX_AMOUNT:g}")
        z = z + amount * model.directions[ATTRIBUTES.index(name)]
    return piece_of_latent(model, z, piece, constrain=constrain)


def on_map(model: CalmVAE, pieces: Sequence[CalmPiece]) -> npt.NDArray[np.float64]:
    """Places of pieces on the latent map ``[pieces, 2]``."""
    means = torch.stack([latent_of(model, piece).mean(0) for piece in pieces])
    return _on_axes(model, means)


def bank_on_map(model: CalmVAE) -> npt.NDArray[np.float64]:
    """Places of the remembered training passages on the latent map ``[bank_size, 2]``."""
    return _on_axes(model, model.bank.mean(1))


def _on_axes(model: CalmVAE, means: Tensor) -> npt.NDArray[np.float64]:
    return ((means - model.latent_mean) @ model.map_axes.T).cpu().numpy().astype(np.float64)


def _drift(model: CalmVAE, bars: int, seed: int) -> Tensor:
    """Noise ``[bars, latent_dim]`` of the latents' spread, autoregressive over bars."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((bars, model.config.latent_dim))
    for bar in range(1, bars):
        noise[bar] = PERSISTENCE * noise[bar - 1] + np.sqrt(1 - PERSISTENCE**2) * noise[bar]
    return torch.from_numpy(noise).float().to(device_of(model)) * model.latent_sd
