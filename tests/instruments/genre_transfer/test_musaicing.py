from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.instruments.genre_transfer.musaicing import Bee, activations, musaic
from tests.instruments.genre_transfer.sounds import notes, stereo


def test_free_activations_rebuild_what_the_dictionary_can_say() -> None:
    generator = torch.Generator().manual_seed(0)
    dictionary = torch.rand(30, 6, generator=generator) ** 4
    truth = torch.rand(6, 20, generator=generator)
    found = activations(dictionary @ truth, dictionary, Bee(0, 6, 0, 400), generator)
    np.testing.assert_allclose((dictionary @ found).numpy(), (dictionary @ truth).numpy(), rtol=0.1, atol=0.02)
    assert float(found.min()) >= 0


def test_no_more_frames_sound_at_once_than_polyphony_allows() -> None:
    generator = torch.Generator().manual_seed(0)
    target, dictionary = torch.rand(40, 25, generator=generator), torch.rand(40, 60, generator=generator)
    found = activations(target, dictionary, Bee(0, 5, 0, 20), generator)
    assert int((found > 1e-6 * found.max()).sum(0).max()) <= 5


def test_a_frame_is_not_repeated_at_once() -> None:
    generator = torch.Generator().manual_seed(0)
    target, dictionary = torch.rand(40, 30, generator=generator), torch.rand(40, 10, generator=generator)
    found = activations(target, dictionary, Bee(3, 10, 0, 20), generator)
    for row in (found > 1e-6 * found.max()).numpy():
        assert (np.diff(np.flatnonzero(row)) > 3).all()


def test_continuity_makes_runs_of_successive_frames() -> None:
    generator = torch.Generator().manual_seed(0)
    dictionary = torch.rand(50, 30, generator=generator)
    target = dictionary[:, 5:25] + 0.3 * torch.rand(50, 20, generator=generator)
    found = activations(target, dictionary, Bee(0, 3, 3, 30), generator).numpy()
    assert np.mean(np.diff(found.argmax(0)) == 1) > 0.8


def test_a_sound_put_together_from_itself_keeps_its_notes() -> None:
    sound = stereo(notes([220, 330, 262, 392], 0.6))
    made = musaic(sound, sound, 0)
    assert made.samples.shape == sound.samples.shape
    spectra = [np.abs(np.fft.rfft(w.samples[0][30_000:50_000])) for w in (sound, made)]
    assert spectra[0].argmax() == pytest.approx(spectra[1].argmax(), abs=3)


def test_frames_that_are_not_welcome_at_a_moment_stay_silent() -> None:
    generator = torch.Generator().manual_seed(0)
    target, dictionary = torch.rand(40, 12, generator=generator), torch.rand(40, 20, generator=generator)
    prior = torch.full((20, 12), 0.05)
    prior[:10] = 1.0
    found = activations(target, dictionary, Bee(0, 20, 0, 20), generator, prior=prior)
    assert float(found[10:].sum()) < 1e-3 * float(found[:10].sum())
