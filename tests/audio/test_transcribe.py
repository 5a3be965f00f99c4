"""Notes, contour and tempo of synthetic performances whose notes are known."""

from __future__ import annotations

import mir_eval
import numpy as np
import pytest

from backend.audio.transcribe import NOTE, Transcription, fit_tempo, track_pitch, transcribe
from backend.audio.waveform import Waveform
from backend.errors import AudioError
from backend.instruments.violin.hum import LEAD_IN_S, Kind, hum

RATE = 24_000
MELODY = [67, 69, 71, 71, 74, 72, 69, 67, 66, 67]
BEATS = [1, 0.5, 0.5, 1, 1, 0.5, 0.5, 1, 1, 1]


def line(pitches: list[int], beats: list[float], tempo_bpm: float = 110.0, share: float = 0.95) -> np.ndarray:
    notes = np.zeros(len(pitches), NOTE)
    lengths = np.array(beats) * 60 / tempo_bpm
    notes["onset_s"] = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    notes["duration_s"], notes["pitch"], notes["velocity"] = lengths * share, pitches, 90
    return notes


def bowed(notes: np.ndarray, seed: int = 0, vibrato: float = 0.6, noise: float = 1e-3) -> Waveform:
    """A line with 24 partials, vibrato of ±60 cents at 5.5 Hz, glides of 30 ms and changes of bow; starts at 0.2 s."""
    rng = np.random.default_rng(seed)
    t = np.arange(int((notes["onset_s"][-1] + notes["duration_s"][-1] + 0.6) * RATE)) / RATE
    pitch, level = np.full(t.size, float(notes["pitch"][0])), np.zeros(t.size)
    for note in notes:
        since = t - float(note["onset_s"]) - 0.2
        on, length = since >= 0, float(note["duration_s"])
        before = pitch[on][0]
        glide = before + (float(note["pitch"]) - before) * np.clip(since / 0.03, 0, 1)
        depth = vibrato * np.clip((since - 0.1) / 0.15, 0, 1)
        pitch[on] = (glide + depth * np.sin(2 * np.pi * 5.5 * since))[on]
        inside = on & (since < length)
        stroke = np.minimum(np.minimum(since / 0.025, (length - since) / 0.05), 1)
        level[inside] = (float(note["velocity"]) / 127 * stroke)[inside]
    hz = 440 * 2 ** ((pitch - 69) / 12)
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    tone = sum(np.where(h * hz < 0.45 * RATE, 1 / h, 0) * np.sin(h * phase + h) for h in range(1, 25))
    return Waveform((0.25 * tone * level + noise * rng.normal(size=t.size)).astype(np.float32), RATE)


def f1(truth: np.ndarray, found: np.ndarray, lead_s: float) -> float:
    """Onset within 50 ms, pitch within half a semitone."""
    tables = []
    for notes, shift in ((truth, lead_s), (found, 0.0)):
        onset = notes["onset_s"].astype(float) + shift
        tables += [
            np.stack([onset, onset + notes["duration_s"]], 1),
            440 * 2 ** ((notes["pitch"].astype(float) - 69) / 12),
        ]
    return float(mir_eval.transcription.precision_recall_f1_overlap(*tables, offset_ratio=None)[2])


@pytest.fixture(scope="module")
def heard() -> Transcription:
    return transcribe(bowed(line(MELODY, BEATS)))


def test_a_bowed_line_with_vibrato_is_written_down(heard: Transcription) -> None:
    truth = line(MELODY, BEATS)
    assert f1(truth, heard.notes, 0.2) >= 0.9
    assert heard.notes["pitch"].tolist() == MELODY
    assert np.abs(heard.notes["duration_s"] - truth["duration_s"]).max() < 0.12
    assert (np.diff(heard.notes["onset_s"]) > 0).all() and heard.voiced_share > 0.9


def test_the_contour_follows_the_vibrato(heard: Transcription) -> None:
    at = int((0.2 + 0.3) * heard.frame_rate), int((0.2 + 0.5) * heard.frame_rate)
    swing = heard.contour[at[0] : at[1]]
    assert np.nanmin(swing) == pytest.approx(67 - 0.6, abs=0.25) and np.nanmax(swing) == pytest.approx(67.6, abs=0.25)


def test_the_beat_of_a_steady_line_is_found(heard: Transcription) -> None:
    ratio = heard.tempo_bpm / 110.0
    assert min(abs(ratio * factor - 1) for factor in (0.5, 1, 2)) < 0.04
    assert heard.tempo_fit > 0.6


def test_the_top_of_the_violin_is_heard() -> None:
    notes = line([88, 93, 95, 100, 98], [1, 1, 1, 1, 1], 130)
    assert f1(notes, transcribe(bowed(notes, vibrato=0.3), high_hz=3000).notes, 0.2) >= 0.9


@pytest.mark.parametrize(("kind", "octaves"), [("hum", -12), ("whistle", 12), ("sung", 0)])
def test_people_are_understood(kind: Kind, octaves: int) -> None:
    notes = line([p + octaves for p in MELODY[:7]], BEATS[:7], 95)
    assert f1(notes, transcribe(hum(notes, kind, np.random.default_rng(3))).notes, LEAD_IN_S) >= 0.85


def test_a_louder_note_has_a_higher_velocity() -> None:
    notes = line([69, 71, 72], [1, 1, 1])
    notes["velocity"] = 40, 80, 120
    found = transcribe(bowed(notes)).notes["velocity"].astype(int)
    assert len(found) == 3 and (np.diff(found) > 8).all()


def test_of_two_strings_the_upper_one_is_the_melody() -> None:
    upper, lower = line([76, 74, 71, 72], [1, 1, 1, 1]), line([69, 67, 62, 64], [1, 1, 1, 1])
    both = Waveform(bowed(upper, vibrato=0.1).samples + 0.8 * bowed(lower, 1, vibrato=0.1).samples, RATE)
    assert f1(upper, transcribe(both).notes, 0.2) >= 0.75


def test_a_length_of_whole_frames_is_heard() -> None:
    t = np.arange(100 * 220) / 22_050
    found = transcribe(Waveform((0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), 22_050))
    assert found.notes["pitch"].tolist() == [69] and len(found.contour) == 100


@pytest.mark.parametrize("sound", ["breath", "wind", "mains"])
def test_breath_and_noise_are_answered(sound: str) -> None:
    rng, t = np.random.default_rng(0), np.arange(2 * RATE) / RATE
    noise = rng.normal(size=t.size)
    samples = {
        "breath": 0.1 * noise * np.clip(np.sin(2 * np.pi * 0.7 * t), 0, 1),
        "wind": 0.01 * np.cumsum(noise) / 10,
        "mains": 0.01 * np.sin(2 * np.pi * 100 * t) + 0.003 * noise,
    }
    with pytest.raises(AudioError, match="only breath or noise"):
        transcribe(Waveform(samples[sound].astype(np.float32), RATE))


def test_silence_and_a_moment_are_answered() -> None:
    with pytest.raises(AudioError, match="silent"):
        transcribe(Waveform(np.zeros(RATE, np.float32), RATE))
    for function in (transcribe, track_pitch):
        with pytest.raises(AudioError, match=r"0\.2 seconds; at least 0\.5"):
            function(Waveform(np.full(RATE // 5, 0.1, np.float32), RATE))


@pytest.mark.parametrize("tempo_bpm", [55.0, 72.0, 100.0, 128.0, 170.0])
def test_onsets_on_a_grid_have_its_tempo(tempo_bpm: float) -> None:
    rng = np.random.default_rng(1)
    onsets = np.cumsum(rng.choice([0.5, 1.0, 1.0, 1.5], 20)) * 60 / tempo_bpm + rng.normal(0, 0.01, 20)
    found, fit = fit_tempo(onsets)
    assert min(abs(found / tempo_bpm * factor - 1) for factor in (0.5, 1, 2)) < 0.04 and fit > 0.5


def test_onsets_without_a_grid_have_none() -> None:
    rng = np.random.default_rng(2)
    assert fit_tempo(np.sort(rng.uniform(0, 40, 60)))[1] < 0.3
    assert fit_tempo(np.array([0.0, 1.0])) == (100.0, 0.0)


def test_the_same_generator_hums_the_same() -> None:
    notes = line([60, 62], [1, 1])
    one, two = (hum(notes, "hum", np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.samples, two.samples) and one.sample_rate == RATE
    with pytest.raises(ValueError, match="needs notes"):
        hum(notes[:0], "hum", np.random.default_rng(5))


def test_the_hum_of_a_room_before_the_melody_is_no_note() -> None:
    rate, rng = 24_000, np.random.default_rng(0)
    t = np.arange(3 * rate) / rate
    melody = np.where(t > 1.5, 0.3 * np.sin(2 * np.pi * np.where(t < 2.2, 440.0, 494.0) * t), 0.0)
    room = 0.004 * np.sin(2 * np.pi * 98.0 * t) + 0.0005 * rng.standard_normal(len(t))
    notes = transcribe(Waveform((melody + room)[None].astype(np.float32), rate)).notes
    assert notes["onset_s"][0] > 1.4
    assert notes["pitch"].tolist() == [69, 71]
