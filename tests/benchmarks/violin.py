"""What does an adapter cost? ``python -m tests.benchmarks.violin`` ends with one JSON object.

Size; minutes from thirty clips of ten seconds to an adapter; a training step's time and memory against fine-tuning all
weights, in the same run on the same batches; and what an adapter costs while playing, merged and not. The clips are
bowed lines synthesised here; ``--clips DIR`` takes others. Times are of interleaved rounds, each figure the median.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft.tuners.lora.layer import Linear
from torch import nn

from backend.audio.io import write
from backend.checkpoints import CheckpointStore
from backend.engine.devices import set_threads
from backend.instruments.violin.adapter import WEIGHTS, Adapter, base_of
from backend.instruments.violin.lora import LoraSettings, adapter_state, inject
from backend.instruments.violin.objective import AdapterObjective
from backend.instruments.violin.product import LinearWithProduct
from backend.instruments.violin.voicing import Voicing
from backend.job import Job
from backend.musiclm.decode import StageDecoder, conditions
from backend.musiclm.generator import MusicGenerator
from tests.instruments.violin.bowed import bowed

CLIPS, CLIP_S = 30, 10.0
ROUNDS, STEPS = 7, 120
BATCH, EVENTS, FRAMES = 6, 96, 200
NEAR = 1.02  # an adapter is usable when its held-out loss is within 2 % of the best it came to


def playing(models: MusicGenerator) -> Callable[[], None]:
    """Fixed work of a generator: 120 events of the semantic stage with guidance, ten seconds of the acoustic stage."""
    embed = models.embed(["slow baroque prelude"])
    clip = models.generate(
        embed, 10.0, Job(), guidance_scale=3.0, temperature=1.0, generator=torch.Generator().manual_seed(0)
    )
    codes = torch.from_numpy(np.resize(clip.events[0], (STEPS, 5)).astype(np.int64))

    @torch.inference_mode()
    def once() -> None:
        condition, _ = conditions(models.semantic, embed, None, 3.0)
        decoder = StageDecoder(models.semantic, condition)
        decoder.begin()
        for event in codes:
            state = decoder.extend(decoder.embed(event.expand(2, 1, 5)))[:, -1]
            for head in models.semantic.heads:
                head(state)
        models.play(clip.events[0], embed, 10.0)

    return once


def overheads(store: CheckpointStore) -> dict[str, float]:
    """Share of time that an adapter costs on top of the base's; ``_peft`` is peft's own layer."""
    set_threads()  # as many as the app plays with
    device = torch.device("cpu")
    models = {name: MusicGenerator(store, device) for name in ("base", "merged", "unmerged", "unmerged_peft")}
    works = {name: playing(m) for name, m in models.items()}
    for name in ("unmerged", "unmerged_peft"):
        stages = nn.ModuleDict({"semantic": models[name].semantic, "acoustic": models[name].acoustic})
        inject(stages, LoraSettings())
        stages.eval()
    for layer in stages.modules():  # of the last: as peft would play it
        if isinstance(layer, LinearWithProduct):
            layer.forward = partial(Linear.forward, layer)  # type: ignore[method-assign]
    state = {key: torch.randn_like(value) * 0.01 for key, value in adapter_state(stages).items()}
    merged = models["merged"]
    voicing = Voicing({"semantic": merged.semantic, "acoustic": merged.acoustic})
    voicing.add("one", Adapter("one", state, 2.0, base_of(store)))
    voicing.set({"one": 1.0})
    ratios: dict[str, list[float]] = {name: [] for name in works if name != "base"}
    for _ in range(ROUNDS):
        seconds = {name: timed(work) for name, work in works.items()}
        for name in ratios:
            ratios[name].append(seconds[name] / seconds["base"])
    began = time.perf_counter()
    voicing.set({"one": 0.5})
    switch_s = time.perf_counter() - began
    medians = {f"overhead_{name}": statistics.median(values) - 1 for name, values in ratios.items()}
    return medians | {"strength_change_s": switch_s}


def timed(work: Callable[[], None]) -> float:
    """Seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def batch_of(models: MusicGenerator) -> dict[str, Any]:
    """One training batch of the usual size."""
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    embed = nn.functional.normalize(torch.randn(BATCH, 128, generator=generator), dim=-1)
    drop, when = torch.zeros(BATCH, dtype=torch.bool), torch.rand(BATCH, 16, 2, generator=generator) * 4
    what = torch.from_numpy(np.stack([rng.integers(0, n, (BATCH, 16)) for n in (40, 100, 16, 19)], -1))
    codes = torch.randint(0, 90, (BATCH, EVENTS, 5), generator=generator)
    codes[:, 0, 0], codes[:, 1, 0] = 193, 194
    return {
        "semantic": {"codes": codes, "embed": embed, "drop": drop},
        "acoustic": {
            "codes": torch.randint(0, 1024, (BATCH, FRAMES, models.codec.n_quantizers), generator=generator),
            "when": when, "what": what, "sound": torch.zeros(BATCH, dtype=torch.long), "embed": embed, "drop": drop,
        },
    }  # fmt: skip


def step(kind: str) -> dict[str, float]:
    """Seconds and memory (above the loaded models) of a step of ``lora`` or of ``full`` fine-tuning."""
    models = MusicGenerator(CheckpointStore(), torch.device("cpu"))
    objective = AdapterObjective(models, LoraSettings())
    if kind == "full":
        for name, parameter in objective.named_parameters():
            parameter.requires_grad_("lora_" not in name)
    optimizer = torch.optim.AdamW([p for p in objective.parameters() if p.requires_grad], lr=1e-6)
    batch, seconds = batch_of(models), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(ROUNDS):
        began = time.perf_counter()
        loss, _ = objective(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    trained = sum(p.numel() for p in objective.parameters() if p.requires_grad)
    return {"seconds": statistics.median(seconds), "megabytes": (peak - before) / 1024, "trained": trained}


def adapter_from_clips(clips: Path | None, minutes: float) -> dict[str, Any]:
    """Train on thirty clips and say how long it took from the files to an adapter."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if clips is None:
            clips = root / "clips"
            clips.mkdir()
            for i in range(CLIPS):
                write(bowed(i, CLIP_S)[0], clips / f"line-{i:02d}.wav", "wav")
        began = time.perf_counter()
        command = [
            sys.executable, "-m", "backend.instruments.violin.train", "--clips", str(clips), "--out", str(root / "out"),
            "--minutes", str(minutes),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr[-2000:])
        whole = (time.perf_counter() - began) / 60
        rows = [line.split(",") for line in (root / "out" / "curve.csv").read_text().splitlines()]
        names = rows[0]
        curve = [(float(r[names.index("minutes")]), float(r[names.index("valid_loss")])) for r in rows[1:]]
        best = min(loss for _, loss in curve)
        usable = next(minute for minute, loss in curve if loss <= NEAR * best)
        status = json.loads((root / "out" / "status.json").read_text())
        size = (root / "out" / "adapter" / WEIGHTS).stat().st_size / 1e6
    return {
        "adapter_mb": size, "minutes_to_usable_adapter": whole - curve[-1][0] + usable, "minutes_in_all": whole,
        "preparation_minutes": whole - curve[-1][0], "held_out_loss": {"base": status["base_loss"], "adapter": best},
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=Path, help="folder of thirty clips of ten seconds")
    parser.add_argument("--minutes", type=float, default=10.0, help="budget of the training")
    parser.add_argument("--step", choices=["lora", "full"])
    options = parser.parse_args(arguments)
    if options.step:
        print(json.dumps(step(options.step)))
        return 0
    steps = {}
    for kind in ("lora", "full"):
        command = [sys.executable, "-m", "tests.benchmarks.violin", "--step", kind]
        steps[kind] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"{kind}: {steps[kind]}", file=sys.stderr)
    figures: dict[str, Any] = overheads(CheckpointStore())
    print(figures, file=sys.stderr)
    figures |= {
        "step_time_vs_full_finetuning": steps["lora"]["seconds"] / steps["full"]["seconds"],
        "step_memory_vs_full_finetuning": steps["lora"]["megabytes"] / steps["full"]["megabytes"],
        "step": steps,
    }
    figures |= adapter_from_clips(options.clips, options.minutes)
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
