"""From a condition to notes with audiolm-pytorch's semantic stage: `backend.musiclm.compose` on its logits.

The grammar, the guidance of head and notes, and the windows (head and latest half) are those of our own stage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from backend.musiclm.compose import (
    MOST_EVENTS_A_SECOND,
    MOST_PLAYERS,
    NOTE_GUIDANCE,
    NOTE_TOP_P,
    Score,
    Wish,
    is_head,
    until,
)
from backend.musiclm.decode import StepCallback
from backend.musiclm.events import FIELDS, Events
from backend.musiclm.package_sample import StageDecoder, StageSampling, sample


@torch.inference_mode()
def compose(
    stage: StageDecoder,
    cond: Tensor,
    duration_s: float,
    sampling: StageSampling,
    generator: torch.Generator,
    *,
    null_cond: Tensor,
    wishes: Sequence[Wish] | None = None,
    on_step: StepCallback | None = None,
) -> list[Events]:
    """Write a piece for each row of ``cond``.

    Args:
        stage: the semantic stage.
        cond: ``[batch, n_cond, cond_dim]``.
        duration_s: every piece is at least so long.
        sampling: of the head; the notes are drawn with less guidance and from the nucleus.
        generator: on the stage's device.
        null_cond: what guidance steers away from, shaped as ``cond``.
        wishes: what the user fixed, of each row.
        on_step: called before every code with (milliseconds written, milliseconds); may raise to stop.

    Returns:
        One array of events a row, cut where it reaches ``duration_s``.
    """
    scores = [Score(wish) for wish in wishes or [Wish()] * len(cond)]
    config = stage.config
    window = config.semantic_frames(config.semantic_window_s)
    most = MOST_PLAYERS + 8 + int(MOST_EVENTS_A_SECOND * duration_s)

    def least() -> float:
        return min(duration_s, *(score.seconds for score in scores))

    def enough() -> bool:
        return least() >= duration_s or len(scores[0].events) >= most

    def report() -> None:
        if on_step is not None:
            on_step(round(1000 * least()), round(1000 * duration_s))

    rows = torch.cat((cond, null_cond)) if sampling.guided else cond
    choose = _Grammar(scores, sampling, generator, report)
    while not enough():
        primed: Tensor | None = None
        if scores[0].events:
            primed = torch.tensor([score.window(window // 2) for score in scores], device=cond.device)
            primed = torch.cat((primed, primed)) if sampling.guided else primed
        stage.run(rows, window, choose, primed=primed, enough=enough)
    return [until(score, duration_s) for score in scores]


class _Grammar:
    """Draws the codes of the next event of every row, among those its score allows: a `Choose`."""

    def __init__(
        self, scores: list[Score], sampling: StageSampling, generator: torch.Generator, report: Callable[[], None]
    ) -> None:
        scale = 1 + NOTE_GUIDANCE * (sampling.guidance_scale - 1)
        self._head = sampling
        self._notes = dataclasses.replace(sampling, guidance_scale=scale, top_p=NOTE_TOP_P)
        self._scores, self._generator, self._report = scores, generator, report
        self._events: list[list[int]] = [[] for _ in scores]

    def __call__(self, _: int, logits: Tensor) -> Tensor:
        self._report()
        n, rows = len(self._scores), list(zip(self._scores, self._events, strict=True))
        column = len(self._events[0])
        mask = torch.from_numpy(np.stack([score.allowed(column, event) for score, event in rows])).to(logits.device)
        logits = logits.clone()
        for i, (score, event) in enumerate(rows):
            lean = score.lean(column, event)
            if lean is not None:  # on both rows, so that guidance leaves it as it is
                logits[i::n, : len(lean)] += torch.from_numpy(lean).to(logits)
        codes = torch.empty(n, dtype=torch.long, device=logits.device)
        for sampling, wanted in ((self._head, True), (self._notes, False)):
            picks = [i for i, (score, event) in enumerate(rows) if is_head(score, event) == wanted]
            if picks:
                both = picks + [n + i for i in picks] if sampling.guided else picks
                codes[picks] = sample(logits[both], sampling, self._generator, mask[picks])[: len(picks)]
        for (score, event), code in zip(rows, codes.tolist(), strict=True):
            event.append(code)
            if len(event) == len(FIELDS):
                score.append(event)
        if column + 1 == len(FIELDS):
            self._events = [[] for _ in self._scores]
        return torch.cat((codes, codes)) if self._head.guided else codes
