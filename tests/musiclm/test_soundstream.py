"""SoundStream behind the codec interface."""

from __future__ import annotations

import copy

import pytest
import torch

from backend.errors import CheckpointError
from backend.musiclm.codec import AudioCodec
from backend.musiclm.soundstream import BASE, TINY, SoundStreamCodec

FRAMES = 8


def noise(n_clips: int = 2) -> torch.Tensor:
    return 0.1 * torch.randn(n_clips, FRAMES * 480 + 100, generator=torch.Generator().manual_seed(0))


def test_codes_and_audio_have_the_shapes_of_the_interface() -> None:
    codec = SoundStreamCodec(TINY)
    interface: AudioCodec = codec
    codes = interface.encode(noise())
    assert (interface.sample_rate, interface.frame_rate, interface.codebook_size) == (24_000, 50.0, TINY.codebook_size)
    assert codes.shape == (2, FRAMES, interface.n_quantizers)
    assert 0 <= codes.min() <= codes.max() < interface.codebook_size
    assert interface.decode(codes).shape == (2, FRAMES * codec.hop)
    assert interface.decode(codes[..., :1]).shape == (2, FRAMES * codec.hop)


def test_base_is_fifty_frames_of_eight_codes_at_24_khz() -> None:
    hop = 1
    for stride in BASE.strides:
        hop *= stride
    assert BASE.sample_rate / hop == 50
    assert (BASE.n_quantizers, BASE.codebook_size) == (8, 1024)


def test_weights_load_back_and_others_are_refused() -> None:
    codec = SoundStreamCodec(TINY)
    again = SoundStreamCodec(TINY, codec.model.state_dict())
    assert torch.equal(codec.decode(codec.encode(noise())), again.decode(again.encode(noise())))
    with pytest.raises(CheckpointError, match="SoundStream"):
        SoundStreamCodec(TINY, {})


def test_a_training_step_moves_codec_and_discriminators_and_coding_moves_nothing() -> None:
    codec = SoundStreamCodec(TINY)
    codec.encode(noise())  # initialises the codebooks
    before = copy.deepcopy(codec.state_dict())
    codec.train()
    codec.decode(codec.encode(noise()))
    assert codec.training
    assert all(torch.equal(value, before[name]) for name, value in codec.state_dict().items())
    optimizer = torch.optim.AdamW(codec.generator_parameters(), 1e-3)
    judge = torch.optim.AdamW(codec.discriminator_parameters(), 1e-3)
    loss = codec.train_step(noise(1), optimizer, judge)
    assert loss == pytest.approx(loss)  # finite and not a NaN
    after = codec.state_dict()
    for part in ("encoder.", "decoder.", "discriminators.", "stft_discriminator."):
        names = [name for name in after if name.startswith(f"model.{part}")]
        assert any(not torch.equal(after[name], before[name]) for name in names), part
