"""The violin's held-out set: prompts that name nobody, melodies in ten seconds, a round trip through the store."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from backend.checkpoints import CheckpointStore
from backend.corpus.wording import TEMPO, TEMPO_TAIL
from backend.errors import NeuromuseError
from backend.instruments.violin import held_out
from backend.instruments.violin.held_out import (
    CARD,
    CHECKPOINT,
    MELODY,
    HeldOut,
    build,
    choose,
    melody_of,
    prompt_of,
    windows_of,
)
from backend.metrics.listener import Listener, ListenerConfig
from backend.metrics.violinist import TINY, Violinist
from backend.musiclm.wish import wish_of
from tests.musiclm.tiny import write_corpus, write_store

META: dict[str, Any] = {
    "id": "test_00000", "style": "baroque", "form": "prelude", "tempo_bpm": 70.2, "tempo_class": "slow",
    "tempo_felt": True, "key": "A minor", "mode": "minor", "mood": "sad", "dynamics": "soft",
    "articulation": "sustained", "motion": "stepwise", "register": "middle", "texture": "double_stops",
    "instruments": [{"program": 40, "name": "violin", "family": "strings", "role": "lead", "gain_db": 0.0}],
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature corpus with a violin's metadata and its melody alone."""
    root = write_corpus(tmp_path_factory.mktemp("violin"))
    lines = [json.loads(line) for line in (root / "clips.jsonl").read_text().splitlines()]
    changed = [{**line, **{k: v for k, v in META.items() if k != "id"}} for line in lines]
    (root / "clips.jsonl").write_text("\n".join(map(json.dumps, changed)))
    return root


@pytest.mark.parametrize("seed", range(8))
def test_a_prompt_says_tempo_and_mode_in_unseen_words_and_names_nobody(seed: int) -> None:
    prompt = prompt_of(META, np.random.default_rng(seed))
    low = prompt.lower()
    assert "minor" in low and "violin" not in low and not wish_of(prompt).players
    assert "70" in low or any(w in low for w in (*TEMPO["unseen"]["slow"], *TEMPO_TAIL["unseen"]["slow"]))


def test_a_prompt_without_a_clear_mode_says_the_tempo_alone() -> None:
    prompt = prompt_of({**META, "mode": "ambiguous", "key": ""}, np.random.default_rng(0)).lower()
    assert "major" not in prompt and "minor" not in prompt


def test_a_melody_is_the_line_inside_its_ten_seconds(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_out, "LEAST_ROWS", 1)
    (clip,) = choose(corpus, 0)
    melody = melody_of(clip)
    assert clip.split == "test" and melody.shape == (10, 3)
    assert melody[:, 0].tolist() == [float(i) for i in range(10)]  # clips have a note a second
    assert set(melody[:, 2]) == {62.0, 65.0, 69.0} and np.allclose(melody[:, 1], 0.9)


def test_too_few_clips_are_said(corpus: Path) -> None:
    with pytest.raises(NeuromuseError, match="1 test clips"):
        choose(corpus, 0)


def test_recordings_are_heard_every_five_seconds(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(24_000 * 21, np.float32), 24_000)
    assert [w.duration_s for w in windows_of([tmp_path / "a.wav"])] == [10.0] * 3


def test_the_set_comes_back_from_the_store_without_any_sound_of_the_recordings(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "LEAST_ROWS", 1)
    store, config = write_store(tmp_path / "store"), ListenerConfig(width=4, embed_dim=16)
    store.save("judges.listener", Listener(config).state_dict(), dataclasses.asdict(config), {})
    store.save("judges.violinist", Violinist(TINY).state_dict(), dataclasses.asdict(TINY), {})
    noise = 0.1 * np.random.default_rng(0).standard_normal(24_000 * 16)
    for name in (held_out.HELD_OUT_RECORDING, "another", "third"):
        soundfile.write(tmp_path / f"{name}.wav", noise, 24_000)
    build(corpus, tmp_path, store)
    held = HeldOut.from_store(CheckpointStore(tmp_path / "store"))
    assert held.codes.shape == (1, 500, 3)
    assert {name: rows.shape for name, rows in held.real.items()} == {"listener": (2, 16), "violinist": (2, 8)}
    assert {name: len(rows) for name, rows in held.real_train.items()} == {"listener": 4, "violinist": 4}
    (row,) = held.rows
    assert row["melody"].dtype == MELODY and len(row["melody"]) == 10
    assert (row["mode"], row["tempo_class"], row["articulation"]) == ("minor", "slow", "sustained")
    assert store.entry(CHECKPOINT).card == CARD
