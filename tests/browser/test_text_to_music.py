"""What a visitor does on the Text to music tab, in a real browser over a fake engine."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

DECODE = """async (path) => {
    const bytes = await (await fetch(path)).arrayBuffer();
    const sound = await new OfflineAudioContext(1, 1, 24000).decodeAudioData(bytes);
    const samples = sound.getChannelData(0);
    let crossings = 0, power = 0;
    for (let i = 1; i < samples.length; i++) {
        crossings += samples[i - 1] < 0 && samples[i] >= 0;
        power += samples[i] ** 2;
    }
    return {seconds: sound.duration, hz: crossings / sound.duration, rms: Math.sqrt(power / samples.length)};
}"""
READY = "#ttm-generate:not([disabled])"


def generate(page: Any, prompt: str) -> None:
    page.fill("#ttm-prompt textarea", prompt)
    page.click(READY)


def finished(page: Any) -> None:
    page.wait_for_selector("#ttm-status :text('Done in')")
    page.wait_for_selector("nm-player .nm-play")


def heard(page: Any, number: int = 0, kind: str = "wav") -> dict[str, float]:
    source = page.locator("nm-player").nth(number).get_attribute("src").replace(".wav", f".{kind}")
    measured: dict[str, float] = page.evaluate(DECODE, source)
    return measured


def checked(page: Any, group: str) -> list[str]:
    return page.locator(f"#ttm-chips-{group} label:has(input:checked)").all_inner_texts()


def wait_checked(page: Any, group: str, words: list[str]) -> None:
    page.wait_for_function(
        """([group, words]) => JSON.stringify([...document.querySelectorAll(`#ttm-chips-${group} input:checked`)]
            .map((box) => box.parentElement.innerText.trim())) === JSON.stringify(words)""",
        arg=[group, words],
    )


def open_advanced(page):
    page.click("#ttm-advanced button")
    page.wait_for_selector("#ttm-seed input", state="visible")
    page.wait_for_timeout(1000)  # fields of a fresh accordion take their first values a moment after they show


def test_generate_gives_a_sound_of_the_asked_length_that_decodes_in_every_format(visitor, server):
    page = visitor().open()
    generate(page, "calm harp")
    finished(page)
    expected = frequency(server, "calm harp")
    for kind in ("wav", "flac", "mp3"):
        sound = heard(page, kind=kind)
        assert sound["seconds"] == pytest.approx(10, abs=0.1)
        assert sound["hz"] == pytest.approx(expected, rel=0.02)
        assert sound["rms"] > 0.05
    page.wait_for_selector("#ttm-spectrogram .js-plotly-plot")
    page.wait_for_selector("#ttm-chroma .js-plotly-plot")


def test_a_second_result_takes_the_place_of_the_first_and_can_be_played(visitor):
    page = visitor().open()
    generate(page, "first harp")
    finished(page)
    before = page.locator("nm-player").get_attribute("src")
    generate(page, "second harp")
    page.wait_for_function("(src) => document.querySelector('nm-player')?.getAttribute('src') !== src", arg=before)
    page.wait_for_selector("nm-player .nm-play")
    page.click("nm-player .nm-play")
    page.wait_for_selector("button[aria-label='Pause Your music']")


def test_progress_names_the_stages_and_the_time_left(visitor):
    page = visitor().open()
    generate(page, "endless drone")
    page.wait_for_selector("#ttm-status [role=progressbar][aria-valuenow]")
    page.wait_for_selector("#ttm-status :text('Playing')")
    text = page.inner_text("#ttm-status")
    assert "Composing" in text and "Loading the model" in text and "about 4 s left" in text
    assert page.is_disabled("#ttm-generate")
    page.click("#ttm-stop")
    page.wait_for_selector("#ttm-status :text('Stopped')")


def test_stop_cancels_the_job_and_the_next_one_runs(visitor, server):
    page = visitor().open()
    generate(page, "endless violin")
    page.wait_for_selector("#ttm-status [role=progressbar]")
    page.click("#ttm-stop:not([disabled])")
    page.wait_for_selector("#ttm-status :text('Stopped')")
    assert "endless violin" in server.engine.closed
    assert page.is_disabled("#ttm-stop")
    generate(page, "short violin")
    finished(page)


def test_closing_the_tab_cancels_its_job(visitor, server):
    page = visitor().open()
    generate(page, "endless goodbye")
    page.wait_for_selector("#ttm-status [role=progressbar]")
    page.close()
    for _ in range(100):
        if "endless goodbye" in server.engine.closed:
            return
        server.pause(0.1)
    pytest.fail("the job of a closed tab still runs")


def test_a_full_queue_is_said_in_one_sentence(visitor):
    page = visitor().open()
    generate(page, "busy market")
    page.wait_for_selector("#ttm-status [role=alert]")
    assert "All seats are taken" in page.inner_text("#ttm-status")
    page.wait_for_selector(READY)


def test_bad_input_names_field_and_range_and_reaches_no_engine(visitor, server):
    page = visitor().open()
    asked = len(server.engine.started)
    for prompt, range_ in (
        ("", "English"), ("🎻🎹", "English"), ("悲しいバイオリン", "English"), ("x" * 10_000, "at most 500 characters")
    ):  # fmt: skip
        generate(page, prompt)
        page.wait_for_selector(
            f"#ttm-status [role=alert]:has-text({json.dumps(prompt[:20], ensure_ascii=False)}):has-text('{range_}')"
        )
        assert page.inner_text("#ttm-status").startswith("prompt: got ")
    assert len(server.engine.started) == asked
    assert page.is_enabled("#ttm-generate")


def test_chips_add_and_take_words_and_follow_the_prompt(visitor):
    page = visitor().open()
    page.fill("#ttm-prompt textarea", "soft piano, slow")
    wait_checked(page, "instrument", ["piano"])
    wait_checked(page, "tempo", ["slow"])
    page.click("#ttm-chips-instrument label:has-text('violin')")
    page.wait_for_function("document.querySelector('#ttm-prompt textarea').value === 'soft piano, slow, violin'")
    page.click("#ttm-chips-tempo label:has-text('fast')")  # one tempo at a time
    page.wait_for_function("document.querySelector('#ttm-prompt textarea').value === 'soft piano, violin, fast'")
    page.click("#ttm-chips-instrument label:has-text('violin')")
    page.wait_for_function("document.querySelector('#ttm-prompt textarea').value === 'soft piano, fast'")
    assert checked(page, "tempo") == ["fast"]


def test_presets_and_dice_fill_the_prompt_and_its_chips(visitor):
    page = visitor().open()
    page.click("#ttm-presets button:has-text('Stadium')")
    page.wait_for_function("document.querySelector('#ttm-prompt textarea').value.startsWith('fast rock band')")
    wait_checked(page, "style", ["rock"])
    page.click("#ttm-dice")
    page.wait_for_function("!document.querySelector('#ttm-prompt textarea').value.startsWith('fast rock band')")


def test_keyboard_alone_generates_and_plays(visitor):
    page = visitor().open()
    page.fill("#ttm-prompt textarea", "keyboard solo")
    page.press("#ttm-prompt textarea", "Shift+Enter")
    finished(page)
    wave = page.locator(".nm-wave").first
    wave.focus()
    wave.press("ArrowRight")
    wave.press("ArrowRight")
    assert float(wave.get_attribute("aria-valuenow")) == pytest.approx(2.0)
    assert page.inner_text(".nm-time") == "0:02 / 0:10"
    page.locator(".nm-play").first.press("Enter")
    page.wait_for_selector("button[aria-label='Pause Your music']")
    page.wait_for_function("Number(document.querySelector('.nm-wave').getAttribute('aria-valuenow')) > 2.2")


def test_variations_have_their_own_players_and_pictures(visitor, server):
    page = visitor().open()
    page.fill("#ttm-variations input[type=number]", "3")
    page.press("#ttm-variations input[type=number]", "Tab")
    page.fill("#ttm-duration input[type=number]", "5")
    page.press("#ttm-duration input[type=number]", "Tab")
    generate(page, "three flutes")
    finished(page)
    sounds = [heard(page, n) for n in range(3)]
    assert page.locator("nm-player").count() == 3
    assert [round(s["seconds"], 1) for s in sounds] == [5, 5, 5]
    assert sounds[1]["hz"] == pytest.approx(1.25 * sounds[0]["hz"], rel=0.02)
    page.wait_for_selector("#ttm-chroma .js-plotly-plot")
    page.check("#ttm-shown input[value='3']")
    page.wait_for_selector("#ttm-chroma .js-plotly-plot")


def test_a_dropped_export_restores_every_setting(visitor, server, tmp_path):
    first = visitor().open()
    open_advanced(first)
    first.fill("#ttm-seed input", "1234")
    first.check("#ttm-seed-lock input")
    first.fill("#ttm-negative textarea, #ttm-negative input", "drums")
    first.fill("#ttm-duration input[type=number]", "6")
    first.press("#ttm-duration input[type=number]", "Tab")
    generate(first, "restored cello")
    finished(first)
    source = first.locator("nm-player").get_attribute("src").replace(".wav", ".mp3")
    file = tmp_path / "clip.mp3"
    file.write_bytes(first.request.get(f"{server.url}/{source}").body())
    made = server.engine.started[-1]
    assert (made.seed, made.duration_s, made.negative_prompt) == (1234, 6, "drums")

    other = visitor().open()
    other.set_input_files("#ttm-restore input[type=file]", str(file))
    other.wait_for_selector("#ttm-status :text('restored')")
    assert other.input_value("#ttm-prompt textarea") == "restored cello"
    other.click(READY)
    finished(other)
    assert server.engine.started[-1] == made


def test_a_dropped_file_that_is_not_ours_is_refused_in_one_sentence(visitor, tmp_path):
    file = tmp_path / "other.wav"
    file.write_bytes(b"RIFF\x04\x00\x00\x00WAVE")
    page = visitor().open()
    before = page.input_value("#ttm-prompt textarea")
    page.set_input_files("#ttm-restore input[type=file]", str(file))
    page.wait_for_selector("#ttm-status [role=alert]")
    assert page.input_value("#ttm-prompt textarea") == before


def test_two_visitors_hear_their_own_and_one_stop_leaves_the_other_alone(visitor, server):
    one, two = visitor().open(), visitor().open()
    generate(one, "endless one")
    one.wait_for_selector("#ttm-status [role=progressbar]")
    generate(two, "music of two")
    finished(two)
    assert heard(two)["hz"] == pytest.approx(frequency(server, "music of two"), rel=0.02)
    assert one.locator("nm-player").count() == 0
    generate(two, "endless two")
    two.wait_for_selector("#ttm-status [role=progressbar]")
    one.click("#ttm-stop")
    one.wait_for_selector("#ttm-status :text('Stopped')")
    assert two.is_enabled("#ttm-stop") and "endless two" not in server.engine.closed
    two.click("#ttm-stop")
    two.wait_for_selector("#ttm-status :text('Stopped')")


def test_the_provenance_line_shows_the_seed_and_copies_all_settings(visitor):
    page = visitor().open()
    generate(page, "copy this")
    finished(page)
    page.click(".nm-copy")
    page.wait_for_selector(".nm-copy:text('Copied')")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert copied["request"]["prompt"] == "copy this"
    assert re.search(rf"Seed\s+{copied['seed']}\b", page.inner_text(".nm-provenance"))


def frequency(server: Any, prompt: str) -> float:
    hz: float = server.frequency_hz(prompt)
    return hz
