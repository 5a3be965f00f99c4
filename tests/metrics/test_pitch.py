"""Mode, notes and top voice of music built from known pitches."""

import numpy as np
import pytest

from backend.audio.waveform import Waveform
from backend.metrics.pitch import distinct_top_pitches, estimate_key, estimate_mode, note_activity, top_voice

RATE = 24_000
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
FRAME_S = 512 / RATE


def tone(pitch: int, seconds: float, partials: int = 8, decay: float = 1.5) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    f = 440 * 2 ** ((pitch - 69) / 12)
    parts = (0.7**h * np.sin(2 * np.pi * f * (h + 1) * t + h) for h in range(partials) if f * (h + 1) < RATE / 2)
    ends = np.minimum(np.minimum(t / 0.01, (seconds - t) / 0.02), 1)
    return sum(parts) * np.exp(-decay * t) * ends


def mix(rows: list[tuple[float, float, int, float]], seconds: float = 10.0) -> Waveform:
    """``(start_s, length_s, pitch, gain)`` rows as sound."""
    samples = np.zeros(int(seconds * RATE))
    for start_s, length_s, pitch, gain in rows:
        sound = gain * tone(pitch, length_s)
        start = int(start_s * RATE)
        samples[start : start + len(sound)] += sound[: len(samples) - start]
    return Waveform((0.5 * samples / np.abs(samples).max()).astype(np.float32), RATE)


def tune(tonic: int, scale: tuple[int, ...], seed: int) -> Waveform:
    """A random walk over i, iv and v chords that starts and ends on the tonic."""
    rng, rows, step = np.random.default_rng(seed), [], 0
    for bar, degree in enumerate((0, 3, 4, 0, 0, 3, 4, 0)):
        for third in (0, 2, 4):
            index = degree + third
            rows.append((1.2 * bar, 1.1, 48 + tonic + scale[index % 7] + 12 * (index // 7), 0.5))
        for beat in range(3):
            step = int(np.clip(step + rng.integers(-2, 3), 0, 9)) if beat else degree
            rows.append((1.2 * bar + 0.4 * beat, 0.38, 60 + tonic + scale[step % 7] + 12 * (step // 7), 0.8))
    return mix(rows)


@pytest.mark.parametrize("tonic", [0, 3, 6, 10])
@pytest.mark.parametrize(("scale", "mode"), [(MAJOR, "major"), (MINOR, "minor")])
def test_the_key_of_a_tune_in_a_scale_is_found(tonic: int, scale: tuple[int, ...], mode: str) -> None:
    key = estimate_key(tune(tonic, scale, tonic))
    assert key is not None and (key.tonic, key.mode) == (tonic, mode)
    assert 0 < key.margin < 2


def test_level_does_not_change_the_key_and_silence_has_none() -> None:
    wave = tune(2, MINOR, 1)
    quiet = estimate_key(Waveform(wave.samples * 0.02, RATE))
    loud = estimate_key(wave)
    assert loud is not None and quiet is not None
    assert (quiet.tonic, quiet.mode) == (loud.tonic, loud.mode) and quiet.margin == pytest.approx(loud.margin, abs=1e-3)
    silent = Waveform(np.zeros(RATE, np.float32), RATE)
    assert estimate_key(silent) is None and estimate_mode(silent) == ("major", 0.0)


def test_notes_of_a_chord_are_the_strongest_activities() -> None:
    activity = note_activity(mix([(0.0, 3.0, p, 1.0) for p in (48, 55, 64)], 3.0)).mean(1)
    assert set(np.argsort(activity)[-3:] + 24) == {48, 55, 64}


@pytest.mark.parametrize("pitches", [(60, 62, 64, 65, 67), (72, 71, 69, 67, 65), (67, 79, 60, 84, 70)])
def test_the_top_voice_of_a_melody_over_a_bass_is_the_melody(pitches: tuple[int, ...]) -> None:
    rows = [(i * 1.0, 0.95, p, 1.0) for i, p in enumerate(pitches)] + [(0.0, 5.0, 43, 0.6)]
    voice = top_voice(mix(rows, 5.0))
    heard = [int(np.median(voice[int((i + 0.2) / FRAME_S) : int((i + 0.7) / FRAME_S)])) for i in range(len(pitches))]
    assert heard == list(pitches)


def test_distinct_top_pitches_counts_the_melody_once_and_at_most_one_accompanying_note() -> None:
    melody = (64, 67, 69, 67, 64, 72, 71, 69) * 2
    rows = [(i * 0.6, 0.55, p, 1.0) for i, p in enumerate(melody)]
    chords = [(bar * 2.4, 2.3, p, 0.4) for bar in range(4) for p in (48, 52, 55)]
    assert distinct_top_pitches(mix(rows + chords)) in (5, 6)


@pytest.mark.parametrize("hold_s", [0.5, 1.0, 9.5])
def test_a_standing_chord_does_not_pass_for_a_melody(hold_s: float) -> None:
    chord = [(i * hold_s, hold_s * 0.95, p, 1.0) for i in range(int(10 / hold_s)) for p in (52, 60, 64, 67)]
    assert distinct_top_pitches(mix(chord)) < 4  # four are the mark of a melody


def test_silence_and_noise_have_no_melody() -> None:
    assert distinct_top_pitches(Waveform(np.zeros(5 * RATE, np.float32), RATE)) == 0
    hiss = np.random.default_rng(0).normal(size=5 * RATE) * 0.1
    assert distinct_top_pitches(Waveform(hiss.astype(np.float32), RATE)) == 0
