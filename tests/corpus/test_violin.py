from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import soundfile

from backend.corpus.bowing import articulation_of
from backend.corpus.catalogue import read_catalogue
from backend.corpus.instruments import BY_NAME
from backend.corpus.score_cache import cache_path, save_score, split_of
from backend.corpus.scores import NOTE, Score
from backend.corpus.violin import (
    BACH,
    HELD_OUT,
    RECORDED,
    STROKES,
    bow,
    find_bach,
    main,
    performed_notes,
    split_of_piece,
    violin_arrangement,
)
from backend.corpus.violin_captions import origin_of

FONT = next(Path(pretty_midi.__file__).parent.glob("*.sf2"))
NAMES = [n.lower() for i in BY_NAME.values() for n in (i.name, *i.synonyms, *i.unseen)]
NAMES = [n for n in NAMES if n not in ("plucked strings", "synthesizer", "horn", "bells")]


def partita(source: str, bars: int = 60) -> Score:
    """Quarter notes up and down a G minor scale, a double stop at the head of every bar."""
    scale = (55, 57, 58, 60, 62, 63, 66, 67)
    rows = []
    for beat in range(bars * 4):
        place = beat % 14
        pitch = scale[place if place < 8 else 14 - place] + 7
        rows.append((beat, 1.0, pitch, 80, 0))
        if beat % 4 == 0:
            rows.append((beat, 1.0, min(pitch + 9, 90), 80, 0))
    return Score(source, np.array(sorted(rows), NOTE), 1, 4, 4)


def piece_in(split: str, collection: str) -> str:
    return next(name for i in range(400) if split_of(name := f"{collection}/p{i}") == split)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five clips and three of notes alone from one written song a split."""
    root = tmp_path_factory.mktemp("violin")
    (root / "scores").mkdir()
    for split in ("train", "valid", "test"):
        score = partita(piece_in(split, "openscore_lieder"))
        save_score(score, cache_path(root / "scores", score.source))
    counts = ["--clips", "3", "--valid", "1", "--test", "1", "--silent", "3"]
    where = ["--data", str(root), "--scores", str(root / "scores"), "--out", str(root / "out")]
    assert main([*where, *counts, "--soundfont", str(FONT)]) == 0
    return root / "out"


def test_the_set_is_read_as_a_corpus_is(built: Path) -> None:
    clips, silent = read_catalogue(built), read_catalogue(built, silent=True) or []
    assert sorted(c.split for c in clips) == ["test", "train", "train", "train", "valid"]
    for clip in clips:
        info = soundfile.info(clip.audio_path)
        assert (info.samplerate, info.channels, info.duration, info.subtype) == (24_000, 1, 30.0, "PCM_16")
        assert split_of(clip.meta["source"]) == clip.split
        assert {int(p) for p in np.unique(clip.notes()["program"])} <= {40, 110}
        assert len(clip.meta["instruments"]) == 1
    assert [c.split for c in silent] == ["train"] * 3


def test_metadata_says_what_the_notes_say(built: Path) -> None:
    for clip in read_catalogue(built):
        notes = performed_notes(clip.notes_path)
        assert clip.meta["articulation"] == articulation_of(notes)
        assert {"motion", "register", "texture", "form", "licence", "source", "soundfont", "room"} <= set(clip.meta)
        assert clip.meta["licence"] == "CC0"


def test_at_most_a_quarter_of_the_captions_names_an_instrument(built: Path) -> None:
    metas: list[Mapping[str, Any]] = [json.loads(x) for x in (built / "clips.jsonl").read_text().splitlines()]
    metas += [json.loads(x) for x in (built / "silent.jsonl").read_text().splitlines()]
    for meta in metas:
        assert len(meta["captions"]) == 8 and len(meta["caption_unseen"]) == 3
        named = [text for text in meta["captions"] if any(n in text.lower() for n in NAMES)]
        assert len(named) <= 2 and all("violin" in t.lower() or "fiddle" in t.lower() for t in named)
        assert sum(any(n in text.lower() for n in NAMES) for text in meta["caption_unseen"]) <= 1


def test_a_second_run_adds_nothing(built: Path) -> None:
    before = (built / "clips.jsonl").read_bytes()
    root = built.parent
    where = ["--data", str(root), "--scores", str(root / "scores"), "--out", str(built), "--soundfont", str(FONT)]
    assert main([*where, "--clips", "3", "--valid", "1", "--test", "1", "--silent", "3"]) == 0
    assert (built / "clips.jsonl").read_bytes() == before


def test_recorded_pieces_are_on_the_side_their_recording_is_on() -> None:
    assert {split_of_piece(source) for source in HELD_OUT} == {"test"}
    assert {split_of_piece(source) for source in RECORDED} == {"train"}
    assert split_of_piece("openscore_lieder/lc1") == split_of("openscore_lieder/lc1")


def test_only_whole_movements_are_found(tmp_path: Path) -> None:
    folder = tmp_path / BACH / "scores" / "bwv1003"
    folder.mkdir(parents=True)
    for name in ("bwv1003", "bwv1003_mov4", "bwv1003_mov4_00", "bwv1003_mov3"):
        (folder / f"{name}.mxl").touch()
    assert [source for _, source in find_bach(tmp_path)] == [f"{BACH}/bwv1003_mov3", f"{BACH}/bwv1003_mov4"]


def test_bach_keeps_its_chords_and_stays_on_the_instrument() -> None:
    score = partita(f"{BACH}/bwv1001_mov1")
    for seed in range(6):
        part = violin_arrangement([score], "détaché", np.random.default_rng(seed)).parts[0]
        assert part.notes[:, 2].min() >= part.instrument.low and part.notes[:, 2].max() <= part.instrument.high
        chords = np.unique(np.round(part.notes[:, 0] * 12), return_counts=True)[1]
        assert (chords == 2).mean() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("stroke", "heard"),
    [("long bows", {"sustained", "legato"}), ("legato", {"sustained", "legato"}), ("détaché", {"detached"}),
     ("staccato", {"staccato"})],
)  # fmt: skip
def test_a_stroke_is_heard_in_the_notes(stroke: str, heard: set[str]) -> None:
    rng = np.random.default_rng(3)
    arrangement = violin_arrangement([partita("openscore_lieder/x")], stroke, rng)
    assert articulation_of(bow(arrangement, stroke, rng)[0].notes) in heard


def test_tremolo_repeats_a_note_without_moving_its_pitch() -> None:
    rng = np.random.default_rng(5)
    arrangement = violin_arrangement([partita("openscore_lieder/x")], "tremolo", rng)
    notes = bow(arrangement, "tremolo", rng)[0].notes
    assert np.mean(np.diff(notes["pitch"].astype(int)) == 0) > 0.6
    assert np.median(notes["duration_s"]) < 0.3


def test_martele_is_accented() -> None:
    spread = {}
    for name in ("martelé", "legato"):
        rng = np.random.default_rng(2)
        arrangement = violin_arrangement([partita("openscore_lieder/x")], name, rng)
        spread[name] = bow(arrangement, name, rng)[0].notes["velocity"].astype(float).std()
    assert STROKES["martelé"].accent > 0 and spread["martelé"] > spread["legato"]


@pytest.mark.parametrize(
    ("source", "origin"),
    [("bach_violin/bwv1006_mov1", ("baroque", "prelude")), ("bach_violin/bwv1001_mov2", ("baroque", "fugue")),
     ("chopin_first_editions/010-3", ("romantic", "étude")), ("openscore_lieder/lc1", ("romantic", "song")),
     ("chopin_first_editions/028_1-12", ("romantic", "prelude")), ("openscore_quartets/sq1", ("classical", ""))],
)  # fmt: skip
def test_a_piece_is_called_what_it_is(source: str, origin: tuple[str, str]) -> None:
    assert origin_of(source) == origin
