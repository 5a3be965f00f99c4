"""Whatever MIDI arrives, the calm reader answers with pieces in their normal form or with one sentence."""

from __future__ import annotations

import io

import mido
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.audio.midi import make_notes
from backend.errors import AudioError
from backend.instruments.calm.piece import STEPS_PER_BAR, midi_of_piece, roll
from backend.instruments.calm.reading import piece_of_midi, read_pieces

QUICK = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def score() -> bytes:
    track = mido.MidiTrack([mido.MetaMessage("time_signature", numerator=5, denominator=8)])
    for i in range(24):
        if i % 6 == 0:
            track.append(mido.MetaMessage("set_tempo", tempo=700_000 + 40_000 * i))
        track.append(
            mido.Message("note_on", note=50 + i, velocity=60, time=30 * (i % 3), channel=9 if i % 8 == 7 else 0)
        )
        track.append(mido.Message("note_off", note=50 + i, time=240, channel=9 if i % 8 == 7 else 0))
    out = io.BytesIO()
    mido.MidiFile(tracks=[track]).save(file=out)
    return out.getvalue()


SCORE = score()


def read(data: bytes, bars: int = 8) -> None:
    """Anything but valid pieces or `AudioError` fails the test."""
    try:
        pieces, remarks = read_pieces(data, bars=bars)
    except AudioError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return
    check(pieces, remarks)


def check(pieces: list, remarks: list[str]) -> None:
    assert pieces and all(remark.endswith(".") and "\n" not in remark for remark in remarks)
    for piece in pieces:
        notes = piece.notes
        assert 4 <= piece.bars <= 16 and 20 <= piece.tempo_bpm <= 400
        assert ((notes["pitch"] >= 21) & (notes["pitch"] <= 108) & (notes["velocity"] >= 1)).all()
        assert ((notes["length"] >= 1) & (notes["step"] + notes["length"] <= piece.bars * STEPS_PER_BAR)).all()
        assert roll(piece)[0].sum() == len(notes) == len(midi_of_piece(piece))


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, len(SCORE) - 1), st.integers(0, 255)), max_size=8),
    st.floats(0.1, 1),
    st.integers(4, 16),
)
def test_altered_and_truncated_files_never_escape_the_reader(
    changes: list[tuple[int, int]], share: float, bars: int
) -> None:
    data = bytearray(SCORE)
    for position, value in changes:
        data[position] = value
    read(bytes(data[: int(share * len(data))]), bars)
    read(bytes(data), bars)


@QUICK
@given(st.sampled_from([b"", b"MThd", b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\1\0", SCORE[:22]]), st.binary(max_size=400))
def test_random_bytes_never_escape_the_reader(head: bytes, tail: bytes) -> None:
    read(head + tail)


@QUICK
@given(
    st.lists(
        st.tuples(st.floats(0, 1e5), st.floats(0.001, 1e4), st.integers(0, 127), st.integers(1, 127)),
        min_size=1,
        max_size=30,
    )
)
def test_any_notes_are_pieces(rows: list[tuple[float, float, int, int]]) -> None:
    notes = make_notes(
        [(start, start + length, pitch, velocity, 0, False, 0) for start, length, pitch, velocity in rows]
    )
    check(*piece_of_midi(notes))


def test_a_tempo_map_of_extremes_is_read() -> None:
    for tempi in ((1, 16_000_000), (16_777_215, 1), (1, 1, 1), (0,)):
        track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=tempo, time=97) for tempo in tempi])
        for i in range(40):
            track.append(mido.Message("note_on", note=60 + i % 7, velocity=64, time=10))
            track.append(mido.Message("note_off", note=60 + i % 7, time=int(np.exp(i / 5))))
        out = io.BytesIO()
        mido.MidiFile(tracks=[track]).save(file=out)
        read(out.getvalue())
