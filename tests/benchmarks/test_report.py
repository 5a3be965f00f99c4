from __future__ import annotations

import pytest

from tests.benchmarks.report import Outcome, last_json_object, render, sections


@pytest.mark.parametrize(
    "text",
    ['{"a": {"b": 1}}', 'loading…\n{"not": "it"}\n{"a": {"b": 1}}\n', 'x {\n{\n  "a": {\n    "b": 1\n  }\n}\n'],
)
def test_the_object_that_ends_the_output_is_found(text: str) -> None:
    assert last_json_object(text) == {"a": {"b": 1}}


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}\nand then a crash', "[1]"])
def test_output_that_ends_otherwise_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="JSON"):
        last_json_object(text)


def test_nested_figures_become_rows() -> None:
    page = render(
        [Outcome("tests.benchmarks.bell", {"speed": {"ratio": 12.34567}, "rows": [1, 0.5]}, 3.2)], "a desk", "today"
    )
    assert "## `python -m tests.benchmarks.bell`\n\nMeasured today on a desk in 3 s." in page
    assert "| speed.ratio | 12.35 |\n| rows | 1, 0.5 |" in page


def test_what_was_not_measured_again_stays_on_the_page() -> None:
    old = render([Outcome("bell", {"a": 1}, 1), Outcome("drum", {"b": 2}, 1)], "a desk", "yesterday")
    new = render([Outcome("bell", {"a": 3}, 1)], "a desk", "today", sections(old))
    assert "| a | 3 |" in new and "| a | 1 |" not in new
    assert "## `python -m drum`\n\nMeasured yesterday on a desk in 1 s." in new and "| b | 2 |" in new
    assert render([], "a desk", "later", sections(new)) == new
