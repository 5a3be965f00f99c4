"""Speed of the constant-Q transform: ``python -m tests.benchmarks.neurons_cqt`` ends with one JSON object.

Peer: nnAudio (``uv pip install --no-deps nnAudio``; only benchmarks use it) with the same filters, surroundings and
frames, in the same process, forward and backward to the sound, the two taking turns. ``CQT1992v2`` is what it calls
CQT; ``CQT2010v2`` halves the rate for each octave. Without nnAudio its figures are null. The largest difference of
magnitudes between the two, in shares of the loudest, says that both compute the same thing; librosa's stands beside.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import librosa
import numpy as np
import torch
from torch import Tensor

from backend.engine.devices import set_threads
from backend.instruments.neurons.cqt import BASE, LIGHT, ConstantQ, CqtConfig
from backend.instruments.neurons.loops import Meter, make_loop

Transform = Callable[[Tensor], Tensor]


def peers(config: CqtConfig) -> dict[str, Transform]:
    """nnAudio's transforms as power ``[batch, bins, frames]``, by name; empty where it is not installed."""
    try:
        from nnAudio import features  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        sys.stderr.write("nnAudio is not installed\n")
        return {}
    settings = {
        "sr": config.sample_rate,
        "hop_length": config.hop,
        "fmin": config.f_min,
        "n_bins": config.bins,
        "bins_per_octave": config.bins_per_octave,
        # Its Q is 1 / (2^(1/b) - 1), librosa's since 0.10 and ours is 1.4 % larger.
        "filter_scale": config.q * (2 ** (1 / config.bins_per_octave) - 1),
        "pad_mode": "constant",
        "output_format": "Complex",
        "verbose": False,
    }
    found: dict[str, Transform] = {}
    for name in ("CQT1992v2", "CQT2010v2"):
        octaves = -(-config.bins // config.bins_per_octave)
        if name == "CQT2010v2" and config.hop % 2 ** (octaves - 1):
            continue  # it cannot halve such a hop
        transform = getattr(features, name)(**settings)
        found[name] = lambda sound, transform=transform: transform(sound).square().sum(-1)
    return found


def seconds_of(transform: Transform, sound: Tensor) -> float:
    """Seconds of power forward and its sum backward to the sound."""
    sound = sound.clone().requires_grad_()
    began = time.perf_counter()
    transform(sound).sum().backward()
    return time.perf_counter() - began


def measure(config: CqtConfig, repeats: int) -> dict[str, Any]:
    """Milliseconds of all transforms on a loop of four seconds, ratios, and differences."""
    loop = torch.from_numpy(make_loop("arpeggio", Meter(), config.sample_rate).samples[:1])
    ours = ConstantQ(config)
    transforms: dict[str, Transform] = {"ours": lambda x: torch.view_as_real(ours(x)).square().sum(-1), **peers(config)}
    taken: dict[str, list[float]] = {name: [] for name in transforms}
    for _ in range(repeats + 1):
        for name, transform in transforms.items():
            taken[name].append(seconds_of(transform, loop))
    median = {name: statistics.median(values[1:]) for name, values in taken.items()}
    figures: dict[str, Any] = {"ours_ms": round(1e3 * median["ours"], 2)}
    with torch.no_grad():
        magnitudes = {name: transform(loop)[0].sqrt().numpy() for name, transform in transforms.items()}
    lengths = config.q * config.sample_rate / config.frequencies  # both scale by their root and halve a sine
    found = magnitudes["ours"] / 2 * np.sqrt(lengths)[:, None]
    for name in list(transforms)[1:]:
        figures |= {
            f"{name}_ms": round(1e3 * median[name], 2),
            f"speedup_vs_{name}": round(median[name] / median["ours"], 2),
            f"difference_vs_{name}": _difference(found, magnitudes[name]),
        }
    reference = librosa.cqt(
        loop[0].numpy(), sr=config.sample_rate, hop_length=config.hop, fmin=config.f_min, n_bins=config.bins,
        bins_per_octave=config.bins_per_octave, tuning=0.0, sparsity=0.0,
    )  # fmt: skip
    return figures | {"difference_vs_librosa": _difference(found, np.abs(reference))}


def _difference(found: Any, reference: Any) -> float:
    """Largest difference in shares of the loudest coefficient."""
    return round(float(np.abs(found - reference).max() / reference.max()), 4)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args(arguments)
    set_threads()
    figures = {name: measure(config, options.repeats) for name, config in (("base", BASE), ("light", LIGHT))}
    speedups = [config.get("speedup_vs_CQT1992v2") for config in figures.values()]
    headline = None if None in speedups else min(speedups)  # of the two configurations, the smaller
    print(json.dumps({"threads": torch.get_num_threads(), "cqt_speedup_vs_nnaudio": headline, **figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
