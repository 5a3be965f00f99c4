"""Tokens of the corpus, packed to the bit for a training kit and unpacked there; numpy only, both ways in one place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.errors import NeuromuseError

ARRAYS = ("semantic", "acoustic", "audio_embed", "text_embed", "split")
TEST = 2
"""Clips of the test split (see `backend.musiclm.tokenise`) stay at home: nothing in training may see them."""

BLOCK = 1 << 18  # codes handled at a time: a byte for each of their bits


def pack_bits(codes: npt.NDArray[np.integer[Any]], bits: int) -> npt.NDArray[np.uint8]:
    """Codes in [0, 2^bits) at ``bits`` bits each, most significant first, in reading order.

    Raises:
        ValueError: a code needs more bits, or is negative.
    """
    flat = codes.reshape(-1)
    if flat.size and (int(flat.min()) < 0 or int(flat.max()) >> bits):
        raise ValueError(f"codes from {flat.min()} to {flat.max()} do not fit into {bits} bits")
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint16)
    rows = [  # a block is a multiple of eight codes, so its bits fill whole bytes
        np.packbits(((flat[i : i + BLOCK, None].astype(np.uint16) >> shifts) & 1).astype(np.uint8))
        for i in range(0, flat.size, BLOCK)
    ]
    return np.concatenate(rows) if rows else np.zeros(0, np.uint8)


def unpack_bits(packed: npt.NDArray[np.uint8], bits: int, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
    """What `pack_bits` was given, as int16 of ``shape``."""
    total = int(np.prod(shape))
    out = np.zeros(total, np.int16)
    weights = (1 << np.arange(bits - 1, -1, -1)).astype(np.int16)
    for start in range(0, total, BLOCK):
        count = min(BLOCK, total - start)
        part = packed[start * bits // 8 : -(-(start + count) * bits // 8)]
        out[start : start + count] = np.unpackbits(part)[: count * bits].reshape(count, bits) @ weights
    return out.reshape(shape)


def pack_vectors(vectors: npt.NDArray[np.floating[Any]]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float16]]:
    """Vectors ``[..., dim]`` as int8 and one scale each ``[...]``; rounding moves an entry by 1/254 of the largest."""
    values = vectors.astype(np.float32)
    scale = np.maximum(np.abs(values).max(-1) / 127, 1e-7).astype(np.float16)
    return np.clip(np.round(values / scale[..., None].astype(np.float32)), -127, 127).astype(np.int8), scale


def write_tokens(tokens: Path, data: Path, captions: int | None = None) -> int:
    """Pack a folder of ``backend.musiclm.train tokens`` into ``data``.

    Args:
        tokens: holds ``semantic, acoustic, audio_embed, text_embed, split`` as ``.npy``.
        captions: how many of each clip's captions to keep; None for all.

    Returns:
        Bytes written.

    Raises:
        NeuromuseError: an array is missing, or they belong to different corpora.
    """
    missing = [name for name in ARRAYS if not (tokens / f"{name}.npy").is_file()]
    if missing:
        raise NeuromuseError(f"{tokens} lacks {', '.join(missing)}; write them with backend.musiclm.train tokens.")
    arrays = {name: np.load(tokens / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    if len({len(array) for array in arrays.values()}) != 1:
        raise NeuromuseError(f"The arrays in {tokens} hold different numbers of clips; write all of them anew.")
    keep = np.flatnonzero(arrays["split"] != TEST)
    data.mkdir(parents=True, exist_ok=True)
    layout: dict[str, Any] = {}
    for name in ("semantic", "acoustic"):
        codes = arrays[name][keep]
        bits = max(1, int(codes.max()).bit_length())
        np.save(data / f"{name}.npy", pack_bits(codes, bits))
        layout[name] = {"bits": bits, "shape": codes.shape}
    np.savez(data / "rest.npz", **_vectors(arrays, keep, captions), split=arrays["split"][keep])
    (data / "layout.json").write_text(json.dumps(layout), encoding="utf-8")
    return sum(path.stat().st_size for path in data.iterdir())


def _vectors(arrays: dict[str, Any], keep: npt.NDArray[np.int64], captions: int | None) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name in ("audio_embed", "text_embed"):
        vectors = arrays[name][keep]
        values, scale = pack_vectors(vectors[:, :captions] if name == "text_embed" else vectors)
        out |= {name: values, f"{name}_scale": scale}
    return out


def read_tokens(data: Path, out: Path) -> None:
    """Unpack into the folder that ``backend.musiclm.train semantic|coarse|fine --tokens`` reads; once is enough."""
    if (out / "split.npy").exists():  # written last
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, form in json.loads((data / "layout.json").read_text(encoding="utf-8")).items():
        np.save(out / f"{name}.npy", unpack_bits(np.load(data / f"{name}.npy"), form["bits"], tuple(form["shape"])))
    with np.load(data / "rest.npz") as rest:
        for name in ("audio_embed", "text_embed"):
            vectors = rest[name].astype(np.float32) * rest[f"{name}_scale"][..., None].astype(np.float32)
            np.save(out / f"{name}.npy", vectors.astype(np.float16))
        np.save(out / "split.npy", rest["split"])
