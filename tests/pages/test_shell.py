from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

import pages
from backend.audio.waveform import Waveform
from backend.contract import Result
from backend.settings import Settings
from pages.exports import Exports
from pages.shell import HEADERS, create_app

ROOT = Path(pages.__file__).parent.parent


class Engine:
    live = True

    def run(self, instrument_id, request):
        return iter(())

    def health(self):
        return {"live": self.live, "ready": True, "queue": 0, "running": 0, "models": [], "device": "cpu"}


@pytest.fixture(scope="module")
def kept():
    """The exports of the application under test."""
    return []


@pytest.fixture(scope="module")
def client(kept):
    patch = pytest.MonkeyPatch()
    patch.setattr("pages.shell.Exports", lambda: kept.append(Exports()) or kept[-1])
    with TestClient(create_app(Engine(), Settings())) as opened:
        yield opened
    patch.undo()


def test_health_is_what_the_engine_says_and_503_when_it_is_dead(client, monkeypatch):
    answer = client.get("/healthz")
    assert answer.status_code == 200 and answer.json()["device"] == "cpu"
    monkeypatch.setattr(Engine, "live", False)
    assert client.get("/healthz").status_code == 503


@pytest.mark.parametrize("path", ["/", "/healthz", "/neuromuse/logo.svg", "/exports/none/1.wav", "/config"])
def test_every_answer_carries_the_security_headers(client, path):
    headers = client.get(path).headers
    for name, value in HEADERS.items():
        assert headers[name.decode()] == value.decode()


def test_the_page_is_named_described_and_asks_nobody_else_for_anything(client):
    text = client.get("/").text
    assert "<title>" in text or "Neuromuse" in text
    config = client.get("/config").json()
    assert config["title"] == "Neuromuse"
    assert config["analytics_enabled"] is False
    assert config["footer_links"] == []
    assert 'name="description"' in config["head"]
    assert "http" not in config["head"].replace("http-equiv", "")
    for sheet in (ROOT / "pages" / "static").glob("*.css"):
        assert "http" not in sheet.read_text() and "@import" not in sheet.read_text()


@pytest.mark.parametrize(
    "name", ["neuromuse.css", "words.js", "player.js", "road.js", "roll.js", "sound.js", "shell.js", "logo.svg"]
)
def test_static_files_are_served_with_a_type_the_browser_accepts(client, name):
    answer = client.get(f"/neuromuse/{name}")
    assert answer.status_code == 200
    assert {"css": "text/css", "js": "javascript", "svg": "image/svg"}[name.rpartition(".")[2]] in answer.headers[
        "content-type"
    ]


def test_an_export_is_served_in_parts_and_unknown_ones_are_404(client, kept):
    waveform = Waveform(0.1 * np.sin(np.arange(12_000) / 9), 24_000)
    saved = kept[-1].save("me", Result((waveform,)))
    answer = client.get(f"/{saved.clips[0].url}.wav", headers={"range": "bytes=0-99"})
    assert answer.status_code == 206 and answer.content[:4] == b"RIFF"
    assert client.get(f"/{saved.clips[0].url}.flac").content[:4] == b"fLaC"
    for missing in (f"/exports/{saved.token}/2.wav", f"/exports/{saved.token}/1.exe", "/exports/x/1.wav"):
        assert client.get(missing).status_code == 404
    assert client.get(f"/exports/{saved.token}/one.wav").status_code == 422


def test_files_of_a_training_are_served_to_its_token_and_nothing_else(client, tmp_path, monkeypatch):
    (tmp_path / "adapter.zip").write_bytes(b"PK")
    known = {("t" * 22, "adapter.zip"): tmp_path / "adapter.zip"}
    monkeypatch.setattr("backend.engine.background.Trainings.file", lambda self, *named: known.get(named))
    assert client.get(f"/trainings/{'t' * 22}/adapter.zip").content == b"PK"
    assert client.get(f"/trainings/{'t' * 22}/train.npz").status_code == 404


def test_no_api_of_the_page_is_offered_to_programs(client):
    assert client.get("/gradio_api/info").json()["named_endpoints"] == {}


def test_pages_have_unique_ids_and_home_is_first():
    ids = [page.id for page in pages.PAGES]
    assert ids[0] == "home" and len(set(ids)) == len(ids)
