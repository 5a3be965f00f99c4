"""``python -m tests.benchmarks``: run every benchmark and evaluation, rewrite ``docs/benchmarks.md``.

With instruments named, only theirs are run and the page is left alone.
Progress and the programs' own messages go to stderr; stdout ends with one JSON object of all figures.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

from backend.registry import Registry
from tests.benchmarks.report import Outcome, last_json_object, machine, render

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"


def main(instruments: list[str]) -> int:
    """Run the programs of the named instruments, or of all; 1 if one failed, and then the page stays as it was."""
    outcomes = []
    for instrument_id in instruments or Registry().ids:
        for module in (f"tests.benchmarks.{instrument_id}", f"backend.instruments.{instrument_id}.evaluate"):
            if importlib.util.find_spec(module) is None:
                print(f"there is no {module}", file=sys.stderr)
                return 1
            print(f"running {module}", file=sys.stderr)
            began = time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", module], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
            )
            try:
                values = last_json_object(done.stdout)
            except ValueError as error:
                print(f"{module}: {error} (exit status {done.returncode})", file=sys.stderr)
                return 1
            outcomes.append(Outcome(module, values, time.monotonic() - began))
    if not instruments:
        PAGE.write_text(render(outcomes, machine(), datetime.date.today().isoformat()), "utf-8")
    print(json.dumps({outcome.module: outcome.values for outcome in outcomes}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
