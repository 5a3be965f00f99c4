"""Note events: what is played survives the grid, and whatever is sampled can be played."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.corpus.catalogue import read_catalogue
from backend.errors import Cancelled
from backend.musiclm.compose import Score, Wish, compose
from backend.musiclm.decode import Sampling
from backend.musiclm.events import (
    BAR,
    CAST,
    DRUM_KIT,
    FIELDS,
    KEYS,
    PAD,
    PLAYER,
    SETTING,
    Events,
    Piece,
    Setting,
    notes_of,
    pad_events,
    tempo_code,
    true_notes,
    window_events,
)
from backend.musiclm.stages import TINY_SEMANTIC, Stage
from tests.musiclm.tiny import write_corpus


@pytest.fixture(scope="module")
def piece(tmp_path_factory: pytest.TempPathFactory) -> tuple[Piece, np.ndarray]:
    clip = read_catalogue(write_corpus(tmp_path_factory.mktemp("corpus")))[0]
    return Piece.of_clip(clip.notes(), clip.meta), true_notes(clip.notes(), clip.meta)


def test_events_say_tempo_key_metre_and_players_first(piece: tuple[Piece, np.ndarray]) -> None:
    events = piece[0].events()
    setting = Setting.of_event(events[0].tolist())
    assert abs(setting.bpm / 60 - 1) < 0.005 and KEYS[setting.key] == "C major" and setting.bar == 4
    assert [CAST[i].name for i in events[1:4, 1]] == ["flute", "upright bass", "drums"]
    assert events[1:4, 0].tolist() == [PLAYER] * 3 and (events[4:, 0] <= BAR).all()


def test_notes_come_back_from_their_events(piece: tuple[Piece, np.ndarray]) -> None:
    back, true = notes_of(piece[0].events()), piece[1]
    assert len(back) == len(true) == 90
    np.testing.assert_allclose(back["onset_s"], true["onset_s"], rtol=0.005)  # the tempo's step
    for name in ("instrument", "pitch", "velocity", "gain"):
        assert sorted(back[name].tolist()) == sorted(true[name].tolist())
    pitched = back["instrument"] != DRUM_KIT
    assert np.abs(back["duration_s"][pitched] - 0.9).max() < 0.1


def test_a_piece_can_start_at_any_bar_and_fills_up_with_padding(piece: tuple[Piece, np.ndarray]) -> None:
    later = piece[0].events(first_bar=2, limit=20)
    assert len(later) == 20 and later[4].tolist()[0] == 0
    assert notes_of(later)["onset_s"][0] == 0
    padded = pad_events(later, 30)
    assert (padded[20:, 0] == PAD).all() and len(notes_of(padded)) == 16


def test_a_window_keeps_what_starts_in_it(piece: tuple[Piece, np.ndarray]) -> None:
    notes = notes_of(piece[0].window(2.5, 4.0).events())
    np.testing.assert_allclose(np.unique(notes["onset_s"].round(2)), [0.5, 1.5, 2.5, 3.5], atol=0.03)


@pytest.mark.parametrize(
    ("start_s", "length_s", "slots"), [(0.0, 4.0, 40), (2.5, 10.0, 40), (7.3, 4.0, 12), (29.5, 1, 8)]
)
def test_a_window_of_events_is_the_window_of_their_piece(
    piece: tuple[Piece, np.ndarray], start_s: float, length_s: float, slots: int
) -> None:
    late = Piece(piece[0].setting, piece[0].players, piece[0].ticks, piece[0].codes, lead_in_s=0.3)
    expected = pad_events(late.window(start_s + 0.3, length_s).events(0, slots), slots)
    np.testing.assert_array_equal(window_events(late.events(), start_s, length_s, slots), expected)


def test_a_window_of_events_may_begin_before_them_and_skips_nonsense(piece: tuple[Piece, np.ndarray]) -> None:
    nonsense = np.array([[255] * 5, [0, 200, 60, 5, 5], [PAD, 0, 0, 0, 0]], np.uint8)
    events = np.concatenate([piece[0].events(), nonsense])
    notes = notes_of(window_events(events, -0.25, 3.0, 64))
    np.testing.assert_allclose(np.unique(notes["onset_s"].round(2)), [0.25, 1.25, 2.25], atol=0.03)
    assert (window_events(nonsense, 0.0, 1.0, 4)[1:, 0] == PAD).all()


def test_empty_bars_are_counted(piece: tuple[Piece, np.ndarray]) -> None:
    setting = piece[0].setting
    sparse = Piece(setting, piece[0].players, np.array([0, 96 * 3 + 24]), piece[0].codes[:2], 0.0)
    events = sparse.events()
    assert (events[:, 0] == BAR).sum() == 2
    assert notes_of(events)["onset_s"][1] == pytest.approx(13 * 60 / setting.bpm, rel=1e-3)


def test_nonsense_is_skipped() -> None:
    rows = [[255] * 5, [SETTING, 250, 90, 9, 250], [PLAYER, 250, 0, 0, 99], [0, 200, 60, 5, 5], [5, 3, 60, 200, 9]]
    assert len(notes_of(np.array(rows, np.uint8))) == 0
    assert len(notes_of(np.zeros((0, 5), np.uint8))) == 0


@pytest.fixture(scope="module")
def stage() -> Stage:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Stage(TINY_SEMANTIC).eval()


def write(stage: Stage, seconds: float = 6.0, rows: int = 3, guidance: float = 3.0, **how: object) -> list[Events]:
    generator = torch.Generator().manual_seed(0)
    embed = torch.nn.functional.normalize(torch.randn(rows, 8, generator=generator), dim=-1)
    return compose(stage, embed, seconds, Sampling(1.0, 256, guidance), generator, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_even_an_untrained_stage_writes_playable_pieces(stage: Stage, guidance: float) -> None:
    for events in write(stage, guidance=guidance):
        assert events[0, 0] == SETTING and events[1, 0] == PLAYER and events.shape[1] == len(FIELDS)
        cast = set(events[events[:, 0] == PLAYER, 1].tolist())
        notes = notes_of(events)
        assert set(notes["instrument"].tolist()) <= cast
        assert len(notes) == int((events[:, 0] < BAR).sum())
        assert notes["onset_s"].max(initial=0) < 6.0
        for row in notes:
            who = CAST[row["instrument"]]
            assert who.is_drum or who.low <= row["pitch"] <= who.high
        keys = list(zip(*(notes[n].tolist() for n in ("onset_s", "instrument", "pitch")), strict=True))
        assert len(keys) == len(set(keys))


def test_pieces_longer_than_the_window_keep_their_head(stage: Stage) -> None:
    events = write(stage, seconds=60.0)
    assert max(map(len, events)) > TINY_SEMANTIC.window


def test_what_the_user_fixed_is_kept(stage: Stage) -> None:
    for events in write(stage, wishes=[Wish(tempo_code(70), KEYS.index("A minor"))] * 3):
        setting = Setting.of_event(events[0].tolist())
        assert abs(setting.bpm - 70) < 0.5 and KEYS[setting.key] == "A minor"


def test_a_fixed_mode_leaves_the_key_open(stage: Stage) -> None:
    for mode in ("major", "minor"):
        pieces = write(stage, 1.0, 8, wishes=[Wish(mode=mode)] * 8)  # type: ignore[list-item]
        keys = {KEYS[Setting.of_event(events[0].tolist()).key] for events in pieces}
        assert len(keys) > 1 and all(key.endswith(mode) for key in keys)


def test_named_players_come_first_in_their_order_and_mostly_alone(stage: Stage) -> None:
    wish = Wish(players=((3,), (DRUM_KIT,)), alone=True)
    casts = [[int(e[1]) for e in events if e[0] == PLAYER] for events in write(stage, 1.0, 6, wishes=[wish] * 6)]
    assert all(cast[:2] == [3, DRUM_KIT] for cast in casts)
    free = [sum(e[0] == PLAYER for e in events) for events in write(stage, 1.0, 6)]
    assert sum(map(len, casts)) < sum(free) + 2 * 6


def test_notes_lean_towards_the_key_of_the_head_and_drums_do_not() -> None:
    score = Score(Wish())
    score.append(Setting(tempo_code(100), KEYS.index("A minor"), 4, 0).event())
    drums = next(i for i, who in enumerate(CAST) if who.is_drum)
    pitched = next(i for i, who in enumerate(CAST) if not who.is_drum)
    lean = score.lean(2, [0, pitched])
    assert lean.shape == (256,)
    assert lean[60] == lean[72] > lean[63] > lean[64]  # tonic, octave, minor third, major third, on C as pieces are
    assert not score.lean(2, [0, drums]).any() and not score.lean(1, [0]).any()


def test_equal_seeds_give_equal_pieces(stage: Stage) -> None:
    for a, b in zip(write(stage), write(stage), strict=True):
        np.testing.assert_array_equal(a, b)


def test_composing_can_be_stopped(stage: Stage) -> None:
    def stop(done: int, total: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        write(stage, on_step=stop)
