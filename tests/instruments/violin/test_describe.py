"""What is heard in lines whose playing is known."""

from __future__ import annotations

import numpy as np
import pytest

from backend.audio.transcribe import NOTE, Transcription, transcribe
from backend.audio.waveform import Waveform
from backend.corpus.instruments import BY_NAME
from backend.instruments.violin.describe import Description, caption_of, describe

RATE = 24_000
SCALE = [62, 64, 65, 67, 69, 70, 69, 67, 65, 64, 61, 62]  # D minor, with its leading tone


def played(pitches: list[int], step_s: float, share: float, plucked: bool = False) -> Waveform:
    t = np.arange(int((len(pitches) * step_s + 0.5) * RATE)) / RATE
    out = np.zeros(t.size)
    for i, pitch in enumerate(pitches):
        since = t - 0.1 - i * step_s
        stroke = np.clip(np.minimum(since / 0.02, (share * step_s - since) / 0.03), 0, 1)
        level = np.clip(since / 0.005, 0, 1) * np.exp(-6 * np.maximum(since, 0)) * (since > 0) if plucked else stroke
        hz = 440 * 2 ** ((pitch - 69) / 12)
        out += level * sum(np.sin(2 * np.pi * h * hz * since) / h for h in range(1, 9))
    return Waveform((0.1 * out).astype(np.float32), RATE)


def heard(pitches: list[int], step_s: float, share: float, plucked: bool = False) -> Description:
    sound = played(pitches, step_s, share, plucked)
    return describe(sound, transcribe(sound))


@pytest.fixture(scope="module")
def slow() -> Description:
    return heard(SCALE[:7], 0.75, 1.0)


def test_a_slow_scale_in_long_bows_is_described(slow: Description) -> None:
    assert (slow.pitch_low, slow.pitch_high, slow.register) == (62, 70, "middle")
    assert (slow.motion, slow.articulation, slow.texture) == ("stepwise", "sustained", "single")
    assert slow.tempo_class == "slow" and min(abs(slow.tempo_bpm * k / 80 - 1) for k in (1, 2)) < 0.04


def test_key_and_quick_detached_notes_are_described() -> None:
    found = heard(SCALE, 0.25, 0.7)
    assert (found.mode, found.key) == ("minor", "D minor")
    assert found.articulation == "detached" and found.motion in ("runs", "stepwise")


def test_plucked_notes_are_told_from_short_bows() -> None:
    assert heard([62, 66, 69, 74, 69, 66], 0.5, 1.0, plucked=True).articulation == "pizzicato"
    assert heard([62, 66, 69, 74, 69, 66], 0.5, 0.4).articulation == "staccato"


def test_captions_say_several_true_things_and_name_no_instrument(slow: Description) -> None:
    names = {w.lower() for i in BY_NAME.values() if i.name != "drums" for w in (i.name, *i.synonyms)} - {
        "strings",
        "horn",
    }
    for seed in range(40):
        text = caption_of(slow, np.random.default_rng(seed)).lower()
        words = text.replace(",", " ").replace(".", " ").split()
        assert len(words) >= 3 and not names & set(words), text
        assert not {"fast", "staccato", "high", "leaps", "loud", "arpeggios"} & set(words), text
    assert caption_of(slow, np.random.default_rng(1)) == caption_of(slow, np.random.default_rng(1))


def test_a_single_note_is_described() -> None:
    notes = np.array([(0.1, 1.0, 69, 80)], NOTE)
    sound = played([69], 1.0, 1.0)
    found = describe(sound, Transcription(notes, np.full(150, 69, np.float32), 100.0, 1.0, 100.0, 0.0))
    assert (found.mode, found.motion, found.tempo_felt) == ("ambiguous", "static", False)
    assert caption_of(found, np.random.default_rng(0))
