from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.errors import RequestError
from backend.instruments.calm.music_vae.config import CONFIGS, TINY, named
from backend.instruments.calm.music_vae.model import MusicVae
from backend.instruments.calm.music_vae.sampling import (
    checkpoint_name,
    decode,
    encode,
    interpolate,
    road,
    sample,
    slerp,
)
from backend.instruments.calm.music_vae.sequences import Labels


@pytest.fixture(scope="module")
def model() -> MusicVae:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MusicVae(TINY)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def piece(seed: int) -> Labels:
    return np.random.default_rng(seed).integers(0, 90, (TINY.steps, 1))


def test_slerp_keeps_both_ends_and_the_length_between_vectors_of_one_length() -> None:
    a, b = np.array([3.0, 0.0, 0.0]), np.array([0.0, 0.0, 3.0])
    np.testing.assert_allclose(slerp(a, b, 0.0), a, atol=1e-12)
    np.testing.assert_allclose(slerp(a, b, 1.0), b, atol=1e-12)
    np.testing.assert_allclose(slerp(a, b, 0.5), 3 / np.sqrt(2) * np.array([1, 0, 1]), atol=1e-12)
    assert np.linalg.norm(slerp(a, b, 0.3)) == pytest.approx(3.0)


@pytest.mark.parametrize("b", [[2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]], ids=["parallel", "opposite", "zero"])
def test_slerp_is_straight_where_there_is_no_angle(b: list[float]) -> None:
    a = np.array([1.0, 0.0])
    np.testing.assert_allclose(slerp(a, np.array(b), 0.25), 0.75 * a + 0.25 * np.array(b))


def test_lerp_comes_nearer_to_the_origin_than_slerp() -> None:
    a, b = np.eye(4, dtype=np.float32)[:2]
    middle = [float(np.linalg.norm(road(a, b, 3, path)[1])) for path in ("slerp", "lerp")]
    assert middle == pytest.approx([1.0, 0.5**0.5])


def test_the_same_seed_gives_the_same_music_and_another_seed_other_music(model: MusicVae) -> None:
    first, again, other = (sample(model, 3, seeded(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == (3, TINY.steps, 1)
    assert (first != other).any()


def test_equal_latents_with_shared_noise_are_one_piece(model: MusicVae) -> None:
    z = torch.randn(1, TINY.z_size, generator=seeded()).expand(4, -1)
    shared = decode(model, z, 1.0, seeded(), shared_noise=True)
    assert (shared == shared[:1]).all()
    own = decode(model, z, 1.0, seeded())
    assert (own != own[:1]).any()


def test_the_road_begins_and_ends_with_the_reconstructions(model: MusicVae) -> None:
    start, end = piece(0), piece(1)
    found = interpolate(model, start, end, 5, temperature=0)
    ends = decode(model, encode(model, [start, end]).mu, temperature=0)
    np.testing.assert_array_equal(found[[0, -1]], ends)


def test_pieces_are_encoded_alike_in_one_batch_and_in_several(model: MusicVae, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [piece(seed) for seed in range(5)]
    together = encode(model, pieces)
    monkeypatch.setattr("backend.instruments.calm.music_vae.sampling.ENCODED_STEPS", 2 * TINY.steps)
    torch.testing.assert_close(encode(model, pieces).mu, together.mu)


def test_what_cannot_be_made_is_refused_by_name(model: MusicVae) -> None:
    z = torch.zeros(1, TINY.z_size)
    for refused, field in (
        (lambda: decode(model, z, -0.1, seeded()), "temperature"),
        (lambda: decode(model, z, 1.0), "generator"),
        (lambda: decode(model, z[:, 1:], 0), "z"),
        (lambda: encode(model, []), "pieces"),
        (lambda: encode(model, [piece(0)[1:]]), "pieces"),
        (lambda: sample(model, 0, seeded()), "n"),
        (lambda: interpolate(model, piece(0), piece(1), 1), "n_steps"),
        (lambda: interpolate(model, piece(0), piece(1), 3, path="arc"), "path"),
        (lambda: named("cat-mel_4bar"), "config"),
    ):
        with pytest.raises(RequestError) as refusal:
            refused()
        assert refusal.value.field == field


def test_every_configuration_has_a_name_in_the_store() -> None:
    assert [checkpoint_name(config) for config in CONFIGS.values()] == [
        "calm.cat_mel_2bar_small",
        "calm.cat_mel_2bar_big",
        "calm.hierdec_mel_16bar",
        "calm.hierdec_trio_16bar",
    ]
