"""Known buzz under known music, and music that has none."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from backend.audio.waveform import Waveform
from backend.metrics.buzz import buzz, steady_share_of_added

RATE = 44_100
Kind = Callable[[float], np.ndarray]
T = np.arange(5 * RATE) / RATE


def level(samples: np.ndarray) -> np.ndarray:
    return np.asarray(0.1 * samples / np.sqrt((samples**2).mean()))


def harmonics(hertz: float, t: np.ndarray, count: int) -> np.ndarray:
    return np.asarray(np.sum([np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, count)], axis=0))


def notes(seed: int, lowest_hz: float = 220.0) -> np.ndarray:
    """Plucked notes that come and go."""
    rng, out = np.random.default_rng(seed), np.zeros(len(T))
    t = np.arange(RATE // 2) / RATE
    for start in range(0, len(T) - len(t), RATE // 4):
        out[start : start + len(t)] += harmonics(lowest_hz * 2 ** (rng.integers(24) / 12), t, 5) * np.exp(-8 * t)
    return out


def held(seed: int, seconds: float, lowest_hz: float, chord: tuple[int, ...], count: int) -> np.ndarray:
    """Tones without a gap between them, another root every so many seconds."""
    rng, out = np.random.default_rng(seed), np.zeros(len(T))
    size = round(seconds * RATE)
    for start in range(0, len(T), size):
        root, t = rng.integers(12), T[start : start + size]
        out[start : start + size] = sum(harmonics(lowest_hz * 2 ** ((root + i) / 12), t, count) for i in chord)
    return out


def drums(seed: int) -> np.ndarray:
    return 2.0 * np.random.default_rng(seed).standard_normal(len(T)) * np.exp(-25 * (T % 0.4))


CONTENT = level(notes(0) + drums(0))
OTHER = level(notes(5, 180.0) + drums(3)[::-1])
DENSE = level(0.3 * held(1, 1.25, 220.0, (0, 3, 7), 8) + held(1, 0.5, 55.0, (0,), 6) + drums(2))
HIT = np.where(T > 4.7, 0.5 * np.random.default_rng(3).standard_normal(len(T)), 0.0)


def hiss(below_db: float) -> np.ndarray:
    return level(np.random.default_rng(9).standard_normal(len(T))) * 10 ** (-below_db / 20)


def hum(below_db: float) -> np.ndarray:
    return level(np.sign(np.sin(2 * np.pi * 1000 * T))) * 10 ** (-below_db / 20)


def comb(below_db: float) -> np.ndarray:
    """Noise that pulses with a hop of 1,024 samples."""
    return level(hiss(0) * (1 + np.sin(2 * np.pi * 43 * T))) * 10 ** (-below_db / 20)


def sound(samples: np.ndarray) -> Waveform:
    return Waveform(samples.astype(np.float32), RATE)


def read(after: np.ndarray, style: np.ndarray = DENSE, before: np.ndarray = CONTENT) -> float:
    return buzz(sound(before), sound(after), sound(style))


def test_unchanged_or_only_louder_has_no_buzz() -> None:
    assert read(CONTENT) == 0.0
    assert read(0.3 * CONTENT) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("kind", "at_20_db"), [(hum, 0.046), (hiss, 0.196), (comb, 0.192)])
def test_a_known_buzz_reads_as_loud_as_it_is(kind: Kind, at_20_db: float) -> None:
    readings = [read(CONTENT + kind(below)) for below in (10, 20, 30, 40)]
    assert readings[1] == pytest.approx(at_20_db, rel=0.1)
    assert all(a > 2.0 * b for a, b in pairwise(readings))


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(OTHER, id="other music"),
        pytest.param(DENSE, id="the style itself, held bass and chords"),
        pytest.param(level(CONTENT + DENSE), id="both at once"),
        pytest.param(CONTENT + 0.3 * level(held(2, 1.25, 220.0, (0, 3, 7), 8)), id="other chords, held"),
        pytest.param(level(CONTENT + drums(0)), id="louder drums"),
        pytest.param(np.convolve(CONTENT, [1, -0.7])[: len(T)], id="an equaliser"),
        pytest.param(CONTENT + HIT, id="one hit"),
    ],
)
def test_music_is_not_buzz(after: np.ndarray) -> None:
    assert read(after) < 0.03


@pytest.mark.parametrize("style", [OTHER, DENSE])
@pytest.mark.parametrize("kind", [hum, hiss])
def test_a_buzz_reads_alike_however_much_of_the_music_is_exchanged(kind: Kind, style: np.ndarray) -> None:
    readings = [read(level((1 - share) * CONTENT + share * style) + kind(20), style) for share in (0.0, 0.5, 1.0)]
    assert max(readings) < 1.7 * min(readings)


def test_one_loud_hit_does_not_hide_a_buzz() -> None:
    assert read(CONTENT + hum(20) + HIT) > 0.6 * read(CONTENT + hum(20))


def test_what_the_style_holds_as_steadily_is_its_own() -> None:
    made, style = sound(CONTENT + hiss(20)), sound(0.5 * np.roll(CONTENT, RATE) + 0.5 * hiss(20)[::-1])
    assert buzz(sound(CONTENT), made) == pytest.approx(0.236, rel=0.1)
    assert buzz(sound(CONTENT), made, style) < 0.02


def test_the_earlier_reading_fails_where_this_one_does_not() -> None:
    def share(after: np.ndarray) -> float:
        return steady_share_of_added(sound(CONTENT), sound(after))

    assert share(DENSE) > 0.4, "music without any buzz"
    assert share(CONTENT + hum(20)) > 0.5
    assert share(CONTENT + hum(20) + HIT) < 0.05, "the same hum"
    assert share(OTHER + hum(20)) < 0.1, "the same hum"
    assert share(CONTENT + hiss(20)) < 0.15, "nothing but buzz"


def test_silence_is_compared_without_an_error() -> None:
    silence = np.zeros(len(T))
    assert read(silence, before=silence) == 0.0
    assert read(silence) == 0.0
    assert 0.0 <= read(CONTENT, before=silence, style=silence) <= 1.0
    assert steady_share_of_added(sound(silence), sound(silence)) == 0.0
