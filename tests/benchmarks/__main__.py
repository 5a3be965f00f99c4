"""``python -m tests.benchmarks``: run every benchmark and evaluation, rewrite ``docs/benchmarks.md``.

Options:
    names of instruments: run only theirs and leave the page alone.
    --corpus DIR: a folder of ``backend.corpus.build``, for what must be measured on held-out sound or scores. Without
        it those sections of the page stay as they were measured last.
    --real DIR: recordings of real instruments, judged beside the corpus.
    --held-out DIR: a build of valid and test clips alone, for the probes of neurons; the corpus by default.
    --plain DIR: a training of calm with ``--plain``, measured beside the bundled model.

Progress and the programs' own messages go to stderr; stdout ends with one JSON object of all figures.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

from backend.registry import Registry
from tests.benchmarks.report import Outcome, last_json_object, machine, render, sections

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"
NEEDS_CORPUS = ("calm", "neurons")  # their evaluation without a corpus is another one


def programs(
    instrument_id: str,
    corpus: Path | None = None,
    real: Path | None = None,
    plain: Path | None = None,
    held_out: Path | None = None,
) -> list[list[str]]:
    """Module and arguments of what measures one instrument."""
    evaluation = [f"backend.instruments.{instrument_id}.evaluate"]
    found = [[f"tests.benchmarks.{instrument_id}"]]
    if instrument_id not in NEEDS_CORPUS:
        found.append(evaluation)
    if corpus is not None and instrument_id == "calm":
        beside = ["--plain", str(plain)] if plain is not None else []
        found.append([*evaluation, "--scores", str(corpus / "scores"), *beside])
    if corpus is not None and instrument_id == "text_to_music":
        recordings = ["--real", str(real)] if real is not None else []
        codec = "backend.instruments.text_to_music.codec_evaluate"
        found.append([codec, "--corpus", str(corpus), *recordings])
    if (held_out := held_out or corpus) is not None and instrument_id == "neurons":
        found.append([*evaluation, "--corpus", str(held_out)])
    return found


def run(arguments: list[str]) -> Outcome:
    """Run one program.

    Raises:
        ValueError: there is none of that name, or it did not end with a JSON object.
    """
    module = arguments[0]
    if importlib.util.find_spec(module) is None:
        raise ValueError(f"there is no {module}")
    print(f"running {module}", file=sys.stderr)
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    try:
        return Outcome(module, last_json_object(done.stdout), time.monotonic() - began)
    except ValueError as error:
        raise ValueError(f"{module}: {error} (exit status {done.returncode})") from None


def main(arguments: list[str]) -> int:
    """Run the programs of the named instruments, or of all; 1 if one failed, and then the page stays as it was."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("instruments", nargs="*")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--real", type=Path)
    parser.add_argument("--plain", type=Path)
    parser.add_argument("--held-out", type=Path)
    options = parser.parse_args(arguments)
    try:
        outcomes = [
            run(program)
            for instrument_id in options.instruments or Registry().ids
            for program in programs(instrument_id, options.corpus, options.real, options.plain, options.held_out)
        ]
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if not options.instruments:
        before = sections(PAGE.read_text("utf-8")) if PAGE.is_file() else {}
        PAGE.write_text(render(outcomes, machine(), datetime.date.today().isoformat(), before), "utf-8")
    print(json.dumps({outcome.module: outcome.values for outcome in outcomes}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
