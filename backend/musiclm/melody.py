"""A melody that the semantic stage is to follow: what is sung becomes the line of the first player.

MusicLM conditions its semantic stage on learned melody embeddings (arXiv 2301.11325, section 3.3). Here the semantic
tokens are notes, so a melody is what it says: while a piece is written, onsets, pitches and lengths of its first player
lean towards those of the melody, by as many nats as ``adherence`` asks for, and everything else is left to the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backend.musiclm.events import BAR, BAR_TICKS, CAST, DURATIONS, SIZE

Lean = npt.NDArray[np.float32]

FIRM = 24.0
"""Nats at full adherence against leaving the melody out, striking it elsewhere or giving it to another player."""
A_SEMITONE, A_DOUBLING = 6.0, 2.0  # nats at full adherence for each semitone, and for each doubling of length, off
FURTHEST = 7  # semitones: beyond that all pitches are equally wrong, so that the model still chooses among them


@dataclass(frozen=True, eq=False)
class Melody:
    """What to follow.

    Attributes:
        onset_s: from the start of the piece, rising ``[notes]``.
        duration_s: ``[notes]``.
        pitch: MIDI ``[notes]``; moved by octaves into the player's range.
        adherence: 0 ignores it, 1 keeps to it; the nats grow with its square, so that the middle is a middle.
    """

    onset_s: npt.NDArray[np.float32]
    duration_s: npt.NDArray[np.float32]
    pitch: npt.NDArray[np.int64]
    adherence: float = 1.0

    @property
    def end_s(self) -> float:
        """When its last note ends."""
        return float((self.onset_s + self.duration_s).max(initial=0.0))

    def on_grid(self, tick_s: float, player: int) -> Line:
        """The melody in ticks of ``tick_s`` seconds and in the range of a player of `CAST`."""
        ticks = np.round(self.onset_s / tick_s).astype(np.int64)
        kept = np.flatnonzero(np.diff(ticks, prepend=-1) > 0)  # two notes on one tick are one
        lengths = np.maximum(1.0, self.duration_s[kept] / tick_s)
        who = CAST[player]
        shift = min(range(-48, 49, 12), key=lambda s: (_outside(self.pitch + s, who.low, who.high), abs(s)))
        pitch = np.clip(self.pitch[kept] + shift, who.low, who.high)
        return Line(ticks[kept], pitch, lengths, player, self.adherence**2)


def _outside(pitch: npt.NDArray[np.int64], low: int, high: int) -> int:
    return int((np.maximum(low - pitch, 0) + np.maximum(pitch - high, 0)).sum())


@dataclass
class Line:
    """A melody on the grid of one piece, and how far it has been played.

    Attributes:
        ticks: of its onsets, rising.
        pitch: MIDI.
        lengths: in ticks.
        player: index into `CAST`.
        weight: share of the full lean, 0 to 1.
        next: the first note that was not played yet.
    """

    ticks: npt.NDArray[np.int64]
    pitch: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.float64]
    player: int
    weight: float
    next: int = 0

    def time_lean(self, bar_start: int, bar_ticks: int, only_player: bool) -> Lean:
        """For the time of the next event: nothing may pass over the melody's next onset.

        Args:
            bar_start: tick at which the present bar starts.
            bar_ticks: ticks a bar.
            only_player: nobody else plays, so nothing is to be struck between two notes of the melody either.
        """
        lean = np.zeros(SIZE, np.float32)
        firm = FIRM * self.weight
        if self.next >= len(self.ticks):
            return lean
        ahead = int(self.ticks[self.next]) - bar_start
        of_code = np.full(SIZE, -1)
        of_code[:bar_ticks] = np.arange(bar_ticks)
        of_code[BAR_TICKS : BAR_TICKS + bar_ticks] = bar_ticks + np.arange(bar_ticks)
        lean[(of_code > ahead) & (of_code >= 0)] = -firm
        if only_player:
            lean[(of_code < ahead) & (of_code >= 0)] = -firm
        lean[BAR] = -firm if ahead < 2 * bar_ticks else 0.0
        return lean

    def player_lean(self, now: int) -> Lean:
        """For the player of an event at tick ``now``: the melody's notes are its player's, others are not."""
        lean = np.zeros(SIZE, np.float32)
        firm = FIRM * self.weight
        if self._due(now):
            lean[:] = -firm
            lean[self.player] = 0.0
        elif self.next < len(self.ticks):
            lean[self.player] = -firm
        return lean

    def pitch_lean(self, now: int, shift: int) -> Lean:
        """For the pitch of its player's note at ``now``, in C as events write it (``shift`` semitones below)."""
        lean = np.zeros(SIZE, np.float32)
        if self._due(now):
            off = np.abs(np.arange(SIZE) + shift - int(self.pitch[self.next]))
            lean -= self.weight * A_SEMITONE * np.minimum(off, FURTHEST).astype(np.float32)
        return lean

    def duration_lean(self, now: int) -> Lean:
        """For the length of its player's note at ``now``."""
        lean = np.zeros(SIZE, np.float32)
        if self._due(now):
            off = np.abs(np.log2(np.maximum(DURATIONS, 1) / self.lengths[self.next]))
            lean[: len(DURATIONS)] = -self.weight * A_DOUBLING * off
        return lean

    def take(self, now: int, player: int) -> None:
        """A note was struck at ``now``: the melody's, if it was due and its player struck it; late ones are let go."""
        if player == self.player and self._due(now):
            self.next += 1
        while self.next < len(self.ticks) and int(self.ticks[self.next]) < now:
            self.next += 1

    def _due(self, now: int) -> bool:
        return self.next < len(self.ticks) and int(self.ticks[self.next]) == now
