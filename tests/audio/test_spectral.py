"""Spectra agree with torchaudio, librosa and analytic tones."""

import math

import librosa
import numpy as np
import pytest
import torch
import torchaudio

from backend.audio.spectral import (
    DISTANCE_WINDOWS,
    LogMel,
    LogPitch,
    MultiResolutionLogMel,
    chroma_cosine,
    cqt_chroma,
    istft,
    multi_resolution_log_mel_l1,
    stft,
)
from backend.audio.waveform import Waveform

RATE = 24_000


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tone(frequency: float, seconds: float = 2.0) -> Waveform:
    t = np.arange(int(seconds * RATE)) / RATE
    return Waveform((0.5 * np.sin(2 * np.pi * frequency * t)).astype(np.float32), RATE)


@pytest.mark.parametrize(("n_fft", "n_mels"), [*DISTANCE_WINDOWS, (1920, 160)])
def test_log_mel_equals_torchaudio_htk_without_norm(n_fft: int, n_mels: int) -> None:
    samples = noise(2, RATE)
    reference = torchaudio.transforms.MelSpectrogram(RATE, n_fft, hop_length=n_fft // 4, n_mels=n_mels, power=1)
    expected = reference(samples).clamp(1e-5).log()
    torch.testing.assert_close(LogMel(RATE, n_fft, n_fft // 4, n_mels)(samples), expected, atol=1e-4, rtol=0)


def test_log_mel_saves_no_buffers_and_keeps_leading_dimensions() -> None:
    mel = LogMel(RATE, 1024, 256, 64)
    assert not mel.state_dict()
    assert mel(noise(3, 2, 5000)).shape == (3, 2, 64, 5000 // 256 + 1)
    assert mel(noise(100)).shape == (64, 1)  # shorter than a window


def test_log_mel_stays_float32_under_autocast() -> None:
    mel, samples = LogMel(RATE), noise(1, RATE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = mel(samples)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, mel(samples))


def test_energies_are_squared_magnitudes() -> None:
    """One bin wide filters would make the logs exactly double; wide ones obey Jensen's inequality."""
    samples = noise(1, RATE)
    magnitude = LogMel(RATE, 512, 128, 32, power=1)(samples).exp()
    energy = LogMel(RATE, 512, 128, 32, power=2, clamp=1e-10)(samples).exp()
    filters = LogMel(RATE, 512, 128, 32).filters.sum(1)[None, :, None]
    assert (energy * filters >= magnitude**2 * (1 - 1e-4)).all()


def test_the_distance_of_a_sound_to_itself_is_zero_and_to_half_its_level_is_log_two() -> None:
    samples = noise(2, RATE)
    assert multi_resolution_log_mel_l1(samples, samples) == 0
    assert multi_resolution_log_mel_l1(samples, samples / 2) == pytest.approx(np.log(2), abs=2e-3)


def test_the_distance_equals_its_definition_with_torchaudio() -> None:
    a, b, total = noise(1, RATE), noise(1, RATE, seed=1), 0.0
    for n_fft, n_mels in DISTANCE_WINDOWS:
        mel = torchaudio.transforms.MelSpectrogram(RATE, n_fft, n_fft, n_fft // 4, n_mels=n_mels, power=1)
        total += float((mel(a).clamp(1e-5).log() - mel(b).clamp(1e-5).log()).abs().mean()) / 4
    assert multi_resolution_log_mel_l1(a, b) == pytest.approx(total, abs=1e-4)


def test_the_distance_has_a_finite_gradient_even_on_silence() -> None:
    guess = torch.zeros(1, RATE, requires_grad=True)
    MultiResolutionLogMel(RATE)(guess, noise(1, RATE)).backward()
    assert guess.grad is not None and torch.isfinite(guess.grad).all()


def test_gradient_descent_on_the_distance_reduces_it() -> None:
    target, guess = noise(1, 6000), 0.2 * noise(1, 6000, seed=2)
    distance = MultiResolutionLogMel(RATE)
    first = float(distance(guess, target))
    for _ in range(10):
        guess.requires_grad_()
        (gradient,) = torch.autograd.grad(distance(guess, target), guess)
        guess = guess.detach() - 0.003 * gradient.sign()
    assert float(distance(guess, target)) < 0.8 * first


def test_istft_inverts_stft() -> None:
    samples = noise(2, 3, 10_000)
    torch.testing.assert_close(istft(stft(samples, 1024, 256), 1024, 256, 10_000), samples, atol=1e-6, rtol=0)


@pytest.mark.parametrize("pitch", [40, 57, 69, 84, 95])
def test_chroma_of_a_tone_is_its_pitch_class(pitch: int) -> None:
    chroma = cqt_chroma(tone(440 * 2 ** ((pitch - 69) / 12))).mean(1)
    assert chroma.argmax() == pitch % 12
    assert np.sort(chroma)[-2] < 0.1 * chroma.max()


def test_chroma_agrees_with_librosa_on_noise() -> None:
    samples = noise(2 * RATE).numpy()
    theirs = librosa.feature.chroma_cqt(y=samples, sr=RATE, tuning=0.0, norm=None)
    cosine = chroma_cosine(theirs, cqt_chroma(Waveform(samples, RATE)))
    assert np.median(cosine) > 0.98


def test_chroma_cosine_ignores_silence_of_the_reference_and_punishes_silence_of_the_other() -> None:
    reference = np.zeros((12, 4), np.float32)
    reference[0, :2] = 1
    other = np.zeros((12, 3), np.float32)
    other[0, 0] = 5
    assert chroma_cosine(reference, other).tolist() == pytest.approx([1.0, 0.0])
    assert chroma_cosine(np.zeros((12, 3), np.float32), other).size == 0


def test_log_pitch_parts_two_semitones_sounded_together_and_mel_bands_do_not() -> None:
    t = torch.arange(24_000) / 24_000
    both = torch.sin(2 * torch.pi * 146.83 * t) + torch.sin(2 * torch.pi * 155.56 * t)  # D3 and E flat 3

    def peaks(analysis: torch.nn.Module) -> list[int]:
        heard = analysis(both)[:, 15:35].mean(-1)
        inner = heard[1:-1]
        tops = (inner > heard[:-2]) & (inner > heard[2:]) & (inner > heard.max() - 2)
        return (tops.nonzero().flatten() + 1).tolist()

    assert peaks(LogPitch(24_000, 480, 128)) == [round(24 * math.log2(f / 55)) for f in (146.83, 155.56)]
    assert len(peaks(LogMel(24_000, 2048, 480, 128))) == 1


def test_every_log_pitch_band_hears_its_own_tone() -> None:
    pitch, t = LogPitch(24_000, 480, 128), torch.arange(24_000) / 24_000
    for band in range(0, 128, 9):
        heard = pitch(torch.sin(2 * torch.pi * 55 * 2 ** (band / 24) * t))[:, 20:30].mean(-1)
        assert abs(int(heard.argmax()) - band) <= 1
