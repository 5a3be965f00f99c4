"""What Brain would answer to a request, at once: tones for sounds, a warm spot above each ear for a map."""

from __future__ import annotations

import numpy as np

from backend.audio.waveform import Waveform
from backend.contract import Provenance, Result
from backend.instruments.brain.layout import GENRES, LABEL
from backend.instruments.brain.request import BrainRequest

RATE, SECONDS = 24_000, 2.0
SOUNDS = ("original", "reconstruction", "retrieval", "mean_embedding", "random_listener", "true_embedding")
NO_SIGNAL = "No reliable signal: nothing is reconstructed."


def tone(hertz: float) -> Waveform:
    time_s = np.arange(round(SECONDS * RATE)) / RATE
    return Waveform((0.2 * np.sin(2 * np.pi * hertz * time_s)).astype(np.float32)[None], RATE)


def brain_result(request: BrainRequest) -> Result:
    """A listener who hears nothing at ``snr=0``."""
    rng, simulated = np.random.default_rng(int(request.seed)), request.source == "simulated"
    reliable = request.snr != 0
    names = [name for name in SOUNDS if reliable or name == "original"]
    if not request.controls:
        names = names[:3]
    similarity = rng.uniform(-0.5, 0.5, 60).astype(np.float32)
    xyz = np.stack(np.meshgrid(*[np.arange(-40, 41, 8.0)] * 3, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    affine = np.diag([8.0, 8, 8, 1])
    affine[:3, 3] = -40
    surface = np.full((2, 10_242), 0.02, np.float32)
    surface[:, 4000:6000] = 0.5
    arrays = {
        "label": np.array(LABEL if simulated else ""),
        "file_stem": np.array("simulated_brain" if simulated else "brain"),
        "titles": np.array([f"{GENRES[i % 10]} <{i // 10}>" for i in range(60)]), "genres": np.array(GENRES),
        "genre": np.arange(60) % 10, "clip": np.array(int(request.clip)), "surface": surface,
        "surface_significant": surface > 0.1, "voxel_correlation": np.linspace(0, 0.5, len(xyz), dtype=np.float32),
        "voxel_significant": np.arange(len(xyz)) > len(xyz) // 2, "voxel_xyz": xyz,
        "voxel_index": ((xyz + 40) / 8).astype(np.int32), "volume_shape": np.array([11, 11, 11]),
        "volume_affine": affine,
        "region_names": np.array([f"Auditory, left {i}" for i in range(12)]),
        "region_contribution": np.linspace(1, -0.5, 12, dtype=np.float32),
        "region_course": rng.standard_normal((10, 12)).astype(np.float32),
        "region_xyz": np.zeros((12, 3), np.float32), "accuracy": np.array(0.87), "top1": np.array(0.2),
        "p": np.array(1 / 1001 if reliable else 0.4), "null_sd": np.array(0.036), "permutations": np.array(1000),
        "n_test": np.array(60), "rank": np.array(int((similarity >= similarity[int(request.clip)]).sum())),
        "clip_accuracy": np.array(0.9), "similarity": similarity,
        "probe": rng.dirichlet(np.ones(10)).astype(np.float32),
        "time_course": rng.uniform(-1, 1, 10).astype(np.float32), "tr_s": np.array(1.5), "hrf_delay_s": np.array(4.5),
        "quality": np.array(["3 motion spikes in 18 runs were bridged."]), "names": np.array(names),
        "remarks": np.array([] if reliable else [NO_SIGNAL], np.str_), "reliable": np.array(reliable),
    }  # fmt: skip
    if reliable:
        arrays |= {
            "cosine": rng.uniform(0, 1, len(names)).astype(np.float32), "rank_after_generation": np.array(4),
            "retrieved": np.array("jazz 7: a tune"),
        }  # fmt: skip
    made = Provenance("brain", request.to_dict(), int(request.seed), {"brain.stimuli": "ab" * 32}, "cpu", 1.25, "0.1.0")
    return Result(tuple(tone(220.0 + 40 * n) for n, _ in enumerate(names)), arrays, provenance=made)
