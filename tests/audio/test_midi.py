"""MIDI and NoteSequence: what goes in comes out, and agrees with note_seq; damaged files are one sentence."""

import io

import mido
import numpy as np
import pytest

from backend.audio.midi import from_sequence, make_notes, read_midi, read_midi_provenance, to_midi, to_sequence
from backend.errors import AudioError

NOTES = make_notes(
    [
        (0.0, 0.5, 60, 90, 40, False, 0),
        (0.5, 1.0, 60, 80, 40, False, 0),  # struck again as it is released
        (0.25, 2.0, 67, 70, 0, False, 1),
        (0.0, 0.1, 36, 110, 0, True, 2),
    ]
)


def test_midi_keeps_pitch_velocity_program_and_time_to_a_tick() -> None:
    back = read_midi(to_midi(NOTES, 97.0))
    assert len(back) == len(NOTES)
    for field in ("pitch", "velocity", "program", "is_drum", "part"):
        assert (back[field] == NOTES[field]).all()
    tick_s = 60 / 97 / 480
    for field in ("start_s", "end_s"):
        assert np.abs(back[field] - NOTES[field]).max() < tick_s


def test_note_seq_reads_our_midi_as_we_do() -> None:
    import note_seq

    theirs = from_sequence(note_seq.midi_to_note_sequence(to_midi(NOTES)))
    key = ["start_s", "pitch"]
    ours = np.sort(read_midi(to_midi(NOTES)), order=key)
    theirs = np.sort(theirs, order=key)
    assert (theirs["pitch"] == ours["pitch"]).all() and (theirs["is_drum"] == ours["is_drum"]).all()
    assert np.abs(theirs["start_s"] - ours["start_s"]).max() < 1e-3


def test_note_sequences_come_back_exactly() -> None:
    assert (from_sequence(to_sequence(NOTES)) == NOTES).all()


def test_tempo_changes_move_later_notes() -> None:
    midi = mido.MidiFile(ticks_per_beat=100)
    midi.tracks.append(
        mido.MidiTrack(
            [
                mido.MetaMessage("set_tempo", tempo=1_000_000),
                mido.MetaMessage("set_tempo", tempo=250_000, time=200),
            ]
        )
    )
    midi.tracks.append(
        mido.MidiTrack([mido.Message("note_on", note=60, time=100), mido.Message("note_off", note=60, time=200)])
    )
    buffer = io.BytesIO()
    midi.save(file=buffer)
    note = read_midi(buffer.getvalue())[0]
    assert note["start_s"] == pytest.approx(1.0) and note["end_s"] == pytest.approx(2.25)


def test_provenance_comes_back_and_others_have_none() -> None:
    made = {"prompt": "é 🎻", "seed": 3}
    assert read_midi_provenance(to_midi(NOTES, provenance=made)) == made
    assert read_midi_provenance(to_midi(NOTES)) is None


def test_sixteen_melodic_parts_are_refused() -> None:
    rows = [(0.0, 1.0, 60, 90, 0, False, part) for part in range(16)]
    with pytest.raises(AudioError, match="15 melodic parts"):
        to_midi(make_notes(rows))


@pytest.mark.parametrize("data", [b"", b"RIFF", b"MThd", to_midi(NOTES)[:60], b"MThd" + b"\xff" * 40])
def test_what_is_not_midi_is_one_sentence(data: bytes) -> None:
    with pytest.raises(AudioError, match="MIDI file"):
        read_midi(data)


def test_a_file_without_notes_and_one_beyond_the_limits_are_refused() -> None:
    empty = io.BytesIO()
    mido.MidiFile(tracks=[mido.MidiTrack()]).save(file=empty)
    with pytest.raises(AudioError, match="no notes"):
        read_midi(empty.getvalue())
    with pytest.raises(AudioError, match="more than 1 notes"):
        read_midi(to_midi(NOTES), max_notes=1)
    with pytest.raises(AudioError, match="longer than 1 seconds"):
        read_midi(to_midi(NOTES), max_seconds=1)
    with pytest.raises(AudioError, match="bytes"):
        read_midi(to_midi(NOTES), max_bytes=10)


def test_a_sequence_with_impossible_pitches_is_refused() -> None:
    sequence = to_sequence(NOTES)
    sequence.notes[0].pitch = 200
    with pytest.raises(AudioError, match="pitch 200"):
        from_sequence(sequence)
    del sequence.notes[:]
    with pytest.raises(AudioError, match="no notes"):
        from_sequence(sequence)
