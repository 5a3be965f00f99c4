"""How far music follows what was asked for: between what chance would give and what the real thing reaches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

SHUFFLES = 200
Order = npt.NDArray[np.int64]


def follow_figures(
    hits: Callable[[Order], float], n: int, codec_ceiling: float, rng: np.random.Generator
) -> dict[str, float]:
    """``{hit, chance, codec_ceiling, reached}``; ``reached = (hit - chance) / (codec_ceiling - chance)``.

    Args:
        hits: an order of what was asked → the share of clips in which a judge hears what stands at its place.
        n: clips.
        codec_ceiling: that share for real clips of the same prompts through the codec.
        rng: of the 200 orders that chance is the mean of.
    """
    hit = hits(np.arange(n))
    chance = float(np.mean([hits(rng.permutation(n)) for _ in range(SHUFFLES)]))
    reached = (hit - chance) / max(1e-6, codec_ceiling - chance)
    return {"hit": hit, "chance": chance, "codec_ceiling": codec_ceiling, "reached": reached}
