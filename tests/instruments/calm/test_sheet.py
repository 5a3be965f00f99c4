"""The session sheet: one page that names everything, fetches nothing and cannot be written into."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from backend.audio.waveform import Waveform
from backend.contract import Provenance, Result
from backend.errors import RequestError
from backend.instruments.calm.sheet import MAX_ROWS, curve, session_sheet


class Tags(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag not in ("meta", "rect", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("rect", "polyline"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def result(titles: tuple[str, ...] = ("Lullaby", "Tide"), legs: int = 3) -> Result:
    rows = [(10.0 * i, 10.0 * i + 10, i // 2 % 2, (i // 2 + 1) % 2, i % 2 / 2) for i in range(2 * legs)]
    arrays = {
        "anchor_titles": np.array(titles),
        "beat_s": np.arange(121.0),
        "tempo_bpm": np.linspace(72, 60, 120),
        "loudness_lufs": np.concatenate((np.full(50, -np.inf), np.linspace(-40, -20, 1150))),
        "route": np.array(rows),
        **{name: np.array(value) for name, value in (
            ("integrated_lufs", -23.0), ("true_peak_dbtp", -7.5), ("level_jump_lu", 3.2), ("onset_jump_db", 2.0),
            ("tempo_jump_bpm", 0.04), ("repeat_share", 0.0),
        )},
    }  # fmt: skip
    request = {"sound": "harp", "anchors": ["lullaby", "tide"], "method": "lerp"}
    provenance = Provenance("calm", request, 1234, {"calm.model": "ab" * 32}, "cpu", 9.0, "0.9")
    return Result((Waveform(np.zeros((2, 120 * 100), np.float32), 100),), arrays, (), provenance)


def read(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    assert tags.open == []  # everything is closed
    return tags


def test_the_sheet_names_pieces_path_tempo_loudness_and_seed() -> None:
    page = read(session_sheet(result()))
    pieces = ("2:00 min", "Lullaby → Tide", "0:00 – 0:20", "Harp", "calm.model abababab", "0.9", "1234")
    assert all(words in page.text for words in (*pieces, "-23.0 LUFS", "not treatment", "Stop at once"))
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert labels == ["Tempo curve, 60.0 to 72.0", "Loudness curve, -53.0 to -20.0"]


def test_the_sheet_fetches_nothing_and_titles_are_only_text() -> None:
    html = session_sheet(result(('<script src="http://a.b/c.js">', "& so on")))
    page = read(html)
    assert not {name for name, _ in page.attributes} & {"src", "href", "srcset", "onload", "style"}
    assert "url(" not in html and "@import" not in html
    assert '<script src="http://a.b/c.js">' in page.text and "<script" not in html


def test_the_sheet_of_an_hour_is_still_one_page() -> None:
    html = session_sheet(result(legs=200))
    assert html.count("<tr>") < MAX_ROWS + 20 and f"{200 - MAX_ROWS} more ways" in html
    assert len(html) < 40_000


def test_a_flat_curve_has_a_height_and_an_empty_one_no_points() -> None:
    flat = curve(np.arange(3.0), np.full(3, 60.0), 2.0, "flat")
    assert 'points="44.0,48.0 ' in flat and "59.0 to 61.0" in flat
    assert 'points=""' in curve(np.zeros(0), np.zeros(0), 1.0, "empty")


def test_another_result_has_no_sheet() -> None:
    with pytest.raises(RequestError, match="the result of a session"):
        session_sheet(Result())
