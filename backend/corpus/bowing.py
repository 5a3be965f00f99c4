"""How a bowed line is played: register, motion, articulation and texture of its notes, and the words for them.

The same definitions serve notes that were rendered and notes that were heard, so that a caption means one thing
whichever it came from. A note array has the fields ``onset_s``, ``duration_s`` and ``pitch``; notes that begin within
`TOGETHER_S` of each other are one chord, and the line is made of the highest note of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from backend.corpus.wording import Words

Notes = npt.NDArray[np.void]
Array = npt.NDArray[Any]

REGISTER: dict[str, Words] = {
    "train": {
        "low": ("low register", "low notes", "low range", "in the low register"),
        "middle": ("middle register", "mid range", "in the middle register"),
        "high": ("high register", "high notes", "in the high register"),
        "wide": ("wide range", "from low to high"),
    },
    "unseen": {
        "low": ("at the bottom of the fingerboard", "down deep"),
        "middle": ("around the centre of its compass",),
        "high": ("at the top of its compass", "soaring"),
        "wide": ("spanning several octaves", "over its whole compass"),
    },
}
MOTION: dict[str, Words] = {
    "train": {
        "static": ("repeated notes", "static line", "staying on one note"),
        "stepwise": ("stepwise", "stepwise melody", "moving by step", "smooth steps"),
        "leaping": ("leaps", "leaping melody", "wide intervals"),
        "arpeggiated": ("arpeggios", "arpeggiated", "broken chords"),
        "runs": ("scale runs", "running scales", "runs"),
    },
    "unseen": {
        "static": ("hardly leaving its note", "hovering on a single pitch"),
        "stepwise": ("walking up and down the scale", "note next to note"),
        "leaping": ("jumping about", "bounding from note to note"),
        "arpeggiated": ("chords taken one note at a time", "rolling chord figures"),
        "runs": ("cascading scales", "unbroken passagework"),
    },
}
ARTICULATION: dict[str, Words] = {
    "train": {
        "sustained": ("long bows", "sustained notes", "long held notes", "long bow strokes"),
        "legato": ("legato", "smooth bowing", "slurred", "legato line"),
        "detached": ("detached", "separate bows", "détaché"),
        "staccato": ("staccato", "short bows", "bouncing bow", "spiccato"),
        "pizzicato": ("pizzicato", "plucked"),
    },
    "unseen": {
        "sustained": ("bow never leaving the string", "drawn-out tones"),
        "legato": ("flowing from note to note", "joined-up notes"),
        "detached": ("a bow stroke for every note", "cleanly parted notes"),
        "staccato": ("clipped little notes", "off the string"),
        "pizzicato": ("picked with the finger", "no bow, only fingers"),
    },
}
TEXTURE: dict[str, Words] = {
    "train": {"double_stops": ("double stops", "two strings at once", "chords")},
    "unseen": {"double_stops": ("in two voices", "harmonising with itself")},
}
WORDS: Mapping[str, Mapping[str, Words]] = {
    "register": REGISTER,
    "motion": MOTION,
    "articulation": ARTICULATION,
    "texture": TEXTURE,
}
"""Attribute → split (``train`` or ``unseen``) → value → words. A value that has no words (``mixed``) is not said.

The words say what is played and never by what, nor how fast, which others of `backend.corpus.wording` do.
"""

TOGETHER_S = 0.06
LONGEST_STEP_S = 2.0  # from one onset to the next; beyond it a phrase has ended
LOW_BELOW, HIGH_FROM, WIDE_SPAN = 64.0, 77.0, 24
"""MIDI pitch: below E4 is the low register of a violin, from F5 on the high one; two octaves are a wide range."""

LEGATO_FROM, STACCATO_BELOW = 0.9, 0.62
"""Sounding share of the time to the next onset (0.9 leaves 50 ms of a half-second note for the change of bow)."""

SUSTAINED_FROM_S = 0.6
RUN_STEP_S = 0.3
CHORDS_SHARE = 0.25


@dataclass(frozen=True)
class PitchRange:
    """Lowest and highest MIDI pitch, and the register: ``low``, ``middle``, ``high``, or ``wide`` for two octaves."""

    low: int
    high: int
    register: str


def line_of(notes: Notes) -> Notes:
    """The highest note of each group that begins together, in order of time."""
    if len(notes) == 0:
        return notes
    notes = notes[np.argsort(notes["onset_s"], kind="stable")]
    onsets = notes["onset_s"].astype(np.float64)
    group, start = np.zeros(len(notes), int), onsets[0]
    for i in range(1, len(notes)):
        if onsets[i] - start > TOGETHER_S:
            start = onsets[i]
            group[i:] += 1
    order = np.lexsort((-notes["pitch"].astype(int), group))
    return notes[order[np.unique(group[order], return_index=True)[1]]]


def range_of(notes: Notes) -> PitchRange:
    """Range of all notes; the register is that of the time-weighted middle of the pitches.

    Raises:
        ValueError: no notes.
    """
    if len(notes) == 0:
        raise ValueError("a range needs at least one note")
    pitch, weight = notes["pitch"].astype(int), np.maximum(notes["duration_s"].astype(np.float64), 1e-3)
    low, middle, high = _quantiles(pitch, weight, (0.04, 0.5, 0.96))
    if high - low >= WIDE_SPAN:
        register = "wide"
    else:
        register = "low" if middle < LOW_BELOW else "high" if middle >= HIGH_FROM else "middle"
    return PitchRange(int(pitch.min()), int(pitch.max()), register)


def motion_of(notes: Notes) -> str:
    """How the line moves: ``static``, ``stepwise``, ``leaping``, ``arpeggiated``, ``runs`` or ``mixed``.

    Static: two thirds of the steps repeat a note, or all stay within a whole tone. Stepwise: two thirds of the moves
    are of one or two semitones; such moves are runs when half of them go on in the same direction as the one before
    and the notes are shorter than 0.3 s. Leaping: half of the moves are of three semitones or more; they are
    arpeggiated when most of the leaps lie within an octave and come in pairs in one direction, or the same three or
    four pitch classes turn over.
    """
    line = line_of(notes)
    if len(line) < 3:
        return "static" if len(line) and np.ptp(line["pitch"].astype(int)) == 0 else "mixed"
    moves = np.diff(line["pitch"].astype(int))
    steps_s = np.diff(line["onset_s"].astype(np.float64))
    if np.mean(moves == 0) >= 2 / 3 or np.ptp(line["pitch"].astype(int)) <= 2:
        return "static"
    going = moves[moves != 0]
    size = np.abs(going)
    same = np.sign(going[1:]) == np.sign(going[:-1])
    if np.mean(size <= 2) >= 2 / 3:
        onward = float(same.mean()) if len(same) else 0.0
        return "runs" if onward >= 0.5 and np.median(steps_s) < RUN_STEP_S and len(going) >= 6 else "stepwise"
    leaps = (size >= 3) & (size <= 12)
    if np.mean(size >= 3) < 0.5:
        return "mixed"
    paired = leaps[1:] & leaps[:-1]
    # a triad or seventh chord taken apart: neighbours are leaps, and go on in one direction more often than a zigzag
    broken = float(np.mean(paired)) if len(paired) else 0.0
    onward = float(same[paired].mean()) if paired.any() else 0.0
    return "arpeggiated" if broken >= 0.4 and onward >= 0.45 else "leaping"


def articulation_of(notes: Notes) -> str:
    """``sustained``, ``legato``, ``detached``, ``staccato``, or ``mixed`` where there is nothing to compare.

    The sounding share of the time to the next onset, in the middle of all notes of the line; rests after a phrase
    (more than two seconds) do not count. Legato notes of 0.6 s and more are sustained: long bows.
    """
    line = line_of(notes)
    if len(line) == 0:
        return "mixed"
    duration = line["duration_s"].astype(np.float64)
    if len(line) == 1:
        return "sustained" if duration[0] >= SUSTAINED_FROM_S else "mixed"
    step = np.diff(line["onset_s"].astype(np.float64))
    near = (step > 0.02) & ((step <= LONGEST_STEP_S) | (duration[:-1] >= LEGATO_FROM * step))
    if not near.any():
        return "mixed"
    share = float(np.median(np.minimum(duration[:-1][near] / step[near], 1.0)))
    if share >= LEGATO_FROM:
        return "sustained" if float(np.median(step[near])) >= SUSTAINED_FROM_S else "legato"
    return "staccato" if share < STACCATO_BELOW else "detached"


def texture_of(notes: Notes) -> str:
    """``double_stops`` when a quarter of the notes of the line have another sounding for half of their length."""
    line = line_of(notes)
    if len(line) == len(notes):
        return "single"
    start, stop = notes["onset_s"].astype(np.float64), (notes["onset_s"] + notes["duration_s"]).astype(np.float64)
    doubled = 0
    for note in line:
        onset, length = float(note["onset_s"]), max(float(note["duration_s"]), 1e-3)
        overlap = np.minimum(stop, onset + length) - np.maximum(start, onset)
        doubled += bool((overlap[notes["pitch"] != note["pitch"]] >= 0.5 * length).any())
    return "double_stops" if doubled >= CHORDS_SHARE * len(line) else "single"


def words_of(attribute: str, value: str, split: str, rng: np.random.Generator) -> str:
    """One wording of a value, or an empty string for one that is not said.

    Args:
        attribute: a key of `WORDS`.
        value: such as ``legato``.
        split: ``train`` or ``unseen``.
        rng: source of randomness.
    """
    words = WORDS[attribute][split].get(value, ())
    return words[int(rng.integers(len(words)))] if words else ""


def _quantiles(values: Array, weights: Array, shares: tuple[float, ...]) -> tuple[float, ...]:
    """The values below which each share of the weight lies."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    places = np.searchsorted(total, np.array(shares) * total[-1])
    return cast("tuple[float, ...]", tuple(float(v) for v in values[order][np.minimum(places, len(values) - 1)]))
