import time

import numpy as np
import pytest

from backend.audio import io
from backend.audio.midi import make_notes, read_midi, read_midi_provenance
from backend.audio.waveform import Waveform
from backend.contract import Provenance, Result
from backend.errors import AudioError
from pages.exports import KEPT_A_SESSION, Exports, peaks

RATE = 24_000
PROVENANCE = Provenance("text_to_music", {"prompt": "flute", "seed": 7}, 7, {"a": "b" * 64}, "cpu", 1.5, "0.1.0")


def tone(seconds=0.5, gain=0.01):
    return Waveform(gain * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE), RATE)


def result(n=1):
    return Result(tuple(tone() for _ in range(n)), provenance=PROVENANCE)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_every_format_keeps_loudness_length_and_provenance(tmp_path, kind):
    exports = Exports(tmp_path)
    saved = exports.save("me", result())
    path = exports.path(saved.token, 1, kind)
    heard = io.read(path)
    assert heard.duration_s == pytest.approx(0.5, abs=0.06)
    assert np.abs(heard.samples).max() == pytest.approx(0.01, rel=0.15)  # not normalised to full scale
    assert io.read_provenance(path)["request"] == {"prompt": "flute", "seed": 7}


def test_notes_are_kept_as_midi_with_their_provenance(tmp_path):
    exports = Exports(tmp_path)
    notes = make_notes([(0.0, 0.5, 60, 90, 40, False, 0)])
    saved = exports.save("me", Result((tone(),), notes=(notes,), provenance=PROVENANCE))
    path = exports.path(saved.token, 1, "mid")
    assert read_midi(path)["pitch"].tolist() == [60]
    assert read_midi_provenance(path)["seed"] == 7
    assert "mid" in saved.clips[0].formats


def test_what_has_no_notes_has_no_midi(tmp_path):
    exports = Exports(tmp_path)
    saved = exports.save("me", result())
    assert exports.path(saved.token, 1, "mid") is None and "mid" not in saved.clips[0].formats


def test_every_variation_has_its_own_file(tmp_path):
    exports = Exports(tmp_path)
    saved = exports.save("me", result(3))
    assert len({exports.path(saved.token, n, "wav") for n in (1, 2, 3)}) == 3
    assert exports.path(saved.token, 4, "wav") is None


@pytest.mark.parametrize("token", ["../../etc", "A" * 22, "", "a/../b", "." * 22])
def test_a_guessed_or_crafted_name_finds_nothing(tmp_path, token):
    exports = Exports(tmp_path)
    exports.save("me", result())
    assert exports.path(token, 1, "wav") is None
    assert exports.path(token, 1, "exe") is None


def test_nothing_is_found_before_anything_was_saved():
    assert Exports().path("A" * 22, 1, "wav") is None


def test_files_go_when_the_session_ends_and_others_stay(tmp_path):
    exports = Exports(tmp_path, grace_s=0.01)
    mine, theirs = exports.save("me", result()), exports.save("them", result())
    exports.close("me")
    deadline = time.monotonic() + 60
    while exports.path(mine.token, 1, "wav") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert exports.path(mine.token, 1, "wav") is None
    assert exports.path(theirs.token, 1, "wav") is not None


def test_a_session_keeps_only_its_newest_results(tmp_path):
    exports = Exports(tmp_path)
    tokens = [exports.save("me", result()).token for _ in range(KEPT_A_SESSION + 2)]
    kept = [token for token in tokens if exports.path(token, 1, "wav")]
    assert kept == tokens[2:]


def test_results_of_one_shelf_push_out_none_of_another_and_all_go_with_the_session(tmp_path):
    exports = Exports(tmp_path, grace_s=0.01)
    road = exports.save("me", result(), shelf="road")
    previews = [exports.save("me", result(), shelf="preview", kept=2).token for _ in range(4)]
    folder = exports.place("me", "import", 1)
    assert exports.path(road.token, 1, "flac") and folder.is_dir()
    assert [bool(exports.path(token, 1, "wav")) for token in previews] == [False, False, True, True]
    exports.close("me")
    deadline = time.monotonic() + 60
    while any(tmp_path.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(tmp_path.iterdir())


def test_a_sheet_is_kept_beside_the_first_sound(tmp_path):
    exports = Exports(tmp_path)
    saved = exports.save("me", result(2), sheet="<p>Sheet</p>")
    assert exports.path(saved.token, 1, "html").read_text() == "<p>Sheet</p>"
    assert [("html" in clip.formats) for clip in saved.clips] == [True, False]
    assert exports.path(saved.token, 2, "html") is None


def test_clear_removes_the_folder(tmp_path):
    exports = Exports(tmp_path / "out")
    (tmp_path / "out").mkdir()
    exports.save("me", result())
    exports.clear()
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    exports = Exports(tmp_path / "missing")
    with pytest.raises(AudioError, match="cannot be saved"):
        exports.save("me", result())


def test_peaks_follow_the_envelope():
    swell = Waveform(np.linspace(0, 1, 16_000) * np.sin(np.arange(16_000)), RATE)
    bars = peaks(swell, 10)
    assert len(bars) == 10 and list(bars) == sorted(bars) and bars[-1] >= 98
    assert peaks(Waveform(np.zeros(3), RATE), 10) == (0, 0, 0)
