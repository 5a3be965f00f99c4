from __future__ import annotations

from pathlib import Path

from tests.benchmarks.__main__ import programs


def test_calm_is_evaluated_on_scores_or_not_at_all() -> None:
    assert programs("calm") == [["tests.benchmarks.calm"]]
    _, evaluation = programs("calm", Path("corpus"), plain=Path("plain"))
    assert evaluation == [
        "backend.instruments.calm.evaluate", "--scores", str(Path("corpus") / "scores"), "--plain", "plain",
    ]  # fmt: skip


def test_what_needs_no_corpus_is_always_measured() -> None:
    own = [["tests.benchmarks.text_to_music"], ["backend.instruments.text_to_music.evaluate"]]
    assert programs("text_to_music") == own
    *first, codec = programs("text_to_music", Path("corpus"), Path("real"))
    assert first == own and codec[1:] == ["--corpus", "corpus", "--real", "real"]
