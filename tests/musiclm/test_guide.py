"""The notes of a moment: aligned to the frames, padded without effect, the same wherever a window starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.musiclm.events import NOTE
from backend.musiclm.guide import NoteGuide, Notes

RATE = 50.0


@pytest.fixture(scope="module")
def guide() -> NoteGuide:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NoteGuide(16, RATE, blocks=1).eval()


def rows(*notes: tuple[float, float, int]) -> np.ndarray:
    return np.array([(onset, length, 40, pitch, 9, 14) for onset, length, pitch in notes], NOTE)


def run(guide: NoteGuide, pieces: list[np.ndarray], starts: list[float], seconds: float) -> torch.Tensor:
    notes = Notes.of(pieces, [3] * len(pieces), starts, seconds)
    with torch.no_grad():
        return guide(notes, round(seconds * RATE))


def test_a_note_is_seen_where_it_sounds_and_fades_after(guide: NoteGuide) -> None:
    weights = guide._weights(torch.tensor([[[0.5, 1.0]]]), torch.ones(1, 1, dtype=torch.bool), 100)[0, ..., 0]
    attack, held, short, long, rest = weights
    assert attack[:24].abs().max() == 0 and attack.argmax() == 25 and attack.sum() == pytest.approx(1.0, abs=1e-4)
    assert held[24] == 0 and held[25:50].min() == 1 and held[50:].max() == 0
    assert short[25] > 0.9 and 0 < short[49] < long[49] < 1
    assert rest[:50].max() == 0 and rest[50] > 0.9 and rest[99] < 0.1


def test_padding_and_distant_notes_change_nothing(guide: NoteGuide) -> None:
    near = rows((0.2, 0.5, 60))
    alone = run(guide, [near], [0.0], 2.0)
    crowd = run(guide, [near, rows((0.1, 1, 50), (0.2, 1, 54), (0.3, 1, 57))], [0.0, 0.0], 2.0)
    far = run(guide, [np.concatenate([near, rows((9.0, 1.0, 70))])], [0.0], 2.0)
    torch.testing.assert_close(alone[0], crowd[0])
    torch.testing.assert_close(alone, far)


def test_a_later_window_sees_the_same_music(guide: NoteGuide) -> None:
    piece = rows((0.0, 0.4, 60), (1.3, 0.6, 64), (2.1, 0.7, 67))
    whole, part = run(guide, [piece], [0.0], 4.0), run(guide, [piece], [1.0], 3.0)
    torch.testing.assert_close(whole[:, 58:], part[:, 8:], atol=1e-4, rtol=1e-4)  # but for the edge of the convolution


def test_pitch_and_silence_are_told_apart(guide: NoteGuide) -> None:
    low, high, none = (run(guide, [piece], [0.0], 1.0) for piece in (rows((0, 1, 40)), rows((0, 1, 80)), rows()))
    assert not torch.allclose(low, high) and not torch.allclose(low, none)
