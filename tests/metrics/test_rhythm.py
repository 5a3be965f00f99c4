"""Tempo of patterns whose tempo is known by construction."""

import numpy as np
import pytest

from backend.audio.waveform import Waveform
from backend.metrics.rhythm import estimate_tempo, onset_curves, tempo_class, tempo_salience

RATE = 24_000
SECONDS = 10


def place(samples: np.ndarray, at_s: float, sound: np.ndarray) -> None:
    start = round(at_s * RATE)
    stop = min(start + len(sound), len(samples))
    if start < stop:
        samples[start:stop] += sound[: stop - start]


def struck(pitch: int, seconds: float = 0.8) -> np.ndarray:
    """A decaying harmonic tone, as a piano's."""
    t = np.arange(int(seconds * RATE)) / RATE
    f = 440 * 2 ** ((pitch - 69) / 12)
    return (
        0.2
        * sum(np.sin(2 * np.pi * f * h * t) / h for h in (1, 2, 3, 4))
        * np.exp(-4 * t)
        * np.minimum(t / 0.004, 1)
        * np.minimum((seconds - t) / 0.3, 1)
    )


def drums(tempo_bpm: float, seed: int = 0) -> Waveform:
    """Kick on one and three, snare on two and four, hat on eighths."""
    rng, samples, beat = np.random.default_rng(seed), np.zeros(SECONDS * RATE), 60 / tempo_bpm
    t = np.arange(RATE // 5) / RATE
    kick = np.sin(2 * np.pi * (50 * t + 8 * (1 - np.exp(-30 * t)))) * np.exp(-15 * t)
    snare = 0.5 * rng.normal(size=t.size) * np.exp(-25 * t)
    hat = 0.15 * np.diff(rng.normal(size=t.size + 1)) * np.exp(-80 * t)
    for eighth in range(int(SECONDS / beat * 2)):
        place(samples, 0.1 + eighth * beat / 2, hat)
        if eighth % 2 == 0:
            place(samples, 0.1 + eighth * beat / 2, kick if eighth % 4 == 0 else snare)
    return Waveform((samples / 4).astype(np.float32), RATE)


def sparse(tempo_bpm: float, seed: int = 0) -> Waveform:
    """One struck note a beat over a bass note a bar."""
    rng, samples, beat = np.random.default_rng(seed), np.zeros(SECONDS * RATE), 60 / tempo_bpm
    for index in range(int(SECONDS / beat)):
        place(samples, 0.1 + index * beat, struck(int(rng.integers(60, 80))))
        if index % 4 == 0:
            place(samples, 0.1 + index * beat, 2 * struck(40, 1.5))
    return Waveform((samples / 4).astype(np.float32), RATE)


@pytest.mark.parametrize("tempo_bpm", [84, 96, 110, 120, 132, 150])
def test_a_drum_pattern_is_heard_at_its_tempo(tempo_bpm: float) -> None:
    assert estimate_tempo(drums(tempo_bpm)) == pytest.approx(tempo_bpm, rel=0.02)


@pytest.mark.parametrize("tempo_bpm", [55, 60, 70, 80, 100, 118, 130, 150])
def test_sparse_music_is_heard_at_its_tempo_and_not_at_its_double(tempo_bpm: float) -> None:
    assert estimate_tempo(sparse(tempo_bpm)) == pytest.approx(tempo_bpm, rel=0.02)


def test_the_estimate_does_not_depend_on_level_or_rate() -> None:
    loud = drums(100)
    quiet = Waveform(loud.samples * 0.01, RATE)
    assert estimate_tempo(quiet) == estimate_tempo(loud)
    halved = Waveform(loud.samples[:, ::2], RATE // 2)
    assert estimate_tempo(halved) == pytest.approx(100, rel=0.02)


def test_what_has_no_beat_has_no_tempo() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(SECONDS * RATE) / RATE)
    for samples in (np.zeros(SECONDS * RATE), np.zeros(0), np.zeros(100)):
        assert estimate_tempo(Waveform(samples.astype(np.float32), RATE)) == 0
    assert np.isfinite(tempo_salience(Waveform(tone.astype(np.float32), RATE))[1]).all()


def test_onsets_are_where_the_notes_start() -> None:
    samples = np.zeros(3 * RATE)
    for at_s in (0.5, 1.25, 2.0):
        place(samples, at_s, struck(69))
    curve = onset_curves(Waveform((samples / 2).astype(np.float32), RATE))[0]
    peaks = [
        i
        for i in range(1, len(curve) - 1)
        if curve[i] > max(curve[i - 1], 0.3 * curve.max()) and curve[i] >= curve[i + 1]
    ]
    assert len(peaks) == 3
    assert np.abs(np.array(peaks) / 100 - [0.5, 1.25, 2.0]).max() < 0.04


@pytest.mark.parametrize(
    ("tempo_bpm", "expected"),
    [(0, "none"), (45, "slow"), (87.9, "slow"), (88, "medium"), (122, "medium"), (122.1, "fast"), (200, "fast")],
)
def test_classes_meet_at_88_and_122(tempo_bpm: float, expected: str) -> None:
    assert tempo_class(tempo_bpm) == expected
