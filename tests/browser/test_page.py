"""The page around the tabs: links, width, accessibility."""

from __future__ import annotations

import pytest

LEVELS = ("serious", "critical")


def violations(page):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(v["id"], [n["target"] for n in v["nodes"]][:4]) for v in found if v["impact"] in LEVELS]


def selected(page):
    return page.inner_text("button[role=tab][aria-selected=true]")


@pytest.mark.parametrize(
    ("path", "tab"),
    [("/", "Home"), ("/?tab=text_to_music", "Text to music"), ("/?tab=calm", "Calm"), ("/?tab=no", "Home")],
)
def test_the_address_opens_the_tab_it_names(visitor, path, tab):
    page = visitor().open(path)
    page.wait_for_function(f"document.querySelector('button[role=tab][aria-selected=true]').innerText === '{tab}'")


def test_opening_a_tab_or_a_door_changes_the_address(visitor):
    page = visitor().open("/")
    page.click("#home-doors a")
    page.wait_for_selector("#ttm-generate")
    assert "tab=text_to_music" in page.url and selected(page) == "Text to music"
    page.click("button[role=tab]:has-text('Home')")
    page.wait_for_selector("#home-machine :text('cpu')")
    assert "tab=home" in page.url


def test_every_tab_leads_somewhere(visitor):
    page = visitor().open("/")
    for tab in page.locator("button[role=tab]").all():
        tab.click()
        page.wait_for_function(
            "[...document.querySelectorAll('[role=tabpanel]')]"
            ".some((panel) => panel.offsetHeight > 200 && panel.innerText.length > 80)"
        )


@pytest.mark.parametrize("path", ["/", "/?tab=text_to_music", "/?tab=calm"])
def test_a_phone_needs_no_sideways_scrolling(visitor, path):
    page = visitor(width=390, height=844).open(path)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    if "text" in path:
        page.click("#ttm-advanced button")
        page.click("#ttm-about button")
        page.click("#ttm-generate")
        page.wait_for_selector("nm-player .nm-play")
        page.wait_for_selector("#ttm-chroma .js-plotly-plot")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator("#ttm-generate").bounding_box()["height"] >= 44


def test_home_has_no_serious_accessibility_findings(visitor):
    page = visitor().open("/")
    page.wait_for_selector("#home-machine :text('cpu')")
    assert violations(page) == []


def test_text_to_music_has_no_serious_accessibility_findings_before_and_after(visitor):
    page = visitor().open()
    page.click("#ttm-advanced button")
    page.click("#ttm-about button")
    page.wait_for_timeout(500)
    assert violations(page) == []
    page.click("#ttm-generate")
    page.wait_for_selector("#ttm-chroma .js-plotly-plot")
    page.wait_for_timeout(500)
    assert violations(page) == []
    page.fill("#ttm-prompt textarea", "")
    page.click("#ttm-generate")
    page.wait_for_selector("#ttm-status [role=alert]")
    assert violations(page) == []


def test_the_page_says_what_it_is_to_search_engines_and_bookmarks(visitor):
    page = visitor().open("/")
    assert page.title() == "Neuromuse"
    assert "make music" in page.get_attribute("meta[name=description]", "content")
    assert page.get_attribute("link[rel=icon][type='image/svg+xml']", "href").endswith("logo.svg")
    assert page.locator("footer:visible").count() == 1
    assert page.evaluate("document.querySelectorAll('h1').length") == 1
