import numpy as np
import pytest
import torch

from backend.audio.waveform import Waveform
from backend.errors import AudioError, RequestError
from backend.instruments.genre_transfer.genres import GENRES
from backend.instruments.genre_transfer.listen import (
    CLIP_SAMPLES,
    classifier_figures,
    figures_of,
    hear,
    p_target,
    windows,
)


class Loud:
    """Hears trap where there is sound, noise where there is none."""

    genres = GENRES

    def probabilities(self, samples):
        loud = (samples.abs().amax(-1) > 0.01).float()
        out = torch.zeros(len(samples), len(GENRES))
        out[:, 0], out[:, -1] = loud, 1 - loud
        return out


@pytest.mark.parametrize("seconds", [0.1, 3.0, 5.0, 12.3])
def test_a_sound_of_any_length_is_heard(seconds):
    heard = hear(Loud(), Waveform(np.full((2, int(seconds * 8_000)), 0.1, np.float32), 8_000))
    assert heard[0] == ("trap", 1.0)
    assert sum(p for _, p in heard) == pytest.approx(1)


def test_windows_reach_the_end_and_are_averaged():
    sound = np.zeros(11 * 22_050, np.float32)
    sound[-22_050:] = 0.1
    waveform = Waveform(sound, 22_050)
    assert windows(waveform).shape == (4, CLIP_SAMPLES)
    assert p_target(Loud(), waveform, "trap") == pytest.approx(0.25)


def test_hours_are_heard_in_at_most_sixty_windows():
    assert len(windows(Waveform(np.zeros(8_000 * 400, np.float32), 8_000))) == 60


def test_too_short_a_sound_and_an_unknown_genre_are_refused():
    with pytest.raises(AudioError, match="at least"):
        hear(Loud(), Waveform(np.zeros(100, np.float32), 8_000))
    with pytest.raises(RequestError, match="genre"):
        p_target(Loud(), Waveform(np.zeros(8_000, np.float32), 8_000), "polka")


def test_figures_are_those_of_a_table_worked_by_hand():
    names = list(GENRES)
    probabilities = torch.zeros(4, 8)
    probabilities[0, 0] = 1.0  # trap, right
    probabilities[1, [4, 1]] = torch.tensor([0.6, 0.4])  # future bass heard as house, right among the seed's four
    probabilities[2, 4] = 1.0  # house, right
    probabilities[3, [0, 7]] = torch.tensor([0.6, 0.4])  # noise heard as trap
    figures = figures_of(probabilities, torch.tensor([0, 1, 4, 7]), names)
    assert figures["classifier_8_genres"] == 0.5 and figures["classifier_4_genres"] == 1.0
    assert figures["confusion"][1][4] == figures["confusion"][7][0] == 1
    assert figures["mean_p_true"] == pytest.approx((1 + 0.4 + 1 + 0.4) / 4)
    assert figures["ece"] == pytest.approx(0.5 * 0.6)


def test_clips_are_counted_by_what_is_heard():
    clips = [
        ("trap", torch.full((CLIP_SAMPLES,), 0.1)),
        ("noise", torch.zeros(CLIP_SAMPLES)),
        ("noise", torch.full((CLIP_SAMPLES,), 0.1)),
    ]
    assert classifier_figures(Loud(), clips)["classifier_8_genres"] == pytest.approx(2 / 3)
