"""Calm pieces: rolls and MIDI come back; every key is brought to one; whatever metre or tempo there is, is read."""

from __future__ import annotations

import io

import mido
import numpy as np
import pytest

from backend.audio.midi import make_notes, to_midi
from backend.errors import AudioError, RequestError
from backend.instruments.calm.attributes import attributes_of, attributes_of_rolls, in_scale
from backend.instruments.calm.beat import alignment, beats_of_midi, downbeat, track_beats
from backend.instruments.calm.piece import (
    NOTE_GRID,
    CalmPiece,
    midi_of_piece,
    notes_of_roll,
    piece_of_roll,
    roll,
    tidy,
    to_normal_key,
    with_hands,
)
from backend.instruments.calm.reading import piece_of_midi, read_pieces
from backend.instruments.calm.similarity import note_f1


def grid(*rows: tuple[int, int, int]) -> np.ndarray:
    return np.array([(step, length, pitch, 64, 0) for step, length, pitch in rows], NOTE_GRID)


def random_piece(seed: int = 0, bars: int = 4, mode: str = "major") -> CalmPiece:
    rng = np.random.default_rng(seed)
    white = [p for p in range(40, 85) if p % 12 in (0, 2, 4, 5, 7, 9, 11)]
    rows = [(int(s), int(rng.integers(1, 9)), int(rng.choice(white))) for s in rng.integers(0, 16 * bars, 12 * bars)]
    return CalmPiece(with_hands(tidy(grid(*rows), 16 * bars)), bars, 66.0, mode)


def scale_piece(tonic: int, mode: str) -> np.ndarray:
    triad, steps = ((0, 4, 7), (0, 2, 4, 5, 7, 9, 11)) if mode == "major" else ((0, 3, 7), (0, 2, 3, 5, 7, 8, 11))
    rows = [(4 * i, 4, 60 + tonic + step) for i, step in enumerate((*steps, 12))]
    rows += [(8 * i, 8, 48 + tonic + step) for i in range(8) for step in triad]
    return grid(*rows)


def test_a_roll_holds_every_note_and_gives_them_back() -> None:
    piece = random_piece(1, bars=8)
    back = notes_of_roll(*roll(piece))
    for name in ("step", "length", "pitch", "hand"):
        assert (back[name] == piece.notes[name]).all()


def test_a_hold_without_an_onset_says_nothing() -> None:
    onset, hold = np.zeros((64, 88), bool), np.ones((64, 88), bool)
    onset[5, 40] = True
    notes = piece_of_roll(onset, hold).notes
    assert notes[["step", "length", "pitch"]].tolist() == [(5, 59, 61)]


def test_notes_end_where_their_pitch_is_struck_again_or_the_piece_ends() -> None:
    notes = tidy(grid((0, 9, 60), (4, 100, 60), (4, 2, 60), (70, 1, 60), (-1, 3, 62)), 64)
    assert notes[["step", "length", "pitch"]].tolist() == [(0, 4, 60), (4, 60, 60)]


def test_the_melody_is_the_highest_note_unless_a_higher_one_still_sounds() -> None:
    notes = with_hands(tidy(grid((0, 8, 72), (0, 8, 48), (4, 4, 60), (8, 4, 55), (9, 2, 67)), 64))
    assert {(int(n["step"]), int(n["pitch"])): int(n["hand"]) for n in notes} == {
        (0, 72): 0, (0, 48): 1, (4, 60): 1, (8, 55): 0, (9, 67): 0,
    }  # fmt: skip


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_every_key_is_brought_to_c_major_or_a_minor_and_back(mode: str) -> None:
    for tonic in range(12):
        notes = scale_piece(tonic, mode)
        moved, found, back = to_normal_key(notes)
        assert found == mode and -6 <= back <= 6
        assert (moved["pitch"].astype(int) + back == notes["pitch"]).all()
        assert in_scale(roll(CalmPiece(moved, 4, mode=mode))[0], mode) == 1.0


def test_sixteenths_last_a_quarter_of_a_beat() -> None:
    piece = CalmPiece(grid((0, 4, 60), (8, 8, 64)), 4, 60.0, transpose=2)
    notes = midi_of_piece(piece)
    assert notes["start_s"].tolist() == [0.0, 2.0] and notes["end_s"].tolist() == [1.0, 4.0]
    assert notes["pitch"].tolist() == [62, 66] and piece.seconds == 16.0


def test_a_player_is_near_the_grid_and_the_same_for_the_same_seed() -> None:
    piece = random_piece(2)
    plain = midi_of_piece(piece)
    played, again = (midi_of_piece(piece, humanise=1.0, rng=np.random.default_rng(5)) for _ in range(2))
    assert (played == again).all() and len(played) == len(plain)
    assert 0.001 < np.abs(np.sort(played["start_s"]) - np.sort(plain["start_s"])).max() < 0.08


@pytest.mark.parametrize("values", [{"bars": 3}, {"bars": 17}, {"tempo_bpm": 0.0}, {"mode": "dorian"}])
def test_a_piece_out_of_range_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(RequestError, match=next(iter(values))):
        CalmPiece(grid((0, 4, 60)), **{"bars": 4, **values})  # type: ignore[arg-type]


def test_attributes_are_what_they_are_called() -> None:
    piece = CalmPiece(grid((0, 4, 60), (4, 4, 64), (8, 8, 67), (17, 1, 72)), 4)
    seen = attributes_of(piece)
    assert seen["density"] == pytest.approx(4 / 16) and seen["register"] == pytest.approx((60 + 64 + 67 + 72) / 4)
    assert seen["rhythm"] == pytest.approx((0 + 1 / 3 + 0 + 1) / 4)
    minor = CalmPiece(grid((0, 4, 57), (4, 4, 60), (8, 8, 64), (17, 1, 69)), 4)
    assert seen["brightness"] > 0.3 > -0.2 > attributes_of(minor)["brightness"]
    silence = attributes_of_rolls(np.zeros((2, 16, 88)), np.zeros((2, 16, 88)))
    assert silence.shape == (2, 4) and (silence[:, 0] == 0).all() and np.isnan(silence[:, 1]).all()


@pytest.mark.parametrize("bpm", [52.0, 66.0, 90.0])
def test_a_piece_comes_back_from_its_midi_file(bpm: float) -> None:
    piece = random_piece(3, bars=8)
    piece = CalmPiece(piece.notes, 8, bpm, transpose=0)
    found, remarks = read_pieces(to_midi(midi_of_piece(piece), bpm), bars=8)
    assert len(found) == 1 and found[0].bars == 8 and found[0].tempo_bpm == pytest.approx(bpm, rel=0.01)
    back = midi_of_piece(found[0])
    assert sorted(back["pitch"].tolist()) == sorted(piece.notes["pitch"].tolist())
    times, expected = (np.sort(notes["start_s"]) for notes in (back, midi_of_piece(piece)))
    assert times - times[0] == pytest.approx(expected - expected[0], abs=0.02)
    assert remarks == []


def midi_file(*messages: mido.MetaMessage, bars: int = 8, quarter: int = 480, gap: int = 0) -> bytes:
    """Quarter notes up and down a scale, with the messages before them."""
    track = mido.MidiTrack(messages)
    for i in range(4 * bars):
        pitch = 60 + (0, 4, 7, 4, 5, 9, 7, 2)[i % 8]
        track.append(mido.Message("note_on", note=pitch, velocity=70, time=gap))
        track.append(mido.Message("note_off", note=pitch, time=quarter))
    out = io.BytesIO()
    mido.MidiFile(tracks=[track]).save(file=out)
    return out.getvalue()


def test_a_file_without_a_tempo_is_read_at_the_default_and_says_so() -> None:
    pieces, remarks = read_pieces(midi_file())
    assert pieces[0].tempo_bpm == pytest.approx(120.0) and "states no tempo" in remarks[0]


def test_three_hundred_tempi_become_one_and_are_mentioned() -> None:
    track = mido.MidiTrack()
    for i in range(300):
        track.append(mido.MetaMessage("set_tempo", tempo=900_000 + 700 * i, time=100))
    out = io.BytesIO()
    notes = mido.MidiFile(file=io.BytesIO(midi_file(bars=16))).tracks[0]
    mido.MidiFile(tracks=[track, notes]).save(file=out)
    pieces, remarks = read_pieces(out.getvalue(), bars=16)
    assert "300 different tempi" in remarks[0]
    assert (pieces[0].notes["step"] % 4 == 0).all() and 55 < pieces[0].tempo_bpm < 67


def test_an_odd_metre_keeps_its_beat_and_is_mentioned() -> None:
    meter = mido.MetaMessage("time_signature", numerator=5, denominator=8)
    pieces, remarks = read_pieces(midi_file(mido.MetaMessage("set_tempo", tempo=800_000), meter))
    assert any("5/8" in remark for remark in remarks) and (pieces[0].notes["step"] % 4 == 0).all()


def test_ten_hours_are_closed_up_and_only_the_beginning_is_taken() -> None:
    data = midi_file(mido.MetaMessage("set_tempo", tempo=1_000_000), bars=100, gap=480 * 89)
    pieces, remarks = read_pieces(data, bars=8, max_pieces=2)
    assert [piece.bars for piece in pieces] == [8, 8]
    assert any("silent bars" in r for r in remarks) and any("first 16 were taken" in r for r in remarks)


def test_drums_are_left_out_and_alone_are_refused() -> None:
    tune = [(i * 0.5, i * 0.5 + 0.4, 60 + i % 5, 80, 0, False, 0) for i in range(32)]
    drums = [(i * 0.5, i * 0.5 + 0.1, 36, 80, 0, True, 1) for i in range(32)]
    pieces, remarks = piece_of_midi(make_notes(tune + drums))
    assert "32 drum notes" in remarks[0] and len(pieces[0].notes) == 32
    with pytest.raises(AudioError, match=r"only drums.*melodic part works"):
        read_pieces(to_midi(make_notes(drums)))


def test_very_fast_beats_are_read_at_half_speed() -> None:
    pieces, remarks = read_pieces(midi_file(mido.MetaMessage("set_tempo", tempo=250_000), bars=16))
    assert pieces[0].tempo_bpm == pytest.approx(120.0) and "240" in remarks[0]


def test_less_than_four_bars_are_repeated_to_fill_them() -> None:
    pieces, remarks = read_pieces(midi_file(mido.MetaMessage("set_tempo", tempo=800_000), bars=1))
    onset, _ = roll(pieces[0])
    assert pieces[0].bars == 4 and (onset[:16] == onset[48:]).all() and "repeated" in remarks[-1]


def test_one_note_is_a_piece() -> None:
    pieces, _ = piece_of_midi(make_notes([(3.0, 3.2, 127, 90, 0, False, 0)]))
    assert pieces[0].bars == 4 and 21 <= int(pieces[0].notes["pitch"][0]) <= 108


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"Dear reader, this is a text file called calm.mid", "not a MIDI file"),
        (midi_file()[:60], "damaged"),
        (b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\4\0\x40\x40\0", "damaged"),  # running status before any status
        (
            b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk" + (6_000_004).to_bytes(4, "big") + b"\0\x90" + b"<@\0<\0\0" * 10**6,
            "bytes",
        ),
        (b"MThd\0\0\0\6\0\0\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0", "no notes"),
    ],
)
def test_what_cannot_be_read_is_one_sentence_that_says_what_works(data: bytes, found: str) -> None:
    with pytest.raises(AudioError, match=f"{found}.*Standard MIDI File") as caught:
        read_pieces(data)
    assert str(caught.value).count(". ") == 0 and str(caught.value).endswith(".")


def test_the_beat_of_a_free_performance_is_tracked() -> None:
    rng = np.random.default_rng(0)
    truth = np.cumsum(60.0 / (71.0 + 4.0 * np.sin(np.arange(60) / 9.0)))
    onsets = np.concatenate([truth, truth[::2] + 0.42]) + rng.normal(0, 0.015, 90)
    tracked = track_beats(onsets)
    assert tracked.tracked and alignment(tracked.at(truth[2:-2])) > 0.8
    tempo = 60.0 * np.diff(tracked.at(truth[[5, 55]]))[0] / (truth[55] - truth[5])
    assert min(abs(tempo / 71.0 - factor) for factor in (0.5, 1.0, 2.0)) < 0.05


def test_the_clock_of_a_file_agrees_with_its_tempo_changes() -> None:
    changes = [mido.MetaMessage("set_tempo", tempo=t, time=480 * k) for t, k in ((500_000, 0), (1_000_000, 4))]
    out = io.BytesIO()
    mido.MidiFile(tracks=[mido.MidiTrack(changes)]).save(file=out)
    beats = beats_of_midi(out.getvalue())
    assert beats.at(np.array([0.0, 1.0, 2.0, 3.0, 12.0])) == pytest.approx([0.0, 2.0, 4.0, 5.0, 14.0])


def test_bars_begin_where_long_and_low_notes_do() -> None:
    start = np.arange(1, 33, dtype=float)  # one beat of pickup is missing
    low = np.where((start - 1) % 4 == 0, 40, 64)
    assert downbeat(start, np.where(low == 40, 4.0, 1.0), low) == 3.0
    assert downbeat(start - 1, np.where(low == 40, 4.0, 1.0), low) == 0.0


def test_the_reader_agrees_with_itself_on_a_piece_moved_by_a_bar() -> None:
    piece = random_piece(4, bars=8)
    late = midi_of_piece(piece, start_s=4 * 60.0 / 66.0)
    a, b = (piece_of_midi(n, beats_of_midi(to_midi(n, 66.0)))[0][0] for n in (midi_of_piece(piece), late))
    assert note_f1(roll(a)[0], roll(b)[0]) == 1.0
