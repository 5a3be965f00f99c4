"""Speed of text to music: ``python -m tests.benchmarks.text_to_music`` ends with one JSON object.

The bundled default is timed as the page calls it (guidance on, loaded, median of three); the static-cache decoder of
the package's stages against audiolm-pytorch's own ``generate`` on the same weights in the same process.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from backend.checkpoints import CheckpointStore
from backend.engine.devices import set_threads
from backend.instruments.text_to_music.instrument import TextToMusic
from backend.instruments.text_to_music.request import TextToMusicRequest
from backend.job import Job, Step
from backend.settings import Settings

PROMPT = "slow, sad violin over soft piano, minor key, 70 bpm"


def timed(instrument: TextToMusic, variations: int, repeats: int, duration_s: float = 10.0) -> tuple[float, float]:
    """Median seconds of a request and of the wait for its first progress."""
    totals, firsts = [], []
    for repeat in range(repeats):
        seen: list[float] = []

        def report(step: Step, seen: list[float] = seen) -> None:
            seen.append(time.perf_counter())

        request = TextToMusicRequest(prompt=PROMPT, duration_s=duration_s, variations=variations, seed=repeat)
        began = time.perf_counter()
        instrument.generate(request, Job(report))
        totals.append(time.perf_counter() - began)
        firsts.append(seen[1] - began)  # the first report is made before any work
    return statistics.median(totals), statistics.median(firsts)


def bundled(device: torch.device, repeats: int) -> dict[str, Any]:
    """Figures of the bundled default on one device."""
    instrument = TextToMusic()
    began = time.perf_counter()
    instrument.load(CheckpointStore(extra=Settings.from_env().checkpoint_dirs), device)
    load_s = time.perf_counter() - began
    timed(instrument, 1, 1, 4.0)  # warm up
    one, first = timed(instrument, 1, repeats)
    four, _ = timed(instrument, 4, max(1, repeats - 1))
    return {
        "load_s": round(load_s, 2),
        "compute_seconds_per_audio_second": round(one / 10, 3),
        "compute_seconds_per_audio_second_four_variations": round(four / 10, 3),
        "first_progress_s": round(first, 3),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--package-seconds", type=float, default=10.0, help="0 leaves the package out")
    options = parser.parse_args(arguments)
    set_threads()
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), **bundled(torch.device("cpu"), options.repeats)}
    if torch.cuda.is_available():
        figures["cuda"] = bundled(torch.device("cuda"), options.repeats)
    if options.package_seconds:
        from tests.benchmarks.package_decode import measure

        sys.stderr.write("measuring audiolm-pytorch's own generate, which takes minutes\n")
        figures["package"] = measure(options.package_seconds)
        figures["speedup_vs_audiolm_pytorch"] = figures["package"]["speedup_vs_audiolm_pytorch"]
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
