"""Live changes: the last value wins, nobody reaches another's console, nothing is kept after its page."""

from __future__ import annotations

import copy
import gc
import threading

import pytest

from backend.errors import RequestError
from backend.instruments.neurons.console import Console, find_console
from tests.instruments.neurons.listening import plain


def test_the_last_value_wins_and_is_taken_once() -> None:
    console = Console()
    assert console.take() is None
    console.send(plain(mix=0.1))
    console.send(plain(mix=0.2))
    assert console.take() == plain(mix=0.2) and console.take() is None


def test_a_console_is_found_by_its_token_only_and_by_no_other() -> None:
    mine, yours = Console(), Console()
    mine.send(plain(mix=0.3))
    assert find_console(mine.token) is mine and find_console(yours.token) is yours
    assert yours.take() is None
    assert find_console("") is find_console(None) is find_console(mine.token[:-1]) is None
    assert len({Console().token for _ in range(100)}) == 100 and len(mine.token) >= 22


def test_a_console_is_forgotten_with_its_page() -> None:
    token = Console().token
    gc.collect()
    assert find_console(token) is None


def test_copying_a_sessions_state_keeps_its_console() -> None:
    console = Console()
    assert copy.deepcopy({"console": console})["console"] is console


def test_a_page_sees_whether_a_job_listens() -> None:
    console = Console()
    assert not console.attached
    console.take()
    assert console.attached


def test_what_is_not_settings_is_refused() -> None:
    with pytest.raises(RequestError, match="settings"):
        Console().send({"mix": 1.0})  # type: ignore[arg-type]


def test_many_threads_send_and_one_job_hears_whole_settings_in_order() -> None:
    console, heard = Console(), []
    values = [plain(mix=i / 1000) for i in range(1000)]
    sender = threading.Thread(target=lambda: [console.send(value) for value in values])
    sender.start()
    while sender.is_alive():
        taken = console.take()
        if taken is not None:
            heard.append(taken.mix)
    last = console.take()
    heard += [] if last is None else [last.mix]
    assert heard == sorted(heard) and heard[-1] == 0.999
