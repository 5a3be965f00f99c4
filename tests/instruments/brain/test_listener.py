"""The simulated listener: one design, one person a seed, auditory cortex only, nothing at SNR 0."""

from __future__ import annotations

import numpy as np
import pytest

from backend.instruments.brain.laboratory import Listener
from backend.instruments.brain.listener import AUDITORY_MM, TINY, SimulatedListener, convolve_hrf
from backend.instruments.brain.recording import simulate
from backend.instruments.brain.regions import parcellate
from backend.instruments.brain.space import N_VERTICES, cortical_ribbon, surface_space
from backend.instruments.brain.stimuli import Stimuli


def person(stimuli: Stimuli, snr: float = 2.0, seed: int = 0) -> SimulatedListener:
    return SimulatedListener(stimuli.features, seed, snr, TINY)


def test_a_run_is_ten_volumes_a_clip_and_the_same_for_the_same_seed(stimuli: Stimuli) -> None:
    clips = np.arange(41) % 40
    volumes = person(stimuli).run(clips, 0)
    assert volumes.shape == (410, person(stimuli).space.n_voxels) and np.isfinite(volumes).all()
    assert np.array_equal(volumes, person(stimuli).run(clips, 0))
    assert not np.array_equal(volumes, person(stimuli).run(clips, 1))


def test_only_auditory_cortex_hears(stimuli: Stimuli) -> None:
    listener = person(stimuli)
    distance = np.min([np.linalg.norm(listener.space.xyz - np.array(at), axis=1) for at in AUDITORY_MM], 0)
    assert listener.strength[distance < 10].min() > 0.5 and not listener.strength[distance > 60].any()


def test_snr_zero_lands_at_chance_and_a_strong_signal_does_not(stimuli: Stimuli) -> None:
    found = {}
    for snr in (0.0, 3.0):
        recording = simulate(person(stimuli, snr), stimuli.n_train)
        rows = stimuli.embeddings[[int(clip) for clip in recording.train_clips]]
        found[snr] = Listener(recording, rows, stimuli.embeddings[40:]).decode("ridge").identification
    assert abs(found[0.0].accuracy - 0.5) < max(2 * found[0.0].null_sd, 0.05) + 0.1  # ten clips: wide
    assert found[3.0].accuracy > 0.7


def test_the_recording_has_a_row_for_each_training_clip_and_each_test_clip(stimuli: Stimuli) -> None:
    recording = simulate(person(stimuli), stimuli.n_train)
    assert recording.train_clips == [str(i) for i in range(40)] and recording.simulated
    assert recording.test_clips == [str(i) for i in range(40, 50)] and recording.test_volumes.shape[:2] == (10, 10)
    assert len(recording.quality) == 2


def test_contributions_of_regions_add_up_to_the_whole_prediction(stimuli: Stimuli) -> None:
    recording = simulate(person(stimuli), stimuli.n_train)
    listener = Listener(recording, stimuli.embeddings[:40], stimuli.embeddings[40:])
    decoded = listener.decode("ridge")
    true = decoded.true[2] - decoded.true[2].mean()
    moved = (decoded.predicted[2] - decoded.predicted.mean(0)) @ (true / np.linalg.norm(true))
    assert listener.contributions(decoded, 2).sum() == pytest.approx(float(moved), abs=1e-3)


def test_the_haemodynamic_response_peaks_about_five_seconds_later_and_a_shift_delays_it() -> None:
    pulse = np.zeros((40, 1), np.float32)
    pulse[0] = 1
    early, late = (convolve_hrf(pulse, 0.5, shift)[:, 0].argmax() * 0.5 for shift in (0.0, 2.0))
    assert 4 <= early <= 6.5 and late == pytest.approx(early + 2, abs=0.5)


def test_regions_of_both_hemispheres_have_auditory_voxels_and_the_surface_shows_them() -> None:
    for space in (cortical_ribbon(8.0), surface_space()):
        hearing = parcellate(space).auditory
        assert (space.xyz[hearing, 0] < -30).any() and (space.xyz[hearing, 0] > 30).any() and hearing.mean() < 0.2
        drawn = space.on_surface(hearing.astype(np.float32))
        assert drawn.shape == (2, N_VERTICES) and np.nansum(drawn, 1).min() > 0


def test_a_map_as_nifti_carries_its_label_and_its_values_at_their_places() -> None:
    space = cortical_ribbon(12.0)
    values = np.arange(1, space.n_voxels + 1, dtype=np.float32)
    image = space.as_nifti(values, "SIMULATED: no human was scanned")
    assert b"SIMULATED" in bytes(image.header["descrip"])
    assert np.array_equal(np.asarray(image.dataobj)[tuple(space.index.T)], values)
