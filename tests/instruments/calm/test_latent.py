"""Moving between pieces: geometry against its formulas, roads that are even, sliders, samples; similarity judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from backend.errors import RequestError
from backend.instruments.calm import latent
from backend.instruments.calm.attributes import in_scale
from backend.instruments.calm.latent import even_points, lerp, slerp
from backend.instruments.calm.model import TINY, CalmVAE
from backend.instruments.calm.piece import NOTE_GRID, CalmPiece, roll, tidy, voiced
from backend.instruments.calm.similarity import FIRST_PITCH, distances, melody_tokens, note_f1


def piece(seed: int, bars: int = 4, **changes: Any) -> CalmPiece:
    rng = np.random.default_rng(seed)
    notes = np.zeros(10 * bars, NOTE_GRID)
    notes["step"], notes["length"] = rng.integers(0, 16 * bars, len(notes)), 2
    notes["pitch"] = rng.integers(48, 84, len(notes))
    return CalmPiece(voiced(tidy(notes, 16 * bars)), bars, **changes)


@pytest.fixture(scope="module")
def tiny() -> CalmVAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CalmVAE(TINY).eval()
        model.bank.normal_()
        model.directions.normal_()
        model.step_out[1].bias.data.fill_(-2.0)  # type: ignore[index, union-attr]
    return model


class Threshold(CalmVAE):
    """A model whose latent is the roll itself, and whose notes appear one after another between .4 and .6."""

    def __init__(self) -> None:
        super().__init__(TINY)
        at = 0.4 + 0.2 * torch.rand(2 * 16 * 88, generator=torch.Generator().manual_seed(0))
        self.at = at

    def encode(self, rolls: Tensor) -> tuple[Tensor, Tensor]:
        z = rolls.permute(0, 2, 1, 3, 4).flatten(2)
        return z, torch.zeros_like(z)

    def decode(self, z: Tensor) -> Tensor:
        return (400 * (z - self.at)).view(*z.shape[:2], 2, 16, 88).permute(0, 2, 1, 3, 4)


def test_lerp_and_slerp_return_their_ends() -> None:
    a, b = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    for between in (lerp, slerp):
        assert torch.allclose(between(a, b, 0.0), a, atol=1e-6) and torch.allclose(between(a, b, 1.0), b, atol=1e-6)


def test_slerp_goes_round_the_circle_at_an_even_pace() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for share in (0.25, 0.5, 0.9):
        angle = torch.tensor(share * np.pi / 2)
        assert torch.allclose(slerp(a, b, share), torch.stack([angle.cos(), angle.sin()]), atol=1e-6)


def test_slerp_of_parallel_latents_is_a_straight_line() -> None:
    a = torch.tensor([[1.0, 2.0, -1.0]])
    assert torch.allclose(slerp(a, 3 * a, 0.25), 1.5 * a) and slerp(a, torch.zeros(1, 3), 0.5).isfinite().all()


def test_even_points_divide_the_length_and_never_stand_still() -> None:
    assert even_points(np.linspace(0, 8, 81), 9).tolist() == list(range(0, 81, 10))
    assert even_points(np.array([0, 0, 0, 5, 5, 5, 5.0]), 4).tolist()[::3] == [0, 6]
    assert (np.diff(even_points(np.array([0, 0, 0, 0, 9.0]), 4)) > 0).all()
    assert even_points(np.zeros(9), 3).tolist() == [0, 4, 8]


def test_a_road_is_even_where_shares_of_the_latent_are_not() -> None:
    model, a, b = Threshold(), piece(1), piece(2)
    ratio = {}
    for even in (True, False):
        steps = distances(*latent.road(model, a, b, 9, "lerp", even=even, constrain=False)[:2])
        ratio[even] = steps.max() / steps.mean()
    assert ratio[True] < 1.4 and ratio[False] > 3


def test_the_ends_of_a_road_are_the_pieces_as_the_model_knows_them() -> None:
    a, b = piece(1, 6, tempo_bpm=60.0, transpose=3), piece(2, 4, tempo_bpm=80.0, mode="minor", transpose=-2)
    found = latent.path(Threshold(), a, b, 5)
    for end, known in ((found[0], a.first_bars(4)), (found[-1], b)):
        assert (roll(end)[0] == roll(known)[0]).all()
    assert [p.tempo_bpm for p in found] == pytest.approx([60 * (4 / 3) ** (i / 4) for i in range(5)])
    assert {p.transpose for p in found} == {3} and [found[0].mode, found[-1].mode] == ["major", "minor"]
    assert {p.bars for p in found} == {4}


def test_a_road_from_a_piece_to_itself_stays_there() -> None:
    a = piece(1)
    assert all(note_f1(roll(p)[0], roll(a)[0]) == 1.0 for p in latent.path(Threshold(), a, a, 3, "slerp"))


def test_a_doubtful_note_that_is_chosen_sounds_as_long_as_a_certain_one() -> None:
    onset, hold = torch.zeros(2, 1, 64, 88)
    onset[0, 0, 39], hold[0, 1:9, 39] = 0.4, 0.4  # perhaps a half note …
    onset[0, 16, 39], hold[0, 17:25, 39] = 0.98, 0.98  # … and surely one
    onset[0, 32, 39], hold[0, 33:36, 39], hold[0, 36:40, 39] = 0.9, 0.9, 0.3  # three in ten are longer than a quarter
    held = latent._held(onset > 0, onset, hold)
    assert np.flatnonzero(held[0, :, 39]).tolist() == [*range(1, 9), *range(17, 25), *range(33, 36)]
    assert held.sum() == 19


@pytest.mark.parametrize("mode", ["major", "minor"])
def test_constrained_pieces_stay_in_their_scale(tiny: CalmVAE, mode: str) -> None:
    a, b = piece(1, mode=mode), piece(2, mode=mode)
    free = latent.path(tiny, a, b, 3)
    held = latent.path(tiny, a, b, 3, constrain=True)
    assert min(in_scale(roll(p)[0], mode) for p in free) < 1.0
    assert all(in_scale(roll(p)[0], mode) == 1.0 and len(p.notes) for p in held)


def test_the_same_seed_gives_the_same_piece_and_another_seed_another(tiny: CalmVAE) -> None:
    for make in (lambda s: latent.sample(tiny, 5, 1.0, s), lambda s: latent.around(tiny, piece(1), 1.0, s)):
        one, same, other = make(1), make(1), make(2)
        assert (one.notes == same.notes).all() and one.notes.tolist() != other.notes.tolist()
    assert latent.sample(tiny, 11, seed=3).bars == 11
    with torch.no_grad():
        tiny.bank_major[:2] = 0.0
    assert all(latent.sample(tiny, seed=s, mode=mode).mode == mode for s in range(3) for mode in ("major", "minor"))


def test_nothing_moves_at_radius_or_amount_zero(tiny: CalmVAE) -> None:
    plain = latent.piece_of_latent(tiny, latent.latent_of(tiny, piece(1)), piece(1))
    for same in (latent.around(tiny, piece(1), 0.0, 4), latent.move(tiny, piece(1), {"density": 0.0})):
        assert (same.notes == plain.notes).all()
    assert latent.move(tiny, piece(1), {"rhythm": 2.0}).notes.tolist() != plain.notes.tolist()


def test_what_is_out_of_range_is_named(tiny: CalmVAE) -> None:
    a = piece(1)
    for call, name in (
        (lambda: latent.path(tiny, a, a, 1), "steps"),
        (lambda: latent.path(tiny, a, a, 3, "cubic"), "method"),  # type: ignore[arg-type]
        (lambda: latent.around(tiny, a, 9, 0), "radius"),
        (lambda: latent.sample(tiny, 3), "bars"),
        (lambda: latent.sample(tiny, 8, -1), "temperature"),
        (lambda: latent.sample(tiny, mode="dorian"), "mode"),
        (lambda: latent.move(tiny, a, {"warmth": 1}), "attributes"),
        (lambda: latent.move(tiny, a, {"density": 4}), "density"),
    ):
        with pytest.raises(RequestError, match=name):
            call()


def test_a_piece_has_a_place_on_the_map(tiny: CalmVAE) -> None:
    assert latent.on_map(tiny, [piece(1), piece(2, 8)]).shape == (2, 2)
    assert latent.bank_on_map(tiny).shape == (TINY.bank_size, 2)


def test_note_f1_agrees_with_mir_eval() -> None:
    from mir_eval.transcription import precision_recall_f1_overlap

    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = (rng.random((32, 88)) < 0.05 for _ in range(2))
        a[:, 40:] = b[:, 40:] = False
        b[1:, :20] |= a[:-1, :20]

        def events(onset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            step, pitch = np.nonzero(onset)
            return np.stack([step, step + 1.0], 1), 440.0 * 2.0 ** (pitch / 12)

        (times_a, pitch_a), (times_b, pitch_b) = events(a), events(b)
        theirs = precision_recall_f1_overlap(
            times_b, pitch_b, times_a, pitch_a, onset_tolerance=1.001, pitch_tolerance=10.0, offset_ratio=None
        )[2]
        assert note_f1(a, b) == pytest.approx(theirs)
    assert note_f1(np.zeros((4, 88), bool), np.zeros((4, 88), bool)) == 1.0


def test_melody_tokens_are_musicvaes() -> None:
    notes = voiced(np.array([(0, 2, 60, 64, 0), (4, 8, 64, 64, 0), (6, 2, 67, 64, 0)], NOTE_GRID))
    expected = np.zeros(12, int)
    expected[[0, 2, 4, 6, 8]] = [39 + FIRST_PITCH, 1, 43 + FIRST_PITCH, 46 + FIRST_PITCH, 1]
    assert melody_tokens(notes, 12).tolist() == expected.tolist()
