"""One clip from start to end: arrange, play, render, describe, write."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backend.audio.io import write
from backend.audio.waveform import Waveform
from backend.corpus.arrangement import CLIP_S, ROLES, Arrangement
from backend.corpus.bands import band_arrangement
from backend.corpus.captions import captions
from backend.corpus.grooves import Groove, machine_groove, read_grooves
from backend.corpus.metadata import clip_metadata
from backend.corpus.miniatures import miniature
from backend.corpus.perform import LEAD_IN_S, PerformedPart, perform
from backend.corpus.render import ROOMS, SAMPLE_RATE, Synth, draw_gain, render
from backend.corpus.score_cache import load_score, split_of
from backend.corpus.score_clips import score_arrangement
from backend.corpus.scores import Score
from backend.errors import NeuromuseError

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
KINDS = {"score": 0.45, "band": 0.45, "miniature": 0.10}
MACHINE_GROOVES = 120
TRIES = 4


@dataclass
class Library:
    """Everything clips are made from, by split; one copy a process."""

    scores: dict[str, list[Score]]
    grooves: dict[str, list[Groove]]
    synths: list[Synth] = field(default_factory=list)

    @classmethod
    def load(cls, data: Path, cache: Path, pieces: Sequence[str], soundfonts: Sequence[Path]) -> Library:
        """Read the planned pieces, the grooves and the soundfonts.

        Raises:
            NeuromuseError: no soundfont can be read.
        """
        scores: dict[str, list[Score]] = {s: [] for s in SPLITS}
        for name in pieces:
            score = load_score(cache / name)
            scores[split_of(score.source)].append(score)
        grooves: dict[str, list[Groove]] = {s: [] for s in SPLITS}
        played = read_grooves(data / "groove") if (data / "groove" / "info.csv").is_file() else []
        for groove in [*played, *(machine_groove(i) for i in range(MACHINE_GROOVES))]:
            grooves[groove.split].append(groove)
        synths = []
        for path in soundfonts:
            try:
                synths.append(Synth.load(path))
            except NeuromuseError as error:
                logger.warning("%s", error)
        if not synths:
            raise NeuromuseError("None of the soundfonts can be read.")
        return cls(scores, grooves, synths)


Play = Callable[[str, Library, np.random.Generator], tuple[Arrangement, list[PerformedPart]]]
"""What one clip is: split, library and randomness → arrangement and performance."""


def clip_rng(seed: int, clip_id: str) -> np.random.Generator:
    """The clip's own generator: a function of the build's seed and the clip's id only."""
    digest = hashlib.sha256(f"{seed}/{clip_id}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


def arrange(split: str, library: Library, rng: np.random.Generator) -> Arrangement:
    """A random arrangement of the split, of the kinds that its sources allow."""
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    held_out = split != "train"
    if kind == "score" and library.scores[split]:
        return score_arrangement(library.scores[split], rng)
    if kind == "miniature" or not library.grooves[split]:
        return miniature(library.grooves[split], held_out, rng)
    return band_arrangement(library.grooves[split], held_out, rng)


def make_clip(clip_id: str, seed: int, library: Library, out: Path, play: Play | None = None) -> dict[str, Any]:
    """Arrange, play, render and write one clip.

    Args:
        clip_id: begins with the split.
        seed: of the build.
        library: what it is made from.
        out: folder of the build.
        play: draws what is played; anything the corpus has if omitted.

    Returns:
        Its metadata line.
    """
    rng = clip_rng(seed, clip_id)
    split = clip_id.split("_")[0]
    for attempt in range(TRIES):
        arrangement, parts = (play or play_any)(split, library, rng)
        try:
            mix = render(parts, library.synths, rng)
            break
        except NeuromuseError:
            # A soundfont may lack an instrument's outermost notes: draw another arrangement.
            if attempt == TRIES - 1:
                raise
    audio, notes = Path("audio", split, f"{clip_id}.wav"), Path("notes", f"{clip_id}.npz")
    for path in (audio, notes):
        (out / path).parent.mkdir(parents=True, exist_ok=True)
    _write_notes(out / notes, arrangement, parts)
    write(Waveform(mix.samples, SAMPLE_RATE), out / audio)
    meta: dict[str, Any] = {"id": clip_id, "audio": str(audio), "notes": str(notes), "split": split}
    meta |= clip_metadata(arrangement, parts, mix.gains_db, rng)
    meta |= {"soundfont": mix.soundfont, "room": mix.room}
    return captioned(meta, seed)


def make_silent_clip(clip_id: str, seed: int, library: Library, out: Path, play: Play | None = None) -> dict[str, Any]:
    """Arrange, play and write one training clip as notes alone, with the balance and the room it might have had.

    The arguments are those of `make_clip`.

    Returns:
        Its metadata line.
    """
    rng = clip_rng(seed, clip_id)
    arrangement, parts = (play or play_any)("train", library, rng)
    notes = Path("notes", f"{clip_id}.npz")
    (out / notes).parent.mkdir(parents=True, exist_ok=True)
    _write_notes(out / notes, arrangement, parts)
    meta: dict[str, Any] = {"id": clip_id, "audio": "", "notes": str(notes), "split": "train"}
    meta |= clip_metadata(arrangement, parts, [draw_gain(part, parts, rng) for part in parts], rng)
    meta |= {"soundfont": str(rng.choice([s.name for s in library.synths])), "room": str(rng.choice(list(ROOMS)))}
    return captioned(meta, seed)


def play_any(split: str, library: Library, rng: np.random.Generator) -> tuple[Arrangement, list[PerformedPart]]:
    """A random arrangement of the split and its performance, without silent parts."""
    arrangement = arrange(split, library, rng)
    arrangement.parts = [p for p in arrangement.parts if len(p.notes)]
    return arrangement, [p for p in perform(arrangement, rng) if len(p.notes)]


def captioned(meta: dict[str, Any], seed: int) -> dict[str, Any]:
    """The metadata with its captions, which depend on the build's seed, the clip's id and what is true of it only."""
    meta["captions"], meta["caption_unseen"] = captions(meta, clip_rng(seed, f"{meta['id']}/captions"))
    return meta


def _write_notes(path: Path, arrangement: Arrangement, parts: Sequence[PerformedPart]) -> None:
    """What sounds and when: the supervision of networks that listen."""
    columns: dict[str, list[np.ndarray[Any, Any]]] = {}
    for index, part in enumerate(parts):
        n = len(part.notes)
        constant = {
            "program": (part.instrument.program, np.uint8),
            "is_drum": (part.instrument.is_drum, np.bool_),
            "part": (index, np.uint8),
            "role": (ROLES.index(part.role), np.uint8),
        }
        for name in part.notes.dtype.names or ():
            columns.setdefault(name, []).append(part.notes[name])
        for name, (value, kind) in constant.items():
            columns.setdefault(name, []).append(np.full(n, value, kind))
    joined: dict[str, Any] = {name: np.concatenate(values) for name, values in columns.items()}
    order = np.argsort(joined["onset_s"], kind="stable")
    beat_s = 60.0 / arrangement.tempo_bpm
    beats = np.arange(0, arrangement.n_beats) * beat_s + LEAD_IN_S
    downbeats = (
        np.arange(arrangement.first_downbeat, arrangement.n_beats, arrangement.beats_per_bar) * beat_s + LEAD_IN_S
    )
    np.savez(
        path,
        beats_s=beats[beats < CLIP_S].astype(np.float32),
        downbeats_s=downbeats[downbeats < CLIP_S].astype(np.float32),
        **{name: values[order] for name, values in joined.items()},
    )
