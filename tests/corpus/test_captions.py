from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backend.corpus.captions import N_TRAIN, N_UNSEEN, captions, describe
from backend.corpus.instruments import BY_NAME
from backend.corpus.wording import MOOD, TEMPO, TEMPO_TAIL


def meta(**changes: Any) -> dict[str, Any]:
    """A slow violin over a soft piano in D minor."""
    players = [
        {"program": 40, "name": "violin", "family": "strings", "role": "lead", "gain_db": 0.5},
        {"program": 0, "name": "piano", "family": "piano", "role": "chords", "gain_db": -9.0},
    ]
    base = {
        "kind": "score", "ensemble": "duo", "style": "classical", "instruments": players, "tempo_bpm": 70.2,
        "tempo_class": "slow", "tempo_felt": True, "key": "D minor", "mode": "minor", "mood": "sad",
        "density": "sparse", "dynamics": "soft", "register": "high",
    }  # fmt: skip
    return base | changes


def many(split: str = "train", n: int = 400, **changes: Any) -> list[str]:
    return [describe(meta(**changes), np.random.default_rng(i), split) for i in range(n)]


@pytest.mark.parametrize("split", ["train", "unseen"])
def test_captions_say_nothing_false(split: str) -> None:
    wrong_names = {w for i in BY_NAME.values() for w in (i.name, *i.synonyms) if i.name not in ("violin", "piano")}
    wrong_names -= {"strings", "bells", "horn", "sax"}
    for text in many(split):
        lowered = text.lower()
        words = lowered.replace(",", " ").replace(".", " ").split()
        assert "major" not in words and "fast" not in words and "happy" not in words and "band" not in words
        assert not any(f" {w.lower()} " in f" {' '.join(words)} " for w in wrong_names), text
        numbers = [w for w in words if w.isdigit()]
        assert set(numbers) <= {"70"}


def test_most_captions_name_an_instrument_and_many_the_tempo() -> None:
    texts = [t.lower() for t in many()]
    assert np.mean(["violin" in t for t in texts]) > 0.85
    slow = [*TEMPO["train"]["slow"], *TEMPO_TAIL["train"]["slow"], "70"]
    assert 0.5 < np.mean([any(w in t for w in slow) for t in texts]) < 0.85
    assert len(set(texts)) > 300


def test_an_unclear_mode_is_never_mentioned() -> None:
    for text in many(mode="ambiguous", key="", mood=""):
        assert "minor" not in text.lower() and "major" not in text.lower()


def test_moods_and_tempi_of_held_out_wordings_are_never_used_in_training() -> None:
    for table in (TEMPO, TEMPO_TAIL, MOOD):
        train = {w for words in table["train"].values() for w in words}
        unseen = {w for words in table["unseen"].values() for w in words}
        assert not train & unseen
    assert set(MOOD["train"]) == set(MOOD["unseen"])


def test_every_clip_gets_eight_training_and_three_held_out_wordings() -> None:
    train, unseen = captions(meta(), np.random.default_rng(0))
    assert (len(set(train)), len(set(unseen))) == (N_TRAIN, N_UNSEEN)
    assert not set(train) & set(unseen)
    assert all("  " not in t and t.strip(" ,;") for t in (*train, *unseen))


def test_drums_alone_are_described_without_a_key() -> None:
    drums = [{"program": 0, "name": "drums", "family": "drums", "role": "drums", "gain_db": 0.0}]
    texts = many(instruments=drums, ensemble="drums", style="rock", mode="none", key="", mood="", kind="miniature")
    assert any("drum" in t.lower() for t in texts)
    assert all(t for t in texts)
