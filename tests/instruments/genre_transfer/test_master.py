from __future__ import annotations

import numpy as np
import pytest

from backend.audio.loudness import integrated_lufs, true_peak_db
from backend.audio.waveform import Waveform
from backend.instruments.genre_transfer.bands import expand, filters, levels_db, matched_db
from backend.instruments.genre_transfer.master import finish, quietened, tone
from backend.instruments.genre_transfer.separation import spectrum_of
from backend.metrics.buzz import buzz
from tests.instruments.genre_transfer.sounds import RATE, notes, song, stereo


@pytest.mark.parametrize("n_fft", [1024, 2048, 4096])
def test_bands_add_up_to_one_in_every_bin(n_fft: int) -> None:
    np.testing.assert_allclose(filters(RATE, n_fft).sum(0), 1.0, atol=1e-5)
    np.testing.assert_allclose(expand(np.full((48, 3), 6.0, np.float32), RATE, n_fft), 10 ** (6 / 20), rtol=1e-4)


def test_matched_levels_have_the_other_sounds_mean() -> None:
    own, other = (
        levels_db(spectrum_of(one.samples, 4096, 1024), RATE, 4096)
        for one in (song(brightness=0.3), song(brightness=0.6))
    )
    gain = matched_db(own, other, 1.0, 60.0)
    band = np.arange(3, 25)

    def power(levels: np.ndarray) -> np.ndarray:
        return 10 * np.log10((10 ** (levels[band] / 10)).mean(1))

    assert np.abs(power(own + gain) - power(other)).mean() < 0.5 * np.abs(power(own) - power(other)).mean()
    assert not matched_db(own, other, 0.0, 60.0).any()


def test_tone_brings_the_long_term_spectrum_nearer() -> None:
    dull, bright = song(brightness=0.3).samples, song(brightness=0.7).samples
    made = tone(dull, bright, RATE, 1.0)

    def spectrum(samples: np.ndarray) -> np.ndarray:
        return 10 * np.log10((10 ** (levels_db(spectrum_of(samples, 4096, 1024), RATE, 4096) / 10)).mean(1))

    before, after = (np.abs(spectrum(one) - spectrum(bright))[3:25].mean() for one in (dull, made))
    assert after < 0.8 * before


def test_a_hiss_that_no_source_has_is_pushed_down_and_the_music_is_not() -> None:
    music = song().samples
    hiss = 0.02 * np.random.default_rng(0).standard_normal(music.shape).astype(np.float32)
    with_hiss, alone = (quietened(one, [music], RATE, 1.0) for one in (music + hiss, music))
    before, after = (buzz(song(), Waveform(one, RATE)) for one in (music + hiss, with_hiss))
    assert after < 0.5 * before
    assert np.std(alone - music) < 0.02 * np.std(music)
    assert np.std(with_hiss - music) < np.std(hiss) + 0.02 * np.std(music)
    own = quietened(music + hiss, [music, hiss], RATE, 1.0)
    assert np.std(own - music) == pytest.approx(np.std(hiss), rel=0.2)
    assert quietened(music + hiss, [music], RATE, 0.0) == pytest.approx(music + hiss, abs=1e-4)


@pytest.mark.parametrize("gain", [1e-4, 1.0, 50.0])
def test_what_is_finished_is_as_loud_as_asked_and_limited(gain: float) -> None:
    like = song()
    made = finish(gain * song(brightness=0.8).samples, like)
    assert integrated_lufs(made) == pytest.approx(integrated_lufs(like), abs=0.5)
    assert true_peak_db(made) <= -0.9


def test_nothing_that_is_not_a_number_leaves() -> None:
    bad = stereo(notes([220], 1.0)).samples.copy()
    bad[0, 100:200], bad[1, 50] = np.nan, np.inf
    made = finish(bad, song())
    assert np.isfinite(made.samples).all()
    assert not finish(np.zeros((2, 1000), np.float32), Waveform(np.zeros((2, 1000), np.float32), RATE)).samples.any()
