"""Speed of genre transfer: ``python -m tests.benchmarks.genre_transfer`` ends with one JSON object.

Ten seconds of stereo through both methods, a minute through Studio, and an iteration of refinement beside an iteration
of the plain PyTorch transfer of Ulyanov and Lebedev (4,096 filters of 1 × 11, `random_conv`) on the same ten seconds in
the same run. Lil Data's widths decide the time of Classic, its weights do not: where it is not bundled, random ones
serve.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.engine.devices import set_threads
from backend.errors import CheckpointError
from backend.instruments.genre_transfer import classic, random_conv, studio
from backend.instruments.genre_transfer.lil_data import BASE, LilData, load_lil_data
from backend.instruments.genre_transfer.produce import produce
from backend.instruments.genre_transfer.refine import Goal, Mixer, refine
from backend.instruments.genre_transfer.separation import separate
from backend.instruments.genre_transfer.terms import Listening
from backend.settings import Settings

CONTENT, STYLE = ("lofi", 41_001), ("house", 41_002)


def clip(chosen: tuple[str, int], seconds: float) -> Waveform:
    """Of a track nothing was trained on."""
    return produce(*chosen, split="test", duration_s=seconds).waveform


def seconds_of(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock and of processor time."""
    began, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - cpu


def run_studio(content: Waveform, style: Waveform) -> Waveform:
    """Defaults, nothing reported."""
    return studio.transfer(content, style, studio.Controls(), 0, lambda share, message, sound: None)


def refinement(content: Waveform, style: Waveform, iterations: int) -> float:
    """Iterations a second of refinement: three layers, all four terms."""
    parts = separate(content)
    mixer = Mixer([parts.harmonic, parts.percussive, parts.residual], content.sample_rate)
    listening = Listening(content.sample_rate, torch.Generator().manual_seed(0))
    heard = [listening.statistics(torch.from_numpy(one.mono().samples[0])) for one in (style, content)]
    goal = Goal(heard[0], heard[1], heard[1], {"timbre": 1.0, "rhythm": 0.4, "envelope": 0.6, "content": 0.5})
    refine(mixer, listening, goal, 1)
    seconds, _ = seconds_of(lambda: refine(mixer, listening, goal, iterations))
    return iterations / seconds


def ulyanov(content: Waveform, style: Waveform, iterations: int) -> float:
    """Iterations a second of the peer, start and Griffin-Lim left out."""
    times = list[float]()
    random_conv.transfer(content, style, 0, iterations + 1, lambda n, frames: times.append(time.perf_counter()))
    return (len(times) - 1) / (times[-1] - times[0])


def lil_data() -> LilData:
    """The bundled net, or one as wide."""
    try:
        return load_lil_data(CheckpointStore(extra=Settings.from_env().checkpoint_dirs))
    except CheckpointError:
        return LilData(BASE).eval().requires_grad_(False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=10, help="of each side of the ratio")
    options = parser.parse_args(arguments)
    set_threads()
    content, style = clip(CONTENT, 10.0), clip(STYLE, 10.0)
    run_studio(clip(CONTENT, 2.0), clip(STYLE, 2.0))  # filters, plans
    short, short_cpu = seconds_of(lambda: run_studio(content, style))
    long, _ = seconds_of(lambda: run_studio(clip(CONTENT, 60.0), style))
    # before the peer, whose filters alone are 185 MB: the memory is the app's
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    net = lil_data()
    seed, _ = seconds_of(lambda: classic.transfer(content, style, net.activations, classic.LIL_DATA, 100))
    ours, theirs = refinement(content, style, options.iterations), ulyanov(content, style, options.iterations)
    figures: dict[str, Any] = {
        "threads": torch.get_num_threads(),
        "studio_seconds_10s": round(short, 2),
        "studio_cpu_seconds_10s": round(short_cpu, 2),
        "seconds_60s": round(long, 2),
        "seconds_60s_over_6_times_10s": round(long / (6 * short), 3),
        "classic_seconds_100": round(seed, 2),
        "iterations_per_second": round(ours, 2),
        "iterations_per_second_ulyanov": round(theirs, 2),
        "speedup_vs_ulyanov": round(ours / theirs, 2),
        "rss_mb": round(rss_mb),
    }
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
