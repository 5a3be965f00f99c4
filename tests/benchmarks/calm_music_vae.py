"""How much faster our MusicVAE walks from one piece to another than Magenta's own on TensorFlow.

``python -m tests.benchmarks.calm_music_vae`` prints one JSON object. Both sides interpolate the same two pieces in nine
steps, from notes to notes, in this process, with the same weights and on the same cores: Magenta's ``TrainedModel`` has
random weights and saves them, ours imports what it saved. Magenta decodes the nine steps in one batch, which is its
fastest way. Both are warm, they take turns, and medians count.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from backend.audio.midi import Notes, to_sequence
from backend.instruments.calm.music_vae.config import HIERDEC_MEL_16BAR, MusicVaeConfig
from backend.instruments.calm.music_vae.import_checkpoint import read_checkpoint
from backend.instruments.calm.music_vae.model import MusicVae
from backend.instruments.calm.music_vae.sampling import interpolate
from backend.instruments.calm.music_vae.sequences import Labels, only_window, to_notes

TEMPERATURE = 0.5


def peer(config: MusicVaeConfig, batch_size: int, folder: Path) -> tuple[Any, Path]:
    """Magenta's ``TrainedModel`` with the random weights it starts training from, and where it saved them."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    tf.get_logger().setLevel("ERROR")
    from magenta.models.music_vae import configs
    from magenta.models.music_vae.trained_model import TrainedModel

    def restore(saver: Any, session: Any, path: str) -> None:
        session.run(tf.global_variables_initializer())

    theirs = copy.deepcopy(configs.CONFIG_MAP[config.name])
    with mock.patch.object(tf.train.Saver, "restore", restore):  # there is nothing to restore yet
        model = TrainedModel(theirs, batch_size, str(folder / "none"))
    with model._sess.graph.as_default():
        saved = tf.train.Saver().save(model._sess, str(folder / "model.ckpt"))
    return model, Path(saved)


def random_melody(config: MusicVaeConfig, seed: int) -> Labels:
    """A walk in eighths over the middle of the keyboard, from the first step to the last."""
    pitches = 41 + np.cumsum(np.random.default_rng(seed).integers(-2, 3, config.steps // 2))
    labels = np.zeros((config.steps, 1), dtype=np.int64)
    labels[::2, 0] = pitches.clip(20, 70)
    return labels


def cost(run: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and processor seconds of one run; the second is what counts where other programs take the cores."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(config: MusicVaeConfig = HIERDEC_MEL_16BAR, n_steps: int = 9, repeats: int = 3) -> dict[str, Any]:
    """Time both on random weights.

    Args:
        config: one of Magenta's; melody only.
        n_steps: pieces on the road, the two ends included.
        repeats: runs of each after the first.

    Returns:
        ``speedup_vs_magenta`` in wall-clock time, with the seconds behind it.
    """
    with tempfile.TemporaryDirectory() as folder:
        theirs, saved = peer(config, n_steps, Path(folder))
        state = read_checkpoint(saved, config)
    with torch.device("meta"):
        ours = MusicVae(config)
    ours.load_state_dict(state, assign=True)
    pieces = [to_sequence(to_notes(random_melody(config, seed), config)) for seed in range(2)]
    generator = torch.Generator().manual_seed(0)

    def walk_theirs() -> Any:
        return theirs.interpolate(*pieces, n_steps, length=config.steps, temperature=TEMPERATURE)

    def walk_ours() -> list[Notes]:
        ends = [only_window(piece, config) for piece in pieces]
        road = interpolate(ours, *ends, n_steps, temperature=TEMPERATURE, generator=generator)
        return [to_notes(labels, config) for labels in road]

    walk_theirs(), walk_ours()
    runs = [(cost(walk_theirs), cost(walk_ours)) for _ in range(repeats)]
    (magenta_s, magenta_cpu_s), (ours_s, ours_cpu_s) = (
        tuple(statistics.median(run[side][clock] for run in runs) for clock in range(2)) for side in range(2)
    )
    return {
        "config": config.name,
        "parameters": sum(tensor.numel() for tensor in state.values()),
        "interpolation_steps": n_steps,
        "threads": torch.get_num_threads(),
        "magenta_s": round(magenta_s, 3),
        "ours_s": round(ours_s, 3),
        "magenta_cpu_s": round(magenta_cpu_s, 3),
        "ours_cpu_s": round(ours_cpu_s, 3),
        "speedup_in_cpu_time": round(magenta_cpu_s / ours_cpu_s, 2),
        "speedup_vs_magenta": round(magenta_s / ours_s, 2),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0 leaves its choice")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    print(json.dumps(measure(repeats=options.repeats)), file=sys.stdout)


if __name__ == "__main__":
    main()
