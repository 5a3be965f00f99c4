import pytest
import torch

from backend.checkpoints import CheckpointStore
from backend.errors import RequestError
from backend.instruments.genre_transfer.baselines import ResNet, SoftmaxRegression, load_baseline, make_baseline
from backend.instruments.genre_transfer.lil_data import BASE, TINY, LilData, LilDataConfig, load_lil_data
from backend.instruments.genre_transfer.spectrogram import CLIP_SAMPLES


def test_the_net_is_the_seeds_four_convolutions_four_pools_and_a_dense_layer_of_48():
    net = LilData(BASE)
    assert [tuple(conv.weight.shape[2:]) for conv in net.convs] == [(3, 3)] * 4
    assert net.dense.in_features == 64 * 2 * 2 and net.dense.out_features == 48 and net.drop.p == 0.5
    assert net(torch.rand(1, 1, 631, 631)).shape == (1, 8)


def test_activations_are_what_the_forward_pass_computes_and_stop_at_the_layer_asked_for():
    net = LilData(TINY).eval()
    image = torch.rand(2, 1, 256, 256)
    seen = net.activations(image, ("conv1", "conv4", "conv4_linear"))
    assert seen["conv1"].shape == (2, 2, 256, 256) and seen["conv4"].shape == (2, 4, 4, 4)
    torch.testing.assert_close(torch.relu(seen["conv4_linear"]), seen["conv4"])
    pooled = torch.nn.functional.max_pool2d(seen["conv4"], 4)
    torch.testing.assert_close(net.out(torch.relu(net.dense(pooled.flatten(1)))), net(image))
    assert set(net.activations(image, ("conv2",))) == {"conv2"}


def test_a_gradient_reaches_the_image():
    image = torch.rand(1, 1, 256, 256, requires_grad=True)
    LilData(TINY).activations(image, ("conv2",))["conv2"].sum().backward()
    assert image.grad is not None and image.grad.abs().sum() > 0


@pytest.mark.parametrize("names", [(), ("conv5",)])
def test_an_unknown_layer_is_refused(names):
    with pytest.raises(RequestError, match="layer"):
        LilData(TINY).activations(torch.rand(1, 1, 256, 256), names)


def test_folding_the_normalisation_changes_nothing():
    torch.manual_seed(0)
    net = LilData(LilDataConfig(channels=(3, 4, 5, 6), size=256, batch_norm=True))
    for norm in net.norms:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        torch.nn.init.uniform_(norm.weight, 0.3, 2)
        torch.nn.init.normal_(norm.bias)
    image = torch.rand(2, 1, 256, 256)
    folded = net.eval().folded()
    torch.testing.assert_close(folded(image), net(image), atol=1e-4, rtol=1e-4)
    assert not any("norms" in name for name in folded.state_dict())


def test_saved_and_loaded_it_says_the_same(tmp_path):
    net = LilData(TINY).eval()
    store = CheckpointStore(tmp_path)
    store.save("genre_transfer.lil_data", net.state_dict(), net.as_config(), {}, "genre_transfer/README.md")
    image = torch.rand(1, 1, 256, 256)
    torch.testing.assert_close(load_lil_data(store)(image), net(image))


@pytest.mark.parametrize("net", [LilData(TINY), SoftmaxRegression(), ResNet(width=2)])
def test_every_image_net_gives_probabilities_of_a_sound(net):
    heard = net.eval().probabilities(0.1 * torch.randn(1, CLIP_SAMPLES))
    assert heard.shape == (1, 8)
    assert float(heard.sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["softmax", "resnet"])
def test_a_baseline_is_stored_and_loaded(kind, tmp_path):
    net = make_baseline(kind, ("polka", "waltz")).eval()
    store = CheckpointStore(tmp_path)
    store.save(f"genre_transfer.{kind}", net.state_dict(), net.as_config(), {}, "genre_transfer/README.md")
    loaded = load_baseline(store, kind)
    image = torch.rand(1, 1, 631, 631)
    assert loaded.genres == ("polka", "waltz")
    torch.testing.assert_close(loaded(image), net(image))
