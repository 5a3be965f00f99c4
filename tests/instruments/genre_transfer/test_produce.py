import numpy as np
import pytest
from scipy.signal import find_peaks

from backend.errors import RequestError
from backend.instruments.genre_transfer.genres import GENRES
from backend.instruments.genre_transfer.produce import EXAMPLES, RATE, example, produce
from backend.instruments.genre_transfer.produce.effects import CEILING, duck, master, opening, reverb
from backend.instruments.genre_transfer.produce.harmony import draw_harmony
from backend.instruments.genre_transfer.produce.kernels import LOW, SAW, oscillator, sweep
from backend.instruments.genre_transfer.produce.kits import SynthKit


@pytest.mark.parametrize("genre", GENRES)
def test_a_track_is_finite_limited_stereo_and_exactly_as_long_as_asked(genre):
    track = produce(genre, 3, duration_s=4.0)
    samples = track.waveform.samples
    assert samples.shape == (2, 4 * RATE)
    assert np.abs(samples).max() <= CEILING + 1e-6
    assert samples.std() > 0.003
    assert (track.tempo_bpm > 0) == (genre != "noise")


def test_the_same_seed_gives_the_same_samples_and_another_split_gives_others():
    one, again = (produce("house", 5, duration_s=3.0).waveform.samples for _ in range(2))
    other = produce("house", 5, split="train", duration_s=3.0)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other.waveform.samples)


def test_training_and_held_out_tracks_share_no_progression():
    rng = np.random.default_rng(0)
    drawn = {
        held_out: {draw_harmony(rng, 0.5, (3,), held_out).degrees for _ in range(300)} for held_out in (True, False)
    }
    whole = {held_out: {d for d in degrees if len(d) == 4} for held_out, degrees in drawn.items()}
    assert whole[True] and whole[False] and not whole[True] & whole[False]


def test_house_kicks_fall_on_every_beat_of_its_tempo():
    track = produce("house", 0, duration_s=8.0)
    low = sweep(track.waveform.mono().samples, np.full(8 * RATE, 90, np.float32), 0.7, LOW, float(RATE))[0]
    energy = np.sqrt(np.convolve(low**2, np.ones(882) / 882, "same"))[::441]
    onsets = np.maximum(np.diff(energy), 0)
    beat = 60 / track.tempo_bpm * 100
    spectrum = np.abs(np.fft.rfft(onsets - onsets.mean(), 1 << 15))
    at = round((1 << 15) / beat)
    around = spectrum[round(0.55 * at) : round(1.45 * at)]
    assert abs(np.argmax(around) + round(0.55 * at) - at) <= 0.03 * at


def test_every_example_is_produced_without_files_and_an_unknown_one_is_refused():
    name = next(iter(EXAMPLES))
    assert example(name, 2.0).recipe["kit"] == "synth"
    with pytest.raises(RequestError, match="example"):
        example("Polka 1")


@pytest.mark.parametrize(("field", "call"), [
    ("genre", lambda: produce("polka", 0)),
    ("split", lambda: produce("house", 0, split="all")),
    ("duration_s", lambda: produce("house", 0, duration_s=1000.0)),
    ("kit", lambda: produce("house", 0, "studio")),
])  # fmt: skip
def test_what_cannot_be_produced_is_refused_in_a_sentence(field, call):
    with pytest.raises(RequestError, match=field):
        call()


def test_a_saw_has_its_harmonics_and_hardly_any_aliases():
    hertz = 44_100 / 2**14 * 400  # whole periods: a line spectrum
    tone = oscillator(np.full(2**14, hertz, np.float32), SAW, 0.0, 0.5, float(RATE))
    spectrum = np.abs(np.fft.rfft(tone)) / 2**13
    harmonics = spectrum[400::400][:4]
    np.testing.assert_allclose(harmonics[:2] * np.arange(1, 3), 2 / np.pi, rtol=0.06)
    aliases = np.delete(spectrum, np.arange(0, len(spectrum), 400))
    assert aliases.max() < 0.02


def test_a_low_pass_sweep_at_a_fixed_cutoff_attenuates_as_two_poles_do():
    t = np.arange(RATE) / RATE
    tone = np.sin(2 * np.pi * 4_000 * t).astype(np.float32)[None]
    out = sweep(tone, np.full(RATE, 500, np.float32), 0.707, LOW, float(RATE))
    assert 20 * np.log10(out[0, RATE // 2 :].std() / tone.std()) == pytest.approx(-40 * np.log10(8), abs=1.5)
    assert opening(tone, 200, 12_000).shape == tone.shape


def test_ducking_falls_at_each_hit_and_recovers():
    gain = duck(RATE, [0.2, 0.6], 0.8, 0.2)
    dips, _ = find_peaks(-gain, prominence=0.3)
    np.testing.assert_allclose(dips / RATE, [0.2, 0.6], atol=0.01)
    assert gain[0] == gain[-1] == 1
    assert gain.min() == pytest.approx(0.2, abs=0.02)


def test_a_reverb_falls_by_sixty_decibels_in_its_time():
    click = np.zeros((2, 2 * RATE), np.float32)
    click[:, 0] = 1
    wet = reverb(click, 1.0, np.random.default_rng(0), 0.5, 0.0)
    early, late = (np.sqrt((wet[:, round(a * RATE) : round((a + 0.1) * RATE)] ** 2).mean()) for a in (0.1, 0.9))
    assert 20 * np.log10(early / late) == pytest.approx(48, abs=4)


def test_mastering_holds_the_ceiling_at_any_level():
    loud = 50 * np.random.default_rng(0).standard_normal((2, RATE)).astype(np.float32)
    assert np.abs(master(loud, -3.0)).max() <= CEILING
    assert not master(np.zeros((2, RATE), np.float32), -14.0).any()


def test_a_synthesised_kit_has_every_role_without_silence_or_clicks_at_the_end():
    for genre in GENRES[:-1]:
        for sound in SynthKit().draw(genre, np.random.default_rng(1)).values():
            assert np.abs(sound).max() == pytest.approx(1, abs=1e-3)
            assert abs(sound[-1]) < 1e-3
