"""What a visitor does on the Genre transfer tab: over the fake engine, and once with the real transfers."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile

from tests.browser.test_page import violations

JOB_MS = 400_000  # generous: a test machine may be busy; speed is measured by the benchmarks
HEARD = """() => {
    const ab = document.querySelector("nm-ab");
    return {at: ab.now, playing: ab.playing, chosen: ab.chosen, secret: ab.secret,
            gains: (ab.voices ?? []).map(({gain}) => Math.round(100 * gain.gain.value)), turn: ab.turn};
}"""


def opened(visitor, **where):
    page = visitor(**where).open("/?tab=genre_transfer")
    for place in ("content", "style"):
        page.wait_for_selector(f"#genre-{place}-view nm-player .nm-play")
    return page


def transfer(page):
    """Press the button and wait for a result that was not there before."""
    before = page.evaluate("document.querySelector('nm-ab')?.dataset.ab ?? ''")
    page.click("#genre-generate:not([disabled])")
    page.wait_for_function("(before) => (document.querySelector('nm-ab')?.dataset.ab ?? before) !== before", arg=before)
    page.wait_for_selector("#genre-status :text('Done')")
    page.wait_for_selector("#genre-made nm-ab .nm-play")


def asked_of(server):
    """The last transfer that was asked for; the clips are listened to as well."""
    asked = [one for one in server.engine.started if one.instrument_id == "genre_transfer"]
    return [one for one in asked if one.method != "listen"][-1]


def wav(seconds: float, rate: int, channels: int, hertz: float) -> bytes:
    """A chord that pulses twice a second."""
    time_s = np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * hertz * ratio * time_s) for ratio in (1, 1.25, 1.5)) / 4
    written = io.BytesIO()
    soundfile.write(written, np.stack([chord * np.exp(-4 * (time_s % 0.5))] * channels, 1), rate, format="WAV")
    return written.getvalue()


def drop(page, place, name, content):
    page.set_input_files(
        f"#genre-{place}-file input[type=file]", {"name": name, "mimeType": "audio/wav", "buffer": content}
    )


def test_the_first_click_transfers_and_one_place_in_the_music_is_heard_in_three_ways_and_blind(visitor, server):
    page = opened(visitor)
    transfer(page)
    asked = asked_of(server)
    assert (asked.content, asked.style, asked.method) == ("Lo-fi 1", "House 1", "studio")
    page.click("nm-ab .nm-play")
    page.wait_for_function(f"({HEARD})().gains.join() === '0,0,100'")
    before = page.evaluate(HEARD)
    page.keyboard.press("1")
    page.wait_for_function(f"({HEARD})().gains.join() === '100,0,0'")
    after = page.evaluate(HEARD)
    assert after["turn"] == before["turn"] and after["playing"]  # nothing was stopped and started: only the gains moved
    page.keyboard.press("x")
    page.wait_for_selector(".nm-ab-test:has-text('Which of the two')")
    secret = page.evaluate(HEARD)["secret"]
    assert secret in (0, 2) and page.locator("nm-ab [data-track=x]").get_attribute("aria-pressed") == "true"
    page.click(f".nm-ab-test button:has-text('{'before' if secret == 0 else 'after'}')")
    page.wait_for_selector(".nm-ab-test:has-text('1 of 1 right')")
    page.click("#genre-style-view .nm-play")  # one sounds at a time
    page.wait_for_function("!document.querySelector('nm-ab').playing")
    page.locator("nm-ab .nm-wave").focus()
    page.keyboard.press("End")
    assert page.evaluate(HEARD)["at"] == pytest.approx(4, abs=0.01)


def test_own_sounds_and_results_of_other_tabs_are_taken_and_a_film_is_one_sentence(visitor, server):
    page = opened(visitor)
    drop(page, "style", "my_drum.wav", wav(1, 96_000, 1, 300))
    page.wait_for_selector("#genre-style-view h3:has-text('my drum')")
    drop(page, "content", "film.mp4", b"\x00\x00\x00\x20ftypisom" + bytes(500))
    page.wait_for_selector("#genre-content-said [role=alert]")
    assert page.inner_text("#genre-content-view h3") == "Lo-fi 1"
    page.click("button[role=tab]:has-text('Text to music')")
    page.click("#ttm-generate")
    page.click("#ttm-players .nm-send")
    page.wait_for_selector("#genre-content-view h3:has-text('Your music')")
    for place in ("content", "style"):
        page.wait_for_selector(f"#genre-{place} label:has-text('(yours)').selected")
    transfer(page)
    asked = asked_of(server)
    assert asked.content_sound.duration_s == pytest.approx(10, abs=0.1) and asked.style_sound.duration_s == 1


def test_a_result_is_sent_from_a_phone_whose_tabs_are_in_a_menu(visitor):
    page = visitor(width=390, height=844).open("/?tab=text_to_music")
    assert page.locator("#tab-genre_transfer-button").count() == 0
    page.click("#ttm-generate")
    page.click("#ttm-players .nm-send")
    page.wait_for_selector("#genre-content-view h3:has-text('Your music')")
    page.wait_for_selector("#genre-content label:has-text('(yours)').selected")
    assert "tab=genre_transfer" in page.url
    page.click("button[aria-label='More tabs']")
    page.click(".overflow-dropdown button:has-text('Calm')")
    page.wait_for_url("**tab=calm*")


def test_work_in_progress_is_seen_and_stopped_and_an_export_restores_the_settings(visitor, server, tmp_path):
    page = opened(visitor)
    page.click("#genre-history button")
    page.click("#genre-method label:has(input[value=classic])")
    page.wait_for_selector("#genre-generate:has-text('classic')")
    page.fill("#genre-iterations input[type=number]", "499")  # endless, for the fake
    page.press("#genre-iterations input[type=number]", "Tab")
    page.click("#genre-generate")
    page.wait_for_selector("#genre-work img[src^='data:image/png']")
    page.wait_for_selector("#genre-work nm-player .nm-play")
    page.click("#genre-stop:not([disabled])")
    page.wait_for_selector("#genre-status :text('Stopped')")
    page.fill("#genre-iterations input[type=number]", "30")
    page.press("#genre-iterations input[type=number]", "Tab")
    transfer(page)
    made = asked_of(server)
    assert (made.method, made.iterations) == ("classic", 30)
    path = tmp_path / "made.flac"
    address = page.get_attribute("#genre-made a[href$=flac]", "href")
    path.write_bytes(page.request.get(f"{server.url}/{address}").body())
    other = opened(visitor)
    other.set_input_files("#genre-restore input[type=file]", str(path))
    other.wait_for_selector("#genre-status :text('restored')")
    transfer(other)
    assert asked_of(server) == made


@pytest.mark.parametrize("width", [1280, 390])
def test_genre_transfer_fits_and_has_no_serious_accessibility_findings_before_and_after(visitor, width):
    page = opened(visitor, width=width)
    for accordion in ("history", "about"):
        page.click(f"#genre-{accordion} button")
    page.click("#genre-method label:has(input[value=classic])")
    page.wait_for_selector("#genre-network")
    page.wait_for_timeout(500)
    assert violations(page) == [] and page.evaluate("document.documentElement.scrollWidth") <= width
    transfer(page)
    page.wait_for_selector("#genre-spectrograms .js-plotly-plot")
    page.click("nm-ab [data-track=x]")
    page.wait_for_timeout(500)
    assert violations(page) == [] and page.evaluate("document.documentElement.scrollWidth") <= width


def test_studio_and_classic_make_finite_limited_sound_of_the_right_length(visitor, request):
    real_app = request.getfixturevalue("real_app")
    visit = visitor(url=real_app.url)
    visit.page.set_default_timeout(JOB_MS)
    page = visit.open("/?tab=genre_transfer")
    page.wait_for_selector("#genre-style-view .nm-play")
    drop(page, "content", "mono.wav", wav(5, 22_050, 1, 220))
    page.wait_for_selector("#genre-content-view h3:has-text('mono')")
    made = []
    for method in ("studio", "classic"):
        if method == "classic":
            page.click("#genre-history button")
            page.click("#genre-method label:has(input[value=classic])")
            page.fill("#genre-iterations input[type=number]", "10")
            page.press("#genre-iterations input[type=number]", "Tab")
        transfer(page)
        sounds = page.evaluate("document.querySelector('nm-ab').tracks.map(({src}) => src)")
        assert len(sounds) == 3
        for kind in ("wav", "mp3"):
            sound, rate = sound_of(page, f"{real_app.url}/{sounds[2]}".replace(".wav", f".{kind}"))
            assert len(sound) / rate == pytest.approx(5, abs=0.1) and rate == 44_100 and sound.shape[1] == 2
            assert np.isfinite(sound).all() and 0.01 < np.abs(sound).max() <= 1
            assert np.median(np.sqrt(np.mean(np.square(sound[: 5 * rate // 10 * 9].reshape(-1, rate // 2)), 1))) > 1e-3
        made.append(sound_of(page, f"{real_app.url}/{sounds[2]}")[0])
        assert page.locator(".nm-heard tbody tr").count() == 8
    assert not np.array_equal(made[0], made[1])


def sound_of(page, url: str):
    answer = page.request.get(url, timeout=JOB_MS)
    assert answer.ok, url
    return soundfile.read(io.BytesIO(answer.body()))
