from __future__ import annotations

import numpy as np

from backend.instruments.genre_transfer.resynthesis import comb, fine_structure, resynthesise
from backend.instruments.genre_transfer.separation import spectrum_of
from tests.instruments.genre_transfer.sounds import RATE, notes, stereo


def magnitude(samples: np.ndarray) -> np.ndarray:
    return np.abs(spectrum_of(stereo(samples).samples, 4096, 1024)).mean(0)


def test_fine_structure_knows_pitch_and_not_brightness() -> None:
    dull, bright, other = (
        fine_structure(magnitude(notes([f], 1.0, b)), RATE)[:, 20] for f, b in ((330, 0.4), (330, 0.8), (370, 0.4))
    )

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine(dull.numpy(), bright.numpy()) > cosine(dull.numpy(), other.numpy()) + 0.4


def test_the_comb_is_open_on_partials_and_closed_between() -> None:
    gate = comb(magnitude(notes([440], 1.0)), RATE)[:, 20]
    bins = [round(hertz * 4096 / RATE) for hertz in (440, 880, 660, 1100)]
    assert gate[bins[0]] > 0.9
    assert gate[bins[1]] > 0.9
    assert gate[bins[2]] < 0.1
    assert gate[bins[3]] < 0.1


def test_both_layers_play_the_contents_notes_and_one_the_styles_envelope() -> None:
    content, style = stereo(notes([330, 440], 1.0, 0.3)).samples, stereo(notes([262, 294, 349], 0.7, 0.85)).samples
    layers = resynthesise(content, style, RATE, harmony=0.0, seed=0)
    for layer in (layers.woven, layers.coloured):
        assert layer.shape == content.shape
        assert np.isfinite(layer).all()
        spectrum = np.abs(np.fft.rfft(layer[0][10_000:34_000]))
        peak = spectrum.argmax() * RATE / 24_000
        assert min(abs(peak / 330 / k - 1) for k in (1, 2, 3)) < 0.03

    def brightness(samples: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(samples[0])) ** 2
        return float((power * np.arange(len(power))).sum() / power.sum())

    assert brightness(layers.coloured) > 1.3 * brightness(content)


def test_the_same_seed_gives_the_same_samples() -> None:
    content, style = stereo(notes([330], 0.5)).samples, stereo(notes([262], 0.5, 0.8)).samples
    a, b = (resynthesise(content, style, RATE, harmony=0.2, seed=3) for _ in range(2))
    np.testing.assert_array_equal(a.woven, b.woven)
