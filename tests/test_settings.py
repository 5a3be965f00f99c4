from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from backend.errors import NeuromuseError, RequestError
from backend.settings import Settings, check_port


def test_without_variables_every_setting_is_its_default() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings.from_env({"NEUROMUSE_PORT": "  ", "PORT": "1"}) == Settings()


def test_every_variable_reaches_its_setting(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    environ = {
        "NEUROMUSE_HOST": "0.0.0.0",
        "NEUROMUSE_PORT": "8080",
        "NEUROMUSE_QUEUE_SIZE": "4",
        "NEUROMUSE_MEMORY_MB": "2048",
        "NEUROMUSE_DEADLINE_S": "12.5",
        "NEUROMUSE_THREADS": "3",
        "NEUROMUSE_DEVICE": "CUDA:1",
        "NEUROMUSE_CHECKPOINTS": f"{tmp_path}{os.pathsep}{tmp_path / 'more'}",
        "NEUROMUSE_MAX_UPLOAD_MB": "10",
    }
    expected = Settings("0.0.0.0", 8080, 4, 2048, 12.5, 3, "cuda:1", (tmp_path, tmp_path / "more"), 10)
    assert Settings.from_env(environ) == expected


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("NEUROMUSE_PORT", "http", "a whole number from 1 to 65535"),
        ("NEUROMUSE_PORT", "70000", "a whole number from 1 to 65535"),
        ("NEUROMUSE_PORT", "80.5", "a whole number from 1 to 65535"),
        ("NEUROMUSE_QUEUE_SIZE", "0", "a whole number from 1 to 1000"),
        ("NEUROMUSE_DEADLINE_S", "nan", "a number from 1 to 86400"),
        ("NEUROMUSE_DEADLINE_S", "inf", "a number from 1 to 86400"),
        ("NEUROMUSE_THREADS", "-1", "a whole number from 0 to 1024"),
        ("NEUROMUSE_DEVICE", "tpu", "auto, cpu, mps, cuda or cuda:<number>"),
        ("NEUROMUSE_DEVICE", "cpu:0", "auto, cpu, mps, cuda or cuda:<number>"),
        ("NEUROMUSE_DEVICE", "cuda:", "auto, cpu, mps, cuda or cuda:<number>"),
        ("NEUROMUSE_CHECKPOINTS", "/no/such/folder", "folders that exist"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value_and_range(name: str, value: str, allowed: str) -> None:
    with pytest.raises(RequestError) as caught:
        Settings.from_env({name: value})
    assert str(caught.value) == f"{name}: got {value!r}, expected {allowed}."


def test_a_free_port_passes_and_a_taken_one_is_said_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        with pytest.raises(NeuromuseError, match=f"Port {port} on 127.0.0.1 is already in use"):
            check_port("127.0.0.1", port)
    check_port("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_that_is_not_ours_is_said_in_one_sentence(host: str) -> None:
    with pytest.raises(NeuromuseError, match=r"NEUROMUSE_HOST.*\.$"):
        check_port(host, 7860)
