"""Rendering: the right pitch at the right time, the same every time, with whatever soundfont is installed."""

from pathlib import Path

import numpy as np
import pytest

from backend.audio.loudness import true_peak_db
from backend.audio.midi import Notes, make_notes
from backend.audio.synth import Synth, find_soundfont
from backend.errors import AudioError


@pytest.fixture(scope="module")
def synth() -> Synth:
    return Synth(find_soundfont(folders=()))  # pretty_midi's: small and always there


def melody(pitch: int, program: int = 0) -> Notes:
    return make_notes([(0.5, 1.5, pitch, 100, program, False, 0)])


@pytest.mark.parametrize("pitch", [57, 69, 81])
def test_a_note_sounds_at_its_pitch_and_not_before_its_time(synth: Synth, pitch: int) -> None:
    wave = synth.render(melody(pitch)).mono()
    assert not wave.slice(0, 0.499).samples.any() and wave.duration_s == pytest.approx(2.5)
    part = wave.slice(0.6, 1.4).samples[0]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 1 << 17))
    heard = np.fft.rfftfreq(1 << 17, 1 / wave.sample_rate)[spectrum.argmax()]
    expected = 440 * 2 ** ((pitch - 69) / 12)
    harmonic = round(heard / expected)
    assert harmonic >= 1 and abs(12 * np.log2(heard / expected / harmonic)) < 0.3


def test_rendering_twice_gives_the_same_sound(synth: Synth) -> None:
    notes = make_notes([(0.0, 4.0, 60, 127, 48, False, 0), (0.0, 0.2, 49, 127, 0, True, 1)])
    first = synth.render(notes, tail_s=0.0)
    synth.render(melody(50), tail_s=0.0)
    assert np.abs(synth.render(notes, tail_s=0.0).samples - first.samples).max() < 1e-6


def test_many_loud_notes_stay_below_the_ceiling(synth: Synth) -> None:
    rows = [(0.0, 1.0, 40 + i, 127, 0, False, i % 15) for i in range(60)]
    assert true_peak_db(synth.render(make_notes(rows))) <= -0.99


def test_drums_are_drums(synth: Synth) -> None:
    """A closed hi-hat has most of its energy above 3 kHz, which no piano note has."""
    hat = synth.render(make_notes([(0.0, 0.2, 42, 120, 0, True, 0)])).mono().samples[0]
    power = np.abs(np.fft.rfft(hat)) ** 2
    assert power[len(power) // 4 :].sum() > 0.5 * power.sum()


def test_too_many_parts_and_a_broken_soundfont_are_refused(synth: Synth, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="15 melodic parts"):
        synth.render(make_notes([(0.0, 1.0, 60, 90, 0, False, part) for part in range(16)]))
    (tmp_path / "bad.sf2").write_bytes(b"RIFF" + b"\0" * 100)
    with pytest.raises(AudioError, match=r"bad\.sf2"):
        Synth(tmp_path / "bad.sf2")


def test_the_best_soundfont_is_preferred(tmp_path: Path) -> None:
    for name in ("FluidR3_GM.sf2", "MuseScore_General.sf3"):
        (tmp_path / name).touch()
    assert find_soundfont((tmp_path,)).name == "MuseScore_General.sf3"
    assert find_soundfont(()).name == "TimGM6mb.sf2"
