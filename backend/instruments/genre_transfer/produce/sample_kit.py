"""Drum sounds of a folder of one-shots, of which each split hears its own, and grooves that drummers played."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.audio.io import read
from backend.corpus.grooves import Groove, looped, read_grooves
from backend.errors import AudioError, RequestError
from backend.instruments.genre_transfer.produce import drums
from backend.instruments.genre_transfer.produce.effects import RATE, saturated
from backend.instruments.genre_transfer.produce.kernels import Samples
from backend.instruments.genre_transfer.produce.kits import ROLES, DrumSet, SynthKit

logger = logging.getLogger(__name__)

NAMES: Mapping[str, tuple[str, ...]] = {
    "open": ("hhopen", "hihat-open", "openhat", "ohihat", "/oh", "univox-oh", "hat_gem", "cymbal_open", "hihat-open/"),
    "clap": ("clap", "/cp"),
    "rim": ("rim", "clave", "stick", "/rs", "wood", "tick", "perc_snap"),
    "shaker": ("shaker", "cabasa", "maraca", "tambo", "brush"),
    "crash": ("crash", "cymbal_hard", "splash", "cymbal/", "cymball"),
    "ride": ("ride",),
    "kick": ("kick", "bd_", "bass_hard", "bass_soft"),
    "snare": ("snare", "sn_", "univox-sd", "shortsn"),
    "tom": ("tom", "conga", "tabla"),
    "hat": ("hat", "hh", "univox-ch", "hit", "shorthi", "cymbal_closed", "cymbal_pedal"),
}
"""Role → parts of a path that say so; the first role that fits."""
HELD_OUT = {"LM-2": "test", "MFB-512": "test", "Casio-RZ1": "valid", "Roland-CR-8000": "valid"}
"""Drum machines that training never hears."""
BREAKS = {"loop_amen": "train", "loop_amen_full": "train", "loop_compus": "valid", "loop_breakbeat": "test"}
LONGEST_S = 1.6


class SampleKit:
    """One-shots below a folder (``drum_machines``, ``sonic_pi_samples``, ``groove`` in it) for one split.

    Args:
        root: the folder.
        split: ``train``, ``valid`` or ``test``; drum machines and single sounds of one are unknown to the others.

    Raises:
        RequestError: there are no kicks or snares.
    """

    def __init__(self, root: Path, split: str) -> None:
        self.name = "samples"
        self._synth = SynthKit()
        self._machines: dict[str, dict[str, list[Samples]]] = {}
        self._recordings: dict[str, list[Samples]] = {"break": [], "ambience": []}
        for path in sorted((*root.glob("drum_machines/**/*.ogg"), *root.glob("sonic_pi_samples/*.flac"))):
            self._take(path, root, split)
        if not self._pool("kick") or not self._pool("snare"):
            raise RequestError("data", str(root), "a folder with drum_machines or sonic_pi_samples")
        styles = ("hip-hop", "funk", "soul")
        found = read_grooves(root / "groove") if (root / "groove" / "info.csv").is_file() else []
        self._grooves: Sequence[Groove] = [
            g for g in found if g.split == split and g.style in styles and 70 <= g.bpm <= 125
        ]

    def draw(self, genre: str, rng: np.random.Generator) -> DrumSet:
        """Machine by machine, retuned; a quarter of the sounds, and what no machine has, are synthesised."""
        out = self._synth.draw(genre, rng)
        own = sorted(self._machines)
        favourite = own[int(rng.integers(len(own)))]
        for role in ROLES:
            if rng.random() < 0.25 or (genre == "hardstyle" and role == "kick" and rng.random() < 0.5):
                continue
            pool = self._machines[favourite].get(role) if rng.random() < 0.6 else None
            pool = pool or self._pool(role, rng)
            if pool:
                out[role] = _retuned(pool[int(rng.integers(len(pool)))], rng)
        if genre == "hardstyle":
            out["kick"] = _hardened(out["kick"], rng)
        return out

    def groove(self, rng: np.random.Generator, n_beats: float) -> npt.NDArray[Any] | None:
        """A hip-hop, funk or soul performance of the split."""
        if not self._grooves:
            return None
        return looped(self._grooves[int(rng.integers(len(self._grooves)))], n_beats, 0)

    def recording(self, kind: str, rng: np.random.Generator) -> Samples | None:
        """A drum break or an ambience of the split."""
        pool = self._recordings[kind]
        return pool[int(rng.integers(len(pool)))] if pool else None

    def _pool(self, role: str, rng: np.random.Generator | None = None) -> list[Samples]:
        """All sounds of a role, or those of one machine, so that a machine with many variants is not heard most."""
        having = [sounds[role] for _, sounds in sorted(self._machines.items()) if sounds.get(role)]
        if rng is not None and having:
            return having[int(rng.integers(len(having)))]
        return [sound for sounds in having for sound in sounds]

    def _take(self, path: Path, root: Path, split: str) -> None:
        name = path.relative_to(root).as_posix()
        machine = name.split("/")[1] if name.startswith("drum_machines") else "sonic_pi"
        stem = path.stem
        if machine == "sonic_pi":
            byte = hashlib.sha256(stem.encode()).digest()[0] % 8
            own = BREAKS.get(stem) or ("test" if byte == 0 else "valid" if byte == 1 else "train")
        else:
            own = HELD_OUT.get(machine, "train")
        kind = "break" if stem in BREAKS else "ambience" if stem.startswith("ambi_") else None
        role = next((role for role, parts in NAMES.items() if any(part in name.lower() for part in parts)), None)
        if own != split or (role is None and kind is None) or (kind is None and stem.startswith("loop_")):
            return
        try:
            sound = read(path, sample_rate=RATE, mono=True).samples[0]
        except AudioError as error:
            logger.warning("%s: %s", name, error)
            return
        sound = sound / max(1e-6, float(np.abs(sound).max()))
        if kind is not None:
            self._recordings[kind].append(sound)
        elif role is not None:
            self._machines.setdefault(machine, {}).setdefault(role, []).append(_trimmed(sound))


def _trimmed(sound: Samples) -> Samples:
    """From its first audible sample, at most `LONGEST_S`, faded out."""
    start = int(np.argmax(np.abs(sound) > 0.01))
    sound = sound[start : start + round(LONGEST_S * RATE)].copy()
    edge = min(1_000, len(sound))
    sound[len(sound) - edge :] *= np.linspace(1, 0, edge, dtype=np.float32)
    return sound


def _retuned(sound: Samples, rng: np.random.Generator) -> Samples:
    """Up to four semitones lower or higher, shorter or driven, by chance."""
    ratio = 2 ** (rng.normal(0, 1.6) / 12)
    at = np.arange(0, len(sound) - 1, ratio)
    out = np.interp(at, np.arange(len(sound)), sound).astype(np.float32)
    if rng.random() < 0.4:
        out = out * np.exp(-np.arange(len(out), dtype=np.float32) / RATE / rng.uniform(0.08, 0.4))
    if rng.random() < 0.4:
        out = saturated(out, rng.uniform(0.8, 3))
    return np.asarray(out / max(1e-6, float(np.abs(out).max())), np.float32)


def _hardened(sound: Samples, rng: np.random.Generator) -> Samples:
    """Any kick with a distorted, ringing tail."""
    base = drums.kick(rng, "hard")
    out = 0.7 * base
    out[: len(sound)] += 0.5 * saturated(sound[: len(base)] * 4, 4)
    return np.asarray(out / np.abs(out).max(), np.float32)
