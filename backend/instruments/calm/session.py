"""A session: 1 to 60 minutes through several pieces that slow down, never jump and never repeat themselves literally.

The music is laid out in bars on one grid and in one scale, then given a tempo ramp and a player's small irregularities
of time and loudness. It starts and ends in silence and closes on its tonic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from backend.audio.midi import Notes
from backend.contract import check_number
from backend.errors import RequestError
from backend.instruments.calm.perform import PHRASE_BARS, onset_jump_db, perform
from backend.instruments.calm.piece import NOTE_GRID, STEPS_PER_BAR, STEPS_PER_BEAT, TONIC, CalmPiece, tidy
from backend.instruments.calm.vary import Bar, BarNote, Content, content, vary

Array = npt.NDArray[np.float64]
Grid = npt.NDArray[np.void]
Path = Callable[[CalmPiece, CalmPiece, int], Sequence[CalmPiece]]
"""Two pieces and a number of steps → the pieces from the first to the second, both included."""

MIN_MINUTES, MAX_MINUTES = 1, 60
MIN_BPM, MAX_BPM = 40, 90
END_BPM = 60.0
LEAD_IN_S, RING_OUT_S = 2.0, 8.0
BEATS_PER_BAR = STEPS_PER_BAR // STEPS_PER_BEAT
LOWEST, HIGHEST = 36, 84  # C2 to C6: neither rumbles nor glitters
TRIES = 24  # at a bar that says again what was said


@dataclass(frozen=True)
class Placed:
    """A stretch of the session: bars ``first_bar`` on, ``position`` 0 to 1 of the way between two anchors."""

    first_bar: int
    bars: int
    start: int
    end: int
    position: float
    piece: CalmPiece


@dataclass(frozen=True, eq=False)
class Session:
    """A session as notes.

    Attributes:
        notes: what is played, in seconds; part 0 melody, part 1 accompaniment.
        grid: the same as composed, `piece.NOTE_GRID` over all bars in normal form.
        placed: which piece gave which bars.
        bars: music, without the silence around it.
        transpose: semitones from the normal form to what sounds.
        beat_s: time of every beat and of the end of the last ``[4 bars + 1]``.
        tempo_bpm: of every beat ``[4 bars]``.
        duration_s: length with the silence before and after.
    """

    notes: Notes
    grid: Grid
    placed: tuple[Placed, ...]
    bars: int
    transpose: int
    beat_s: Array
    tempo_bpm: Array
    duration_s: float


def build_session(
    anchors: Sequence[CalmPiece],
    path: Path,
    minutes: float = 20.0,
    seed: int = 0,
    *,
    start_bpm: float | None = None,
    end_bpm: float = END_BPM,
    steps: int = 9,
    pitches: tuple[int, int] = (LOWEST, HIGHEST),
    around: Callable[[CalmPiece, int], CalmPiece] | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Session:
    """Compose a session through the anchors and, when they are passed, through relatives of them.

    Args:
        anchors: at least one piece; the first one's key is the session's.
        path: interpolates between two pieces.
        minutes: length with the silence, 1 to 60.
        seed: of variation, timing and loudness.
        start_bpm: tempo of the first bar, 40 to 90; None takes the first anchor's, within 60 to 80.
        end_bpm: tempo of the last bar, 40 to 90.
        steps: most pieces from one anchor to the next, both included.
        pitches: lowest and highest MIDI pitch, at least two octaves apart.
        around: a piece near another, for the second time round; None returns to the same anchors.
        progress: told the share done, 0 to 1, a few times a second; may raise to stop.

    Raises:
        RequestError: no anchor, or a number outside its range.
    """
    if not anchors:
        raise RequestError("anchors", anchors, "at least one piece")
    check_number("minutes", minutes, MIN_MINUTES, MAX_MINUTES)
    first_bpm = float(np.clip(anchors[0].tempo_bpm, 60.0, 80.0)) if start_bpm is None else start_bpm
    for name, value in (("start_bpm", first_bpm), ("end_bpm", end_bpm)):
        check_number(name, value, MIN_BPM, MAX_BPM)
    check_number("steps", steps, 2, 33, integer=True)
    transpose = (anchors[0].transpose + 6) % 12 - 6
    beat_s, tempo_bpm = tempo_ramp(60.0 * minutes - LEAD_IN_S - RING_OUT_S, first_bpm, end_bpm)
    bars = len(tempo_bpm) // BEATS_PER_BAR
    placed, music = [], list[Bar]()
    rng, said = np.random.default_rng([seed, 1]), set[Content]()
    limits = (pitches[0] - transpose, pitches[1] - transpose)
    for part in route(anchors, path, bars, int(steps), around):
        progress(len(music) / bars)
        placed.append(part)
        for number in range(part.bars):
            music.append(_new_bar(_bar(part.piece, number, part.bars, limits), music, said, rng, limits))
    mode = placed[-1].piece.mode
    music[-1] = _closing(mode, limits)
    grid = _grid(music)
    notes = perform(grid, LEAD_IN_S + beat_s, transpose, np.random.default_rng([seed, 2]))
    return Session(notes, grid, tuple(placed), bars, transpose, LEAD_IN_S + beat_s, tempo_bpm, 60.0 * minutes)


def tempo_ramp(seconds: float, start_bpm: float, end_bpm: float) -> tuple[Array, Array]:
    """As many whole bars as fit, each beat a little nearer to the final tempo.

    Returns:
        Time of every beat and of the end of the last, and the tempo of every beat.
    """
    bars = max(1, int(seconds * max(start_bpm, end_bpm) / 60.0 / BEATS_PER_BAR) + 1)
    while True:
        tempo = np.linspace(start_bpm, end_bpm, bars * BEATS_PER_BAR)
        times = np.concatenate(([0.0], np.cumsum(60.0 / tempo)))
        if times[-1] <= seconds or bars == 1:
            return times, tempo
        bars -= 1


def route(
    anchors: Sequence[CalmPiece],
    path: Path,
    bars: int,
    steps: int,
    around: Callable[[CalmPiece, int], CalmPiece] | None = None,
) -> Iterator[Placed]:
    """The stretches that fill the bars: anchors whole where there is room, between them a phrase of every step.

    The phrases run on through the form: after bars 1 to 4 of one step come bars 5 to 8 of the next.
    """
    count, legs = len(anchors), max(1, len(anchors) - 1)
    phrases = -(-bars // PHRASE_BARS)
    whole = sum(-(-piece.bars // PHRASE_BARS) for piece in anchors)
    room = 2 * whole <= phrases
    inner = min(steps - 2, max(0, (phrases - (whole if room else count)) // legs))
    done, leg, here, beginning = 0, 0, anchors[0], 0
    while done < bars:
        there = anchors[(leg + 1) % count]
        if leg + 1 >= count and around is not None:
            there = around(there, (leg + 1) // count)
        between = list(path(here, there, inner + 2))[1:-1] if inner else []
        for index, piece in enumerate((here, *between)):
            length = piece.bars if room and index == 0 else min(PHRASE_BARS, piece.bars)
            start = 0 if index == 0 else beginning % piece.bars
            length = min(length, piece.bars - start, bars - done)
            cut = _from_bar(piece, start)
            yield Placed(done, length, leg % count, (leg + 1) % count, index / (len(between) + 1), cut)
            done, beginning = done + length, (start + length) % piece.bars
            if done >= bars:
                return
        here, leg = there, leg + 1


def session_onset_jump_db(session: Session) -> float:
    """Largest rise of an onset above the loudest onset of the four seconds before it, in dB."""
    return onset_jump_db(session.notes)


def session_tempo_jump_bpm(session: Session) -> float:
    """Largest change of tempo from one beat to the next, in beats a minute."""
    return float(np.abs(np.diff(session.tempo_bpm)).max(initial=0.0))


def session_repeat_share(session: Session) -> float:
    """Share of the two-bar spans, one from every bar line, with the onsets and pitches of an earlier span."""
    bars: list[list[BarNote]] = [[] for _ in range(session.bars)]
    for note in session.grid:
        bar, step = divmod(int(note["step"]), STEPS_PER_BAR)
        bars[bar].append(BarNote(step, int(note["pitch"]), 1, 1, 0))
    spans = [content(tuple(a), tuple(b)) for a, b in pairwise(bars)]
    return 1.0 - len(set(spans)) / len(spans) if spans else 0.0


def _from_bar(piece: CalmPiece, bar: int) -> CalmPiece:
    """The piece beginning at one of its bars; what is before it follows at the end."""
    if bar == 0:
        return piece
    notes = piece.notes.copy()
    notes["step"] = (notes["step"] - bar * STEPS_PER_BAR) % piece.steps
    return replace(piece, notes=tidy(notes, piece.steps))


def _bar(piece: CalmPiece, number: int, bars: int, limits: tuple[int, int]) -> Bar:
    """One bar of a piece, folded by octaves into the limits; nothing sounds past the stretch's last bar."""
    first = number * STEPS_PER_BAR
    inside = piece.notes[(piece.notes["step"] >= first) & (piece.notes["step"] < first + STEPS_PER_BAR)]
    found: dict[tuple[int, int], BarNote] = {}
    for note in inside:
        step, pitch = int(note["step"]) - first, int(note["pitch"])
        while pitch < limits[0]:
            pitch += 12
        while pitch > limits[1]:
            pitch -= 12
        length = min(int(note["length"]), bars * STEPS_PER_BAR - int(note["step"]))
        found[step, pitch] = BarNote(step, pitch, length, int(note["velocity"]), int(note["hand"]))
    return tuple(sorted(found.values()))


def _new_bar(bar: Bar, music: list[Bar], said: set[Content], rng: np.random.Generator, limits: tuple[int, int]) -> Bar:
    """The bar, changed if with the one before it it would say what was said; an empty bar holds the last harmony."""
    before = music[-1] if music else ()
    if not bar:
        chord = sorted({note.pitch for note in before})[:2] or [limits[0] + (-limits[0]) % 12 + 12]
        bar = tuple(BarNote(0, pitch, STEPS_PER_BAR, 50, 1) for pitch in chord)
    original = bar
    for attempt in range(TRIES):
        if not music or content(before, bar) not in said:
            break
        bar = vary(original, rng, 1 + attempt // 6, *limits)
    said.add(content(before, bar))
    return bar


def _closing(mode: str, limits: tuple[int, int]) -> Bar:
    """The tonic chord, held: root, fifth, tenth."""
    root = TONIC[mode] + 36
    while root < limits[0]:
        root += 12
    third = 16 if mode == "major" else 15
    return tuple(BarNote(0, root + above, STEPS_PER_BAR, 56, int(above < 15)) for above in (0, 7, third))


def _grid(music: list[Bar]) -> Grid:
    rows = [
        (number * STEPS_PER_BAR + note.step, note.length, note.pitch, note.velocity, note.hand)
        for number, bar in enumerate(music)
        for note in bar
    ]
    return tidy(np.array(rows, NOTE_GRID), len(music) * STEPS_PER_BAR)
