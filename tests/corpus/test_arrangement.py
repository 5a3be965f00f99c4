from __future__ import annotations

import numpy as np
import pytest

from backend.corpus.arrangement import as_notes, below, fit_range, skyline
from backend.corpus.instruments import BY_NAME, DRUMS, FAMILIES, INSTRUMENTS, draw
from backend.corpus.melody import Harmony, MelodyStyle, write_melody
from backend.corpus.theory import SCALES, parse_progression


def test_the_table_names_every_family_and_no_program_twice() -> None:
    assert {i.family for i in (*INSTRUMENTS, DRUMS)} == set(FAMILIES)
    assert len({i.program for i in INSTRUMENTS}) == len(INSTRUMENTS)
    assert all(i.high - i.low > 0 and i.unseen and not set(i.unseen) & set(i.synonyms) for i in INSTRUMENTS)


def test_instruments_are_drawn_evenly_over_families() -> None:
    rng = np.random.default_rng(0)
    families = [draw(rng, "l").family for _ in range(900)]
    counts = {f: families.count(f) for f in set(families)}
    assert min(counts.values()) > 0.6 * 900 / len(counts)


@pytest.mark.parametrize("name", ["violin", "piccolo", "tuba", "electric bass", "music box", "harp"])
def test_fitted_notes_keep_their_pitch_class_and_lie_in_range(name: str) -> None:
    instrument = BY_NAME[name]
    notes = as_notes([(i, 1.0, 24 + 5 * i, 80) for i in range(16)])
    for fitted in (fit_range(notes, instrument), below(notes, instrument, 70.0)):
        assert fitted[:, 2].min() >= instrument.low
        assert fitted[:, 2].max() <= instrument.high
        assert ((fitted[:, 2] - notes[:, 2]) % 12 == 0).all()


def test_a_line_already_in_range_is_left_alone() -> None:
    notes = as_notes([(0, 1, 60, 80), (1, 1, 72, 80)])
    assert fit_range(notes, BY_NAME["violin"]).tolist() == notes.tolist()


def test_the_skyline_is_the_upper_voice_without_overlaps() -> None:
    melody = [(0.0, 2.0, 76, 80), (2.0, 1.0, 77, 80), (3.0, 1.0, 74, 80)]
    lower = [(0.0, 1.0, 60, 80), (1.0, 1.0, 64, 80), (2.0, 1.0, 62, 80), (3.0, 1.0, 59, 80)]
    line = skyline(as_notes([*melody, *lower]))
    assert [tuple(r) for r in line.tolist()] == melody


@pytest.mark.parametrize("seed", range(12))
def test_a_melody_keeps_the_scale_moves_and_breathes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mode = "minor" if seed % 2 else "major"
    text = "i VI III VII" if mode == "minor" else "I V vi IV"
    harmony = Harmony(tuple(parse_progression(text, seed, mode)), 4.0, seed, mode)
    notes = write_melody(harmony, 48, 4.0, 60, 84, MelodyStyle(), rng)
    pitches = notes[:, 2].astype(int)
    assert {(p - seed) % 12 for p in pitches} <= set(SCALES[mode])
    assert len(set(pitches)) >= 4
    assert np.mean(np.diff(pitches) == 0) < 0.3
    assert np.mean(np.abs(np.diff(pitches)) <= 4) > 0.45  # mostly steps and thirds
    ends = notes[:, 0] + notes[:, 1]
    assert (ends[:-1] <= notes[1:, 0] + 1e-6).all()  # one note at a time
    assert (notes[1:, 0] - ends[:-1]).max() >= 0.5  # it rests
