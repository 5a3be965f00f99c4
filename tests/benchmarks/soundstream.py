"""What a training step of audiolm-pytorch's SoundStream costs: ``python -m tests.benchmarks.soundstream`` prints JSON.

Two clips of one second, all discriminators on, as the package trains it; the model card quotes it beside the default
codec's steps a second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import torch

from backend.musiclm.soundstream import BASE, SoundStreamCodec


def measure(steps: int = 2, n_clips: int = 2, seconds: float = 1.0) -> dict[str, Any]:
    """Median wall-clock and processor seconds a step, after one that initialises the codebooks."""
    codec = SoundStreamCodec(BASE)
    optimizer = torch.optim.AdamW(codec.generator_parameters(), 2e-4)
    judge = torch.optim.AdamW(codec.discriminator_parameters(), 2e-4)
    audio = 0.1 * torch.randn(n_clips, round(seconds * BASE.sample_rate), generator=torch.Generator().manual_seed(0))
    costs: list[tuple[float, float]] = []
    for _ in range(steps + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        codec.train_step(audio, optimizer, judge)
        costs.append((time.perf_counter() - wall, time.process_time() - cpu))
    walls, cpus = zip(*costs[1:], strict=True)
    return {
        "clips": n_clips,
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "codec_parameters": sum(p.numel() for p in codec.generator_parameters()),
        "discriminator_parameters": sum(p.numel() for p in codec.discriminator_parameters()),
        "seconds_a_step": round(statistics.median(walls), 2),
        "cpu_seconds_a_step": round(statistics.median(cpus), 2),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2)
    print(json.dumps(measure(parser.parse_args().steps)))


if __name__ == "__main__":
    main()
