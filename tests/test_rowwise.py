"""Eight-bit rows: small, exact where it matters, close everywhere."""

from __future__ import annotations

import torch

from backend.rowwise import SCALE, pack, unpack


def test_rows_come_back_within_half_a_step_of_their_largest_value() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(64, 96, generator=generator) * torch.logspace(-3, 2, 64)[:, None]
    back = unpack(pack({"w": weights}))["w"]
    step = weights.abs().amax(1, keepdim=True) / 127
    assert ((back - weights).abs() <= 0.51 * step + 1e-3 * weights.abs()).all()


def test_vectors_integers_and_small_tensors_are_not_rounded_to_eight_bits() -> None:
    state = {"bias": torch.randn(5000), "codes": torch.arange(9000).view(90, 100), "small": torch.randn(4, 4)}
    packed = pack(state)
    assert not any(key.endswith(SCALE) for key in packed)
    back = unpack(packed)
    assert torch.equal(back["codes"], state["codes"])
    torch.testing.assert_close(back["bias"], state["bias"], atol=2e-3, rtol=1e-3)


def test_a_convolution_keeps_its_shape_and_takes_a_quarter_of_the_bytes() -> None:
    state = {"kernel": torch.randn(128, 64, 7)}
    packed = pack(state)
    assert sum(t.nbytes for t in packed.values()) < 0.26 * state["kernel"].nbytes
    assert unpack(packed)["kernel"].shape == (128, 64, 7)


def test_a_row_of_zeros_stays_zero() -> None:
    weights = torch.randn(64, 64)
    weights[3] = 0
    assert torch.equal(unpack(pack({"w": weights}))["w"][3], torch.zeros(64))
