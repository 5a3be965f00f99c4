"""The style's drums in the content's time: its hits on the content's onsets, or its groove on the content's beats.

Nothing is stretched. A hit is cut out before its transient and set down somewhere else, as a sampler or a sliced loop
does, so transients stay as sharp as they were recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from backend.audio.waveform import FloatArray
from backend.instruments.genre_transfer.hits import Floats, Hits, find_hits, place, slice_of
from backend.instruments.genre_transfer.tempo import Beats

ALIKE = 3
"""Among so many of the most similar hits one is drawn, so that a hat does not sound like a machine gun."""

FEWEST_HITS = 4
BEATS_PER_BAR = 4


def replace_hits(
    content: FloatArray,
    style: FloatArray,
    rest: FloatArray,
    sample_rate: int,
    rng: np.random.Generator,
    without_hats: bool = False,
) -> FloatArray | None:
    """The content's rhythm played on the style's drum kit.

    Each hit of the content is answered by one of the style's whose share of the four bands is most like its own, at the
    content's loudness relative to its loudest.

    Args:
        content: percussive part ``[channels, samples]``.
        style: percussive part ``[channels, samples]``, any length.
        rest: what is cut out along with the style's hits; such as its residual.
        sample_rate: Hz of all.
        rng: draws among similar hits.
        without_hats: leave the content's cymbals out, because the style's will play.

    Returns:
        Same shape as ``content``, or None when either has too few hits to speak of drums.
    """
    wanted, kit = find_hits(content, sample_rate), find_hits(style, sample_rate)
    if len(wanted) < FEWEST_HITS or len(kit) < FEWEST_HITS:
        return None
    if without_hats and (~wanted.hats).any():
        wanted = wanted.chosen(~wanted.hats)
    loudest, loudest_kit = (hits.bands.max(0) + 1e-9 for hits in (wanted, kit))
    a, b = np.sqrt(wanted.bands / loudest), np.sqrt(kit.bands / loudest_kit)
    distance = ((_direction(a)[:, None] - _direction(b)[None]) ** 2).sum(2) + 0.3 * (
        (a.max(1)[:, None] - b.max(1)[None]) ** 2
    )
    style = style + rest
    choice = np.argsort(distance, axis=1)[:, : min(ALIKE, len(kit))]
    out = np.zeros_like(content)
    ends = np.append(wanted.starts[1:], content.shape[1])
    for index, start in enumerate(wanted.starts):
        pick = int(choice[index, rng.integers(choice.shape[1])])
        gain = float(np.clip(a[index].max() / max(b[pick].max(), 0.05), 0.25, 2.5)) ** 2
        place(out, int(start), slice_of(style, kit, pick, sample_rate), gain, int(ends[index]), sample_rate)
    return out


@dataclass(frozen=True)
class Alignment:
    """Which moment of the style belongs to which of the content: bars of the style, repeated, on the content's beats.

    Attributes:
        style: beats, at the content's metrical level.
        content: beats; where there are none, those of the style's tempo from 0 on.
        first: the style's beat at which the repeated bars begin.
        loop: their length in beats.
        shift: the content's beat that the style's beat ``first`` falls on, so that bars begin together.
    """

    style: Beats
    content: Beats
    first: int
    loop: int
    shift: int

    def style_times(self, times_s: Floats) -> Floats:
        """Where in the style to look for what happens at the content's times."""
        return cast("Floats", np.interp(self.positions(times_s), np.arange(len(self.style)), self.style.times_s))

    def positions(self, times_s: Floats) -> Floats:
        """The style's beat that belongs to each of the content's times."""
        beat = np.interp(times_s, self.content.times_s, np.arange(len(self.content)))
        return self.first + (beat - self.shift) % self.loop

    def style_positions(self, times_s: Floats) -> Floats:
        """The style's beat at each of its own times."""
        return cast("Floats", np.interp(times_s, self.style.times_s, np.arange(len(self.style))))

    def content_times(self, position: float) -> list[float]:
        """When the content reaches a position of the style's repeated bars, in seconds, a little before 0 included."""
        found = list[float]()
        for repeat in range(-1, len(self.content) // self.loop + 2):
            beat = position - self.first + repeat * self.loop + self.shift
            if -0.2 <= beat <= len(self.content) - 1:
                found.append(_time_at(self.content, beat))
        return found


def align(
    style: FloatArray, style_beats: Beats, content: FloatArray, content_beats: Beats, sample_rate: int
) -> Alignment | None:
    """Lay the style's bars on the content's; None when the style has no beat.

    Args:
        style: percussive part ``[channels, samples]``.
        style_beats: its beats, at the content's metrical level.
        content: percussive part ``[channels, samples]``; says where the bar begins, and how long.
        content_beats: its beats.
        sample_rate: Hz.
    """
    if len(style_beats) < 3:
        return None
    if len(content_beats) < 3:
        count = int(np.ceil(content.shape[1] / sample_rate / style_beats.period_s)) + 1
        content_beats = Beats(style_beats.period_s * np.arange(count, dtype=np.float64), style_beats.tempo_bpm)
    first, loop = _loop(style_beats, style.shape[1] / sample_rate)
    kit = find_hits(style, sample_rate)
    position = np.interp(kit.starts / sample_rate, style_beats.times_s, np.arange(len(style_beats)))
    ahead = _bar_shift(kit, position, find_hits(content, sample_rate), content_beats, sample_rate)
    return Alignment(style_beats, content_beats, first, loop, (first + ahead) % BEATS_PER_BAR)


def donate(
    style: FloatArray,
    rest: FloatArray,
    alignment: Alignment,
    length: int,
    sample_rate: int,
    only_hats: bool = False,
) -> FloatArray | None:
    """The style's groove, bar by bar, on the content's beats.

    Args:
        style: percussive part ``[channels, samples]``.
        rest: what is cut out along with its hits.
        alignment: of the style with the content.
        length: samples of the content.
        sample_rate: Hz.
        only_hats: leave out what is not a cymbal.

    Returns:
        ``[channels, length]``, or None when the style has too few hits.
    """
    kit = find_hits(style, sample_rate)
    if len(kit) < FEWEST_HITS:
        return None
    beats = alignment.style
    position = np.interp(kit.starts / sample_rate, beats.times_s, np.arange(len(beats)))
    inside = (position >= alignment.first - 0.1) & (position < alignment.first + alignment.loop - 0.1)
    inside &= kit.hats if only_hats else True
    out = np.zeros((style.shape[0], length), np.float32)
    places = sorted(
        (round(time * sample_rate), int(index))
        for index in np.flatnonzero(inside)
        for time in alignment.content_times(float(position[index]))
    )
    style = style + rest
    for (start, index), following in zip(places, [*(start for start, _ in places[1:]), length], strict=True):
        place(out, start, slice_of(style, kit, index, sample_rate), 1.0, following, sample_rate)
    return out


def _loop(beats: Beats, duration_s: float) -> tuple[int, int]:
    """First beat and length in beats of what is repeated: as many whole bars as are inside the clip."""
    inside = np.flatnonzero((beats.times_s >= -0.05) & (beats.times_s <= duration_s + 0.05))
    first, count = int(inside[0]), max(1, len(inside) - 1)
    return first, count if count < BEATS_PER_BAR else count // BEATS_PER_BAR * BEATS_PER_BAR


def _bar_shift(style: Hits, position: Floats, content: Hits, content_beats: Beats, sample_rate: int) -> int:
    """Beats to move the style's bar forward by so that its loud hits agree best with the content's."""
    if len(content) < FEWEST_HITS:
        return 0
    where = np.interp(content.starts / sample_rate, content_beats.times_s, np.arange(len(content_beats)))
    a, b = _bar_profile(style, position), _bar_profile(content, where)
    return int(np.argmax([(np.roll(a, -4 * shift, axis=0) * b).sum() for shift in range(BEATS_PER_BAR)]))


def _bar_profile(hits: Hits, position: Floats) -> Floats:
    """Mean loudness of each band on each sixteenth of a bar, ``[16, 4]``, centred."""
    profile = np.zeros((4 * BEATS_PER_BAR, 4))
    np.add.at(profile, np.round(position * 4).astype(int) % (4 * BEATS_PER_BAR), np.sqrt(hits.bands))
    profile /= np.linalg.norm(profile, axis=0) + 1e-9
    return cast("Floats", profile - profile.mean(0))


def _time_at(beats: Beats, position: float) -> float:
    """Seconds of a position in beats, also a little before the first."""
    if position < 0:
        return float(beats.times_s[0] + position * beats.period_s)
    return float(np.interp(position, np.arange(len(beats)), beats.times_s))


def _direction(bands: Floats) -> Floats:
    return cast("Floats", bands / np.maximum(np.linalg.norm(bands, axis=1, keepdims=True), 1e-9))
