"""Figures are small, complete JSON, and show what the arrays say."""

import json

import numpy as np
import pytest

from backend import plots
from backend.audio.midi import make_notes
from backend.audio.waveform import Waveform

RATE = 24_000


@pytest.fixture(scope="module")
def tone() -> Waveform:
    t = np.arange(12 * RATE) / RATE
    return Waveform((0.5 * np.sin(2 * np.pi * 440 * t)).astype(np.float32), RATE)


def test_spectrogram_is_brightest_at_the_tone_and_under_0_3_mb(tone: Waveform) -> None:
    figure = plots.spectrogram(tone)
    z = np.asarray(figure.data[0].z)
    row = int(z.mean(1).argmax())
    mel = 2595 * np.log10(1 + 440 / 700)
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    assert abs(row - (mel / top * 129 - 1)) <= 1
    assert z.shape[0] <= 128 and z.shape[1] <= 300
    assert len(figure.to_json()) < 300_000


def test_spectrogram_of_silence_is_dark_and_has_no_nan() -> None:
    z = np.asarray(plots.spectrogram(Waveform(np.zeros(RATE, np.float32), RATE)).data[0].z)
    assert (z <= -20).all()


def test_chroma_names_the_tone_and_leaves_silence_empty(tone: Waveform) -> None:
    figure = plots.chroma(tone)
    z = np.asarray(figure.data[0].z)
    assert plots.PITCH_NAMES[int(z.mean(1).argmax())] == "A"
    silent = np.asarray(plots.chroma(Waveform(np.zeros(RATE, np.float32), RATE)).data[0].z)
    assert (silent == 0).all()


def test_the_latent_map_draws_corpus_road_and_anchors_where_they_are() -> None:
    corpus, road = np.random.default_rng(0).normal(size=(30, 2)), np.linspace([0, 0], [1, 2], 9)
    figure = plots.latent_map(corpus, road, road[[0, -1]], ["Tide", "Candle"])
    dots, way, ends = figure.data
    assert len(dots.x) == 30 and way.mode == "lines+markers+text" and list(way.x) == pytest.approx(road[:, 0])
    assert [text for text in way.text if text] == ["1", "9"] and list(ends.text) == ["Tide", "Candle"]
    alone = plots.latent_map(corpus, road[:3], np.zeros((0, 2)), [], joined=False)
    assert alone.data[1].mode == "markers+text" and list(alone.data[1].text) == ["1", "2", "3"]
    assert len(figure.to_json()) < 50_000


def test_a_training_curve_keeps_gaps_and_at_most_500_points() -> None:
    steps = np.arange(20_000)
    losses = np.exp(-steps / 5000)
    losses[0] = np.nan
    figure = plots.training_curve(steps, {"train": losses, "valid": losses + 0.1})
    assert len(figure.data[0].x) == 500 and figure.data[0].y[0] is None
    assert figure.data[0].line.dash != figure.data[1].line.dash
    assert "http" not in figure.to_json()


def test_an_empty_training_curve_is_a_figure() -> None:
    assert json.loads(plots.training_curve([], {"train": []}).to_json())["data"]


def test_a_series_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="train: 2 values for 3 steps"):
        plots.training_curve([1, 2, 3], {"train": [1, 2]})


def test_confusion_shows_row_shares_and_counts() -> None:
    figure = plots.confusion([[3, 1], [0, 0]], ["slow", "fast"])
    assert np.asarray(figure.data[0].z).tolist() == [[75, 25], [0, 0]]
    assert list(map(list, figure.data[0].text)) == [[3, 1], [0, 0]]
    with pytest.raises(ValueError, match="2 x 2"):
        plots.confusion(np.ones((3, 3)), ["a", "b"])


def test_reducing_columns_keeps_a_single_bright_column() -> None:
    values = np.zeros((4, 10_000))
    values[2, 777] = 1
    reduced = plots.reduce_columns(values)
    assert reduced.shape == (4, 300) and reduced[2].sum() == 1


def test_a_piano_roll_has_a_bar_a_note_and_a_dot_a_drum_hit() -> None:
    rows = [(0.0, 0.5, 60, 90, 40, False, 0), (0.5, 1.0, 64, 90, 40, False, 0), (0.0, 0.1, 36, 90, 0, True, 1)]
    figure = plots.piano_roll(make_notes(rows), 2.0)
    violin, drums = figure.data
    assert violin.name == "Violin" and list(violin.x) == [0.0, 0.5, None, 0.5, 1.0, None]
    assert drums.name == "Drums" and drums.mode == "markers" and list(drums.y) == [36]


def test_a_melody_is_drawn_over_what_was_played_from_the_first_tone_of_both() -> None:
    contour = np.concatenate([np.full(50, np.nan), np.full(100, 60.2), [np.nan], np.full(99, 62.0)])
    rows = [(0.25, 1.0, 60, 90, 40, False, 0), (0.0, 1.0, 36, 90, 43, False, 1), (0.0, 0.1, 38, 90, 0, True, 0)]
    figure = plots.melody_followed(contour, 100.0, make_notes(rows))
    played, heard = figure.data
    assert list(played.x) == [0.0, 0.75, None] and played.y[0] == 60
    assert heard.x[0] == 0.0 and heard.x[-1] == pytest.approx(1.99) and heard.y[100] is None
    assert plots.melody_followed([np.nan], 100.0, make_notes([])).data
