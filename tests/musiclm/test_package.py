"""The packages are imported without changing the process or touching the network."""

from __future__ import annotations

import logging
import socket
import sys
import warnings
from typing import Any

import pytest

from backend.musiclm import package


def test_import_leaves_warnings_logging_and_modules_alone() -> None:
    assert "fairseq" not in sys.modules
    assert logging.root.level < logging.ERROR
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)


def test_transformers_are_built_without_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection was attempted")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    package.SemanticTransformer(dim=16, depth=1, num_semantic_tokens=8, heads=1, has_condition=True)
