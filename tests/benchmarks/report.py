"""JSON of the benchmark and evaluation programs → ``docs/benchmarks.md``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HEAD = """# Benchmarks

Rewritten by `make bench`; do not edit. Speed is a ratio to a named peer measured in the same run on the same inputs,
quality stands beside its baselines. Dots descend into the JSON that each program prints.
"""


@dataclass(frozen=True)
class Outcome:
    """What one program answered: its module, the JSON it ended with, and how long it took in seconds."""

    module: str
    values: Mapping[str, Any]
    seconds: float


def last_json_object(text: str) -> dict[str, Any]:
    """The JSON object that ends ``text``, on one line or many.

    Raises:
        ValueError: the text does not end with one.
    """
    starts = [0, *(index + 1 for index, character in enumerate(text) if character == "\n")]
    for start in reversed(starts):
        if text.startswith("{", start):
            try:
                value = json.loads(text[start:])
            except json.JSONDecodeError:
                continue
            return dict(value)
    raise ValueError("the program did not end with a JSON object")


def machine() -> str:
    """The machine in words: what a figure depends on."""
    import torch

    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    names = [platform.processor() or platform.machine(), f"{os.cpu_count()} cores{gpu}"]
    return ", ".join([*names, platform.system(), f"Python {platform.python_version()}", f"torch {torch.__version__}"])


def render(outcomes: list[Outcome], machine_name: str, when: str) -> str:
    """The page: one table a program."""
    lines = [HEAD, f"Measured {when} on {machine_name}.", ""]
    for outcome in outcomes:
        lines += [
            f"## `python -m {outcome.module}`",
            "",
            f"Took {outcome.seconds:.0f} s.",
            "",
            "| Figure | Value |",
            "|---|---|",
        ]
        lines += [f"| {name} | {_cell(value)} |" for name, value in _flat(outcome.values)]
        lines.append("")
    return "\n".join(lines)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return str(value).replace("|", "\\|").replace("\n", " ")
