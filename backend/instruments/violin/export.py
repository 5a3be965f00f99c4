"""Merge on export: ``python -m backend.instruments.violin.export --out DIR [--adapter FILE] [--strength 1]``.

Writes the generator's stages with an adapter added for good, as a folder of checkpoints. With
``NEUROMUSE_CHECKPOINTS=DIR`` the Text to music tab plays on them; nothing of the adapter is needed any more.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from backend.checkpoints import CheckpointStore
from backend.contract import check_number
from backend.errors import NeuromuseError
from backend.instruments.violin.adapter import Adapter
from backend.instruments.violin.request import STRONGEST
from backend.instruments.violin.voicing import Voicing
from backend.musiclm.generator import MusicGenerator


def export(store: CheckpointStore, adapter: Adapter, strength: float, out: Path) -> list[str]:
    """Write the merged stages; returns their names.

    Raises:
        RequestError: a strength out of range.
        CheckpointError: an adapter of another base, or a disk that refused.
    """
    check_number("strength", strength, 0, STRONGEST)
    adapter.require_base(store)
    models = MusicGenerator(store, torch.device("cpu"))
    stages = {"semantic": models.semantic, "acoustic": models.acoustic}
    voicing = Voicing(stages)
    voicing.add(adapter.name, adapter)
    voicing.set({adapter.name: strength})
    merged = CheckpointStore(out)
    for name, module in stages.items():
        full, said = (
            f"text_to_music.{name}",
            {"adapter": adapter.name, "strength": strength, "licence": adapter.licence},
        )
        merged.save(full, module.state_dict(), store.config(full), said, force=True, dtype="float16")
    return [f"text_to_music.{name}" for name in stages]


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.violin.export", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, help="folder or .zip; the bundled one if left out")
    parser.add_argument("--strength", type=float, default=1.0)
    options = parser.parse_args(arguments)
    store = CheckpointStore()
    try:
        adapter = Adapter.load(options.adapter) if options.adapter else Adapter.from_store(store)
        names = export(store, adapter, options.strength, options.out)
    except NeuromuseError as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps({"folder": str(options.out), "checkpoints": names}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
