"""Pieces of the corpus for a training kit: player by player, as differences, since that is how music repeats itself.

Sorted so, a note deflates to little more than a byte. What is written in ticks comes back exactly and in its order,
true times come back to half a millisecond. The rows of all clips lie end to end and are handled at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from backend.musiclm.events import NOTE
from backend.musiclm.kit_notes import TICKS_PER_S, ticks_of

Arrays = dict[str, npt.NDArray[Any]]


def _rows(stored: Arrays, name: str, chosen: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Values of the chosen rows of a ragged array, end to end, and the length of each row."""
    lengths = np.diff(stored[f"{name}_starts"])
    chosen = chosen[: len(lengths)]
    return stored[name][np.repeat(chosen, lengths)], lengths[chosen]


def _ranks(players: npt.NDArray[Any], n_players: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Place of each instrument among the players of its clip, ``[clips, 256]``; of two that are alike the first's."""
    table = np.zeros((len(n_players), 256), np.uint8)
    clip = np.repeat(np.arange(len(n_players)), n_players)
    place = np.arange(len(clip)) - np.repeat(np.cumsum(n_players) - n_players, n_players)
    table[clip[::-1], players[::-1, 1]] = place[::-1]
    return table


def pack_notes(stored: Arrays, chosen: npt.NDArray[np.bool_]) -> Arrays:
    """What ``notes.npz`` of `backend.musiclm.tokenise` holds of the chosen clips' pieces, notes player by player.

    Args:
        stored: its arrays.
        chosen: ``[clips]``, those with sound first.

    Raises:
        ValueError: a clip of more than 65,535 ticks.
    """
    players, n_players = _rows(stored, "players", chosen)
    ticks, n_notes = _rows(stored, "ticks", chosen)
    codes, _ = _rows(stored, "codes", chosen)
    clip = np.repeat(np.arange(len(n_notes)), n_notes)
    rank = _ranks(players, n_players)[clip, codes[:, 0]]
    order = np.lexsort((rank, clip))
    back = order[np.lexsort((rank[order], ticks[order], clip))]
    plain = np.zeros(len(n_notes), bool)  # two players of one instrument may share a moment with one between them
    plain[clip[back != np.arange(len(back))]] = True
    order = np.lexsort((np.where(plain[clip], 0, rank), clip))
    out = {"players": players, "n_players": n_players, "n_notes": n_notes, "plain": plain}
    out |= {"ticks": _steps(ticks[order]), "codes": np.ascontiguousarray(codes[order].T)}
    return out | {name: stored[name][chosen] for name in ("settings", "lead_in_s")}


def unpack_notes(part: Arrays) -> Arrays:
    """Players, ticks and codes as `pack_notes` found them, end to end."""
    clip = np.repeat(np.arange(len(part["n_notes"])), part["n_notes"])
    ticks, codes = np.cumsum(part["ticks"], dtype=np.uint16), part["codes"].T
    rank = np.where(part["plain"][clip], 0, _ranks(part["players"], part["n_players"])[clip, codes[:, 0]])
    order = np.lexsort((rank, ticks, clip))
    return {"players": part["players"], "ticks": ticks[order].astype(np.int32), "codes": codes[order]}


def pack_heard(stored: Arrays, chosen: npt.NDArray[np.bool_]) -> Arrays:
    """Notes of the chosen clips with sound at their true times, player by player."""
    notes, n_heard = _rows(stored, "notes", chosen)
    clip = np.repeat(np.arange(len(n_heard)), n_heard)
    rank = _ranks(*_rows(stored, "players", chosen))[clip, notes["instrument"]]
    notes = notes[np.lexsort((rank, clip))]
    out: Arrays = {f"heard_{name}": notes[name] for name in NOTE.names or ()}
    out |= {"heard_onset_s": _steps(ticks_of(notes["onset_s"])), "heard_duration_s": ticks_of(notes["duration_s"])}
    return out | {"n_heard": n_heard}


def unpack_heard(part: Arrays) -> npt.NDArray[np.void]:
    """The notes, dtype `NOTE`, by onset in each clip."""
    onset = np.cumsum(part["heard_onset_s"], dtype=np.uint16)
    out = np.zeros(len(onset), NOTE)
    for name in NOTE.names or ():
        out[name] = part[f"heard_{name}"]
    out["onset_s"], out["duration_s"] = onset / TICKS_PER_S, part["heard_duration_s"] / TICKS_PER_S
    return out[np.lexsort((onset, np.repeat(np.arange(len(part["n_heard"])), part["n_heard"])))]


def _steps(values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    """Differences modulo 65,536, which are enough for values below that.

    Raises:
        ValueError: a value is not.
    """
    if values.size and (int(values.min()) < 0 or int(values.max()) >> 16):
        raise ValueError(f"times from {values.min()} to {values.max()} do not fit into 16 bits")
    return np.diff(values.astype(np.int64), prepend=0).astype(np.uint16)
