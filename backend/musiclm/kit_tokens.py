"""Tokens of the corpus, packed to the bit for a training kit and unpacked there; numpy only, both ways in one place.

Codes take the bits they need, embeddings eight bits a value, notes what `backend.musiclm.kit_pieces` makes of them.
Where not all fits, clips of notes alone keep fewer captions, then fewer of them are kept; codebooks are left out only
where the sounding clips would not fit otherwise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.errors import NeuromuseError
from backend.musiclm.kit_pieces import Arrays, pack_heard, pack_notes, unpack_heard, unpack_notes

ARRAYS = ("acoustic", "codebooks", "audio_embed", "text_embed", "silent_text_embed", "split")
TEST = 2
"""Clips of the test split (see `backend.musiclm.tokenise`) stay at home: nothing in training may see them."""
LEAST_CAPTIONS = 2
"""A clip of notes alone keeps at least so many; rather there are fewer such clips."""

BLOCK = 1 << 18  # codes handled at a time: a byte for each of their bits


@dataclass(frozen=True)
class Kept:
    """What a kit has of the tokens; pairs say how much of how much, the test split aside."""

    clips: int
    codebooks: tuple[int, int]
    silent: tuple[int, int]
    captions: tuple[int, int]

    def __str__(self) -> str:
        codebooks, silent, captions = (f"{a} of {b}" for a, b in (self.codebooks, self.silent, self.captions))
        return f"{self.clips} clips with {codebooks} codebooks, {silent} clips of notes alone with {captions} captions"


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


def pack_tables(tables: npt.NDArray[np.floating[Any]]) -> Arrays:
    """Tables ``[levels, size, dim]`` as factors: a codec's codes have few coordinates, however wide its latent is."""
    mean = tables.mean(1, keepdims=True)
    left, scale, right = np.linalg.svd(tables - mean, full_matrices=False)
    rank = max(1, int((scale > 1e-5 * scale[:, :1]).sum(1).max()))
    factors = {"left": (left * scale[:, None])[..., :rank], "right": right[:, :rank], "mean": mean}
    return {f"tables_{name}": factor.astype(np.float32) for name, factor in factors.items()}


def unpack_tables(part: Arrays) -> npt.NDArray[np.float32]:
    """What `pack_tables` was given, to the rounding of float32."""
    tables: npt.NDArray[np.float32] = part["tables_left"] @ part["tables_right"] + part["tables_mean"]
    return tables


def write_tokens(
    tokens: Path, data: Path, room: int | None = None, *, codebooks: int | None = None, silent: int | None = None
) -> Kept:
    """Pack a folder of ``backend.musiclm.train tokens`` into ``data``.

    Args:
        tokens: holds `ARRAYS` as ``.npy``, and ``notes.npz``.
        data: where it goes.
        room: bytes there are for it; None for no limit. With too little the least is written, which takes more.
        codebooks: keep so many, the first ones; None for as many as fit.
        silent: keep at most so many clips of notes alone; None for as many as fit.

    Raises:
        NeuromuseError: an array is missing, they do not belong together, or there are not so many codebooks.
    """
    arrays, stored = _read(tokens)
    sounding, every = len(arrays["split"]), arrays["acoustic"].shape[2]
    if codebooks is not None and not 1 <= codebooks <= every:
        raise NeuromuseError(f"--codebooks {codebooks}: the tokens have {every}, so expected 1 to {every}.")
    keep = arrays["split"] != TEST
    data.mkdir(parents=True, exist_ok=True)
    left = 1 << 62 if room is None else room
    chosen = np.concatenate([keep, np.zeros(len(stored["settings"]) - sounding, bool)])
    part = pack_notes(stored, chosen) | pack_heard(stored, chosen)
    for name in ("audio_embed", "text_embed"):
        part[name], part[f"{name}_scale"] = pack_vectors(arrays[name][keep])
    left -= _save(data / "sounding.npz", part | pack_tables(arrays["codebooks"]) | {"split": arrays["split"][keep]})
    codes = arrays["acoustic"][keep]
    bits = max(1, int(codes.max(initial=0)).bit_length())
    n_codes = codebooks or int(np.clip(left // max(1, codes.size // every * bits // 8), 1, every))
    np.save(data / "acoustic.npy", pack_bits(codes[..., :n_codes], bits))
    left -= (data / "acoustic.npy").stat().st_size
    captions = arrays["silent_text_embed"].shape[1]
    layout = {"bits": bits, "shape": [*codes.shape[:2], n_codes], "captions": captions}
    (data / "layout.json").write_text(json.dumps(layout), encoding="utf-8")
    n_silent = len(arrays["silent_text_embed"])
    wanted = n_silent if silent is None else min(max(0, silent), n_silent)
    kept, least = _write_silent(arrays, stored, data, wanted, left)
    return Kept(int(keep.sum()), (n_codes, every), (kept, n_silent), (least, captions))


def _read(tokens: Path) -> tuple[Arrays, Arrays]:
    """The arrays, read when they are used, and what ``notes.npz`` holds."""
    missing = [name for name in ARRAYS if not (tokens / f"{name}.npy").is_file()]
    missing += [] if (tokens / "notes.npz").is_file() else ["notes"]
    if missing:
        raise NeuromuseError(f"{tokens} lacks {', '.join(missing)}; write them with backend.musiclm.train tokens.")
    arrays = {name: np.load(tokens / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
    with np.load(tokens / "notes.npz") as archive:
        stored = {name: archive[name] for name in archive.files}
    if len(arrays["codebooks"]) != arrays["acoustic"].shape[-1]:
        raise NeuromuseError(f"Codes and codebooks in {tokens} are of different codecs; write both anew.")
    sounding = {len(arrays[name]) for name in ARRAYS if name not in ("codebooks", "silent_text_embed")}
    sounding |= {len(stored["notes_starts"]) - 1, len(stored["settings"]) - len(arrays["silent_text_embed"])}
    if len(sounding) != 1:
        raise NeuromuseError(f"The arrays in {tokens} hold different numbers of clips; write all of them anew.")
    return arrays, stored


def _write_silent(arrays: Arrays, stored: Arrays, data: Path, wanted: int, room: int) -> tuple[int, int]:
    """Pack the first clips of notes alone into ``silent.npz``; how many were kept, and captions of each."""
    embeds, row = arrays["silent_text_embed"], np.arange(len(stored["settings"])) - len(arrays["split"])
    kept, captions = wanted, embeds.shape[1]

    def size() -> int:
        values, scale = pack_vectors(embeds[:kept, :captions])
        notes = pack_notes(stored, (row >= 0) & (row < kept))
        return _save(data / "silent.npz", notes | {"text_embed": values, "text_embed_scale": scale})

    while (taken := size()) > room and kept:
        if captions > LEAST_CAPTIONS:
            captions -= 1
        else:
            kept = min(kept - 1, int(0.995 * kept * max(0, room) / taken))
    return kept, captions


def _save(path: Path, arrays: Arrays) -> int:
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
    return path.stat().st_size


def read_tokens(data: Path, out: Path) -> None:
    """Unpack into the folder that ``backend.musiclm.train semantic|acoustic --tokens`` reads; once is enough."""
    if (out / "split.npy").exists():  # written last
        return
    out.mkdir(parents=True, exist_ok=True)
    layout = json.loads((data / "layout.json").read_text(encoding="utf-8"))
    packed = np.load(data / "acoustic.npy")
    np.save(out / "acoustic.npy", unpack_bits(packed, layout["bits"], tuple(layout["shape"])))
    parts = []
    for name in ("sounding", "silent"):
        with np.load(data / f"{name}.npz") as archive:
            parts.append({key: archive[key] for key in archive.files})
    sounding, silent = parts
    np.save(out / "codebooks.npy", unpack_tables(sounding)[: layout["shape"][-1]])
    np.save(out / "audio_embed.npy", _unpack_vectors(sounding, "audio_embed"))
    np.save(out / "text_embed.npy", _unpack_vectors(sounding, "text_embed"))
    captions = _unpack_vectors(silent, "text_embed")
    again = np.arange(layout["captions"]) % max(1, captions.shape[1])  # as many for every clip: the first ones again
    np.save(out / "silent_text_embed.npy", captions[:, again])
    np.savez(out / "notes.npz", **_joined(sounding, silent))  # type: ignore[arg-type]
    np.save(out / "split.npy", sounding["split"])


def _unpack_vectors(part: Arrays, name: str) -> npt.NDArray[np.float16]:
    vectors = part[name].astype(np.float32) * part[f"{name}_scale"][..., None].astype(np.float32)
    return vectors.astype(np.float16)


def _joined(sounding: Arrays, silent: Arrays) -> Arrays:
    """What ``notes.npz`` holds (see `backend.musiclm.tokenise.write_notes`): the sounding clips, then the others."""
    out = {name: np.concatenate([sounding[name], silent[name]]) for name in ("settings", "lead_in_s")}
    unpacked = [unpack_notes(sounding), unpack_notes(silent)]
    for name in ("players", "ticks", "codes"):
        lengths = np.concatenate([part["n_players" if name == "players" else "n_notes"] for part in (sounding, silent)])
        out |= {name: np.concatenate([part[name] for part in unpacked]), f"{name}_starts": _starts(lengths)}
    return out | {"notes": unpack_heard(sounding), "notes_starts": _starts(sounding["n_heard"])}


def _starts(lengths: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
