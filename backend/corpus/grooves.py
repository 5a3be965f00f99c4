"""Performed drum grooves (Groove MIDI Dataset layout: ``info.csv`` and MIDI files) in beats, with their microtiming."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np

from backend.corpus.arrangement import Notes, as_notes

_STYLES = {
    "rock": "rock", "punk": "rock", "blues": "rock", "funk": "funk", "neworleans": "funk", "afrobeat": "funk",
    "jazz": "jazz", "latin": "latin", "afrocuban": "latin", "highlife": "latin", "hiphop": "hip-hop", "soul": "soul",
    "gospel": "soul", "reggae": "reggae", "country": "country", "pop": "pop", "dance": "electronic",
}  # fmt: skip
# The electronic kit's own rim and edge zones, as General MIDI numbers.
_KIT = {22: 42, 26: 46, 58: 43}
_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
_TIMEKEEPERS = (42, 44, 46, 51, 53, 54, 59, 69, 70)
DRUM_HOLD = 0.12  # beats a drum note is held; drums ignore it


@dataclass(frozen=True)
class Groove:
    """A drum performance: hits in beats from a bar line, whole bars of 4/4, at ``bpm`` as played."""

    source: str
    style: str
    split: str
    bpm: float
    n_beats: int
    swung: bool
    notes: Notes

    @property
    def licence(self) -> str:
        """Of the performance; programmed patterns are the project's own."""
        return "CC0" if self.source.startswith("programmed/") else "CC BY 4.0"


def read_grooves(root: Path) -> list[Groove]:
    """All 4/4 grooves (not fills) of at least four bars listed in ``root/info.csv``.

    The split is the dataset's own.

    Raises:
        FileNotFoundError: no ``info.csv``.
    """
    grooves = []
    with (root / "info.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            style = _STYLES.get(row["style"].split("/")[0])
            path = root / row["midi_filename"]
            if style is None or row["beat_type"] != "beat" or row["time_signature"] != "4-4" or not path.is_file():
                continue
            notes = read_drums(path)
            n_beats = int(notes[-1, 0] + 0.5) // 4 * 4 if len(notes) else 0
            if n_beats < 16:
                continue
            notes = notes[notes[:, 0] < n_beats - 0.1]
            split = _SPLITS[row["split"]]
            source = f"groove/{row['id']}"
            grooves.append(Groove(source, style, split, float(row["bpm"]), n_beats, is_swung(notes), notes))
    return grooves


def read_drums(path: Path) -> Notes:
    """Hits of one drum MIDI file, times in beats; the dataset records against a click, so ticks are beats."""
    midi = mido.MidiFile(path)
    rows: list[tuple[float, float, float, float]] = []
    for track in midi.tracks:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "note_on" and message.velocity > 0:
                pitch = _KIT.get(message.note, message.note)
                rows.append((tick / midi.ticks_per_beat, DRUM_HOLD, pitch, message.velocity))
    return as_notes(rows)


def is_swung(notes: Notes) -> bool:
    """Whether off-beat hits fall nearer the second triplet than the half beat."""
    position = notes[:, 0] % 1.0
    triplet = np.mean(np.abs(position - 0.667) < 0.06)
    straight = np.mean(np.abs(position - 0.5) < 0.06)
    return bool(triplet > straight)


def looped(groove: Groove, n_beats: float, start_bar: int) -> Notes:
    """Hits of ``n_beats`` beats from a bar on, the performance repeating from its beginning when it ends."""
    out = []
    shift = -4.0 * start_bar
    while shift < n_beats:
        rows = groove.notes.copy()
        rows[:, 0] += shift
        out.append(rows)
        shift += groove.n_beats
    notes = np.concatenate(out)
    # A hit slightly before the first beat belongs to a bar that is not played.
    return notes[(notes[:, 0] > -0.05) & (notes[:, 0] < n_beats)]


def thinned(notes: Notes) -> Notes:
    """Hits without the hats, rides and ghost notes off the beat: how slow ballads are played, and felt slow."""
    off_beat = np.abs(notes[:, 0] - np.round(notes[:, 0])) > 0.14
    return notes[~(off_beat & (np.isin(notes[:, 2], _TIMEKEEPERS) | (notes[:, 3] < 50)))]


def machine_groove(index: int) -> Groove:
    """A programmed pattern of four bars: dance music is not played by hand. Same index, same pattern."""
    rng = np.random.default_rng([index, 909])
    rows: list[tuple[float, float, float, float]] = []
    hat, offbeat_open = int(rng.choice([42, 42, 44])), bool(rng.random() < 0.6)
    clap = int(rng.choice([39, 38, 40]))
    four_floor = rng.random() < 0.75
    sixteenths = rng.random() < 0.4
    broken = sorted(rng.choice(np.arange(1, 16), 3, replace=False) / 4)
    extra = sorted(rng.choice(np.arange(16), 3, replace=False) / 4)
    for bar in range(4):
        at = 4.0 * bar
        kicks = [0.0, 1.0, 2.0, 3.0] if four_floor else [0.0, *broken]
        rows += [(at + k, DRUM_HOLD, 36, 112) for k in kicks]
        rows += [(at + b, DRUM_HOLD, clap, 100) for b in (1.0, 3.0)]
        rows += [(at + b + 0.5, DRUM_HOLD, 46 if offbeat_open else hat, 84) for b in range(4)]
        if sixteenths:
            rows += [(at + s / 4, DRUM_HOLD, hat, 60 if s % 4 else 74) for s in range(16) if s % 4 != 2]
        rows += [(at + e, DRUM_HOLD, int(rng.choice([37, 70, 56])), 62) for e in extra]
        if bar == 3 and rng.random() < 0.6:
            rows += [(at + 3 + s / 4, DRUM_HOLD, 38, 70 + 12 * s) for s in range(4)]
    split = "test" if index % 20 == 0 else "valid" if index % 20 == 1 else "train"
    return Groove(f"programmed/{index}", "electronic", split, 124.0, 16, False, as_notes(rows))
