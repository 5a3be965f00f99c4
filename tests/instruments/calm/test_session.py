"""Sessions: exact in length, slowing down, free of jumps and of literal repetition, at home at the end."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest

from backend.errors import Cancelled, RequestError
from backend.instruments.calm.perform import MAX_RISE_DB, onset_jump_db
from backend.instruments.calm.piece import NOTE_GRID, CalmPiece
from backend.instruments.calm.pieces import bundled
from backend.instruments.calm.session import (
    HIGHEST,
    LOWEST,
    RING_OUT_S,
    Session,
    build_session,
    session_onset_jump_db,
    session_repeat_share,
    session_tempo_jump_bpm,
)
from backend.instruments.calm.vary import CHANGES, BarNote, content, vary

LULLABY, SNOW = bundled("lullaby"), bundled("first_snow")


def crossfade(a: CalmPiece, b: CalmPiece, steps: int) -> list[CalmPiece]:
    """A road that takes the first half from one end and the second from the other."""
    return [a if index < steps / 2 else b for index in range(steps)]


def made(minutes: float = 3, seed: int = 0, anchors: tuple[CalmPiece, ...] = (LULLABY, SNOW), **more: float) -> Session:
    return build_session(anchors, crossfade, minutes, seed, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("minutes", [1, 2.5, 20, 60])
def test_a_session_is_as_long_as_asked_and_starts_and_ends_in_silence(minutes: float) -> None:
    session = made(minutes)
    assert session.duration_s == 60 * minutes
    assert session.notes["start_s"].min() >= 1.9
    assert RING_OUT_S - 0.1 <= session.duration_s - session.notes["end_s"].max() < RING_OUT_S + 5
    assert sum(part.bars for part in session.placed) == session.bars == len(session.tempo_bpm) / 4


def test_the_tempo_goes_evenly_to_sixty_or_where_it_is_sent() -> None:
    session = made(20)
    assert session.tempo_bpm[0] == LULLABY.tempo_bpm and session.tempo_bpm[-1] == 60
    assert session_tempo_jump_bpm(session) < 0.02
    other = made(20, start_bpm=80, end_bpm=48)
    assert (other.tempo_bpm[0], other.tempo_bpm[-1]) == (80, 48) and session_tempo_jump_bpm(other) < 0.05
    assert np.all(np.diff(np.diff(other.beat_s)) > 0)  # every beat is longer than the one before
    jumping = dataclasses.replace(session, tempo_bpm=np.array([60.0, 60.0, 75.0, 60.0]))
    assert session_tempo_jump_bpm(jumping) == 15


@pytest.mark.parametrize("anchors", [(LULLABY,), (LULLABY, SNOW), (bundled("still_water"),)])
def test_twenty_minutes_never_repeat_two_bars_even_of_one_short_piece(anchors: tuple[CalmPiece, ...]) -> None:
    assert session_repeat_share(made(20, anchors=anchors)) <= 0.01


def test_the_repeat_share_counts_spans_that_were_heard_before() -> None:
    session = made(3)
    bars = 8
    first = session.grid[session.grid["step"] < 4 * 16]
    again = first.copy()
    again["step"] += 4 * 16
    twice = dataclasses.replace(session, grid=np.concatenate((first, again)), bars=bars)
    # Of the seven spans, three are the first three again; the one across the middle is new.
    assert session_repeat_share(twice) == pytest.approx(3 / 7)
    again["length"], again["velocity"] = 1, 1  # playing it otherwise makes it nothing new
    assert session_repeat_share(dataclasses.replace(twice, grid=np.concatenate((first, again)))) == pytest.approx(3 / 7)


def test_no_onset_rises_suddenly_even_from_a_piece_with_a_blow_in_it() -> None:
    assert session_onset_jump_db(made(20)) <= MAX_RISE_DB
    blow = LULLABY.notes.copy()
    blow["velocity"] = np.where(blow["step"] >= 128, 127, 20)
    extra = np.zeros(8, NOTE_GRID)
    extra["step"], extra["length"], extra["velocity"] = 128, 8, 127
    extra["pitch"] = np.arange(40, 56, 2)
    loud = dataclasses.replace(LULLABY, notes=np.sort(np.concatenate((blow, extra)), order=["step", "pitch"]))
    assert session_onset_jump_db(made(2, anchors=(loud,))) <= MAX_RISE_DB
    notes = made(3).notes
    notes["velocity"][len(notes) // 2] = 127
    assert onset_jump_db(notes) > 6


def test_what_sounds_is_playable_within_its_register_and_soft() -> None:
    high = LULLABY.notes.copy()
    high["pitch"] += 24
    for session in (made(5), made(5, anchors=(dataclasses.replace(LULLABY, notes=high, transpose=5), SNOW))):
        notes = session.notes
        assert notes["pitch"].min() >= LOWEST and notes["pitch"].max() <= HIGHEST
        assert notes["velocity"].max() <= 74 and (notes["end_s"] > notes["start_s"]).all()
        for pitch in np.unique(notes["pitch"]):  # a key is released before it is struck again
            mine = notes[notes["pitch"] == pitch]
            assert all(a["end_s"] < b["start_s"] for a, b in pairwise(mine))


def test_a_narrower_register_is_kept_to() -> None:
    session = made(2, pitches=(48, 72))  # type: ignore[arg-type]
    assert session.notes["pitch"].min() >= 48 and session.notes["pitch"].max() <= 72


def test_the_ends_are_softer_than_the_middle_and_timing_is_human_but_small() -> None:
    session = made(5)
    notes = session.notes
    level = [notes["velocity"][abs(notes["start_s"] - at) < 5].mean() for at in (5, 150, 285)]
    assert level[0] < level[1] - 4 and level[2] < level[1] - 4
    grid_s = np.interp(session.grid["step"] / 4, np.arange(len(session.beat_s)), session.beat_s)
    late = np.sort(notes["start_s"]) - np.sort(grid_s)
    assert 0.002 < late.std() < 0.03 and np.abs(late).max() < 0.06


def test_the_first_anchor_is_heard_as_it_is_and_the_last_bar_is_its_tonic() -> None:
    session = made(10)
    bars = [session.grid[session.grid["step"] // 16 == bar] for bar in range(4)]
    for bar, notes in enumerate(bars):
        mine = LULLABY.notes[LULLABY.notes["step"] // 16 == bar]
        assert set(notes["pitch"]) == set(mine["pitch"])
    last = session.grid[session.grid["step"] // 16 == session.bars - 1]
    tonic = 0 if session.placed[-1].piece.mode == "major" else 9
    assert len(last) == 3 and last["pitch"].min() % 12 == tonic and (last["length"] == 16).all()
    assert session.transpose == LULLABY.transpose


def test_every_anchor_is_passed_even_in_a_short_session_and_relatives_come_later() -> None:
    short = made(2, anchors=(LULLABY, SNOW, bundled("tide")))
    assert {part.start for part in short.placed if part.position == 0} == {0, 1, 2}
    rounds: list[int] = []

    def around(piece: CalmPiece, round_number: int) -> CalmPiece:
        rounds.append(round_number)
        return piece

    build_session([LULLABY, SNOW], crossfade, 20, 0, around=around)
    assert rounds == sorted(rounds) and rounds[0] == 1 and rounds[-1] >= 2


def test_the_seed_decides() -> None:
    assert made(3, seed=1).notes.tobytes() == made(3, seed=1).notes.tobytes() != made(3, seed=2).notes.tobytes()


def test_a_model_that_falls_silent_does_not_silence_the_session() -> None:
    silent = CalmPiece(np.zeros(0, NOTE_GRID), 8)
    session = build_session([LULLABY], lambda a, b, steps: [silent] * steps, 3)
    assert len(np.unique(session.grid["step"] // 16)) == session.bars
    assert len(build_session([silent], crossfade, 1).notes) > 0


@pytest.mark.parametrize("minutes", [0, 600, float("nan"), -1])
def test_minutes_out_of_range_are_refused_with_the_range(minutes: float) -> None:
    with pytest.raises(RequestError, match=r"minutes: got .*, expected a number from 1 to 60"):
        made(minutes)


def test_progress_is_told_and_may_stop_it() -> None:
    seen: list[float] = []

    def progress(share: float) -> None:
        seen.append(share)
        if len(seen) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        build_session([LULLABY, SNOW], crossfade, 20, 0, progress=progress)
    assert seen == sorted(seen) and len(seen) == 3
    with pytest.raises(RequestError, match="at least one piece"):
        build_session([], crossfade, 20)


BAR = (BarNote(0, 48, 8, 58, 1), BarNote(0, 72, 8, 72, 0), BarNote(4, 55, 4, 54, 1), BarNote(6, 60, 2, 54, 1),
       BarNote(8, 64, 8, 58, 1), BarNote(8, 76, 8, 72, 0))  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_a_variation_is_small_in_scale_and_new(seed: int) -> None:
    varied = vary(BAR, np.random.default_rng(seed), 1, LOWEST, HIGHEST)
    assert content((), varied) != content((), BAR)
    assert len(content((), varied) ^ content((), BAR)) <= 6
    assert all(note.pitch % 12 in (0, 2, 4, 5, 7, 9, 11) and 0 <= note.step < 16 and note.length > 0 for note in varied)


def test_every_change_applies_somewhere() -> None:
    rng = np.random.default_rng(0)
    full = sorted([*BAR, BarNote(14, 67, 2, 54, 1), BarNote(10, 60, 2, 54, 1), BarNote(2, 57, 2, 54, 1)])
    third = [note for note in full if note.step < 8 or note.hand == 1] + [BarNote(8, 69, 8, 72, 0)]
    for change in CHANGES:
        assert any(change(sorted(bar), rng) for bar in (full, third, [*BAR[:3], *BAR[4:]])), change
