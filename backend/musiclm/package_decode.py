"""From a condition to notes and codec codes through the package's three stages.

Guidance and variations are rows of one batch, and so are the windows of the fine stage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from backend.job import Job
from backend.musiclm.compose import Wish
from backend.musiclm.events import Events, window_events
from backend.musiclm.package_compose import compose
from backend.musiclm.package_sample import DEFAULT_SAMPLING, Choose, StageDecoder, StageSampling, sample
from backend.musiclm.package_stages import STAGES, PackageConfig, Stage

MAX_FINE_ROWS = 64  # fine windows x variations x guidance decoded together; bounds memory, not the result's length


@dataclass(frozen=True)
class Tokens:
    """What the stages made: the ``events [n, 5]`` of each clip and codec ``codes [b, frames, n_quantizers]``."""

    events: list[Events]
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

    def report(self, stage: Stage, done: float) -> None:
        """Say that ``done`` tokens of the total are there."""
        self.job.step(done, self.total, f"Sampling {stage} tokens")

    def choose(self, stage: Stage) -> Choose:
        """Sample the stage, reporting every token."""

        def choose(_: int, logits: Tensor) -> Tensor:
            self.report(stage, self.done)
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
        wishes: Sequence[Wish] | None = None,
        events: Sequence[Events] | None = None,
        lead_in_s: float = 0.0,
        job: Job | None = None,
    ) -> Tokens:
        """Sample clips, all rows of ``cond`` together.

        Args:
            cond: ``[b, n_cond, cond_dim]``, a row a variation.
            seconds: length; rounded up to whole codec frames.
            generator: on the modules' device; equal seeds give equal tokens.
            sampling: by stage; `DEFAULT_SAMPLING` where absent.
            null_cond: what guidance steers away from, shaped as ``cond``; the null condition by default.
            wishes: what each row keeps to.
            events: notes of each row to sound instead of composing them.
            lead_in_s: seconds of sound before the first bar line.
            job: told of every token.

        Raises:
            Cancelled, DeadlineExceeded: from ``job``.
        """
        config = self.config
        null = torch.zeros_like(cond) if null_cond is None else null_cond
        n_frames = config.codec_frames(seconds)
        run = _Run(cond, null, {**DEFAULT_SAMPLING, **(sampling or {})}, generator, job or Job(), 0)
        chunks, width = self._fine_windows(n_frames, len(cond) * (2 if run.sampling["fine"].guided else 1))
        run.total = n_frames * config.n_coarse + len(chunks) * width * config.n_fine
        pieces = self._compose(run, seconds, wishes) if events is None else list(events)
        coarse = self._play(run, pieces, n_frames, lead_in_s)
        fine = coarse.new_empty((len(cond), n_frames, config.n_fine))
        for starts in chunks:
            given = torch.cat([coarse[:, start : start + width] for start in starts])
            windows = self._run(run, "fine", width, given=given, repeats=len(starts))
            for start, window in zip(starts, windows.split(len(cond)), strict=True):
                fine[:, start : start + width] = window
        run.report("fine", run.total)
        return Tokens(pieces, torch.cat((coarse, fine), 2))

    def _compose(self, run: _Run, seconds: float, wishes: Sequence[Wish] | None) -> list[Events]:
        """The pieces; their share of the total is what their event slots hold, whatever they turn out to need."""
        expected = self.config.semantic_frames(seconds) * self.config.semantic_quantizers
        run.total += expected
        pieces = compose(
            self.stages["semantic"], run.cond, seconds, run.sampling["semantic"], run.generator, null_cond=run.null,
            wishes=wishes, on_step=lambda done, total: run.report("semantic", expected * done / total),
        )  # fmt: skip
        run.done = expected
        return pieces

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

    def _play(self, run: _Run, pieces: Sequence[Events], n_frames: int, lead_in_s: float) -> Tensor:
        """Coarse codes of the pieces, window after window, each primed with the end of the one before.

        Every window is given its own notes, in as many event slots as in training even where the clip is shorter.
        """
        config = self.config
        size, overlap = (round(s * config.frame_rate) for s in (config.coarse_window_s, config.overlap_s))
        slots = config.semantic_frames(config.coarse_window_s)
        codes = torch.empty((len(run.cond), 0, config.n_coarse), dtype=torch.long, device=run.cond.device)
        while codes.shape[1] < n_frames:
            have = codes.shape[1]
            start = 0 if have < size else have - overlap
            stop, start_s = min(start + size, n_frames), start / config.frame_rate - lead_in_s
            notes = [window_events(piece, start_s, config.coarse_window_s, slots) for piece in pieces]
            given = torch.from_numpy(np.stack(notes)).to(codes)
            window = self._run(run, "coarse", stop - start, primed=codes[:, start:], given=given)
            codes = torch.cat((codes, window[:, have - start :]), 1)
        return codes

    def _fine_windows(self, n_frames: int, rows: int) -> tuple[list[list[int]], int]:
        """First frames of the fine windows, in groups decoded together, and their common length in frames.

        The last window ends where the clip ends; where it overlaps the one before, it wins.
        """
        width = min(n_frames, round(self.config.fine_window_s * self.config.frame_rate))
        starts = [*range(0, n_frames - width, width), n_frames - width]
        group = max(1, MAX_FINE_ROWS // rows)
        return [starts[i : i + group] for i in range(0, len(starts), group)], width
