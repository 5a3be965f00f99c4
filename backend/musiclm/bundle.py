"""Trained models into the checkpoint store: ``python -m backend.musiclm.bundle --models DIR [--only NAME …]``.

``DIR`` holds what ``backend.musiclm.train`` wrote: ``codec/``, ``semantic/``, ``acoustic/``
and ``listener/`` with ``best.pt`` and ``config.pt``, perhaps ``package_semantic/`` and its like, and ``mulan.pt``.
Matrices are stored in eight bits a weight.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import torch

from backend.checkpoints import CheckpointStore
from backend.musiclm.train import part_of

logger = logging.getLogger(__name__)

CARD = "text_to_music/README.md"
PARTS = {
    "text_to_music.codec": ("codec", "codec."),
    "text_to_music.semantic": ("semantic", "stage."),
    "text_to_music.acoustic": ("acoustic", "stage."),
    "judges.listener": ("listener", "listener."),
    "text_to_music.package_semantic": ("package_semantic", "stage."),
    "text_to_music.package_coarse": ("package_coarse", "stage."),
    "text_to_music.package_fine": ("package_fine", "stage."),
}


def bundle(models: Path, store: CheckpointStore, only: set[str]) -> None:
    """Store every model found; the metrics are those of its best validation."""
    for name, (folder, prefix) in PARTS.items():
        path = models / folder / "best.pt"
        if not path.exists() or (only and name not in only):
            continue
        saved = torch.load(path, map_location="cpu", weights_only=False)
        config = torch.load(models / folder / "config.pt", weights_only=False)
        card = CARD if name.startswith("text_to_music") else "judges/README.md"
        _save(store, name, part_of(saved["module"], prefix), config, saved["figures"], card)
    if (models / "mulan.pt").exists() and (not only or "text_to_music.mulan" in only):
        saved = torch.load(models / "mulan.pt", map_location="cpu", weights_only=False)
        _save(store, "text_to_music.mulan", saved["state"], saved["config"], saved["metrics"], CARD)


def _save(
    store: CheckpointStore, name: str, state: dict[str, torch.Tensor], config: Any, metrics: Any, card: str
) -> None:
    entry = store.save(name, state, config, metrics, card, dtype="int8", force=True)
    logger.info("%s %.1f MB", name, sum(file.bytes for file in entry.files) / 1e6)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    bundle(options.models, CheckpointStore(), set(options.only))


if __name__ == "__main__":
    main()
