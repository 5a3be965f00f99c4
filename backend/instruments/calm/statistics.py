"""What is measured on the training clips once the weights stand: spread of the latents, sliders, map and bank."""

from __future__ import annotations

import logging

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backend.instruments.calm.attributes import ATTRIBUTES, attributes_of_rolls
from backend.instruments.calm.data import Clips
from backend.instruments.calm.latent import decode_rolls
from backend.instruments.calm.model import CalmVAE
from backend.instruments.calm.similarity import note_f1

logger = logging.getLogger(__name__)

MOST_CLIPS, BARS = 1500, 8
RIDGE = 1e-2
FLOORS = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
FACTORS = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5)
SWING = 2.0  # standard deviations either way at which a direction's length is checked
Array = npt.NDArray[np.float64]


def measure(model: CalmVAE, train: Clips, valid: Clips) -> None:
    """Fill the model's buffers: floor and length of directions from validation clips, the rest from training clips."""
    picks = _spread(len(train), MOST_CLIPS)
    rolls = train.rolls(picks)[:, :, :BARS]
    mu = encode_all(model, rolls).astype(np.float64)
    flat = mu.reshape(-1, mu.shape[-1])
    model.latent_mean.copy_(torch.from_numpy(flat.mean(0)))
    model.latent_sd.copy_(torch.from_numpy(flat.std(0)))
    measured = attributes_of_rolls(rolls[:, 0], rolls[:, 1]).reshape(-1, 4)
    moves, spread = directions(flat, measured)
    model.directions.copy_(torch.from_numpy(moves))
    model.attribute_sd.copy_(torch.from_numpy(spread))
    means = mu.mean(1)
    _, _, axes = np.linalg.svd(means - means.mean(0), full_matrices=False)
    model.map_axes[: len(axes[:2])].copy_(torch.from_numpy(axes[:2].copy()))
    _fill_bank(model, train)
    _choose_floor(model, valid)
    _lengthen(model, valid)


def directions(latents: Array, attributes: Array) -> tuple[Array, Array]:
    """What to add to a bar's latent to raise one attribute by a standard deviation and leave the others alone.

    With the ridge regression ``attributes ~ W latents`` and the latents' covariance S, the likeliest change of a latent
    that moves the readings by d is ``S Wᵀ (W S Wᵀ)⁻¹ d``, the mean of a Gaussian given its linear readings: it stays
    where music is, unlike the shortest one, ``Wᵀ (W Wᵀ)⁻¹ d``.

    Args:
        latents: ``[n, latent_dim]``.
        attributes: ``[n, 4]``; rows with NaN are left out.

    Returns:
        Directions ``[4, latent_dim]`` and the attributes' standard deviations ``[4]``.
    """
    known = np.isfinite(attributes).all(1)
    x, y = latents[known] - latents[known].mean(0), attributes[known] - attributes[known].mean(0)
    spread = y.std(0) + 1e-9
    y = y / spread
    covariance = x.T @ x / len(x)
    ridge = RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    reading = np.linalg.solve(covariance + ridge, x.T @ y / len(x)).T
    back = covariance @ reading.T
    return np.linalg.solve(reading @ back + 1e-6 * np.eye(len(reading)), back.T), spread


@torch.inference_mode()
def encode_all(model: CalmVAE, rolls: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Posterior means ``[n, bars, latent_dim]`` of rolls ``[n, 2, bars, 16, 88]``."""
    found: list[Tensor] = []
    for start in range(0, len(rolls), 64):
        found.append(model.encode(torch.from_numpy(rolls[start : start + 64]).float())[0])
    return torch.cat(found).numpy()


def _fill_bank(model: CalmVAE, train: Clips) -> None:
    """Remember the calmest passage of each of the calmest pieces, with as much major as in the training clips."""
    size, bars = model.config.bank_size, model.config.bank_bars
    quota = {True: round(size * float(train.major.mean()))}
    quota[False] = size - quota[True]
    chosen: list[int] = []
    for major, count in quota.items():
        first: dict[str, int] = {}
        for index in np.argsort(-train.calm, kind="stable"):
            if train.major[index] == major and train.bars[index] >= bars:
                first.setdefault(str(train.source[index]), int(index))
        chosen += list(first.values())[:count]
    if not chosen:
        raise ValueError(f"no training passage has {bars} bars")
    picks = np.resize(np.array(chosen), size)  # a small corpus fills the bank by repetition
    model.bank.copy_(torch.from_numpy(encode_all(model, train.rolls(picks)[:, :, :bars])))
    model.bank_major.copy_(torch.from_numpy(train.major[picks].astype(np.float32)))


def _choose_floor(model: CalmVAE, valid: Clips) -> None:
    """The floor with the best F1 of notes that come back."""
    rolls = valid.rolls(_spread(len(valid), 96))[:, :, :BARS]
    z = torch.from_numpy(encode_all(model, rolls))
    scores = []
    for floor in FLOORS:
        model.floor.fill_(floor)
        found, _ = decode_rolls(model, z)
        truth = rolls[:, 0].reshape(found.shape) > 0
        scores.append(float(np.mean([note_f1(a, b) for a, b in zip(found, truth, strict=True)])))
    model.floor.fill_(FLOORS[int(np.argmax(scores))])
    logger.info("floor %.2f, F1 %.3f", float(model.floor), max(scores))


def _lengthen(model: CalmVAE, valid: Clips) -> None:
    """Scale each direction until two standard deviations asked for are two heard.

    What a latent reads as promises more than its decoding does: a note must become likely before it is played.
    """
    z = torch.from_numpy(encode_all(model, valid.rolls(_spread(len(valid), 48))[:, :, :BARS]))
    spread = model.attribute_sd.tolist()
    for index, name in enumerate(ATTRIBUTES):
        direction = model.directions[index].clone()
        heard = []
        for factor in FACTORS:
            moved = [z + sign * factor * SWING * direction for sign in (-1, 1)]
            low, high = (_mean(attributes_of_rolls(*decode_rolls(model, ends))[:, index]) for ends in moved)
            heard.append((high - low) / (2 * SWING * spread[index]))
        best = int(np.argmin(np.nan_to_num(np.abs(np.array(heard) - 1.0), nan=np.inf)))
        model.directions[index] = FACTORS[best] * direction
        logger.info("%s: direction times %.2f, slope %.2f instead of %.2f", name, FACTORS[best], heard[best], heard[0])


def _mean(values: Array) -> float:
    """Of what is not NaN; NaN when all is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _spread(n: int, most: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
