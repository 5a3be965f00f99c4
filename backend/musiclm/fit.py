"""One training loop for every model: resumable by wall-clock budget, seeded, validated, with its curve on disk.

The budget is minutes, not steps, because the same command must use two cores, one GPU or several (through
``accelerate launch``) well. A run that is cut off continues where it stopped: weights, optimiser, schedule and clock.
"""

from __future__ import annotations

import csv
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from backend.musiclm.acceleration import find_accelerator, read_ahead

logger = logging.getLogger(__name__)


class Task(Protocol):
    """What `fit` trains: a module whose forward maps a batch to ``(loss, figures)``."""

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """Endless training batches, on the CPU, drawn with ``generator``."""

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """Held-out figures in evaluation mode; the key ``loss`` chooses the checkpoint (lower is better)."""


@dataclass(frozen=True)
class FitConfig:
    """How long and how fast.

    Attributes:
        minutes: total budget over all resumed runs.
        lr: peak learning rate of AdamW; warmed up linearly, then cosine to 5 %.
        precision: ``bf16`` runs matrix products in bfloat16 (CPU with AVX-512 BF16 and CUDA), ``no`` in float32.
        piece_minutes: stop, resumable, after so much of the budget in this run; None for all that is left of it.
        patience: stop early when so many validations in a row did not improve; None never does.
    """

    minutes: float
    lr: float = 1e-3
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.98)
    warmup_steps: int = 100
    clip_norm: float = 1.0
    validate_every_s: float = 120.0
    seed: int = 0
    precision: str = "bf16"
    ema_decay: float = 0.0
    piece_minutes: float | None = None
    patience: int | None = None


def lr_factor(step: int, progress: float, warmup_steps: int) -> float:
    """Linear warm-up by steps, cosine from 1 to .05 by ``progress`` in [0, 1] of the time budget."""
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


class WeightAverage:
    """Exponential moving average of the parameters, which is what is validated and kept."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the module's weights; faster in the first steps. Buffers and integers are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        parameters = {name for name, _ in module.named_parameters()}
        for key, value in module.state_dict().items():
            if key in parameters:
                self.shadow[key].lerp_(value.to(self.shadow[key].dtype), 1 - decay)
            else:
                self.shadow[key].copy_(value)


def fit(
    module: nn.Module,
    task: Task,
    config: FitConfig,
    out: Path,
    *,
    cpu: bool | None = None,
    on_step: Callable[[nn.Module, int, float], None] | None = None,
) -> dict[str, float]:
    """Train ``module`` on ``task`` until the budget is used; returns the best validation figures.

    Writes ``out/state.pt`` (to resume), ``out/best.pt`` (weights of the best validation), ``out/curve.csv`` and
    ``out/curve.png``.

    Args:
        module: its forward takes one batch and returns ``(loss, {name: figure})``.
        cpu: force the CPU; default: the best device ``accelerate`` finds.
        on_step: called before every step with module, step and progress (quantiser warm-up and the like).
    """
    accelerator = find_accelerator(bool(cpu) or not torch.cuda.is_available(), config.precision)
    on_cuda = accelerator.device.type == "cuda"
    out.mkdir(parents=True, exist_ok=True)
    module.to(accelerator.device)  # before its optimiser, which keeps its state where the weights are
    optimizer = torch.optim.AdamW(
        _groups(module, config.weight_decay), lr=config.lr, betas=config.betas, fused=on_cuda or None
    )
    average = WeightAverage(module, config.ema_decay) if config.ema_decay else None
    progress_state = _resume(out / "state.pt", module, optimizer, average)
    generator = torch.Generator().manual_seed(
        config.seed + 1000 * accelerator.process_index + int(progress_state["step"])
    )
    model, opt = accelerator.prepare(module, optimizer)
    raw = accelerator.unwrap_model(model)
    if average is not None:
        average.shadow = {k: v.to(accelerator.device) for k, v in average.shadow.items()}
    budget_s = config.minutes * 60
    stop_s = min(budget_s, progress_state["elapsed_s"] + 60 * (config.piece_minutes or math.inf))
    last, last_validation, running = time.monotonic(), progress_state["elapsed_s"], dict[str, Any]()
    batches = read_ahead(task.batches(generator)) if on_cuda else task.batches(generator)
    while progress_state["elapsed_s"] < stop_s:
        progress, step = progress_state["elapsed_s"] / budget_s, int(progress_state["step"])
        for group in optimizer.param_groups:
            group["lr"] = config.lr * lr_factor(step, progress, config.warmup_steps)
        model.train()
        if on_step is not None:
            on_step(raw, step, progress)
        figures = _train_step(accelerator, model, opt, next(batches), config.clip_norm)
        if average is not None:
            average.update(raw, step)
        for key, value in figures.items():
            running[key] = 0.98 * running.get(key, value) + 0.02 * value  # on the device: to read it is to wait for it
        now = time.monotonic()
        elapsed_s = _agreed(accelerator, progress_state["elapsed_s"] + now - last)
        progress_state["step"], progress_state["elapsed_s"] = step + 1, elapsed_s
        last = now
        done = progress_state["elapsed_s"] >= stop_s
        if done or progress_state["elapsed_s"] - last_validation >= config.validate_every_s:
            last_validation = progress_state["elapsed_s"]
            if accelerator.is_main_process:
                figures_now = _validate(raw, average, task)
                now_running = {k: float(v) for k, v in running.items()}
                _record(out, progress_state, {**now_running, **{f"valid_{k}": v for k, v in figures_now.items()}})
                progress_state["stale"] = progress_state.get("stale", 0) + 1
                if figures_now["loss"] < progress_state["best"]:
                    progress_state |= {"best": figures_now["loss"], "stale": 0}
                    _save(out / "best.pt", {"module": _weights(raw, average), "figures": figures_now})
                shadow = average.shadow if average else None
                state = {"module": raw.state_dict(), "optimizer": optimizer.state_dict()}
                _save(out / "state.pt", {**state, "progress": progress_state, "average": shadow})
            if config.patience is not None and progress_state.get("stale", 0) >= config.patience:
                break
            last = time.monotonic()
    return _best_so_far(out / "best.pt")


def _train_step(accelerator: Any, model: Any, optimizer: Any, batch: Any, clip_norm: float) -> dict[str, Tensor]:
    """One update; its loss and figures."""
    with accelerator.autocast():
        loss, figures = model(_to(batch, accelerator.device))
    optimizer.zero_grad()
    accelerator.backward(loss)
    accelerator.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    named = {"train_loss": loss, **figures}
    return {name: value.detach() if isinstance(value, Tensor) else value for name, value in named.items()}


def _resume(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None
) -> dict[str, float]:
    """Step, seconds and best loss so far; weights, optimiser and average are put back where a run was cut off."""
    if not path.exists():
        return {"step": 0, "elapsed_s": 0.0, "best": math.inf}
    saved = torch.load(path, map_location="cpu", weights_only=False)
    module.load_state_dict(saved["module"])
    optimizer.load_state_dict(saved["optimizer"])
    if average is not None and saved.get("average"):
        average.shadow = saved["average"]
    progress: dict[str, float] = saved["progress"]
    return progress


def _best_so_far(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    figures: dict[str, float] = torch.load(path, map_location="cpu", weights_only=False)["figures"]
    return figures


def _agreed(accelerator: Any, elapsed_s: float) -> float:
    """The first process's clock: one that ended a step earlier than the others would leave them waiting."""
    if accelerator.num_processes == 1:
        return elapsed_s
    from accelerate.utils import broadcast

    return float(broadcast(torch.tensor(elapsed_s, device=accelerator.device, dtype=torch.float64)))


def _groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay matrices only: norms, biases and gains stay free."""
    trainable = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def _to(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {k: _to(v, device) for k, v in batch.items()}
    if isinstance(batch, (list, tuple)):
        return type(batch)(_to(v, device) for v in batch)
    return batch


def _weights(module: nn.Module, average: WeightAverage | None) -> dict[str, Tensor]:
    return module.state_dict() if average is None else average.shadow


@torch.no_grad()
def _validate(module: nn.Module, average: WeightAverage | None, task: Task) -> dict[str, float]:
    module.eval()
    if average is None:
        return dict(task.validate(module))
    own = {k: v.detach().clone() for k, v in module.state_dict().items()}
    module.load_state_dict(average.shadow)
    try:
        return dict(task.validate(module))
    finally:
        module.load_state_dict(own)


def _save(path: Path, state: Mapping[str, Any]) -> None:
    """Write beside, then rename: a run cut off while saving loses nothing."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def _record(out: Path, progress: Mapping[str, float], figures: Mapping[str, float]) -> None:
    row = {"step": int(progress["step"]), "minutes": round(progress["elapsed_s"] / 60, 2)}
    row |= {k: round(v, 5) for k, v in figures.items()}
    logger.info(" ".join(f"{k}={v}" for k, v in row.items()))
    path = out / "curve.csv"
    rows: list[dict[str, Any]] = []
    if path.exists():
        with path.open() as file:
            rows = list(csv.DictReader(file))
    rows.append(row)
    names = list(dict.fromkeys(name for r in rows for name in r))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    _draw(out / "curve.png", rows)


def _draw(path: Path, rows: list[dict[str, Any]]) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:  # a bare machine; the table says the same
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    minutes = [float(r["minutes"]) for r in rows]
    for name, label in (("train_loss", "training"), ("valid_loss", "validation")):
        axes.plot(minutes, [float(r.get(name) or "nan") for r in rows], label=label)
    axes.set(xlabel="minutes", ylabel="loss")
    axes.legend()
    figure.savefig(path, dpi=110)
