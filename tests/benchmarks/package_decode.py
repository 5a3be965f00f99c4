"""How much faster the static-cache decoder samples than audiolm-pytorch's own ``generate``.

``python -m tests.benchmarks.package_decode`` prints one JSON object. Both sides run in this process, on the same
weights, condition, lengths, guidance and threads: one semantic sequence that fills the clip's event slots (both sides
sample freely, without the grammar that would let ours end early), one coarse sequence over the whole clip, and the fine
stage on windows in one batch (over the whole clip at once the package's own fine stage needs hours).

Ours samples the whole clip. The package needs a quarter of an hour for ten seconds on a free core, so by default its
``generate`` is primed up to five places of the sequence, the tokens it samples there are timed, and Simpson's rule
gives the whole; ``--full`` lets it sample every token.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from scipy.integrate import simpson
from torch import Tensor, nn

from backend.job import Job, Step
from backend.musiclm.package import (
    CoarseTransformerWrapper,
    FineTransformerWrapper,
    SemanticTransformerWrapper,
    SoundStream,
)
from backend.musiclm.package_decode import PackageDecoder
from backend.musiclm.package_sample import StageSampling, sample
from backend.musiclm.package_stages import BASE, STAGES, PackageConfig, Stage, build_stage, flatten_semantic

GUIDANCE = 3.0
FILTER = 0.9  # the package's default: a tenth of the codes is kept
TENTH_OF_EVENT_CODES = 26
PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
TIMED_STEPS = 3  # at each place, after the one that fills the cache


@dataclass(frozen=True)
class Cost:
    """Wall-clock and processor seconds; the second is what counts where other programs take the cores."""

    wall_s: float
    cpu_s: float


def _now() -> Cost:
    return Cost(time.perf_counter(), time.process_time())


def _between(begun: Cost, ended: Cost) -> Cost:
    return Cost(ended.wall_s - begun.wall_s, ended.cpu_s - begun.cpu_s)


class _Enough(Exception):
    """Raised inside ``generate`` when enough steps were timed."""


class Peer:
    """The package's three ``generate`` as shipped (key/value cache on), on tokens drawn once.

    Args:
        modules: the stages.
        config: their sizes.
        seconds: length of the clip.
        seed: of the tokens.
    """

    def __init__(self, modules: dict[Stage, Any], config: PackageConfig, seconds: float, seed: int) -> None:
        self._modules, self._generator = modules, torch.Generator().manual_seed(seed)
        self._cond = torch.randn(1, 1, config.cond_dim, generator=self._generator)
        n_semantic = config.semantic_frames(seconds)
        n_frames = config.codec_frames(seconds)
        width = min(n_frames, round(config.fine_window_s * config.frame_rate))
        n_windows = -(-n_frames // width)
        self.codebooks = {"semantic": config.semantic_quantizers, "coarse": config.n_coarse, "fine": config.n_fine}
        self.frames = {"semantic": n_semantic, "coarse": n_frames, "fine": width}
        self._rows = {"semantic": 1, "coarse": 1, "fine": n_windows}
        self._size = {"semantic": config.semantic_codebook_size}
        given = config.semantic_frames(max(seconds, config.coarse_window_s))  # ours pads a shorter clip to its window
        codes = self._tokens("semantic", given, 1, config.semantic_quantizers)
        self._semantic = flatten_semantic(codes, config.semantic_codebook_size)
        self._size |= {"coarse": config.codebook_size, "fine": config.codebook_size}
        self._coarse = self._tokens("coarse", width, n_windows, config.n_coarse)
        # the wrappers read only the number of quantizers from the codec
        codec = SoundStream(
            channels=2, codebook_dim=8, codebook_size=16, rq_num_quantizers=config.n_quantizers, attn_heads=1
        )
        self._semantic_wrapper = SemanticTransformerWrapper(transformer=modules["semantic"], unique_consecutive=False)
        self._coarse_wrapper = CoarseTransformerWrapper(
            transformer=modules["coarse"], codec=codec, unique_consecutive=False
        )
        self._fine_wrapper = FineTransformerWrapper(transformer=modules["fine"], codec=codec)

    def _tokens(self, stage: str, frames: int, rows: int, codebooks: int) -> Tensor:
        return torch.randint(self._size[stage], (rows, frames, codebooks), generator=self._generator)

    def generate(self, stage: Stage, primed: int = 0) -> None:
        """Sample the stage after ``primed`` frames of random tokens."""
        common: dict[str, Any] = {"cond_scale": GUIDANCE, "filter_thres": FILTER}
        prime = self._tokens(stage, primed, self._rows[stage], self.codebooks[stage]).flatten(1) if primed else None
        if stage == "semantic":
            length = self.frames[stage] * self.codebooks[stage]
            self._semantic_wrapper.generate(max_length=length, text_embeds=self._cond, prime_ids=prime, **common)
        elif stage == "coarse":
            self._coarse_wrapper.generate(
                semantic_token_ids=self._semantic,
                max_time_steps=self.frames[stage] - primed,
                text_embeds=self._cond,
                prime_coarse_token_ids=prime,
                **common,
            )
        else:
            cond = self._cond.expand(self._rows[stage], -1, -1)
            self._fine_wrapper.generate(
                coarse_token_ids=self._coarse, text_embeds=cond, prime_fine_token_ids=prime, **common
            )

    def full_cost(self, stage: Stage) -> Cost:
        """Every token sampled."""
        begun = _now()
        self.generate(stage)
        return _between(begun, _now())

    def sampled_cost(self, stage: Stage) -> Cost:
        """The whole stage from its cost a token at `PLACES`."""
        codebooks, frames = self.codebooks[stage], self.frames[stage]
        needed = -(-(TIMED_STEPS + 2) // codebooks)
        steps = [self._steps_after(stage, round(place * (frames - needed))) for place in PLACES]
        total = frames * codebooks
        walls, cpus = ([statistics.median(getattr(c, f) for c in step) for step in steps] for f in ("wall_s", "cpu_s"))
        return Cost(float(simpson(walls, dx=total / 4)), float(simpson(cpus, dx=total / 4)))

    def _steps_after(self, stage: Stage, primed: int) -> list[Cost]:
        marks: list[Cost] = []
        module = self._modules[stage]
        step = module.forward_with_cond_scale

        def timed(*args: Any, **kwargs: Any) -> Any:
            marks.append(_now())
            if len(marks) == TIMED_STEPS + 2:
                raise _Enough
            return step(*args, **kwargs)

        module.forward_with_cond_scale = timed
        try:
            self.generate(stage, primed)
        except _Enough:
            pass
        finally:
            del module.forward_with_cond_scale
        return [_between(a, b) for a, b in pairwise(marks[1:])]


def _our_cost(decoder: PackageDecoder, config: PackageConfig, seconds: float, seed: int) -> dict[str, tuple[Cost, int]]:
    """Cost and sampled steps of each stage."""
    marks: dict[str, list[Cost]] = {stage: [] for stage in STAGES}

    def report(step: Step) -> None:
        marks[step.message.split()[1]].append(_now())

    generator = torch.Generator().manual_seed(seed)
    cond = torch.randn(1, 1, config.cond_dim, generator=generator)
    freely = StageSampling(1.0, TENTH_OF_EVENT_CODES, GUIDANCE)
    slots, rows = config.semantic_frames(seconds), torch.cat((cond, torch.zeros_like(cond)))

    def choose(_: int, logits: Tensor) -> Tensor:
        report(Step(0, 1, "Sampling semantic tokens"))
        return sample(logits, freely, generator)

    begun = _now()
    tokens = decoder.stages["semantic"].run(rows, slots, choose)[0]
    composed = _now()
    decoder.decode(cond, seconds, generator=generator, events=[tokens.numpy().astype(np.uint8)], job=Job(report))
    ends = [begun, composed, marks["fine"][0], marks["fine"][-1]]
    counts = [len(marks["semantic"]), len(marks["coarse"]), len(marks["fine"]) - 1]
    return {stage: (_between(a, b), n) for stage, a, b, n in zip(STAGES, ends, ends[1:], counts, strict=False)}


def measure(
    seconds: float = 10.0, config: PackageConfig = BASE, seed: int = 0, repeats: int = 3, full: bool = False
) -> dict[str, Any]:
    """Time both paths on random weights.

    Args:
        seconds: length of the clip on both sides; the package's cost a token grows with it.
        config: sizes; ``BASE`` has about 10 M parameters a stage.
        seed: of weights and tokens.
        repeats: runs of ours, of which the median counts.
        full: let the package sample every token, once.

    Returns:
        ``speedup_vs_audiolm_pytorch`` for the whole clip and by stage, with the seconds behind it.
    """
    modules: dict[Stage, nn.Module] = {stage: build_stage(stage, config, seed) for stage in STAGES}
    semantic: Any = modules["semantic"]
    with torch.no_grad():
        semantic.to_logits.bias[-1] = -1e9  # random weights must not end the package's sequence early
    decoder, peer = PackageDecoder(modules, config), Peer(modules, config, seconds, seed)
    _our_cost(decoder, config, 1.0, seed)  # warm up
    runs: list[dict[str, tuple[Cost, int]]] = []
    theirs: dict[Stage, Cost] = {}
    for i in range(max(repeats, len(STAGES))):  # alternating, so that both meet the same machine
        if i < repeats:
            runs.append(_our_cost(decoder, config, seconds, seed))
        if i < len(STAGES):
            theirs[STAGES[i]] = peer.full_cost(STAGES[i]) if full else peer.sampled_cost(STAGES[i])
    ours: dict[Stage, tuple[Cost, int]] = {
        stage: sorted((run[stage] for run in runs), key=lambda cost: cost[0].wall_s)[repeats // 2] for stage in STAGES
    }

    def ratio(field: str, stages: Iterable[Stage] = STAGES) -> float:
        pairs = [(getattr(theirs[stage], field), getattr(ours[stage][0], field)) for stage in stages]
        return round(sum(a for a, _ in pairs) / sum(b for _, b in pairs), 2)

    return {
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "audiolm_pytorch_sampled_every_token": full,
        "parameters": {stage: sum(p.numel() for p in module.parameters()) for stage, module in modules.items()},
        "ours_s": {stage: round(ours[stage][0].wall_s, 3) for stage in STAGES},
        "ours_ms_a_step": {stage: round(1e3 * ours[stage][0].wall_s / ours[stage][1], 3) for stage in STAGES},
        "ours_cpu_ms_a_step": {stage: round(1e3 * ours[stage][0].cpu_s / ours[stage][1], 3) for stage in STAGES},
        "audiolm_pytorch_s": {stage: round(theirs[stage].wall_s, 3) for stage in STAGES},
        "audiolm_pytorch_cpu_s": {stage: round(theirs[stage].cpu_s, 3) for stage in STAGES},
        "speedup_by_stage": {stage: ratio("wall_s", [stage]) for stage in STAGES},
        "speedup_in_cpu_time": ratio("cpu_s"),
        "speedup_vs_audiolm_pytorch": ratio("wall_s"),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves torch's choice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="let the package sample every token")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    figures = measure(arguments.seconds, seed=arguments.seed, repeats=arguments.repeats, full=arguments.full)
    print(json.dumps(figures), file=sys.stdout)


if __name__ == "__main__":
    main()
