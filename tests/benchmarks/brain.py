"""How fast is brain? ``python -m tests.benchmarks.brain`` ends with one JSON object.

Ridge at the size of one subject's clips (480 × 20,000 × 128 targets × 13 penalties × 5 folds) beside himalaya and
scikit-learn on the same arrays, each in a process of its own, in turn, three rounds of which each one's best counts, so
that a busy minute falls on all of them; at the size of single volumes (4,800 × 60,000); loading
and masking one run of ds003720's size; drawing the cortex. himalaya is a peer only: ``uv pip install --target DIR
--no-deps himalaya`` and ``--peers DIR``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES, VOXELS, TARGETS, FOLDS = 480, 20_000, 128, 5
ALPHAS = np.logspace(0, 6, 13)
LARGE = (4_800, 60_000)
REPEATS = 3
ROUNDS = 3


def data(samples: int, voxels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Voxels that follow forty mixtures of the targets, and as many again to score on."""
    rng = np.random.default_rng(0)
    held = min(samples, 480)
    y = rng.standard_normal((samples + held, TARGETS), dtype=np.float32)
    mixing = rng.standard_normal((TARGETS, 40), dtype=np.float32) @ rng.standard_normal((40, voxels), dtype=np.float32)
    x = rng.standard_normal((samples + held, voxels), dtype=np.float32) * 60
    for start in range(0, len(x), 480):
        x[start : start + 480] += y[start : start + 480] @ mixing
    return x[:samples], y[:samples], x[samples:], y[samples:]


def r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over targets."""
    return float(np.mean(1 - ((true - predicted) ** 2).sum(0) / ((true - true.mean(0)) ** 2).sum(0)))


def ours(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """This project's."""
    from backend.instruments.brain.ridge import Ridge, folds

    return Ridge(ALPHAS.tolist()).fit(x, y, folds(len(x), FOLDS)).predict(new)


def himalaya(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """himalaya's, through the kernel as its guide advises for more voxels than samples."""
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.model_selection import KFold

    mean_x, mean_y = x.mean(0), y.mean(0)
    model = KernelRidgeCV(alphas=ALPHAS, cv=KFold(FOLDS)).fit(x - mean_x, y - mean_y)
    return np.asarray(model.predict(new - mean_x) + mean_y)


def sklearn(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """scikit-learn's, by leave-one-out, which is what it does per target."""
    from sklearn.linear_model import RidgeCV

    return np.asarray(RidgeCV(alphas=ALPHAS, alpha_per_target=True).fit(x, y).predict(new))


SOLVERS = {"ours": ours, "himalaya": himalaya, "sklearn": sklearn}


def solve(name: str) -> dict[str, float]:
    """Seconds and held-out score of one solver, best of three after a warm-up."""
    x, y, new, true = data(SAMPLES, VOXELS)
    SOLVERS[name](x[:60], y[:60], new[:2])
    seconds, predicted = [], true
    for _ in range(REPEATS):
        began = time.perf_counter()
        predicted = SOLVERS[name](x, y, new)
        seconds.append(time.perf_counter() - began)
    return {"seconds": min(seconds), "r2": r2(true, predicted)}


def large() -> dict[str, float]:
    """4,800 windows of 480 clips and 60,000 voxels, ten windows to a group."""
    from backend.instruments.brain.ridge import Ridge

    x, y, _, _ = data(*LARGE)
    began = time.perf_counter()
    Ridge(ALPHAS.tolist()).fit(x, y, np.arange(LARGE[0]) // (LARGE[0] // FOLDS))
    return {"seconds": time.perf_counter() - began, "peak_gb": peak_gb()}


def load_run() -> dict[str, float]:
    """One run of 96 × 96 × 68 × 410 int16, gzipped, written here and then read and masked."""
    import gzip

    import nibabel

    from backend.instruments.brain.scan import cortex_mask, inspect, read_masked
    from backend.instruments.brain.space import cortex_vertices

    shape, rng = (96, 96, 68, 410), np.random.default_rng(0)
    affine = np.array([[2.0, 0, 0, -95], [0, 2, 0, -115], [0, 0, 2, -60], [0, 0, 0, 1]])
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(np.int16)
    header.set_zooms((2, 2, 2, 1.5))
    header.set_sform(affine, 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    centre = (np.indices(shape[:3]).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]) - cortex_vertices().mean(0)
    inside = ((centre / np.array([72, 92, 66])) ** 2).sum(1) < 1
    inside = inside.reshape(shape[:3]).ravel(order="F")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sub-001_task-Training_run-01_bold.nii.gz")
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(bytes(header.binaryblock) + bytes(4))
            for _ in range(shape[3]):
                volume = rng.integers(0, 40, inside.size, dtype=np.int16)
                volume[inside] += 800
                file.write(volume.tobytes())
        before = peak_gb()
        began = time.perf_counter()
        scan = inspect(path)
        space = cortex_mask(scan)
        masked = read_masked(scan, space)
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "peak_gb": peak_gb(), "peak_gb_before": before, "voxels": float(masked.shape[1])}


def figure() -> dict[str, float]:
    """Both hemispheres with a map, as JSON for the page."""
    from backend.instruments.brain.figure import cortex

    surface = np.random.default_rng(0).random((2, 10_242)).astype(np.float32)
    cortex(surface)  # the mesh is read once a process
    began = time.perf_counter()
    text = cortex(surface).to_json()
    return {"seconds": time.perf_counter() - began, "megabytes": len(text) / 1e6}


def peak_gb() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


PARTS = {**{name: None for name in SOLVERS}, "large": large, "load_run": load_run, "figure": figure}


def apart(part: str, peers: Path | None) -> dict[str, Any] | None:
    """A part in a process of its own, so that peaks of memory do not mix; None where a peer is not installed."""
    environment = dict(os.environ)
    if peers is not None:
        environment["PYTHONPATH"] = f"{peers}{os.pathsep}{environment.get('PYTHONPATH', '')}"
    command = [sys.executable, "-m", "tests.benchmarks.brain", "--part", part]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(f"{part}: {done.stdout.strip() or done.stderr.strip()[-200:]}", file=sys.stderr)
    if done.returncode:
        return None
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def in_turn(names: Sequence[str], peers: Path | None) -> dict[str, dict[str, Any] | None]:
    """The solvers one after another, and again; the best time of each."""
    best: dict[str, dict[str, Any] | None] = dict.fromkeys(names)
    for _ in range(ROUNDS):
        for name in names:
            found, so_far = apart(name, peers), best[name]
            if found and (so_far is None or found["seconds"] < so_far["seconds"]):
                best[name] = found
    return best


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="folder that himalaya was installed to")
    parser.add_argument("--part", choices=list(PARTS))
    parser.add_argument("--skip", nargs="*", default=[], choices=list(PARTS), help="parts to leave out")
    options = parser.parse_args(arguments)
    if options.part:
        part = PARTS[options.part]
        print(json.dumps(solve(options.part) if part is None else part()))
        return 0
    ridge = in_turn([name for name in SOLVERS if name not in options.skip], options.peers)
    others = [name for name in PARTS if name not in SOLVERS and name not in options.skip]
    found = {name: apart(name, options.peers) for name in others}
    peers = [value["seconds"] for name, value in ridge.items() if name != "ours" and value]
    mine = ridge.get("ours")
    figures = {
        "ridge": ridge,
        "speedup_vs_best_peer": min(peers) / mine["seconds"] if peers and mine else None,
        "ridge_4800_60000": found.get("large"), "load_run": found.get("load_run"), "figure": found.get("figure"),
        "cores": os.cpu_count(),
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
