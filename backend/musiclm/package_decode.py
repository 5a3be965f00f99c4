"""From a condition to codec codes through the package's three stages: batched guidance, fine windows in parallel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from backend.job import Job
from backend.musiclm.package_sample import DEFAULT_SAMPLING, Choose, StageDecoder, StageSampling, sample
from backend.musiclm.package_stages import STAGES, PackageConfig, Stage

MAX_FINE_ROWS = 64  # fine windows x variations x guidance decoded together; bounds memory, not the result's length


@dataclass(frozen=True)
class Tokens:
    """What the stages made: ``semantic [b, frames, quantizers]`` and codec ``codes [b, frames, n_quantizers]``."""

    semantic: Tensor
    codes: Tensor


@dataclass
class _Run:
    """One request on its way through the stages."""

    cond: Tensor
    null: Tensor
    sampling: Mapping[Stage, StageSampling]
    generator: torch.Generator
    job: Job
    total: int
    done: int = 0

    def rows(self, stage: Stage, tokens: Tensor) -> Tensor:
        """``tokens`` once for the conditioned rows and, when guided, again for the null rows."""
        return torch.cat((tokens, tokens)) if self.sampling[stage].guided else tokens

    def cond_rows(self, stage: Stage, repeats: int = 1) -> Tensor:
        """The conditions of those rows, each block repeated."""
        blocks = (self.cond, self.null) if self.sampling[stage].guided else (self.cond,)
        return torch.cat([block.repeat(repeats, 1, 1) for block in blocks])

    def choose(self, stage: Stage) -> Choose:
        """Sample the stage, reporting every token."""

        def choose(_: int, logits: Tensor) -> Tensor:
            self.job.step(self.done, self.total, f"Sampling {stage} tokens")
            self.done += 1
            return sample(logits, self.sampling[stage], self.generator)

        return choose


class PackageDecoder:
    """Condition → semantic → coarse → fine, on the package's weights.

    Args:
        modules: the three stages, all on one device.
        config: their sizes.
    """

    def __init__(self, modules: Mapping[Stage, nn.Module], config: PackageConfig) -> None:
        self.config = config
        self.stages = {stage: StageDecoder(stage, modules[stage], config) for stage in STAGES}

    @torch.inference_mode()
    def decode(
        self,
        cond: Tensor,
        seconds: float,
        *,
        generator: torch.Generator,
        sampling: Mapping[Stage, StageSampling] | None = None,
        null_cond: Tensor | None = None,
        semantic: Tensor | None = None,
        job: Job | None = None,
    ) -> Tokens:
        """Sample clips, all rows of ``cond`` together.

        Args:
            cond: ``[b, n_cond, cond_dim]``, a row a variation.
            seconds: length; rounded up to whole semantic frames.
            generator: on the modules' device; equal seeds give equal tokens.
            sampling: by stage; `DEFAULT_SAMPLING` where absent.
            null_cond: what guidance steers away from, shaped as ``cond``; the null condition by default.
            semantic: semantic tokens the clips begin with, ``[b, frames, quantizers]`` (a melody, a continuation).
            job: told of every token.

        Raises:
            Cancelled, DeadlineExceeded: from ``job``.
        """
        config = self.config
        null = torch.zeros_like(cond) if null_cond is None else null_cond
        primed = (
            cond.new_empty((len(cond), 0, config.semantic_quantizers), dtype=torch.long)
            if semantic is None
            else semantic
        )
        n_semantic = config.semantic_frames(seconds)
        n_frames = n_semantic * config.codec_frames_per_semantic
        run = _Run(cond, null, {**DEFAULT_SAMPLING, **(sampling or {})}, generator, job or Job(), 0)
        chunks, width = self._fine_windows(n_frames, len(cond) * (2 if run.sampling["fine"].guided else 1))
        run.total = (
            max(0, n_semantic - primed.shape[1]) * config.semantic_quantizers
            + n_frames * config.n_coarse
            + len(chunks) * width * config.n_fine
        )
        made = self._extend(run, "semantic", primed, n_semantic, None)[:, :n_semantic]
        empty = primed.new_empty((len(cond), 0, config.n_coarse))
        coarse = self._extend(run, "coarse", empty, n_frames, made)
        fine = primed.new_empty((len(cond), n_frames, config.n_fine))
        for starts in chunks:
            given = torch.cat([coarse[:, start : start + width] for start in starts])
            pieces = self._run(run, "fine", width, given=given, repeats=len(starts))
            for start, piece in zip(starts, pieces.split(len(cond)), strict=True):
                fine[:, start : start + width] = piece
        run.job.step(run.total, run.total, "Sampling fine tokens")
        return Tokens(made, torch.cat((coarse, fine), 2))

    def _run(
        self,
        run: _Run,
        stage: Stage,
        n_frames: int,
        *,
        primed: Tensor | None = None,
        given: Tensor | None = None,
        repeats: int = 1,
    ) -> Tensor:
        """`StageDecoder.run` on conditioned and null rows, returning the conditioned ones."""
        primed, given = (None if t is None else run.rows(stage, t) for t in (primed, given))
        cond = run.cond_rows(stage, repeats)
        out = self.stages[stage].run(cond, n_frames, run.choose(stage), primed=primed, given=given)
        return out[: len(run.cond) * repeats]

    def _extend(self, run: _Run, stage: Stage, tokens: Tensor, total: int, semantic: Tensor | None) -> Tensor:
        """``tokens`` continued to ``total`` frames, window after window, each primed with the end of the one before."""
        config = self.config
        rate = config.semantic_frame_rate if semantic is None else config.frame_rate
        seconds = config.semantic_window_s if semantic is None else config.coarse_window_s
        # windows start and stop on semantic frames
        unit = 1 if semantic is None else config.codec_frames_per_semantic
        size, overlap = (round(s * rate) // unit * unit for s in (seconds, config.overlap_s))
        while tokens.shape[1] < total:
            have = tokens.shape[1]
            start = 0 if have < size else have - overlap
            stop = min(start + size, total)
            given = None if semantic is None else semantic[:, start // unit : stop // unit]
            window = self._run(run, stage, stop - start, primed=tokens[:, start:], given=given)
            tokens = torch.cat((tokens, window[:, have - start :]), 1)
        return tokens

    def _fine_windows(self, n_frames: int, rows: int) -> tuple[list[list[int]], int]:
        """First frames of the fine windows, in groups decoded together, and their common length in frames.

        The last window ends where the clip ends; where it overlaps the one before, it wins.
        """
        width = min(n_frames, round(self.config.fine_window_s * self.config.frame_rate))
        starts = [*range(0, n_frames - width, width), n_frames - width]
        group = max(1, MAX_FINE_ROWS // rows)
        return [starts[i : i + group] for i in range(0, len(starts), group)], width
