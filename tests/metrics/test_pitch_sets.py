from __future__ import annotations

import numpy as np
import pytest

from backend.audio.waveform import Waveform
from backend.metrics.pitch_sets import jaccard_distance, pitch_jaccard_distance, pitch_sets

RATE = 22_050


def chord(*pitches: int, seconds: float = 2.0, brightness: float = 0.6) -> Waveform:
    t = np.arange(int(seconds * RATE)) / RATE
    tones = [
        brightness**k * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * (k + 1) * t)
        for pitch in pitches
        for k in range(6)
    ]
    return Waveform((0.08 * np.sum(tones, 0)).astype(np.float32), RATE)


def test_the_pitches_of_a_chord_are_found() -> None:
    found = pitch_sets(chord(60, 64, 67))
    notes = set((np.flatnonzero(found[:, found.shape[1] // 2]) + 24).tolist())
    assert notes >= {60, 64, 67}
    assert notes <= {48, 60, 64, 67}  # C3, of which the chord is a row of overtones


def test_the_same_notes_in_another_timbre_are_near_and_other_notes_far() -> None:
    reference = chord(60, 64, 67)
    assert pitch_jaccard_distance(reference, reference) == 0.0
    assert pitch_jaccard_distance(reference, chord(60, 64, 67, brightness=0.35)) < 0.35
    assert pitch_jaccard_distance(reference, chord(61, 66, 70)) > 0.9


def test_half_of_the_notes_in_common_is_a_distance_of_two_thirds() -> None:
    a, b = np.zeros((72, 4), np.bool_), np.zeros((72, 4), np.bool_)
    a[[1, 2]], b[[2, 3]] = True, True
    assert jaccard_distance(a, b) == pytest.approx(2 / 3)


def test_silence_and_noise_have_no_pitch() -> None:
    silence = Waveform(np.zeros(RATE, np.float32), RATE)
    noise = Waveform(0.1 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32).clip(-5, 5), RATE)
    assert not pitch_sets(silence).any()
    assert pitch_sets(noise).any(0).mean() < 0.2
    assert pitch_jaccard_distance(silence, silence) == 0.0
