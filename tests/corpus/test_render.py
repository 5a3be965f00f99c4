from __future__ import annotations

from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from backend.corpus.arrangement import Arrangement, Part, as_notes
from backend.corpus.instruments import BY_NAME
from backend.corpus.perform import LEAD_IN_S, PERFORMED, PerformedPart, perform
from backend.corpus.render import N_SAMPLES, SAMPLE_RATE, Synth, active_rms, find_soundfonts, render
from backend.errors import NeuromuseError


@pytest.fixture(scope="module")
def synth() -> Synth:
    return Synth.load(next(Path(pretty_midi.__file__).parent.glob("*.sf2")))


def part(name: str, onsets: list[float], duration_s: float, role: str = "lead") -> PerformedPart:
    notes = np.array([(o, duration_s, 72, 100) for o in onsets], PERFORMED)
    return PerformedPart(BY_NAME[name], role, notes)


@pytest.mark.parametrize("name", ["marimba", "piano", "drums"])
def test_sound_starts_within_ten_milliseconds_of_the_note(synth: Synth, name: str) -> None:
    onsets = [1.0, 2.3337, 3.71, 5.123]
    sound = np.abs(synth.play(part(name, onsets, 0.4)))
    for onset in onsets:
        at = int(onset * SAMPLE_RATE)
        assert sound[at - 240 : at - 24].max() < 0.02 * sound[at : at + 2400].max()
        first = np.argmax(sound[at - 24 : at + 2400] > 0.05 * sound[at : at + 2400].max()) - 24
        assert first / SAMPLE_RATE < 0.010


def test_a_held_note_stops_when_the_key_is_released(synth: Synth) -> None:
    sound = synth.play(part("church organ", [1.0], 2.0))
    assert active_rms(sound[SAMPLE_RATE * 2 : SAMPLE_RATE * 3]) > 20 * active_rms(
        sound[SAMPLE_RATE * 6 : SAMPLE_RATE * 7]
    )


def test_one_part_leaves_no_trace_in_the_next(synth: Synth) -> None:
    quiet = part("marimba", [20.0], 0.5)
    before = synth.play(quiet)
    synth.play(part("church organ", [29.0], 1.0))
    assert np.array_equal(before, synth.play(quiet))


def test_mixes_neither_clip_nor_hide_the_lead_and_repeat_with_their_seed(synth: Synth) -> None:
    parts = [part("violin", [1.0, 5.0, 9.0], 3.0), part("piano", [1.0, 5.0, 9.0], 3.0, "chords")]
    first = render(parts, [synth], np.random.default_rng(4))
    again = render(parts, [synth], np.random.default_rng(4))
    assert np.array_equal(first.samples, again.samples)
    assert first.samples.shape == (N_SAMPLES,)
    assert -9.01 <= 20 * np.log10(np.abs(first.samples).max()) <= -0.99
    assert first.gains_db[0] - first.gains_db[1] >= 4


def test_silence_is_refused(synth: Synth) -> None:
    with pytest.raises(NeuromuseError, match="no sound"):
        render([part("piano", [], 1.0)], [synth], np.random.default_rng(0))


def test_a_file_that_is_no_soundfont_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.sf2"
    path.write_bytes(b"RIFFnothing")
    with pytest.raises(NeuromuseError, match=r"broken\.sf2"):
        Synth.load(path)
    with pytest.raises(NeuromuseError, match=r"absent\.sf2"):
        find_soundfonts([tmp_path / "absent.sf2"])


def test_playing_loosens_time_by_less_than_15_ms_and_never_holds_a_key_twice() -> None:
    notes = as_notes([(i / 2, 1.5, 60 + i % 2, 80) for i in range(60)])
    piece = Arrangement("score", "solo", "", "", "", "", 90.0, 4.0, "4/4", [Part(BY_NAME["piano"], "lead", notes)])
    (played,) = perform(piece, np.random.default_rng(1))
    expected = notes[: len(played.notes), 0] * 60 / 90 + LEAD_IN_S
    assert np.abs(np.sort(played.notes["onset_s"]) - expected).max() < 0.015
    for pitch in (60, 61):
        own = played.notes[played.notes["pitch"] == pitch]
        assert (own["onset_s"][:-1] + own["duration_s"][:-1] <= own["onset_s"][1:]).all()
    assert (played.notes["onset_s"] + played.notes["duration_s"] <= 30.001).all()


def test_performed_drums_keep_their_timing_exactly() -> None:
    hits = as_notes([(i + 0.013, 0.1, 38, 90) for i in range(20)])
    piece = Arrangement(
        "band", "band", "", "", "", "", 120.0, 4.0, "4/4", [Part(BY_NAME["drums"], "drums", hits, performed=True)]
    )
    (played,) = perform(piece, np.random.default_rng(1))
    assert np.allclose(played.notes["onset_s"], hits[:, 0] / 2 + LEAD_IN_S, atol=1e-5)
