from __future__ import annotations

import dataclasses

import pytest
import torch

from backend.errors import RequestError
from backend.instruments.neurons.architecture import BASE, LIGHT, TINY, EarConfig, EncoderBlock, config_of
from backend.instruments.neurons.ear import SCALOGRAM, Ear


def ear(config: EarConfig = TINY) -> Ear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Ear(config).eval()


def noise(samples: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(1)) * 0.1


def loop_samples(config: EarConfig, contexts: int = 6) -> int:
    return contexts * config.context_hop * config.z_hop * config.cqt.hop


def test_the_papers_tables_make_the_papers_number_of_neurons() -> None:
    with torch.device("meta"):
        model = Ear(BASE)
    assert sum(shape.neurons for shape in model.shapes) == 34_608
    assert [block.channels for block in BASE.encoder] == [8, 16, 32, 64, 128, 256, 512, 512]
    assert [(block.channels, block.kernel) for block in BASE.context][::4] == [(512, 5), (256, 3), (256, 6)]
    assert 1000 * BASE.z_hop * BASE.cqt.hop / BASE.cqt.sample_rate == pytest.approx(93, abs=0.5)


def test_the_light_ear_is_a_map_of_ten_thousand_neurons_in_nine_megabytes() -> None:
    with torch.device("meta"):
        model = Ear(LIGHT)
    predictors = LIGHT.predicted * LIGHT.z_channels * LIGHT.c_channels
    assert sum(shape.neurons for shape in model.shapes) >= 10_000
    assert 2 * (sum(p.numel() for p in model.parameters()) + predictors) <= 9_000_000


def test_an_excerpt_holds_what_is_seen_and_what_is_predicted() -> None:
    z, c = ear()(noise(TINY.excerpt_samples))
    assert z.shape == (2, TINY.z_channels, TINY.visible + TINY.predicted)
    assert c.shape == (2, TINY.c_channels, (TINY.visible + TINY.predicted) // TINY.context_hop)


def test_activations_have_the_shapes_that_the_map_draws() -> None:
    model = ear()
    found = model.activations(noise(loop_samples(TINY)))
    assert tuple(found) == model.layers == tuple(shape.name for shape in model.shapes)
    for shape in model.shapes:
        assert found[shape.name].shape[1:3] == (shape.channels, shape.pitch)
        hop = model.timing[shape.name].hop
        assert found[shape.name].shape[3] == loop_samples(TINY) // hop
        assert model.layer_rate_hz(shape.name) == TINY.cqt.sample_rate / hop


def test_the_last_layers_are_the_encodings_and_the_contexts() -> None:
    model, loop = ear(), noise(loop_samples(TINY))
    found = model.activations(loop)
    z, c = model(loop, circular=True)
    assert torch.allclose(found[f"encoder{len(TINY.encoder) - 1}b"].squeeze(2), z, atol=1e-5)
    assert torch.allclose(found[model.layers[-1]].squeeze(2), c, atol=1e-5)


def test_every_link_of_the_map_stays_inside_the_layer_it_reads() -> None:
    for config in (TINY, LIGHT, BASE):
        with torch.device("meta"):
            shapes = Ear(config).shapes
        pitch = {shape.name: shape.pitch for shape in shapes}
        for shape in shapes:
            for link in shape.links:
                last = (shape.pitch - 1) * link.stride - link.padding
                assert last < pitch[link.source] and link.kernel - link.padding > 0


def test_a_link_names_the_pitches_that_move_a_neuron() -> None:
    model = ear()
    block, shape = model.encoder[0], model.shapes[1]
    quiet = torch.zeros(1, 2, TINY.cqt.bins, 8)
    link = shape.links[0]
    for row in (0, 7, shape.pitch - 1):
        reads = {row * link.stride - link.padding + k for k in range(link.kernel)} & set(range(TINY.cqt.bins))
        x = quiet.clone().requires_grad_()
        first, _ = block(x + torch.linspace(0, 1, TINY.cqt.bins)[:, None], True)
        first[:, :, row].sum().backward()
        moved = set(torch.nonzero(x.grad.abs().sum((0, 1, 3))).flatten().tolist())
        assert moved and moved <= reads


def test_a_loop_begun_elsewhere_moves_every_layer_and_changes_none() -> None:
    model, loop = ear(), noise(loop_samples(TINY))
    step = TINY.context_hop * TINY.z_hop * TINY.cqt.hop
    before, after = model.activations(loop), model.activations(loop.roll(step, 1))
    for name in model.layers:
        moved = before[name].roll(step // model.timing[name].hop, -1)
        assert torch.allclose(after[name], moved, atol=1e-3), name


def test_a_context_has_not_heard_what_comes_later() -> None:
    model = ear()
    z = torch.randn(1, TINY.z_channels, 12, generator=torch.Generator().manual_seed(0))
    changed = z.clone()
    changed[..., 6:] += 1
    heard = 6 // TINY.context_hop
    assert torch.equal(model.remember(z)[..., :heard], model.remember(changed)[..., :heard])
    assert not torch.equal(model.remember(z)[..., heard], model.remember(changed)[..., heard])


def test_a_silent_neuron_still_has_a_gradient() -> None:
    model, loop = ear(), noise(loop_samples(TINY)).requires_grad_()
    found = model.activations(loop, ["encoder1b"])["encoder1b"]
    dark = found.masked_fill(found > 0, 0).sum()
    assert float(dark.detach()) < 0
    dark.backward()
    assert loop.grad is not None and loop.grad.abs().max() > 0


def test_listening_stops_at_the_last_layer_that_is_asked_for() -> None:
    model = ear()
    model.context = torch.nn.ModuleList()  # a walk that went on would miss it
    assert set(model.activations(noise(2_000), [SCALOGRAM, "encoder0b"])) == {SCALOGRAM, "encoder0b"}


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RequestError, match="encoder0a"):
        ear().activations(noise(2_000), ["encoder99"])


@pytest.mark.parametrize("samples", [1, 100, 3_000])
def test_the_shortest_loop_is_heard(samples: int) -> None:
    for value in ear().activations(noise(samples)).values():
        assert value.shape[-1] >= 1 and value.isfinite().all()


def test_a_configuration_survives_being_stored() -> None:
    for config in (TINY, LIGHT, BASE):
        assert config_of(config.as_config()) == config


def test_architectures_that_cannot_be_are_refused() -> None:
    with pytest.raises(RequestError, match="one row"):
        dataclasses.replace(TINY, encoder=(EncoderBlock(4),))
    with pytest.raises(RequestError, match="visible"):
        dataclasses.replace(TINY, visible=TINY.visible + 1)
