"""A program as `backend.engine.background` expects it: counts in its folder, obeys, resumes; bad manners on demand."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--manners", default="good")
    options = parser.parse_args()
    counted = options.out / "counted"
    state: dict[str, object] = {"state": "preparing", "message": "", "niceness": os.nice(0)}
    state["threads"] = os.environ["OMP_NUM_THREADS"]

    def say(word: str, message: str) -> None:
        part = options.out / "status.part"
        part.write_text(json.dumps({**state, "state": word, "message": message}))
        part.replace(options.out / "status.json")

    number = int(counted.read_text()) if counted.exists() else 0
    while number < options.count:
        if options.manners != "deaf" and (options.out / "stop").exists():
            say("stopped", "Stopped.")
            return 2
        number += 1
        counted.write_text(str(number))
        say("training", f"Step {number}")
        if options.manners == "crash" and number == 2:
            return 1
        time.sleep(0.02)
    (options.out / "made.txt").write_text("public")
    say("done", "Ready.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
