from __future__ import annotations

import numpy as np
import pytest

from backend.audio.waveform import Waveform
from backend.metrics.buzz import buzz

RATE = 44_100
T = np.arange(4 * RATE) / RATE


def music() -> np.ndarray:
    """Notes that come and go."""
    rng = np.random.default_rng(0)
    out = np.zeros(len(T))
    for start in range(0, len(T) - RATE // 2, RATE // 4):
        hertz = 220 * 2 ** (rng.integers(24) / 12)
        t = np.arange(RATE // 2) / RATE
        out[start : start + len(t)] += np.sin(2 * np.pi * hertz * t) * np.exp(-8 * t)
    return 0.2 * out


def sound(samples: np.ndarray) -> Waveform:
    return Waveform(samples.astype(np.float32), RATE)


def test_unchanged_or_only_louder_has_no_buzz() -> None:
    assert buzz(sound(music()), sound(music())) == 0.0
    assert buzz(sound(music()), sound(0.3 * music())) == 0.0


@pytest.mark.parametrize("kind", ["hum", "hiss"])
def test_what_is_added_and_stays_is_buzz(kind: str) -> None:
    hum = np.sign(np.sin(2 * np.pi * 3000 * T))
    added = 0.02 * (hum if kind == "hum" else np.random.default_rng(1).standard_normal(len(T)))
    assert buzz(sound(music()), sound(music() + added)) > 0.75


def test_what_is_added_and_comes_and_goes_is_not() -> None:
    hits = np.random.default_rng(2).standard_normal(len(T)) * np.exp(-20 * (T % 0.5))
    assert buzz(sound(music()), sound(music() + 0.1 * hits)) < 0.05


def test_what_the_style_holds_as_steadily_is_its_own() -> None:
    hiss = 0.02 * np.random.default_rng(1).standard_normal(len(T))
    made, style = sound(music() + hiss), sound(0.5 * np.roll(music(), RATE) + 0.5 * hiss[::-1])
    assert buzz(sound(music()), made) > 0.75
    assert buzz(sound(music()), made, style) < 0.2
    assert buzz(sound(music()), made, sound(np.roll(music(), RATE))) > 0.6
    assert buzz(sound(music()), style, style) < 0.05


def test_silence_is_compared_without_an_error() -> None:
    silence = sound(np.zeros(len(T)))
    assert buzz(silence, silence) == 0.0
    assert buzz(sound(music()), silence) == 0.0
    assert 0.0 <= buzz(silence, sound(music())) <= 1.0
