"""Semantic tokens: note events, five codes each.

MusicLM's semantic tokens are clusters of w2v-BERT, which learned from hours nobody here has; what they have to carry is
what is played. Here that is written down: every event is one note with its place in the bar, in the manner of REMI
(arXiv 2002.00212) and of compound words (arXiv 2101.02402, one position a note), after a few events that say tempo,
key, metre and who plays (arXiv 2201.10936 shows how much such a description helps). A tempo is one code instead of a
period to be kept over hundreds of frames, a key one code instead of a habit, and a note is never half wrong.

Columns of an event ``[time, instrument, pitch, duration, level]``, each below `SIZE`:

========  =============  ==========  ============  ===========  =========
event     time           instrument  pitch         duration     level
========  =============  ==========  ============  ===========  =========
setting   `SETTING`      tempo       key           beats a bar  sound
player    `PLAYER`       instrument  mean pitch    role         loudness
empty bar `BAR`          0           0             0            0
note      tick (+ 96)    instrument  pitch in C    duration     velocity
padding   `PAD`          0           0             0            0
========  =============  ==========  ============  ===========  =========

A note's time is its tick in the present bar, or 96 more in the next bar; 24 ticks are a beat. Time zero is a bar line.
Pitches are MIDI numbers of the piece moved to the tonic C by the nearest way, so that what is learned in one key is
known in all; drums stay where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from backend.corpus.instruments import DRUMS, INSTRUMENTS
from backend.corpus.render import ROOMS
from backend.corpus.theory import PITCH_NAMES, measure_key

if TYPE_CHECKING:
    from backend.audio.midi import Notes as MidiNotes

FIELDS = ("time", "instrument", "pitch", "duration", "level")
SIZE = 256
TICKS = 24
BAR_TICKS = 96
BAR, SETTING, PLAYER, PAD = 192, 193, 194, 195
LONGEST_REST_BARS = 8

LOWEST_BPM, TEMPO_STEP, N_TEMPI = 40.0, 1.009, 192
HIGHEST_BPM = 220.0
KEYS = tuple(f"{tonic} {mode}" for mode in ("major", "minor") for tonic in PITCH_NAMES)
AMBIGUOUS, NO_KEY = 24, 36
"""Codes of a key beyond `KEYS`: 24 to 35 a tonic without a clear mode, 36 no pitches at all."""
BARS = (2, 3, 4)
SOUNDFONTS = ("FluidR3_GM", "MuseScore_General", "MuseScore_General_Lite", "TimGM6mb")
N_SOUNDS = (len(SOUNDFONTS) + 1) * len(ROOMS)

CAST = (*INSTRUMENTS, DRUMS)
DRUM_KIT = len(INSTRUMENTS)
_OF_PROGRAM = {instrument.program: i for i, instrument in enumerate(INSTRUMENTS)}
DURATIONS = np.array(
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 22, 24, 28, 32, 36, 42, 48, 56, 64, 72, 84, 96, 112, 128,
     160, 192, 240, 288, 384]
)  # fmt: skip
"""Ticks a duration code stands for; code 0 is a drum hit."""
N_LEVELS = 16
LOWEST_GAIN_DB, N_GAINS = -14.0, 19
DRUM_HIT_S = 0.06

Events = npt.NDArray[np.uint8]
"""``[events, 5]``."""

NOTE = np.dtype(
    [("onset_s", "f4"), ("duration_s", "f4"), ("instrument", "u1"), ("pitch", "u1"), ("velocity", "u1"), ("gain", "u1")]
)  # fmt: skip
"""A note as the acoustic stage reads it: seconds, codes of instrument, pitch, velocity and its player's loudness."""


@dataclass(frozen=True)
class Setting:
    """What holds for a whole piece.

    Attributes:
        tempo: code of `tempo_code`.
        key: index into `KEYS`, or `AMBIGUOUS` plus a tonic, or `NO_KEY`.
        bar: beats a bar, one of `BARS`.
        sound: soundfont and room the piece was rendered with, a hint to the acoustic stage.
    """

    tempo: int
    key: int
    bar: int
    sound: int

    @property
    def bpm(self) -> float:
        """Beats a minute."""
        return LOWEST_BPM * TEMPO_STEP**self.tempo

    @property
    def shift(self) -> int:
        """Semitones from a pitch in C to the pitch that sounds, -6 to 5."""
        return 0 if self.key == NO_KEY else (self.key + 6) % 12 - 6

    def event(self) -> list[int]:
        """The event that says it."""
        return [SETTING, self.tempo, self.key, BARS.index(self.bar), self.sound]

    @classmethod
    def of_event(cls, event: Sequence[int] | Events) -> Setting:
        """Read `event` back; codes out of range become the nearest that exist."""
        tempo, key, bar, sound = (int(x) for x in event[1:])
        return cls(min(tempo, N_TEMPI - 1), min(key, NO_KEY), BARS[min(bar, len(BARS) - 1)], min(sound, N_SOUNDS - 1))


def tempo_code(bpm: float) -> int:
    """The nearest tempo code: steps of 0.9 % from 40 to 222 beats a minute."""
    return int(np.clip(np.round(np.log(bpm / LOWEST_BPM) / np.log(TEMPO_STEP)), 0, N_TEMPI - 1))


def sound_code(soundfont: str, room: str) -> int:
    """Code of a soundfont (unknown ones share one) and a room."""
    font = SOUNDFONTS.index(soundfont) if soundfont in SOUNDFONTS else len(SOUNDFONTS)
    rooms = list(ROOMS)
    return font * len(rooms) + (rooms.index(room) if room in rooms else 0)


def instrument_code(program: int, is_drum: bool) -> int:
    """Index into `CAST`.

    Raises:
        KeyError: a program the corpus does not play.
    """
    return DRUM_KIT if is_drum else _OF_PROGRAM[program]


def gain_code(gain_db: float) -> int:
    """Code of a player's loudness beside the lead, in decibels."""
    return int(np.clip(np.round(gain_db - LOWEST_GAIN_DB), 0, N_GAINS - 1))


def _key_code(notes: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> int:
    """Code of a clip's key: as its metadata names it, else the most likely tonic."""
    if meta.get("key") in KEYS:
        return KEYS.index(meta["key"])
    pitched = ~notes["is_drum"]
    if not pitched.any():
        return NO_KEY
    return AMBIGUOUS + measure_key(notes["pitch"][pitched], notes["duration_s"][pitched]).tonic


@dataclass(frozen=True)
class Piece:
    """A clip's notes on the grid, sorted, with everything its events say.

    Attributes:
        setting: tempo, key, metre, sound.
        players: events of the players, the most prominent first.
        ticks: absolute tick of every note; bar lines are at multiples of ``setting.bar × 24``.
        codes: ``[notes, 4]`` instrument, pitch in C, duration, velocity.
        lead_in_s: seconds at tick 0.
    """

    setting: Setting
    players: Events
    ticks: npt.NDArray[np.int64]
    codes: Events
    lead_in_s: float

    @classmethod
    def of_clip(cls, notes: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> Piece:
        """The piece of one clip of the corpus from its note arrays and its metadata.

        Raises:
            KeyError: an instrument the corpus does not play.
        """
        bpm = float(meta["tempo_bpm"])
        beats, downbeats = notes["beats_s"].astype(np.float64), notes["downbeats_s"].astype(np.float64)
        beat_s = 60.0 / bpm
        in_bar = round(float(np.median(np.diff(downbeats))) / beat_s) if len(downbeats) > 1 else 4
        bar = in_bar if in_bar in BARS else 4
        bar_s = bar * beat_s
        line = float(downbeats[0]) if len(downbeats) else float(beats[0])
        lead_in_s = line - bar_s * np.ceil((line - float(beats[0])) / bar_s - 1e-3)
        ticks = np.round((notes["onset_s"] - lead_in_s) / beat_s * TICKS).astype(np.int64)
        lengths = np.maximum(1, np.round(notes["duration_s"] / beat_s * TICKS))
        duration = 1 + np.abs(DURATIONS[None, 1:] - lengths[:, None]).argmin(1)
        duration[notes["is_drum"]] = 0
        who = np.array(
            [instrument_code(int(p), bool(d)) for p, d in zip(notes["program"], notes["is_drum"], strict=True)]
        )
        setting = Setting(tempo_code(bpm), _key_code(notes, meta), bar, sound_code(meta["soundfont"], meta["room"]))
        pitch = np.where(notes["is_drum"], notes["pitch"], np.clip(notes["pitch"].astype(int) - setting.shift, 0, 127))
        codes = np.stack([who, pitch, duration, notes["velocity"] // (128 // N_LEVELS)], 1).astype(np.uint8)
        order = np.lexsort((notes["pitch"], notes["part"], ticks))
        order = order[ticks[order] >= 0]
        players = []
        for index in np.unique(notes["part"]):
            own = notes["part"] == index
            drum = bool(notes["is_drum"][own][0])
            gain = float(meta["instruments"][index]["gain_db"])
            mean = 0 if drum else round(float(notes["pitch"][own].mean()))
            players.append([PLAYER, int(who[own][0]), mean, int(notes["role"][own][0]), gain_code(gain)])
        return cls(setting, np.array(players, np.uint8), ticks[order], codes[order], lead_in_s)

    @property
    def head(self) -> Events:
        """Setting and players."""
        return np.concatenate([np.array([self.setting.event()], np.uint8), self.players])

    @property
    def n_bars(self) -> int:
        """Bars in which something starts."""
        return int(self.ticks[-1]) // (self.setting.bar * TICKS) + 1 if len(self.ticks) else 0

    def window(self, start_s: float, length_s: float) -> Piece:
        """The notes that start in ``length_s`` from ``start_s`` of the clip, on the same grid moved to the start.

        The window starts on its own bar line: what the acoustic stage needs is when things happen, not the metre.
        """
        tick_s = 60.0 / self.setting.bpm / TICKS
        ticks = np.round((self.ticks * tick_s + self.lead_in_s - start_s) / tick_s).astype(np.int64)
        kept = (ticks >= 0) & (ticks * tick_s < length_s)
        return Piece(self.setting, self.players, ticks[kept], self.codes[kept], 0.0)

    def events(self, first_bar: int = 0, limit: int | None = None) -> Events:
        """Head and notes from a bar on, at most ``limit`` events."""
        length = self.setting.bar * TICKS
        start = int(np.searchsorted(self.ticks, first_bar * length))
        rows: list[list[int]] = []
        now = first_bar
        room = (limit or 1 << 30) - len(self.players) - 1
        for tick, codes in zip(self.ticks[start:].tolist(), self.codes[start:].tolist(), strict=True):
            bar, inside = divmod(tick, length)
            while bar > now + 1:
                rows.append([BAR, 0, 0, 0, 0])
                now += 1
            rows.append([inside + (BAR_TICKS if bar > now else 0), *codes])
            now = bar
            if len(rows) >= room:
                break
        body = np.array(rows[:room], np.uint8).reshape(-1, 5)
        return np.concatenate([self.head, body])


def pad_events(events: Events, length: int) -> Events:
    """Events cut or filled up to ``length``."""
    out = np.zeros((length, len(FIELDS)), np.uint8)
    out[:, 0] = PAD
    out[: len(events)] = events[:length]
    return out


def notes_of(events: Events) -> npt.NDArray[np.void]:
    """The notes that events stand for, dtype `NOTE`, sorted by onset; time zero is the first bar line.

    Events that make no sense where they stand are skipped: sampling may produce them.
    """
    setting = Setting(tempo_code(100), NO_KEY, 4, 0)
    gains: dict[int, int] = {}
    rows: list[tuple[float, float, int, int, int, int]] = []
    now = 0
    for event in events.tolist():
        time, instrument, pitch, duration, level = event
        if time == SETTING:
            setting = Setting.of_event(event)
        elif time == PLAYER:
            gains.setdefault(min(instrument, DRUM_KIT), min(level, N_GAINS - 1))
        elif time == BAR:
            now += 1
        elif time < BAR and instrument <= DRUM_KIT and pitch < 128 and duration < len(DURATIONS):
            ahead, tick = divmod(time, BAR_TICKS)
            now += ahead
            tick_s = 60.0 / setting.bpm / TICKS
            onset = (now * setting.bar * TICKS + min(tick, setting.bar * TICKS - 1)) * tick_s
            length = DRUM_HIT_S if instrument == DRUM_KIT else max(1, int(DURATIONS[duration])) * tick_s
            gain = gains.get(instrument, gain_code(-4.0))
            sounding = pitch if instrument == DRUM_KIT else min(max(pitch + setting.shift, 0), 127)
            rows.append((onset, length, instrument, sounding, min(level, N_LEVELS - 1), gain))
    return np.array(sorted(rows), dtype=NOTE)


def midi_notes(events: Events) -> MidiNotes:
    """The same notes as a MIDI table (`backend.audio.midi.NOTE`), a part for each instrument."""
    from backend.audio.midi import make_notes  # needs mido, which a training kit lacks

    rows = []
    for note in notes_of(events):
        who = CAST[int(note["instrument"])]
        onset, velocity = float(note["onset_s"]), (2 * int(note["velocity"]) + 1) * 64 // N_LEVELS
        end = onset + float(note["duration_s"])
        rows.append((onset, end, int(note["pitch"]), velocity, who.program, who.is_drum, int(note["instrument"])))
    return make_notes(rows)


def window_events(events: Events, start_s: float, length_s: float, slots: int) -> Events:
    """The notes of a piece that start in ``length_s`` from ``start_s``, as ``slots`` events on a grid moved there.

    Args:
        events: head and notes; those that make no sense where they stand are skipped.
        start_s: from the first bar line; negative for what begins before it.
        length_s: of the window.
        slots: events in all; fewer are padded, more are cut.

    Returns:
        Head and notes as of `Piece.window`, ``[slots, 5]``.
    """
    return pad_events(piece_of(events).window(start_s, length_s).events(0, slots), slots)


def piece_of(events: Events) -> Piece:
    """The piece that events stand for, its first bar line at zero seconds."""
    setting = Setting(tempo_code(100), NO_KEY, 4, 0)
    players: list[list[int]] = []
    notes: list[tuple[int, list[int]]] = []
    bar = 0
    for event in events.tolist():
        time, instrument, pitch, duration, _ = event
        if time == SETTING:
            setting = Setting.of_event(event)
        elif time == PLAYER:
            players.append(event)
        elif time == BAR:
            bar += 1
        elif time < BAR and instrument <= DRUM_KIT and pitch < 128 and duration < len(DURATIONS):
            ahead, tick = divmod(time, BAR_TICKS)
            bar += ahead
            length = setting.bar * TICKS
            notes.append((bar * length + min(tick, length - 1), event[1:]))
    notes.sort(key=lambda note: note[0])
    ticks = np.array([tick for tick, _ in notes], np.int64)
    codes = np.array([codes for _, codes in notes], np.uint8).reshape(-1, len(FIELDS) - 1)
    return Piece(setting, np.array(players, np.uint8).reshape(-1, len(FIELDS)), ticks, codes, 0.0)


def true_notes(notes: Mapping[str, npt.NDArray[Any]], meta: Mapping[str, Any]) -> npt.NDArray[np.void]:
    """The notes of a clip of the corpus at their true times, dtype `NOTE`: what the acoustic stage learns from."""
    out = np.zeros(len(notes["onset_s"]), NOTE)
    drums = notes["is_drum"]
    out["onset_s"], out["duration_s"] = notes["onset_s"], np.where(drums, DRUM_HIT_S, notes["duration_s"])
    out["instrument"] = [instrument_code(int(p), bool(d)) for p, d in zip(notes["program"], drums, strict=True)]
    out["pitch"], out["velocity"] = notes["pitch"], notes["velocity"] // (128 // N_LEVELS)
    out["gain"] = np.array([gain_code(p["gain_db"]) for p in meta["instruments"]], np.uint8)[notes["part"]]
    return out[np.argsort(out["onset_s"], kind="stable")]
