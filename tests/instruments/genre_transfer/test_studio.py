from __future__ import annotations

import numpy as np
import pytest

from backend.audio.loudness import integrated_lufs, true_peak_db
from backend.audio.waveform import Waveform
from backend.instruments.genre_transfer import studio
from backend.instruments.genre_transfer.studio import Controls, transfer
from backend.metrics.groove import rhythm_similarity
from tests.instruments.genre_transfer.sounds import RATE, notes, song, stereo

QUICK = 3


def run(content: Waveform, style: Waveform, seed: int = 0, **controls: object) -> Waveform:
    return transfer(content, style, Controls(iterations=QUICK, **controls), seed, lambda share, message, sound: None)  # type: ignore[arg-type]


def test_the_result_is_as_long_and_as_loud_as_the_content_and_limited() -> None:
    content, style = song(3.0, 120, 0.3), song(4.0, 100, 0.8)
    shares, made = list[float](), None
    made = transfer(content, style, Controls(iterations=QUICK), 0, lambda share, message, sound: shares.append(share))
    assert made.samples.shape == content.samples.shape
    assert integrated_lufs(made) == pytest.approx(integrated_lufs(content), abs=0.5)
    assert true_peak_db(made) <= -0.9
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


def test_the_same_seed_gives_the_same_samples_and_another_one_others() -> None:
    content, style = song(1.5, 120, 0.3), song(2.0, 100, 0.8)
    a, b, c = (run(content, style, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(a.samples, b.samples)
    assert np.abs(a.samples - c.samples).max() > 1e-3


def test_strength_nought_gives_the_content_back() -> None:
    content = song(1.5)
    made = run(content, song(2.0, 90, 0.8), strength=0.0)
    inner = slice(1000, -1000)
    correlation = np.corrcoef(made.samples[0, inner], content.samples[0, inner])[0, 1]
    assert correlation > 0.99  # but for the limiter


@pytest.mark.parametrize(
    "content",
    [
        stereo(notes([220.0], 2.0)),
        stereo(0.1 * np.random.default_rng(0).standard_normal(2 * RATE)),
        stereo(np.sign(notes([110, 165], 1.0))),
        stereo(song(2.0).samples[0, : RATE // 10]),
        stereo(1e-3 * notes([440.0], 2.0)),
    ],
    ids=["drone", "noise", "clipped", "a_tenth_of_a_second", "quiet"],
)
def test_odd_sounds_give_finite_limited_sound_either_way_round(content: Waveform) -> None:
    other = song(2.0, 110, 0.7)
    for a, b in ((content, other), (other, content)):
        made = run(a, b)
        assert made.samples.shape == a.samples.shape
        assert np.isfinite(made.samples).all()
        assert true_peak_db(made) <= -0.9


def test_one_clip_used_twice_keeps_its_rhythm() -> None:
    clip = song(4.0, 120, 0.6)
    assert rhythm_similarity(clip, run(clip, clip)) > 0.8


def test_long_contents_are_made_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[int]()
    window = studio._window

    def watched(scene: studio.Scene, *rest: object) -> np.ndarray:
        seen.append(scene.own.harmonic.shape[1])
        return np.asarray(scene.own.harmonic + scene.drums)

    monkeypatch.setattr(studio, "_window", watched)
    assert window is not watched
    made = run(song(40.0, 120), song(3.0, 100, 0.8))
    assert made.n_samples == 40 * RATE
    assert len(seen) == 3
    assert max(seen) < 18 * RATE
