"""From an embedding to notes: sample the semantic stage event by event, only events that make sense.

What the grammar of `backend.musiclm.events` forbids (time running backwards, a player who was not announced, a pitch
outside an instrument's range) is masked before drawing, so every sample is a playable piece.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backend.corpus.theory import key_profile
from backend.musiclm.decode import Sampling, StageDecoder, StepCallback, conditions, draw, guide_logits
from backend.musiclm.events import (
    AMBIGUOUS,
    BAR,
    BAR_TICKS,
    BARS,
    CAST,
    DURATIONS,
    FIELDS,
    LONGEST_REST_BARS,
    N_GAINS,
    N_LEVELS,
    N_SOUNDS,
    N_TEMPI,
    NO_KEY,
    PLAYER,
    SETTING,
    SIZE,
    TICKS,
    Events,
    Setting,
)
from backend.musiclm.melody import Line, Melody
from backend.musiclm.stages import Stage

MOST_PLAYERS = 8
MOST_AT_ONCE = 14
MOST_EVENTS_A_SECOND = 40
NOTE_GUIDANCE = 0.5
"""Guidance of the notes is this share of the excess of the head's over 1: the head says what a prompt asks for."""
NOTE_TOP_P = 0.96
TONAL_GRAVITY = 1.0
"""Probabilities of pitches are multiplied by the fit of their class to the head's key, to this power. The stage alone
drifts to relative and neighbouring keys within seconds, and with them goes the mode that the prompt asked for."""
IMPOSSIBLE = -1e4  # logit of what the grammar forbids, in both branches alike
UNASKED = 4.0  # nats against a player that the prompt does not name, where it names the players
DRUM_PITCHES = (35, 59)
ROLES = 6

Mask = npt.NDArray[np.bool_]
Lean = npt.NDArray[np.float32]

_UPRIGHT: Lean = np.zeros(SIZE, np.float32)
_NOBODY_ELSE: Lean = np.where(np.arange(SIZE) == PLAYER, -UNASKED, 0.0).astype(np.float32)
_GRAVITY: dict[str, Lean] = {  # of codes of pitches, which are those of a piece on C
    mode: np.resize(TONAL_GRAVITY * np.log(key_profile(0, mode)), SIZE).astype(np.float32)
    for mode in ("major", "minor")
}


@dataclass(frozen=True)
class Wish:
    """What the user fixed; None is left to the model.

    Attributes:
        tempo: code of the tempo.
        key: index into `backend.musiclm.events.KEYS`.
        mode: "major" or "minor", in a key that is left to the model.
        players: for each that is named, in order, the indices into `backend.musiclm.events.CAST` it may be.
        alone: others than these hardly join in.
        melody: what the first player follows.
    """

    tempo: int | None = None
    key: int | None = None
    mode: Literal["major", "minor"] | None = None
    players: tuple[tuple[int, ...], ...] = ()
    alone: bool = False
    melody: Melody | None = None


@dataclass
class Score:
    """One piece while it is being written."""

    wish: Wish
    events: list[list[int]] = field(default_factory=list)
    head: int = 0
    cast: list[int] = field(default_factory=list)
    bar_ticks: int = BAR_TICKS
    shift: int = 0
    mode: str | None = None
    tick_s: float = 0.0
    bar: int = 0
    tick: int = 0
    struck: set[tuple[int, int]] = field(default_factory=set)
    rests: int = 0
    line: Line | None = None

    @property
    def seconds(self) -> float:
        """Time of the last event."""
        return (self.bar * self.bar_ticks + self.tick) * self.tick_s

    @property
    def in_head(self) -> bool:
        """Whether players may still come."""
        return not self.head

    def allowed(self, column: int, event: list[int]) -> Mask:
        """Values that column may take, given the columns drawn before it."""
        mask = np.zeros(SIZE, bool)
        if not self.events:
            self._allow_setting(column, mask)
        elif column == 0:
            self._allow_time(mask)
        elif event[0] == PLAYER:
            limit, asked = (len(CAST), 128, ROLES, N_GAINS)[column - 1], self.wish.players[len(self.cast) :]
            mask[list(asked[0]) if column == 1 and asked else slice(limit)] = True
        elif event[0] == BAR:
            mask[0] = True
        else:
            self._allow_note(column, event, mask)
        return mask

    def _allow_setting(self, column: int, mask: Mask) -> None:
        if column == 0:
            mask[SETTING] = True
        elif column == 1 and self.wish.tempo is not None:
            mask[self.wish.tempo] = True
        elif column == 2 and self.wish.key is not None:
            mask[self.wish.key] = True
        elif column == 2 and self.wish.mode is not None:
            mask[:12] = self.wish.mode == "major"
            mask[12:AMBIGUOUS] = self.wish.mode == "minor"
        else:
            mask[: (N_TEMPI, NO_KEY + 1, len(BARS), N_SOUNDS)[column - 1]] = True

    def _allow_time(self, mask: Mask) -> None:
        players = len(self.events) - 1
        if self.in_head and players < MOST_PLAYERS:
            mask[PLAYER] = True
        if players < max(1, len(self.wish.players[:MOST_PLAYERS])):
            return
        mask[self.tick + (len(self.struck) >= MOST_AT_ONCE) : self.bar_ticks] = True
        mask[BAR_TICKS : BAR_TICKS + self.bar_ticks] = True
        mask[BAR] = self.rests < LONGEST_REST_BARS

    def _allow_note(self, column: int, event: list[int], mask: Mask) -> None:
        if column == 1:
            mask[self.cast] = True
            return
        who = CAST[event[1]]
        if column == 2:
            low, high = DRUM_PITCHES if who.is_drum else (who.low - self.shift, who.high - self.shift)
            mask[low : high + 1] = True
            if event[0] == self.tick:  # a key is struck once at a time
                mask[[pitch for instrument, pitch in self.struck if instrument == event[1]]] = False
            mask[low] |= not mask.any()
        elif column == 3:
            mask[slice(0, 1) if who.is_drum else slice(1, len(DURATIONS))] = True
        else:
            mask[:N_LEVELS] = True

    def lean(self, column: int, event: list[int]) -> Lean:
        """What to add to the logits: of pitches for the key's sake, of players not asked for, of all for a melody's."""
        line = None if event[:1] and event[0] >= BAR else self.line
        return (
            self._own_lean(column, event)
            if line is None
            else self._own_lean(column, event) + self._led(line, column, event)
        )

    def _led(self, line: Line, column: int, event: list[int]) -> Lean:
        """What a melody adds."""
        if column == 0:
            return line.time_lean(self.bar * self.bar_ticks, self.bar_ticks, len(self.cast) == 1)
        ahead, tick = divmod(event[0], BAR_TICKS)
        now = (self.bar + ahead) * self.bar_ticks + tick
        if column == 1:
            return line.player_lean(now)
        if event[1] != line.player or column > 3:
            return _UPRIGHT
        return line.pitch_lean(now, self.shift) if column == 2 else line.duration_lean(now)

    def _own_lean(self, column: int, event: list[int]) -> Lean:
        if column == 0 and self.wish.alone and self.in_head and len(self.cast) >= len(self.wish.players):
            return _NOBODY_ELSE
        if column != 2 or event[0] >= SETTING or event[0] == BAR or self.mode is None or CAST[event[1]].is_drum:
            return _UPRIGHT
        return _GRAVITY[self.mode]

    def append(self, event: list[int]) -> None:
        """Take an event in."""
        time = event[0]
        if time == SETTING:
            setting = Setting.of_event(event)
            self.bar_ticks, self.tick_s = setting.bar * TICKS, 60.0 / setting.bpm / TICKS
            self.shift = setting.shift
            self.mode = None if setting.key >= AMBIGUOUS else "minor" if setting.key >= 12 else "major"
        elif time == PLAYER:
            self.cast.append(event[1])
            if self.line is None and self.wish.melody is not None:
                self.line = self.wish.melody.on_grid(self.tick_s, event[1])
        else:
            self.head = self.head or len(self.events)
            ahead, tick = (1, 0) if time == BAR else divmod(time, BAR_TICKS)
            if ahead or tick != self.tick:
                self.struck.clear()
            if time != BAR:
                self.struck.add((event[1], event[2]))
            self.rests = self.rests + 1 if time == BAR else 0
            self.bar, self.tick = self.bar + ahead, tick
            if self.line is not None:
                self.line.take(self.bar * self.bar_ticks + tick, event[1] if time != BAR else -1)
        self.events.append(event)

    def window(self, length: int) -> list[list[int]]:
        """Head and latest events, ``length`` in all."""
        return self.events[: self.head] + self.events[self.head - length :]


@torch.inference_mode()
def compose(
    stage: Stage,
    embed: Tensor,
    duration_s: float,
    sampling: Sampling,
    generator: torch.Generator,
    *,
    negative: Tensor | None = None,
    wishes: Sequence[Wish] | None = None,
    on_step: StepCallback | None = None,
) -> list[Events]:
    """Write a piece for each row of ``embed``.

    Args:
        stage: the semantic stage.
        embed: ``[batch, embed_dim]`` unit-norm MuLan embeddings.
        duration_s: every piece is at least so long.
        sampling: of the head; the notes are drawn with less guidance and from the nucleus.
        generator: on the CPU.
        negative: ``[batch, embed_dim]`` to steer away from; the learned null condition when None.
        wishes: what the user fixed, of each row.
        on_step: called with (milliseconds written, milliseconds); may raise to stop.

    Returns:
        One array of events a row, cut where it reaches ``duration_s``.
    """
    condition, guided = conditions(stage, embed, negative, sampling.guidance_scale)
    decoder = StageDecoder(stage, condition)
    scale = 1 + NOTE_GUIDANCE * (sampling.guidance_scale - 1)
    of_notes = dataclasses.replace(sampling, guidance_scale=scale if guided else 1.0, top_p=NOTE_TOP_P, min_p=0.0)
    rows = [Score(wish) for wish in wishes or [Wish()] * len(embed)]
    state = decoder.begin()
    for _ in range(MOST_PLAYERS + 8 + int(MOST_EVENTS_A_SECOND * duration_s)):
        least = min(row.seconds for row in rows)
        if on_step is not None:
            on_step(round(1000 * min(least, duration_s)), round(1000 * duration_s))
        if least >= duration_s:
            break
        _draw_event(stage, state, rows, sampling, of_notes, generator)
        if decoder.filled == decoder.capacity:
            decoder.reset()
            decoder.begin()
            recent = torch.tensor([row.window(stage.config.window // 2) for row in rows], device=embed.device)
        else:
            recent = torch.tensor([row.events[-1:] for row in rows], device=embed.device)
        state = decoder.extend(decoder.embed(torch.cat([recent, recent]) if guided else recent))[:, -1]
    return [until(row, duration_s) for row in rows]


def _draw_event(
    stage: Stage, state: Tensor, rows: list[Score], head: Sampling, notes: Sampling, generator: torch.Generator
) -> None:
    """Append one event to every row, drawn from the state ``[rows (twice with guidance), dim]``."""
    events: list[list[int]] = [[] for _ in rows]
    guided = head.guidance_scale != 1.0
    for column in range(len(FIELDS)):
        logits = stage.heads[column](state)
        so_far = list(zip(rows, events, strict=True))
        mask = torch.from_numpy(np.stack([row.allowed(column, event) for row, event in so_far])).to(logits.device)
        lean = torch.from_numpy(np.stack([row.lean(column, event) for row, event in so_far])).to(logits.device)
        drawn = []
        for sampling, wanted in ((head, True), (notes, False)):
            picks = [i for i, row in enumerate(rows) if is_head(row, events[i]) == wanted]
            if picks:
                both = picks + [len(rows) + i for i in picks] if guided else picks
                allowed = mask[picks + picks] if guided else mask[picks]
                values = logits[both].float().masked_fill(~allowed, IMPOSSIBLE)
                values = guide_logits(values, sampling.guidance_scale, sampling.min_p) + lean[picks]
                values = values.masked_fill(~mask[picks], -torch.inf)
                drawn += list(zip(picks, draw(values, sampling, generator).tolist(), strict=True))
        for i, code in drawn:
            events[i].append(code)
        if column + 1 < len(FIELDS):
            codes = torch.tensor([event[column] for event in events], device=state.device)
            state = state + stage.chain[column](torch.cat([codes, codes]) if guided else codes)
    for row, event in zip(rows, events, strict=True):
        row.append(event)


def is_head(row: Score, event: list[int]) -> bool:
    """Whether what is drawn next belongs to the head, given the columns of its event drawn before it."""
    return event[0] >= SETTING if event else row.in_head


def until(row: Score, duration_s: float) -> Events:
    """The row's events that start before ``duration_s``."""
    bar, kept = 0, row.events[: row.head]
    for event in row.events[row.head :]:
        ahead, tick = (1, 0) if event[0] == BAR else divmod(event[0], BAR_TICKS)
        bar += ahead
        if (bar * row.bar_ticks + tick) * row.tick_s >= duration_s:
            break
        kept.append(event)
    return np.array(kept, np.uint8).reshape(-1, len(FIELDS))
