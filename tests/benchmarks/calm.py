"""Speed of calm: ``python -m tests.benchmarks.calm`` ends with one JSON object.

Magenta's own model and ours of the same weights interpolate in one process, both warm (`calm_music_vae.measure`); the
bundled model is timed on its nine steps of sixteen bars, and on a whole session from request to limited sound.
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
from backend.instruments.calm import latent
from backend.instruments.calm.instrument import Calm
from backend.instruments.calm.model import CalmVAE
from backend.instruments.calm.pieces import bundled
from backend.instruments.calm.request import CalmRequest
from backend.job import Job, Step
from backend.settings import Settings

ANCHORS = ("lullaby", "first_snow", "nocturne")


def nine_steps(model: CalmVAE, repeats: int) -> dict[str, Any]:
    """Median seconds of a path of nine pieces of sixteen bars, the first one left out; also of processor time."""
    a, b = bundled(ANCHORS[0]), bundled(ANCHORS[2])
    runs = []
    for _ in range(repeats + 1):
        began, cpu = time.perf_counter(), time.process_time()
        pieces = latent.path(model, a, b, 9)
        runs.append((time.perf_counter() - began, time.process_time() - cpu))
    seconds, cpu_seconds = (statistics.median(clock) for clock in zip(*runs[1:], strict=True))
    return {
        "nine_steps_bars": pieces[0].bars,
        "nine_steps_s": round(seconds, 3),
        "nine_steps_cpu_s": round(cpu_seconds, 3),
    }


def session(instrument: Calm, minutes: float) -> dict[str, Any]:
    """Seconds of a session and of the wait for its first preview, what came out, and the most memory ever held."""
    previews: list[float] = []

    def report(step: Step) -> None:
        if step.preview is not None:
            previews.append(time.perf_counter())

    began, cpu = time.perf_counter(), time.process_time()
    result = instrument.generate(CalmRequest(mode="session", anchors=ANCHORS, minutes=minutes), Job(report))
    return {
        "session_minutes": minutes,
        "session_s": round(time.perf_counter() - began, 2),
        "session_cpu_s": round(time.process_time() - cpu, 2),
        "session_first_preview_s": round(previews[0] - began, 2) if previews else None,
        "session_peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "session_notes": len(result.notes[0]),
        **{
            f"session_{name}": round(float(result.arrays[name]), 3)
            for name in ("integrated_lufs", "true_peak_dbtp", "level_jump_lu", "onset_jump_db", "tempo_jump_bpm")
        },
        "session_repeat_share": round(float(result.arrays["repeat_share"]), 4),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="of each timed road after the first")
    parser.add_argument("--minutes", type=float, default=20.0, help="of the session")
    parser.add_argument("--without-magenta", action="store_true", help="leave Magenta out, which takes a minute")
    options = parser.parse_args(arguments)
    set_threads()
    store, device = CheckpointStore(extra=Settings.from_env().checkpoint_dirs), torch.device("cpu")
    instrument = Calm()
    began = time.perf_counter()
    instrument.load(store, device)
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "load_s": round(time.perf_counter() - began, 2)}
    # Before TensorFlow is in the process: the memory is the app's.
    figures |= session(instrument, options.minutes)
    instrument.unload()
    figures |= nine_steps(CalmVAE.from_store(store, device), options.repeats)
    if not options.without_magenta:
        from tests.benchmarks.calm_music_vae import measure

        sys.stderr.write("measuring Magenta's own model\n")
        figures["music_vae"] = measure(repeats=options.repeats)
        figures["speedup_vs_magenta"] = figures["music_vae"]["speedup_vs_magenta"]
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
