"""Notes to calm sound: a soft instrument in a room, block by block, faded, levelled and limited.

Twenty minutes of stereo are 0.4 GB, so nothing here holds them twice: the synthesiser streams, one convolution gives
tone and room, loudness is metered on the way, and level and limiter work in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from backend.audio.midi import Notes
from backend.audio.synth import Synth
from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.calm.level import LoudnessMeter, limit_in_place, peak_dbtp
from backend.instruments.calm.room import SAMPLE_RATE, SOUNDS, Room, impulse_response

Samples = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

LOUDNESS_LUFS, CEILING_DBTP = -23.0, -2.0
"""The broadcast target of EBU R 128, and a ceiling that leaves MP3 a decibel to overshoot."""

BLOCK = SAMPLE_RATE * 4
STOP_EVERY_S = 0.5  # of sound; a few milliseconds of work
FIRST_PREVIEW_S, LAST_PREVIEW_S = 8.0, 300.0
EXCERPT_S = 12.0
MAX_GAIN_DB = 45.0  # soft notes of a soundfont are very soft; near-silence must still not become noise
SILENT_JUMP_LU = 25.0


@dataclass(frozen=True)
class Rendered:
    """Sound and what was measured on it.

    Attributes:
        waveform: stereo.
        loudness_lufs: integrated; -inf for silence.
        true_peak_dbtp: highest.
        momentary_lufs: ten times a second.
        limited: whether the limiter had anything to do.
    """

    waveform: Waveform
    loudness_lufs: float
    true_peak_dbtp: float
    momentary_lufs: Array
    limited: bool


@dataclass(frozen=True)
class Mix:
    """How notes are to sound: instrument, target in LUFS, fades in seconds, treble (1 is its own)."""

    sound: str = "felt_piano"
    loudness_lufs: float = LOUDNESS_LUFS
    fade_in_s: float = 0.05
    fade_out_s: float = 1.0
    treble: float = 1.0

    def __post_init__(self) -> None:
        if self.sound not in SOUNDS:
            raise RequestError("sound", self.sound, f"one of {', '.join(SOUNDS)}")


class Player(Synth):
    """The house's synthesiser as a stream of blocks, with tone and room."""

    def __init__(self, soundfont: Path | None = None) -> None:
        super().__init__(soundfont, SAMPLE_RATE)

    def play(
        self,
        notes: Notes,
        duration_s: float,
        mix: Mix,
        check: Callable[[], None] = lambda: None,
        preview: Callable[[float, Waveform | None], None] = lambda done_s, waveform: None,
    ) -> Rendered:
        """Exactly ``duration_s`` seconds of the notes, at the target loudness.

        Args:
            notes: at most 15 parts, later ones than ``duration_s`` are cut.
            duration_s: length of the sound.
            mix: how it is to sound.
            check: called every few milliseconds of work; may raise to stop.
            preview: told how many seconds are done, and now and then given all of them, near the final level.

        Raises:
            AudioError: too many parts, or the soundfont lacks a program.
        """
        total = round(duration_s * SAMPLE_RATE)
        gain = self._gain(notes, total, mix, check)
        sound, meter = np.empty((2, total), np.float32), LoudnessMeter(SAMPLE_RATE)
        done, next_s = 0, FIRST_PREVIEW_S
        for block in self.stream(notes, total, mix, check):
            stop = done + block.shape[1]
            np.multiply(block, gain * _fades(done, stop, total, mix), out=sound[:, done:stop])
            meter.add(sound[:, done:stop])
            done = stop
            heard_s = done / SAMPLE_RATE
            due = next_s <= heard_s <= LAST_PREVIEW_S and done < total
            preview(heard_s, _preview(sound[:, :done]) if due else None)
            next_s = 3 * heard_s if due else next_s
        measured = meter.integrated_lufs()
        change_db = 0.0 if measured == -np.inf else min(mix.loudness_lufs - measured, MAX_GAIN_DB)
        for start in range(0, total, BLOCK):
            sound[:, start : start + BLOCK] *= np.float32(10.0 ** (change_db / 20.0))
        limited = limit_in_place(sound, SAMPLE_RATE, CEILING_DBTP, check)
        if limited:
            meter, change_db = LoudnessMeter(SAMPLE_RATE), 0.0
            for start in range(0, total, BLOCK):
                check()
                meter.add(sound[:, start : start + BLOCK])
        loudness = meter.integrated_lufs() + change_db
        peak = peak_dbtp(sound, SAMPLE_RATE)
        return Rendered(Waveform(sound, SAMPLE_RATE), loudness, peak, meter.momentary_lufs(change_db), limited)

    def stream(self, notes: Notes, total: int, mix: Mix, check: Callable[[], None]) -> Iterator[Samples]:
        """The notes with tone and room: blocks ``[2, samples]``, ``total`` samples together, at no particular level."""
        room = Room(impulse_response(SOUNDS[mix.sound], mix.treble))
        try:
            for block in self._dry(with_programs(notes, mix.sound), total, check):
                yield room.filter(block)
        finally:  # also when the stream is dropped: no voice may reach the next one
            self._synth.sounds_off()
            self._synth.generate_simple(SAMPLE_RATE // 5)

    def _dry(self, notes: Notes, total: int, check: Callable[[], None]) -> Iterator[Samples]:
        """What the soundfont gives, in blocks."""
        channels = self._assign(notes)
        events: list[tuple[int, int, int, int, int]] = []  # sample, 0 off / 1 on, channel, pitch, velocity
        for note in notes:
            channel, pitch = channels[int(note["part"])], int(note["pitch"])
            start, stop = (round(float(note[name]) * SAMPLE_RATE) for name in ("start_s", "end_s"))
            events.append((start, 1, channel, pitch, int(note["velocity"])))
            events.append((max(stop, start + 1), 0, channel, pitch, 0))
        events.sort(reverse=True)
        slice_length = round(STOP_EVERY_S * SAMPLE_RATE)
        for first in range(0, total, BLOCK):
            block = np.zeros((min(BLOCK, total - first), 2), np.float32)
            now = 0
            while now < len(block):
                while events and events[-1][0] <= first + now:
                    _, on, channel, pitch, velocity = events.pop()
                    if on:
                        self._synth.noteon(channel, pitch, velocity)
                    else:
                        self._synth.noteoff(channel, pitch)
                until = min(len(block), now + slice_length, events[-1][0] - first if events else len(block))
                check()
                self._fill(block[now:until])
                now = until
            yield np.ascontiguousarray(block.T)

    def _gain(self, notes: Notes, total: int, mix: Mix, check: Callable[[], None]) -> np.float32:
        """About the gain to the target, from an excerpt in the middle: a preview must not be a surprise."""
        middle_s = max(0.0, total / SAMPLE_RATE / 2 - EXCERPT_S / 2)
        excerpt = notes[(notes["start_s"] >= middle_s) & (notes["start_s"] < middle_s + EXCERPT_S)].copy()
        excerpt["start_s"] -= middle_s
        excerpt["end_s"] -= middle_s
        meter = LoudnessMeter(SAMPLE_RATE)
        for block in self.stream(excerpt, min(total, round(EXCERPT_S * SAMPLE_RATE)), mix, check):
            meter.add(block)
        measured = meter.integrated_lufs()
        gain_db = 0.0 if measured == -np.inf else min(mix.loudness_lufs - measured, MAX_GAIN_DB)
        return np.float32(10.0 ** (gain_db / 20.0))


def level_jump_db(momentary_lufs: Array, loudness_lufs: float, memory_s: float = 3.0) -> float:
    """Largest rise of the momentary loudness above the loudest of the seconds before, in LU.

    What is more than 25 LU below the integrated loudness counts as 25 LU below it, so that the first note after
    silence is measured against something: music that fades in scores low, a loud first chord scores 25.
    """
    level = np.maximum(momentary_lufs, loudness_lufs - SILENT_JUMP_LU)
    memory = round(memory_s * 10)
    if len(level) == 0 or not np.isfinite(loudness_lufs):
        return 0.0
    padded = np.concatenate((np.full(memory, loudness_lufs - SILENT_JUMP_LU), level))
    before = np.lib.stride_tricks.sliding_window_view(padded, memory).max(1)[: len(level)]
    return float(np.maximum(level - before, 0.0).max())


def _preview(sound: Samples) -> Waveform:
    copy = sound.copy()
    limit_in_place(copy, SAMPLE_RATE, CEILING_DBTP)
    return Waveform(copy, SAMPLE_RATE)


def _fades(start: int, stop: int, total: int, mix: Mix) -> Samples | np.float32:
    """Raised-cosine gain of the samples ``start`` to ``stop``, 0 at both ends of all ``total``."""
    if start > mix.fade_in_s * SAMPLE_RATE and stop < total - mix.fade_out_s * SAMPLE_RATE:
        return np.float32(1.0)
    place = np.arange(start, stop, dtype=np.float64)
    gain = np.ones(stop - start)
    for seconds, distance in ((mix.fade_in_s, place), (mix.fade_out_s, total - 1 - place)):
        length = min(seconds * SAMPLE_RATE, total / 2)
        if length >= 1:
            gain *= np.sin(0.5 * np.pi * np.clip(distance / length, 0.0, 1.0)) ** 2
    return gain.astype(np.float32)


def with_programs(notes: Notes, sound: str) -> Notes:
    """The notes as that instrument plays them: its General MIDI programs; drums stay drums."""
    notes, (melody, accompaniment) = notes.copy(), SOUNDS[sound].programs
    programs = np.where(notes["part"] == 0, melody, accompaniment)
    notes["program"] = np.where(notes["is_drum"], notes["program"], programs)
    return notes
