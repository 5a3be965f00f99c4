from __future__ import annotations

import numpy as np
import pytest

from backend.audio.waveform import Waveform
from backend.metrics.groove import onset_curves, onset_similarity, rhythm_pattern, rhythm_similarity

RATE = 22_050
HOUSE = ("x...x...x...x...", "....x.......x...", "..x...x...x...x.")
TRAP = ("x.....x...x..x..", "........x.......", "xxxxxxxxxxxxxxxx")


def drums(pattern: tuple[str, str, str], tempo_bpm: float, seed: int = 0, late_s: float = 0.0) -> Waveform:
    """Eight seconds of kick, snare and hat on sixteenths."""
    rng = np.random.default_rng(seed)
    out = np.zeros(9 * RATE)
    t = np.arange(4000) / RATE
    sounds = (
        np.sin(2 * np.pi * 55 * t) * np.exp(-t * 18),
        0.3 * rng.standard_normal(4000) * np.exp(-t * 30),
        0.1 * np.diff(rng.standard_normal(4001)) * np.exp(-t * 90),
    )
    for step in range(int(8 * tempo_bpm / 15)):
        start = int((late_s + step * 15 / tempo_bpm) * RATE)
        for row, sound in zip(pattern, sounds, strict=True):
            if row[step % 16] == "x" and start + 4000 <= len(out):
                out[start : start + 4000] += sound
    return Waveform((0.5 * out[: 8 * RATE]).astype(np.float32), RATE)


def test_a_sound_has_its_own_rhythm() -> None:
    sound = drums(HOUSE, 120)
    assert rhythm_similarity(sound, sound) == pytest.approx(1.0)
    assert onset_similarity(sound, sound) == pytest.approx(1.0)


@pytest.mark.parametrize("tempo_bpm", [90, 140])
def test_a_pattern_is_known_at_another_tempo(tempo_bpm: float) -> None:
    same = rhythm_similarity(drums(HOUSE, 120), drums(HOUSE, tempo_bpm, seed=1))
    other = rhythm_similarity(drums(HOUSE, 120), drums(TRAP, tempo_bpm, seed=1))
    assert same > 0.9
    assert same > other + 0.04


def test_onsets_are_similar_only_at_the_same_moments() -> None:
    reference = drums(TRAP, 100)
    assert onset_similarity(reference, drums(TRAP, 100, seed=1)) > 0.9
    assert onset_similarity(reference, drums(TRAP, 100, seed=1, late_s=0.075)) < 0.3


def test_level_changes_neither() -> None:
    sound = drums(HOUSE, 110)
    quiet = Waveform(0.1 * sound.samples, RATE)
    assert onset_similarity(sound, quiet) == pytest.approx(1.0, abs=1e-3)
    assert rhythm_similarity(sound, quiet) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.zeros(3)])
def test_silence_and_nearly_nothing_have_no_rhythm(samples: np.ndarray) -> None:
    nothing = Waveform(samples.astype(np.float32), RATE)
    assert not onset_curves(nothing).any()
    assert not rhythm_pattern(nothing).any()
    assert rhythm_similarity(nothing, drums(HOUSE, 120)) == 0.0
    assert onset_similarity(nothing, drums(HOUSE, 120)) == 0.0
