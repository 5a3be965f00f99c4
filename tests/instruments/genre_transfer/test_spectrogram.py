import librosa
import numpy as np
import pytest
import torch

from backend.audio.waveform import Waveform
from backend.errors import AudioError
from backend.instruments.genre_transfer.image_cache import LOWEST_DB, STEP_DB, encode, images
from backend.instruments.genre_transfer.spectrogram import (
    CLIP_SAMPLES,
    HOP,
    N_FFT,
    SAMPLE_RATE,
    Spectrogram,
    analyse,
    griffin_lim,
    mono_clip,
    synthesise,
)  # fmt: skip


def _sound(n=CLIP_SAMPLES, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(n) / SAMPLE_RATE
    chord = sum(np.sin(2 * np.pi * f * t) for f in (220, 277.2, 329.6)) * np.exp(-(t % 0.5) / 0.2)
    return torch.from_numpy((0.1 * chord + 0.01 * rng.standard_normal(n)).astype(np.float32))


def test_the_image_of_five_seconds_is_librosas_to_a_hundredth_of_a_decibel():
    sound = _sound()
    magnitude = np.abs(librosa.stft(sound.numpy(), n_fft=N_FFT, hop_length=HOP))
    expected = librosa.amplitude_to_db(magnitude, ref=np.max, top_db=80)
    image = Spectrogram()(sound)
    assert image.shape == (631, 631)
    np.testing.assert_allclose(image.numpy() * 80 - 80, expected, atol=1e-2)


def test_the_image_does_not_depend_on_level_and_silence_is_black():
    sound = _sound(30_000)
    torch.testing.assert_close(Spectrogram()(sound), Spectrogram()(0.1 * sound), atol=2e-4, rtol=0)
    assert not Spectrogram()(torch.zeros(30_000)).any()


def test_a_gradient_reaches_the_sound_also_where_it_is_silent():
    sound = torch.cat([torch.zeros(5_000), _sound(10_000)]).requires_grad_()
    Spectrogram()(sound).sum().backward()
    assert torch.isfinite(sound.grad).all() and sound.grad.abs().max() > 0


def test_image_and_phase_give_the_sound_back():
    sound = _sound(40_000)
    seen = analyse(sound[None])
    again = synthesise(seen.image, seen.phase, seen.reference, 40_000)[0]
    assert float((again - sound).abs().max()) < 2e-3


def test_griffin_lim_finds_a_sound_of_the_image():
    sound = _sound(30_000)
    seen = analyse(sound[None])
    found = griffin_lim(seen.image, seen.reference, 30_000, 40, torch.Generator().manual_seed(0))
    error = (analyse(found).image - seen.image)[seen.image > 0.6].abs().mean()
    assert float(error) < 0.05


def test_a_cached_picture_is_the_image_to_half_a_decibel():
    sound = _sound()
    decibels = torch.from_numpy(encode(sound).astype(np.float32)).T * STEP_DB + LOWEST_DB
    assert float((images(decibels[None])[0, 0] - Spectrogram()(sound)).abs().max()) * 80 < 0.51


def test_a_clip_of_any_rate_is_five_seconds_and_none_is_refused():
    assert len(mono_clip(Waveform(np.ones((2, 100), np.float32) * 0.1, 8_000))) == CLIP_SAMPLES
    with pytest.raises(AudioError):
        mono_clip(Waveform(np.ones((1, 100), np.float32), 100), start_s=9.0)
