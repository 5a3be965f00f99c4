from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile

from backend.corpus.build import clip_order, main
from backend.corpus.clips import SPLITS, Library, clip_rng, make_clip
from backend.corpus.instruments import FAMILIES
from backend.corpus.score_cache import fill_cache
from tests.corpus.test_bands import write_groove

FONT = next(Path(pretty_midi.__file__).parent.glob("*.sf2"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "groove").mkdir()
    write_groove(root / "groove")
    return root


@pytest.fixture(scope="module")
def library(data: Path) -> Library:
    return Library.load(data, data / "scores", [], [FONT])


def test_a_clip_s_files_agree_with_its_metadata(library: Library, tmp_path: Path) -> None:
    for index in range(3):
        meta = make_clip(f"train_{index:05d}", 1, library, tmp_path)
        info = soundfile.info(tmp_path / meta["audio"])
        assert (info.samplerate, info.channels, info.duration, info.subtype) == (24_000, 1, 30.0, "PCM_16")
        with np.load(tmp_path / meta["notes"]) as notes:
            assert set(notes["part"]) == set(range(len(meta["instruments"])))
            assert (np.diff(notes["onset_s"]) >= 0).all()
            assert np.allclose(np.diff(notes["beats_s"]), 60 / meta["tempo_bpm"], atol=1e-3)
            for number, player in enumerate(meta["instruments"]):
                own = notes["part"] == number
                assert set(notes["program"][own]) == {player["program"]}
                assert set(notes["is_drum"][own]) == {player["family"] == "drums"}
        assert set(meta["families"]) <= set(FAMILIES)
        assert meta["lead_family"] in meta["families"]
        assert json.loads(json.dumps(meta)) == meta


def test_the_same_clip_is_made_twice_bit_for_bit(library: Library, tmp_path: Path) -> None:
    first = make_clip("test_00002", 9, library, tmp_path / "a")
    make_clip("train_00002", 9, library, tmp_path / "b")
    second = make_clip("test_00002", 9, library, tmp_path / "b")
    assert first == second
    assert (tmp_path / "a" / first["audio"]).read_bytes() == (tmp_path / "b" / first["audio"]).read_bytes()


def test_any_prefix_of_the_order_holds_all_splits() -> None:
    order = clip_order(24, 1)
    counts = {s: sum(c.startswith(s) for c in order) for s in SPLITS}
    assert counts == {"train": 2880, "valid": 144, "test": 144}
    assert {c.split("_")[0] for c in order[:120]} == set(SPLITS)
    assert order == clip_order(24, 1)
    assert order != clip_order(24, 2)


def test_clips_have_generators_of_their_own() -> None:
    assert clip_rng(1, "train_00001").random() == clip_rng(1, "train_00001").random()
    assert clip_rng(1, "train_00001").random() != clip_rng(1, "train_00002").random()
    assert clip_rng(1, "train_00001").random() != clip_rng(2, "train_00001").random()


def test_an_interrupted_build_is_finished_not_repeated(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("backend.corpus.build.HELD_OUT_LEAST", 1)
    command = [
        "--data",
        str(data),
        "--out",
        str(tmp_path),
        "--hours",
        "0.017",
        "--workers",
        "1",
        "--soundfont",
        str(FONT),
    ]
    assert main(command) == 0
    lines = (tmp_path / "clips.jsonl").read_text().splitlines()
    assert len(lines) == 4
    sounds = {p.name: p.read_bytes() for p in tmp_path.rglob("*.wav")}
    lost = json.loads(lines[1])
    (tmp_path / lost["audio"]).unlink()
    (tmp_path / "clips.jsonl").write_text("\n".join(lines[:3]) + '\n{"id": "cut sho')
    assert main(command) == 0
    again = (tmp_path / "clips.jsonl").read_text().splitlines()
    assert sorted(again) == sorted(lines)
    assert {p.name: p.read_bytes() for p in tmp_path.rglob("*.wav")} == sounds
    assert main([*command, "--recaption"]) == 0
    assert sorted((tmp_path / "clips.jsonl").read_text().splitlines()) == sorted(lines)
    assert main([*command[:4], "--hours", "3", "--workers", "1"]) == 1
    assert "--hours 0.017" in capsys.readouterr().err


def test_a_score_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "chopin_first_editions" / "kern"
    folder.mkdir(parents=True)
    (folder / "001-1-X-001.krn").write_text("this is no score")
    (folder / "002-1-X-001.krn").write_text("**kern\n*M4/4\n=1\n4c\n4d\n4e\n4f\n=2\n1g\n==\n*-\n")
    seen: list[tuple[int, int]] = []
    fill_cache(tmp_path, tmp_path / "cache", 1, lambda done, total: seen.append((done, total)))
    names = {p.name for p in (tmp_path / "cache").iterdir()}
    assert names == {"chopin_first_editions__001-1.failed", "chopin_first_editions__002-1.npz"}
    assert seen[-1] == (2, 2)
