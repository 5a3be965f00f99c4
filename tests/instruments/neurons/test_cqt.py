from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from backend.errors import RequestError
from backend.instruments.neurons import cqt
from backend.instruments.neurons.cqt import BASE, LIGHT, TINY, ConstantQ, CqtConfig
from backend.instruments.neurons.loops import Meter, make_loop

TOLERANCE = 0.03
"""Of the loudest coefficient. librosa halves the rate for each octave and cuts its filters to whole samples."""


def tone(frequency: float, rate: int, seconds: float = 2.0, amplitude: float = 0.5) -> torch.Tensor:
    return torch.from_numpy(amplitude * np.cos(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).float()


def sounds(rate: int) -> dict[str, np.ndarray]:
    t = np.arange(3 * rate) / rate
    return {
        "tones": sum(0.3 * np.sin(2 * np.pi * f * t) for f in (110.0, 443.0, 3_000.0)),
        "chirp": 0.8 * np.sin(2 * np.pi * (80 * t + 500 * t**2)),
        "music": make_loop("arpeggio", Meter(), rate).samples[0],
    }


@pytest.mark.parametrize(
    ("config", "name"),
    [(LIGHT, "tones"), (LIGHT, "chirp"), (LIGHT, "music"), (BASE, "music")],
    ids=["light-tones", "light-chirp", "light-music", "base-music"],
)
def test_magnitudes_are_librosas(config: CqtConfig, name: str) -> None:
    sound = sounds(config.sample_rate)[name].astype(np.float32)
    reference = librosa.cqt(
        sound,
        sr=config.sample_rate,
        hop_length=config.hop,
        fmin=config.f_min,
        n_bins=config.bins,
        bins_per_octave=config.bins_per_octave,
        tuning=0.0,
        sparsity=0.0,
    )
    lengths = config.q * config.sample_rate / config.frequencies  # librosa scales by their root, and halves a sine
    expected = np.abs(reference) * 2 / np.sqrt(lengths)[:, None]
    found = ConstantQ(config)(torch.from_numpy(sound)[None])[0].abs().numpy()
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < TOLERANCE * expected.max()
    assert np.linalg.norm(found - expected) < 0.5 * TOLERANCE * np.linalg.norm(expected)


@pytest.mark.parametrize("circular", [False, True])
def test_a_sine_reads_its_amplitude_and_its_phase(circular: bool) -> None:
    at, frequency = 24, TINY.frequencies[24]  # 440 Hz: a whole number of turns in two seconds
    bands = ConstantQ(TINY)(tone(frequency, TINY.sample_rate)[None], circular)[0, at]
    middle = np.arange(40, 160)
    turns = np.exp(2j * np.pi * frequency * middle * TINY.hop / TINY.sample_rate)
    assert np.allclose(bands.numpy()[middle], 0.5 * turns, atol=2e-3)


def test_a_loop_begun_elsewhere_is_the_same_loop() -> None:
    loop = torch.randn(1, 200 * TINY.hop, generator=torch.Generator().manual_seed(0))
    transform = ConstantQ(TINY)
    moved = transform(loop.roll(7 * TINY.hop, 1), True)
    assert torch.allclose(moved, transform(loop, True).roll(7, -1), atol=1e-5)


def test_a_loop_is_its_own_surroundings_and_a_sound_has_silence_around_it() -> None:
    generator = torch.Generator().manual_seed(0)
    loop = torch.randn(1, 150 * TINY.hop, generator=generator)
    transform = ConstantQ(TINY)
    inside = transform(loop.repeat(1, 3))[..., 150:300]
    assert torch.allclose(inside, transform(loop, True), atol=2e-3)
    silent = transform(torch.cat([loop, torch.zeros_like(loop)], 1))
    assert torch.allclose(silent[..., :151], transform(loop), atol=2e-3)


@pytest.mark.parametrize("circular", [False, True])
def test_the_gradient_is_the_adjoint(circular: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    sound = torch.randn(2, 4_001, generator=generator, requires_grad=True)
    bands = ConstantQ(TINY)(sound, circular)
    weights = torch.randn(bands.shape, dtype=torch.complex64, generator=generator)
    product = (bands * weights.conj()).real.sum()
    (gradient,) = torch.autograd.grad(product, sound)
    assert torch.isclose((gradient * sound).sum(), product, rtol=1e-4)
    other = torch.randn(2, 4_001, generator=generator)
    expected = (ConstantQ(TINY)(other, circular) * weights.conj()).real.sum()
    assert torch.isclose((gradient * other).sum(), expected, rtol=1e-3)


@pytest.mark.parametrize("samples", [1, 7, 79, 1_009, 30_011])
@pytest.mark.parametrize("circular", [False, True])
def test_any_length_is_transformed(samples: int, circular: bool) -> None:
    bands = ConstantQ(TINY)(torch.ones(1, samples), circular)
    assert bands.shape[1] == TINY.bins
    assert bands.shape[2] == (max(1, round(samples / TINY.hop)) if circular else 1 + samples // TINY.hop)
    assert bands.isfinite().all()


@pytest.mark.parametrize("rate", [8_000, 24_000, 192_000])
def test_any_rate_hears_the_same_tone(rate: int) -> None:
    config = CqtConfig(rate, 110.0, 48, 12, hop=rate // 100)
    bands = ConstantQ(config)(tone(440.0, rate)[None], True)[0].abs()
    assert int(bands.mean(1).argmax()) == 24
    assert float(bands[24].mean()) == pytest.approx(0.5, abs=1e-3)


def test_frames_of_a_loop_can_be_chosen() -> None:
    bands = ConstantQ(TINY)(tone(440.0, TINY.sample_rate)[None], True, frames=37)
    assert bands.shape[2] == 37
    assert torch.allclose(bands[0, 24].abs(), torch.full((37,), 0.5), atol=2e-3)


def test_windows_are_kept_for_a_few_lengths_only() -> None:
    transform = ConstantQ(TINY)
    for samples in range(800, 800 + 80 * 12, 80):
        transform(torch.zeros(1, samples), True)
    assert len(transform._plans) == cqt.PLANS


@pytest.mark.parametrize(
    "values",
    [{"bins": 0}, {"f_min": -1.0}, {"hop": 0}, {"bins": 90}, {"sample_rate": 2_000}, {"f_min": float("nan")}],
)
def test_a_transform_that_cannot_be_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(RequestError):
        CqtConfig(**{"sample_rate": 8_000, "f_min": 110.0, "bins": 48, "bins_per_octave": 12, "hop": 80, **values})


@pytest.mark.parametrize("shape", [(0,), (1, 0), (10,), (1, 1, 10)])
def test_what_is_not_a_batch_of_sound_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError):
        ConstantQ(TINY)(torch.zeros(shape))
