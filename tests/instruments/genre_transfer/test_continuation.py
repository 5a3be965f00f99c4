import numpy as np
import pytest
import torch

from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.genre_transfer.continuation import (
    BASE,
    Continuation,
    ContinuationConfig,
    continue_clip,
)


def test_it_has_three_layers_of_fifty_units_and_one_column_in():
    assert (BASE.layers, BASE.units, BASE.bins) == (3, 50, 631)


def test_it_learns_an_alternation_by_heart_and_continues_it():
    torch.manual_seed(0)
    net = Continuation(ContinuationConfig(1, 16, 12))
    image = torch.zeros(1, 12, 12)
    image[0, torch.arange(12) % 2, torch.arange(12)] = 1.0
    optimiser = torch.optim.Adam(net.parameters(), 0.03)
    for _ in range(200):
        loss, _ = net({"image": image})
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    written = net.continue_from(image[..., 0], 6)
    assert written[0].argmax(0).tolist() == [1, 0, 1, 0, 1, 0]


def test_a_clip_is_continued_for_as_long_as_asked_finite_and_the_same_for_a_seed():
    net = Continuation()
    sound = Waveform(0.1 * np.sin(np.arange(44_100) / 20).astype(np.float32), 44_100)
    one, again = (continue_clip(net, sound, 1.0, seed=3) for _ in range(2))
    assert one.n_samples == 22_050 and np.array_equal(one.samples, again.samples)
    assert np.abs(one.samples).max() <= 1


def test_a_minute_is_too_long():
    with pytest.raises(RequestError, match="seconds"):
        continue_clip(Continuation(), Waveform(np.zeros(100, np.float32), 100), 60.0)
