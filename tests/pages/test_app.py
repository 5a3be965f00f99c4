import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def start(**variables):
    environ = os.environ | {"NEUROMUSE_HOST": "127.0.0.1"} | variables
    return subprocess.run(
        [sys.executable, "app.py"], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120
    )


def test_a_taken_port_is_said_in_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = start(NEUROMUSE_PORT=str(taken.getsockname()[1]))
    assert answer.returncode == 1
    assert "already in use" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_a_wrong_variable_is_said_in_one_sentence():
    answer = start(NEUROMUSE_PORT="grand piano")
    assert answer.returncode == 1
    assert "NEUROMUSE_PORT" in answer.stderr and "65535" in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_the_application_file_stays_an_introduction():
    assert len((ROOT / "app.py").read_text(encoding="utf-8").splitlines()) <= 60
