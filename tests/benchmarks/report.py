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


def sections(page: str) -> dict[str, str]:
    """The sections of a rendered page by module, each with the line that says when and where it was measured."""
    found = {}
    for part in page.split("\n## ")[1:]:
        heading, _, body = part.partition("\n")
        found[heading.removeprefix("`python -m ").removesuffix("`")] = body.strip("\n")
    return found


def render(outcomes: list[Outcome], machine_name: str, when: str, before: Mapping[str, str] | None = None) -> str:
    """The page: one table a program; sections of ``before`` that were not measured this time stay."""
    bodies = dict(before or {})
    for outcome in outcomes:
        rows = [f"| {name} | {_cell(value)} |" for name, value in _flat(outcome.values)]
        measured = f"Measured {when} on {machine_name} in {outcome.seconds:.0f} s."
        bodies[outcome.module] = "\n".join([measured, "", "| Figure | Value |", "|---|---|", *rows])
    order = [outcome.module for outcome in outcomes]
    order += sorted(set(bodies) - set(order))
    return "\n".join([HEAD, *(f"## `python -m {module}`\n\n{bodies[module]}\n" for module in order)])


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
