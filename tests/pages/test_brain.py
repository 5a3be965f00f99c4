import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import nibabel
import numpy as np
import pytest

from backend.audio import io
from backend.contract import Done, Failed, Queued
from backend.errors import CheckpointError, RequestError
from backend.instruments.brain.layout import GENRES, LABEL
from backend.instruments.brain.request import BrainRequest
from backend.settings import Settings
from pages import brain, brain_cortex, brain_form, brain_scan, brain_show
from pages.exports import Exports
from pages.jobs import Jobs
from pages.parts import Desk
from tests.instruments.brain.miniature import write_dataset, write_tracks
from tests.pages.brain_result import NO_SIGNAL, SOUNDS, brain_result
from tests.pages.streams import Stream
from tests.pages.test_parts import Reader

GOOD = {
    "seed": 3, "genre": "jazz", "piece": "2", "strength": "Nothing is heard", "listener_seed": 5, "decoder": "ridge",
    "region": "best", "pairing": "four_windows", "duration_s": 6, "candidates": 3, "controls": False,
}  # fmt: skip
SCAN = {
    "seed": 3, "consent": True, "folder": None, "subject": "sub-001", "clip": 2, "bids": "", "stimuli": "",
    "catalogue": "", "captions": "", "decoder": "ridge", "region": "cortex", "pairing": "clip", "duration_s": 4,
    "candidates": 1, "controls": False,
}  # fmt: skip
TURNED = ("both", "lateral", 0.0, True, True)


class Engine:
    """Answers every request at once, or fails with what it is given."""

    def __init__(self, error=None):
        self.error, self.asked = error, []

    def run(self, instrument_id, request):
        self.asked.append(request)
        return Stream([Queued(0), Failed(self.error) if self.error else Done(brain_result(request))])


@pytest.fixture
def desk(tmp_path):
    return Desk(Jobs(Engine()), Exports(tmp_path / "exports"), Settings())


@pytest.fixture
def exports(desk, tmp_path):
    (tmp_path / "exports").mkdir()
    return desk.exports


@pytest.fixture(scope="module")
def miniature(tmp_path_factory):
    """A folder in ds003720's layout and one in GTZAN's; the scan is of noise."""
    root = tmp_path_factory.mktemp("miniature")
    write_tracks(root / "gtzan")
    write_dataset(root / "bids", lambda event: np.ones(2))
    return root


def uploaded(tmp_path, paths):
    """Copies, as gradio leaves uploads: each in a folder of its own, told to the page as path and name."""
    files = []
    for number, path in enumerate(paths):
        place = tmp_path / "gradio" / str(number) / path.name
        place.parent.mkdir(parents=True)
        place.write_bytes(path.read_bytes())
        files.append({"path": str(place), "orig_name": path.name})
    return files


def left_behind(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_raw_page_values_become_the_request_and_back():
    made = brain_form.make_request(**GOOD)
    assert made == BrainRequest(
        seed=3, clip=11, snr=0.0, listener_seed=5, decoder="ridge", region="best", pairing="four_windows", duration_s=6,
        candidates=3, controls=False,
    )  # fmt: skip
    assert brain_form.values(made) == [value for name, value in GOOD.items() if name != "seed"]
    assert brain_form.values(dataclasses.replace(made, snr=None))[2] == next(iter(brain_form.STRENGTHS))


def test_the_pieces_are_the_sixty_test_clips():
    clips = {brain_form.clip_of(genre, piece) for genre in GENRES for piece in brain_form.PIECES}
    assert clips == set(range(60))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("genre", "polka", "rock, jazz"), ("piece", "7", "1, 2"), ("strength", "loud", "calibrated"),
        ("listener_seed", 100, "from 0 to 99"), ("decoder", "gpt", "contrastive"), ("region", "toe", "auditory"),
        ("pairing", "none", "clip"), ("duration_s", 99, "from 4 to 15"), ("candidates", 0, "from 1 to 4"),
        ("controls", None, "true or false"), ("seed", -1, "seed"),
    ],
)  # fmt: skip
def test_bad_values_are_one_sentence_with_the_range(field, value, says):
    with pytest.raises(RequestError, match=re.escape(says)):
        brain_form.make_request(**GOOD | {field: value})


def test_a_result_is_players_with_controls_a_rank_regions_over_time_and_a_genre(desk, exports):
    result = brain_result(BrainRequest(clip=11))
    update = brain._deliver(desk, "m", "f", "me", BrainRequest(clip=11), result)
    shown = Reader(update["m"])
    assert len(shown.all("nm-player")) == len(SOUNDS) and len(shown.all("nm-course")) == 1
    assert len(shown.all("rect")) == 60 and sum(a.get("class") == "own" for a in shown.all("rect")) == 1
    for words in (
        LABEL,
        "wrong scan",
        "nobody's brain",
        "Ceiling",
        "of 60",
        "< 0.001",
        "The decoder calls it",
        "chance 50 %",
    ):
        assert words in shown.text
    assert "jazz <1>" in shown.text and "<1>" not in update["m"]


def test_whatever_is_simulated_says_so_in_sounds_map_plots_and_names(desk, exports):
    result = brain_result(BrainRequest(clip=2))
    update = brain._deliver(desk, "m", "f", "me", BrainRequest(clip=2), result)
    names = [a["download"] for a in Reader(update["m"]).all("a") if "download" in a]
    assert names and all("simulated_brain" in name for name in names) and any(name.endswith(".nii") for name in names)
    token = str(update["f"]["token"])
    provenance = io.read_provenance(exports.path(token, 2, "mp3"))
    assert provenance["request"]["label"] == LABEL
    header = nibabel.Nifti1Image.from_bytes(exports.path(token, 1, "nii").read_bytes()).header
    assert LABEL in bytes(header["descrip"]).decode()
    for figure in brain_cortex.figures(update["f"], *TURNED):
        assert figure.layout.title.text == LABEL


def test_a_persons_result_is_not_called_simulated(desk, exports):
    asked = BrainRequest(source="scan", consent=True, upload=Path("x"))
    update = brain._deliver(desk, "m", "f", "me", asked, brain_result(asked))
    assert "imulated" not in update["m"] and "label" not in asked.to_dict()


def test_without_a_signal_one_sentence_and_the_original_alone(desk, exports):
    update = brain._deliver(desk, "m", "f", "me", BrainRequest(snr=0.0), brain_result(BrainRequest(snr=0.0)))
    shown = Reader(update["m"])
    assert NO_SIGNAL in shown.text and len(shown.all("nm-player")) == 1 and "no better than guessing" in shown.text


def test_the_cortex_is_drawn_once_a_result_and_anew_for_every_setting(desk, exports):
    update = brain._deliver(desk, "m", "f", "me", BrainRequest(), brain_result(BrainRequest()))
    group, surface, slices, drawn = brain_cortex.newest(update["f"], None, *TURNED)
    assert group["visible"] and len(surface.data) == 2 and len(slices.data) == 3
    assert brain_cortex.newest(update["f"], drawn, *TURNED) == [gr.skip()] * 4
    left, _ = brain_cortex.again(update["f"], "left", "medial", 0.6, False, False)
    assert len(left.data) == 1 and (np.asarray(left.data[0].intensity) < 0).all()  # nothing is above the threshold
    assert brain_cortex.again(None, *TURNED) == [gr.skip()] * 2


def test_a_decoder_that_is_not_linear_says_that_regions_are_not_known():
    arrays = dict(brain_result(BrainRequest()).arrays)
    arrays["region_contribution"] = np.zeros(12, np.float32)
    assert "not linear" in brain_show.regions(arrays)


def test_an_export_dropped_back_fills_every_field_and_one_of_a_scan_does_not(tmp_path):
    request = brain_form.make_request(**GOOD)
    result = brain_result(request)
    path = io.write(result.waveforms[0], tmp_path / "a.flac", "flac", result.provenance.to_dict())
    *fields, seed, locked, status, dropped = brain._restore(str(path))
    assert brain_form.make_request(seed, *fields) == request
    assert (locked, dropped) == (True, None) and "restored" in status
    asked = BrainRequest(source="scan", consent=True, upload=Path("x"))
    path = io.write(result.waveforms[0], tmp_path / "b.flac", "flac", brain_result(asked).provenance.to_dict())
    assert "given again" in brain._restore(str(path))[-2]


def test_files_without_consent_are_deleted_unread(desk, tmp_path, miniature):
    run = next((miniature / "bids" / "sub-001" / "func").glob("*Test*.nii.gz"))
    folder, said, _, _ = brain_scan.take(desk, "me", uploaded(tmp_path, [run]), False, None)
    assert folder is None and "agreed" in said and left_behind(tmp_path) == []


def test_a_bad_scan_is_refused_with_its_reason_and_deleted(desk, exports, tmp_path, miniature):
    flat = nibabel.Nifti1Image(np.ones((17, 19, 16), np.float32), np.diag([12.0, 12, 12, 1]))
    nibabel.save(flat, tmp_path / "mine.nii.gz")
    files = uploaded(tmp_path, [tmp_path / "mine.nii.gz"])
    (tmp_path / "mine.nii.gz").unlink()
    _, said, _, field = brain_scan.take(desk, "me", files, True, None)
    assert "3-D" in said and field is None and left_behind(tmp_path) == []
    run = next((miniature / "bids" / "sub-001" / "func").glob("*Test*.nii.gz"))
    (tmp_path / "own.nii.gz").write_bytes(run.read_bytes())
    files = [{"path": str(tmp_path / "own.nii.gz"), "orig_name": "own.nii.gz"}]
    assert "a decoder fits one brain" in brain_scan.take(desk, "me", files, True, None)[1]
    assert left_behind(tmp_path) == []


def test_an_uploaded_dataset_is_laid_out_and_deleted_when_its_job_ends(desk, exports, tmp_path, miniature):
    files = uploaded(tmp_path, [p for p in sorted((miniature / "bids").rglob("*")) if p.is_file()])
    folder, said, subject, _ = brain_scan.take(desk, "me", files, True, None)
    assert "2 training runs, 1 test runs, 3 event tables, 0 tracks" in said and subject == "sub-001"
    tracks = uploaded(tmp_path / "more", sorted((miniature / "gtzan").rglob("*.wav")))
    again, said, *_ = brain_scan.take(desk, "me", tracks, True, folder)
    assert again == folder and "18 tracks" in said and left_behind(tmp_path / "gradio") == []
    asked = brain_scan.make_request(desk.settings, **SCAN | {"folder": folder})
    assert (asked.upload, asked.stimuli, asked.clip) == (Path(folder), Path(folder), 1)
    runner = brain_scan.ScanRunner("g", "s", "t")
    watched = runner._watch("me", asked, iter([Queued(0)]), lambda *_: {}, None)
    next(watched)
    watched.close()  # the page was closed while the job waited
    assert not Path(folder).exists() and left_behind(tmp_path) == []
    assert "deleted" in brain_scan.left(folder)[1] and brain_scan.left(None) == [gr.skip()] * 2


def test_a_failed_job_deletes_the_upload_too(desk, exports, tmp_path, miniature):
    run = sorted((miniature / "bids").rglob("*Test*.tsv"))
    folder, *_ = brain_scan.take(desk, "me", uploaded(tmp_path, run), True, None)
    asked = brain_scan.make_request(desk.settings, **SCAN | {"folder": folder})
    list(brain_scan.ScanRunner("g", "s", "t")._watch("me", asked, iter([Failed(CheckpointError("No."))]), dict, None))
    assert left_behind(tmp_path) == []


def test_folders_can_be_named_on_this_machine_only(tmp_path):
    named = SCAN | {"bids": str(tmp_path), "stimuli": str(tmp_path)}
    here = brain_scan.make_request(Settings(), **named)
    assert here.bids == here.stimuli == tmp_path
    with pytest.raises(RequestError, match="bids"):
        brain_scan.make_request(Settings(host="0.0.0.0"), **named)
    with pytest.raises(RequestError, match="there"):
        brain_scan.make_request(Settings(), **SCAN | {"bids": str(tmp_path / "none")})
    assert [brain_scan.is_local(host) for host in ("localhost", "::1", "0.0.0.0", "example.org")] == [
        True,
        True,
        False,
        False,
    ]


def test_the_page_builds_with_a_label_on_every_field(desk):
    with gr.Blocks() as blocks, gr.Tabs(), gr.Tab("Brain", id="brain"):
        brain.build(desk)
    fields = [
        b for b in blocks.blocks.values() if isinstance(b, (gr.Slider, gr.Radio, gr.Checkbox, gr.File, gr.Textbox))
    ]
    assert len(fields) > 20 and all(field.label for field in fields)
    shown = SimpleNamespace(**{b.elem_id.replace("-", "_"): b for b in fields if b.elem_id})
    assert shown.brain_decoder.value == "contrastive" and not shown.brain_consent.value
