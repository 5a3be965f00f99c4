"""Following a melody while composing."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
import torch

from backend.musiclm.compose import Wish, compose
from backend.musiclm.decode import Sampling
from backend.musiclm.events import CAST, SIZE, notes_of, tempo_code
from backend.musiclm.melody import Melody
from backend.musiclm.stages import TINY_SEMANTIC, Stage

VIOLIN = next(i for i, who in enumerate(CAST) if who.name == "violin")
PIANO = next(i for i, who in enumerate(CAST) if who.name == "piano")
PITCH = np.array([62, 64, 66, 67, 69, 67, 66, 64, 62])
ONSET = (np.arange(9) * 0.5).astype(np.float32)


def melody(adherence: float = 1.0, pitch: npt.NDArray[np.int64] = PITCH) -> Melody:
    return Melody(ONSET, np.full(9, 0.45, np.float32), pitch, adherence)


def written(wish: Wish, seed: int = 0, seconds: float = 4.6) -> npt.NDArray[np.void]:
    torch.manual_seed(0)
    stage = Stage(TINY_SEMANTIC).eval()
    embed = torch.nn.functional.normalize(torch.ones(1, 8), dim=-1)
    sampling = Sampling(1.0, SIZE, 1.0)
    events = compose(stage, embed, seconds, sampling, torch.Generator().manual_seed(seed), wishes=[wish])
    return notes_of(events[0])


def test_a_lone_player_keeps_to_the_melody_exactly() -> None:
    notes = written(Wish(tempo=tempo_code(120), players=((VIOLIN,),), alone=True, melody=melody()))
    notes = notes[notes["instrument"] == VIOLIN]
    assert notes["pitch"].tolist()[:9] == PITCH.tolist()
    assert np.allclose(notes["onset_s"][:9], ONSET, atol=0.03)


@pytest.mark.parametrize("bpm", [47, 93, 171])
def test_any_tempo_carries_it(bpm: float) -> None:
    notes = written(Wish(tempo=tempo_code(bpm), players=((VIOLIN,),), alone=True, melody=melody()))
    notes = notes[notes["instrument"] == VIOLIN]
    assert notes["pitch"].tolist()[:9] == PITCH.tolist()
    assert np.abs(notes["onset_s"][:9] - ONSET).max() < 60 / bpm / 24


def test_accompanied_the_first_player_has_it_and_the_others_are_free() -> None:
    notes = written(Wish(tempo=tempo_code(120), players=((VIOLIN,), (PIANO,)), alone=True, melody=melody()))
    lead = notes[notes["instrument"] == VIOLIN]
    assert lead["pitch"].tolist()[:9] == PITCH.tolist()
    assert set(notes["instrument"]) >= {VIOLIN}


def test_a_low_voice_is_moved_into_the_players_range_by_octaves() -> None:
    notes = written(Wish(tempo=tempo_code(120), players=((VIOLIN,),), alone=True, melody=melody(pitch=PITCH - 24)))
    lead = notes[notes["instrument"] == VIOLIN]["pitch"].astype(int)[:9]
    assert ((lead - PITCH) % 12 == 0).all()
    assert lead.min() >= CAST[VIOLIN].low


def test_without_adherence_it_is_as_if_there_were_none() -> None:
    wish = Wish(tempo=tempo_code(120), players=((VIOLIN,),), alone=True)
    ignored = written(dataclasses.replace(wish, melody=melody(0.0)))
    assert np.array_equal(ignored, written(wish))


def test_a_rest_of_several_bars_is_kept() -> None:
    late = Melody(np.array([0.0, 7.0], np.float32), np.array([0.4, 0.4], np.float32), np.array([62, 69]), 1.0)
    notes = written(Wish(tempo=tempo_code(120), players=((VIOLIN,),), alone=True, melody=late), seconds=7.3)
    assert notes["pitch"].tolist()[:2] == [62, 69]
    assert notes["onset_s"][1] == pytest.approx(7.0, abs=0.03)


def test_two_notes_on_one_tick_are_one() -> None:
    line = Melody(np.array([0.0, 0.001, 0.5], np.float32), np.full(3, 0.3, np.float32), np.array([60, 62, 64]), 1.0)
    assert line.on_grid(0.02, VIOLIN).ticks.tolist() == [0, 25]
