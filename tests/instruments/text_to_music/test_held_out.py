"""The held-out set: wordings that say what is judged, families that really sound, a round trip through the store."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.checkpoints import CheckpointStore
from backend.corpus.instruments import BY_NAME, FAMILIES
from backend.corpus.wording import TEMPO, TEMPO_TAIL
from backend.instruments.text_to_music import held_out
from backend.instruments.text_to_music.held_out import CHECKPOINT, HeldOut, _asked, build, choose, full_prompt
from backend.metrics.listener import Listener, ListenerConfig
from tests.musiclm.tiny import write_corpus, write_store

META: dict[str, Any] = {
    "id": "test_00000", "kind": "score", "ensemble": "duo", "style": "classical", "progression": "",
    "instruments": [
        {"program": 40, "name": "violin", "family": "strings", "role": "lead", "gain_db": 0.0},
        {"program": 0, "name": "piano", "family": "piano", "role": "chords", "gain_db": -8.0},
    ],
    "lead_family": "strings", "families": ["piano", "strings"], "tempo_bpm": 70.2, "tempo_class": "slow",
    "tempo_felt": True, "key": "A minor", "mode": "minor", "meter": "4/4", "mood": "sad", "density": "sparse",
    "register": "middle", "dynamics": "soft",
}  # fmt: skip


@pytest.mark.parametrize("split", ["train", "unseen"])
@pytest.mark.parametrize("seed", range(8))
def test_a_prompt_says_lead_tempo_and_mode(split: str, seed: int) -> None:
    prompt = full_prompt(META, split, np.random.default_rng(seed)).lower()
    violin = BY_NAME["violin"]
    assert any(name.lower() in prompt for name in (violin.name, *violin.synonyms, *violin.unseen))
    assert "minor" in prompt
    assert "70" in prompt or any(w.lower() in prompt for w in (*TEMPO[split]["slow"], *TEMPO_TAIL[split]["slow"]))


def test_unseen_prompts_use_none_of_the_training_words_for_tempo() -> None:
    rng = np.random.default_rng(0)
    known = {word.lower() for word in (*TEMPO["train"]["slow"], *TEMPO_TAIL["train"]["slow"])}
    for _ in range(10):
        prompt = full_prompt(META, "unseen", rng).lower()
        assert not any(word in prompt for word in known)


def test_what_no_wording_can_say_is_an_error_with_the_clips_name() -> None:
    with pytest.raises(ValueError, match="test_00000"):
        full_prompt({**META, "mode": "dorian"}, "train", np.random.default_rng(0))


def test_families_are_asked_for_only_when_they_are_named_and_sound() -> None:
    strings, piano = FAMILIES.index("strings"), FAMILIES.index("piano")
    both = {"strings", "piano"}
    assert _asked("slow violin over piano", META, both) == sorted([strings, piano])
    assert _asked("slow violin", META, both) == [strings]
    assert _asked("slow violin over concert grand", META, {"strings"}) == [strings]  # the piano rests in this excerpt
    assert _asked("slow music", META, set()) == [strings]  # the lead is always asked for


def test_the_set_is_built_from_test_clips_and_comes_back_from_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    lines = [json.loads(line) for line in (corpus / "clips.jsonl").read_text().splitlines()]
    flute = {"program": 73, "name": "flute", "family": "woodwind", "role": "lead", "gain_db": 0.0}
    changed = [{**META, **line, "instruments": [flute], "mode": "minor"} for line in lines]
    (corpus / "clips.jsonl").write_text("\n".join(map(json.dumps, changed)))
    assert [clip.id for clip in choose(corpus, 5, 0)] == ["test_00000"]
    store, config = write_store(tmp_path / "store"), ListenerConfig(width=4, embed_dim=16)
    store.save("judges.listener", Listener(config).state_dict(), dataclasses.asdict(config), {})
    monkeypatch.setattr(held_out, "distinct_top_pitches", lambda waveform: 3)  # slow, and tested where it is defined
    build(corpus, store)
    held = HeldOut.from_store(CheckpointStore(tmp_path / "store"))
    assert held.codes.shape == (1, 500, 3) and held.real.shape == held.other.shape == (1, 16)
    row = held.rows[0]
    assert (row["mode"], row["tempo_class"], row["top_pitches"]) == ("minor", "slow", 3)
    assert FAMILIES.index("woodwind") in row["families"] and row["prompt"] != row["unseen"]
    assert store.entry(CHECKPOINT).card == "text_to_music/README.md"
