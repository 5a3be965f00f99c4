from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.corpus.score_cache import cache_path, load_score, save_score, split_of
from backend.corpus.score_clips import felt_beat, score_arrangement
from backend.corpus.scores import NOTE, Score, read_score

_STEPS = "CDEFGAB"


def song_xml(bars: int, beats: int = 4, beat_type: int = 4) -> str:
    """A voice over a piano staff: a wandering scale over held triads."""

    def note(pitch: int, length: int, chord: bool = False) -> str:
        step, octave = _STEPS[pitch % 7], pitch // 7
        mark = "<chord/>" if chord else ""
        return (
            f"<note>{mark}<pitch><step>{step}</step><octave>{octave}</octave></pitch>"
            f"<duration>{length}</duration><type>quarter</type></note>"
        )

    parts = ""
    for index in (1, 2, 3):
        body = ""
        for bar in range(bars):
            attributes = (
                f"<attributes><divisions>1</divisions><time><beats>{beats}</beats><beat-type>{beat_type}</beat-type></time>"
                "<clef><sign>G</sign><line>2</line></clef></attributes>"
                if bar == 0
                else ""
            )
            degree = (0, 3, 4, 0)[bar % 4]
            if index == 1:
                notes = "".join(note(28 + 7 + degree + (0, 1, 2, 4)[i % 4], 1) for i in range(beats))
            elif index == 2:
                notes = "".join(
                    note(28 + degree, 1) + note(30 + degree, 1, True) + note(32 + degree, 1, True) for _ in range(beats)
                )
            else:
                notes = "".join(note(21 + degree, 1) for _ in range(beats))
            body += f'<measure number="{bar + 1}">{attributes}{notes}</measure>'
        parts += f'<part id="P{index}">{body}</part>'
    names = "".join(f'<score-part id="P{i}"><part-name>p{i}</part-name></score-part>' for i in (1, 2, 3))
    return f'<?xml version="1.0"?><score-partwise version="3.1"><part-list>{names}</part-list>{parts}</score-partwise>'


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Score:
    path = tmp_path_factory.mktemp("song") / "song.musicxml"
    path.write_text(song_xml(48))
    return read_score(path, "openscore_lieder/song")


def test_a_written_song_is_read_note_for_note(song: Score) -> None:
    assert (song.n_parts, song.numerator, song.denominator) == (3, 4, 4)
    assert len(song.notes) == 48 * (4 + 12 + 4)
    voice = song.notes[song.notes["part"] == 0]
    assert voice["pitch"][:4].tolist() == [72, 74, 76, 79]
    assert np.allclose(np.diff(voice["onset"]), 1.0)


def test_a_cached_score_comes_back_equal(song: Score, tmp_path: Path) -> None:
    path = cache_path(tmp_path, song.source)
    save_score(song, path)
    back = load_score(path)
    assert back.source == song.source
    assert (back.notes == song.notes).all()
    assert [p.name for p in tmp_path.iterdir()] == ["openscore_lieder__song.npz"]


@pytest.mark.parametrize("seed", range(8))
def test_a_window_keeps_ranges_tempo_and_roles(song: Score, seed: int) -> None:
    arrangement = score_arrangement([song], np.random.default_rng(seed))
    assert arrangement.source == "openscore_lieder/song"
    assert arrangement.parts[0].role == "lead"
    for part in arrangement.parts:
        assert part.notes[:, 0].max() * 60 / arrangement.tempo_bpm <= 30.0
        assert part.notes[:, 2].min() >= part.instrument.low
        assert part.notes[:, 2].max() <= part.instrument.high


def test_both_modes_can_be_made_of_one_major_piece(song: Score) -> None:
    modes = [score_arrangement([song], np.random.default_rng(s)).key().mode for s in range(14)]
    assert {"major", "minor"} == set(modes)


@pytest.mark.parametrize(("meter", "beat"), [((4, 4), 1.0), ((6, 8), 1.5), ((2, 2), 2.0), ((3, 4), 1.0)])
def test_the_felt_beat_follows_the_meter(meter: tuple[int, int], beat: float) -> None:
    assert felt_beat(Score("x", np.zeros(1, NOTE), 1, *meter)) == beat


def test_pieces_are_split_ninety_five_five() -> None:
    splits = [split_of(f"piece/{i}") for i in range(4000)]
    assert splits.count("train") / 4000 == pytest.approx(0.9, abs=0.02)
    assert splits.count("test") / 4000 == pytest.approx(0.05, abs=0.015)
    assert splits[:50] == [split_of(f"piece/{i}") for i in range(50)]
