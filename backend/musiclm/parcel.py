"""Trained models in parts small enough to be carried: eight bits a weight, as the checkpoint store bundles them.

A machine that is lent gives back little, so what stays behind is what only resumes a run: optimiser and averages.
"""

from __future__ import annotations

import io
from pathlib import Path

import torch

from backend.errors import NeuromuseError
from backend.rowwise import pack, unpack

SUFFIX = ".parcel"


def write_parcels(results: Path, out: Path, part_bytes: int) -> list[Path]:
    """Every model below ``results`` as ``out/<name>.parcel.0``, ``.1`` …; older parcels there are replaced.

    Args:
        results: folders with ``best.pt``, ``config.pt`` and ``curve.csv``.
        out: where the parts go.
        part_bytes: largest part.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for best in sorted(results.glob("*/best.pt")):
        saved = torch.load(best, map_location="cpu", weights_only=False)
        box = {"module": pack(saved["module"]), "figures": saved["figures"]}
        box["config"] = torch.load(best.with_name("config.pt"), weights_only=False)
        curve = best.with_name("curve.csv")
        box["curve"] = curve.read_text(encoding="utf-8") if curve.exists() else ""
        buffer = io.BytesIO()
        torch.save(box, buffer)
        content, name = buffer.getvalue(), best.parent.name
        for old in out.glob(f"{name}{SUFFIX}.*"):
            old.unlink()
        for number, start in enumerate(range(0, len(content), part_bytes)):
            path = out / f"{name}{SUFFIX}.{number}"
            path.write_bytes(content[start : start + part_bytes])
            written.append(path)
    return written


def read_parcels(folder: Path, models: Path) -> list[str]:
    """Restore ``models/<name>/best.pt``, ``config.pt`` and ``curve.csv`` from parcels; names of the models.

    Raises:
        NeuromuseError: there is none, or a part of one is missing or damaged.
    """
    names = sorted({path.name.split(SUFFIX)[0] for path in folder.glob(f"*{SUFFIX}.*")})
    if not names:
        raise NeuromuseError(f"{folder} holds no parcels of trained models.")
    for name in names:
        parts = sorted(folder.glob(f"{name}{SUFFIX}.*"), key=lambda path: int(path.suffix[1:]))
        try:
            content = io.BytesIO(b"".join(path.read_bytes() for path in parts))
            box = torch.load(content, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises several types for a cut or altered archive
            raise NeuromuseError(f"The parcel of {name} in {folder} is incomplete or damaged.") from error
        target = models / name
        target.mkdir(parents=True, exist_ok=True)
        torch.save({"module": unpack(box["module"]), "figures": box["figures"]}, target / "best.pt")
        torch.save(box["config"], target / "config.pt")
        (target / "curve.csv").write_text(box["curve"], encoding="utf-8")
    return names
