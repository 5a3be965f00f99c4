"""The codec: frames, codes, both training phases, one tone learned."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from backend.musiclm.codec import BASE, TINY, Codec, config_of
from backend.musiclm.codec_train import CodecObjective, CodecTask, read_excerpt, spectral_convergence

RATE = 24_000


def tones(batch: int = 2, seconds: float = 1.0) -> torch.Tensor:
    t = torch.arange(int(seconds * RATE)) / RATE
    return torch.stack([0.4 * torch.sin(2 * math.pi * 220 * (i + 1) * t) for i in range(batch)])


@pytest.fixture(scope="module")
def codec() -> Codec:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codec = Codec(TINY).eval()
        codec.quantizer.initialise(torch.randn(500, TINY.latent_dim))
    return codec


@pytest.mark.parametrize("samples", [480, 24_000, 24_479])
def test_every_whole_hop_becomes_one_frame_and_comes_back_as_one_hop(codec: Codec, samples: int) -> None:
    codes = codec.encode(torch.zeros(2, samples))
    assert codes.shape == (2, samples // 480, 3) and codes.dtype == torch.long
    assert codec.decode(codes).shape == (2, samples // 480 * 480)


def test_fewer_codebooks_decode_and_each_adds_something(codec: Codec) -> None:
    codes = codec.encode(tones())
    decoded = [codec.decode(codes[..., :n]) for n in (1, 2, 3)]
    assert all(audio.shape == (2, RATE) and audio.isfinite().all() for audio in decoded)
    assert not torch.equal(decoded[0], decoded[1]) and not torch.equal(decoded[1], decoded[2])


def test_forward_is_encode_then_decode(codec: Codec) -> None:
    with torch.no_grad():
        decoded, codes = codec(tones())
    assert torch.equal(codes, codec.encode(tones()))
    torch.testing.assert_close(decoded, codec.decode(codes), atol=1e-5, rtol=0)


def test_the_base_configuration_runs_at_four_kilobits_a_second() -> None:
    assert BASE.bits_per_second == 4000
    assert config_of({**vars(TINY), "of a later version": 1}) == TINY


def test_a_saved_and_loaded_codec_gives_the_same_codes_and_the_same_sound(codec: Codec) -> None:
    again = Codec(TINY).eval()
    again.load_state_dict({key: value.clone() for key, value in codec.state_dict().items()})
    codes = codec.encode(tones())
    assert torch.equal(again.encode(tones()), codes)
    assert torch.equal(again.decode(codes), codec.decode(codes))


def test_a_batch_of_tones_can_be_overfitted() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        audio = tones(2, 0.5) + 0.01 * torch.randn(2, RATE // 2)  # without a noise floor most of it would be silence
        objective = CodecObjective(TINY).train()
        optimizer = torch.optim.Adam(objective.parameters(), 1e-2)
        losses = []
        for _ in range(80):
            loss, figures = objective(audio)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(figures["log_mel"]))
    assert min(losses[-5:]) < 0.6 * losses[0]


def test_the_second_phase_leaves_encoder_and_codes_as_they_are(codec: Codec) -> None:
    objective = CodecObjective(TINY, "decoder").train()
    objective.codec.load_state_dict(codec.state_dict())
    objective(tones(1, 0.5))[0].backward()
    moved = {name.split(".")[1] for name, p in objective.named_parameters() if p.grad is not None}
    assert moved == {"decoder"}
    buffers = dict(objective.codec.quantizer.named_buffers())
    assert all(torch.equal(buffers[name], value) for name, value in codec.quantizer.named_buffers())


def test_spectral_convergence_is_zero_for_equals_and_nearly_one_for_silence() -> None:
    audio = tones()
    assert float(spectral_convergence(audio, audio)) == pytest.approx(0, abs=1e-6)
    assert 0.9 < float(spectral_convergence(torch.zeros_like(audio), audio)) < 1


def test_an_excerpt_is_mono_and_padded_where_the_file_ends(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([np.full(1000, 0.5), np.full(1000, 0.25)], 1), RATE, subtype="PCM_16")
    excerpt = read_excerpt(path, 400, 1200)
    assert excerpt.shape == (1200,)
    assert torch.equal(excerpt[:1000], torch.full((1000,), 0.375)) and not excerpt[1000:].any()
    assert torch.equal(read_excerpt(path, 900, 300), torch.full((300,), 0.375))  # moved back, not padded


def test_batches_follow_the_generator_and_validation_names_the_use_of_the_codebooks(tiny_corpus: Path) -> None:
    task = CodecTask(tiny_corpus, TINY, 2, 0.5)
    one, two, other = (next(task.batches(torch.Generator().manual_seed(seed))) for seed in (1, 1, 2))
    assert one.shape == (2, RATE // 2)
    assert torch.equal(one, two) and not torch.equal(one, other)
    with torch.no_grad():
        assert set(task.validate(CodecObjective(TINY).eval())) == {"loss", "pitch"}
        figures = task.validate(CodecObjective(TINY, "decoder").eval())
    assert figures["loss"] > 0 and 1 <= figures["perplexity_min"] <= figures["perplexity_first"] <= TINY.codebook_size
