"""Calm sound: level, exact in length, silent at its ends, the same in blocks as in one, stoppable."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

from backend.audio.loudness import integrated_lufs, limit, true_peak_db
from backend.audio.midi import Notes, make_notes
from backend.audio.synth import find_soundfont
from backend.audio.waveform import Waveform
from backend.errors import Cancelled, RequestError
from backend.instruments.calm.level import LoudnessMeter, limit_in_place, peak_dbtp
from backend.instruments.calm.room import SAMPLE_RATE, SOUNDS, Room, impulse_response
from backend.instruments.calm.sound import Mix, Player, level_jump_db

DURATION_S = 20.0


@pytest.fixture(scope="module")
def player() -> Player:
    return Player(find_soundfont(folders=()))  # pretty_midi's: small and always there


def tune() -> Notes:
    """A slow scale in thirds."""
    pitches = (60, 62, 64, 65, 67, 65, 64, 62, 60)
    return make_notes(
        [(1.0 + 2 * i, 2.9 + 2 * i, p + up, 50, 0, False, part) for i, p in enumerate(pitches)
         for part, up in ((0, 12), (1, 4))]
    )  # fmt: skip


def noise(seconds: float = 12.0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    length = round(seconds * SAMPLE_RATE)
    swell = np.linspace(0.01, 0.5, length)
    return (np.random.default_rng(0).normal(size=(2, length)) * swell).astype(np.float32)


@pytest.mark.parametrize("sound", SOUNDS)
def test_every_instrument_comes_out_at_the_target_below_the_ceiling(player: Player, sound: str) -> None:
    rendered = player.play(tune(), DURATION_S, Mix(sound))
    waveform = rendered.waveform
    assert waveform.samples.shape == (2, round(DURATION_S * SAMPLE_RATE))
    assert integrated_lufs(waveform) == pytest.approx(-23.0, abs=0.1)
    assert rendered.loudness_lufs == pytest.approx(-23.0, abs=0.05)
    assert rendered.true_peak_dbtp == pytest.approx(true_peak_db(waveform), abs=1e-4) and rendered.true_peak_dbtp <= -2
    assert not waveform.samples[:, 0].any() and not waveform.samples[:, -1].any()
    assert np.abs(waveform.samples[:, : round(0.99 * SAMPLE_RATE)]).max() < 1e-4  # silence before the first note


def test_a_loud_target_is_limited_and_still_within_half_a_unit(player: Player) -> None:
    rendered = player.play(tune(), DURATION_S, Mix("harp", loudness_lufs=-16))
    assert true_peak_db(rendered.waveform) <= -2
    assert rendered.loudness_lufs == pytest.approx(-16, abs=0.5)
    assert rendered.loudness_lufs == pytest.approx(integrated_lufs(rendered.waveform), abs=0.1)


def test_previews_grow_and_are_near_the_final_level(player: Player) -> None:
    seen: list[tuple[float, Waveform | None]] = []
    final = player.play(tune(), DURATION_S, Mix(), preview=lambda done_s, w: seen.append((done_s, w))).waveform
    previews = [w for _, w in seen if w is not None]
    assert [w.duration_s for w in previews] == [8.0] and seen[-1][0] == DURATION_S
    same = slice(SAMPLE_RATE, 7 * SAMPLE_RATE)
    gain = np.abs(final.samples[:, same]).max() / np.abs(previews[0].samples[:, same]).max()
    assert abs(20 * np.log10(gain)) < 2


def test_stopping_is_soon_and_leaves_nothing_behind(player: Player) -> None:
    first = player.play(tune(), 6.0, Mix("strings"))
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 20:
            raise Cancelled

    with pytest.raises(Cancelled):
        player.play(tune(), DURATION_S, Mix("strings"), check)
    assert len(calls) == 20
    again = player.play(tune(), 6.0, Mix("strings"))
    assert np.abs(again.waveform.samples - first.waveform.samples).max() < 1e-6


def test_no_notes_are_silence_and_an_unknown_instrument_is_refused(player: Player) -> None:
    rendered = player.play(make_notes([]), 3.0, Mix())
    assert not rendered.waveform.samples.any() and rendered.loudness_lufs == -np.inf
    with pytest.raises(RequestError, match="one of felt_piano"):
        Mix("trombone")


def test_treble_down_is_duller() -> None:
    def share_above_2k(treble: float) -> float:
        power = np.abs(np.fft.rfft(impulse_response(SOUNDS["harp"], treble)[0])) ** 2
        edge = round(2_000 * len(power) * 2 / SAMPLE_RATE)
        return float(power[edge:].sum() / power.sum())

    assert share_above_2k(0.3) < share_above_2k(1.0) < share_above_2k(2.0)


def test_the_room_in_blocks_is_one_convolution() -> None:
    sound, response = noise(3.0), impulse_response(SOUNDS["guitar"])
    room = Room(response)
    blocks = [room.filter(sound[:, a : a + 44_100]) for a in range(0, sound.shape[1], 44_100)]
    whole = fftconvolve(sound.astype(np.float64), response.astype(np.float64), axes=1)[:, : sound.shape[1]]
    assert np.abs(np.concatenate(blocks, axis=1) - whole).max() < 1e-4 * np.abs(whole).max()


def test_loudness_and_peak_in_blocks_are_those_of_the_whole() -> None:
    sound, meter = noise(), LoudnessMeter(SAMPLE_RATE)
    for start in range(0, sound.shape[1], 100_003):
        meter.add(sound[:, start : start + 100_003])
    waveform = Waveform(sound, SAMPLE_RATE)
    assert meter.integrated_lufs() == pytest.approx(integrated_lufs(waveform), abs=0.06)
    assert peak_dbtp(sound, SAMPLE_RATE) == pytest.approx(true_peak_db(waveform), abs=1e-4)
    sine = np.tile(np.sin(2 * np.pi * 997 * np.arange(5 * 48_000) / 48_000), (2, 1)).astype(np.float32)
    tone = LoudnessMeter(48_000)
    tone.add(sine * np.float32(10 ** (-23 / 20)))
    assert tone.integrated_lufs() == pytest.approx(-23.0, abs=0.05)  # EBU Tech 3341, test 1


def test_limiting_in_place_is_the_limiter_and_leaves_what_is_low_alone() -> None:
    sound = noise()
    limited = sound.copy()
    assert limit_in_place(limited, SAMPLE_RATE, -6.0)
    assert peak_dbtp(limited, SAMPLE_RATE) <= -6.0
    assert np.abs(limited - limit(Waveform(sound, SAMPLE_RATE), -6.0).samples).max() < 1e-3
    quiet = sound * np.float32(0.05)
    assert not limit_in_place(quiet, SAMPLE_RATE, -2.0) and np.array_equal(quiet, sound * np.float32(0.05))


def test_the_jump_is_a_rise_above_the_last_three_seconds() -> None:
    level = np.full(200, -23.0)
    level[:100] = np.linspace(-48, -23, 100)  # a fade of ten seconds
    assert level_jump_db(level, -23.0) < 0.3
    level[150:] = -13.0
    assert level_jump_db(level, -23.0) == pytest.approx(10.0)
    level[105:115] = -np.inf  # a rest of a second does not make the next chord a jump
    assert level_jump_db(level, -23.0) == pytest.approx(10.0)
    assert level_jump_db(np.full(50, -23.0), -23.0) == 25.0 and level_jump_db(level, -np.inf) == 0.0
