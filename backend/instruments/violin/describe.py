"""What is played in a recording, and a caption that says it: register, motion, bow strokes, tempo, key.

The definitions and words are those of rendered clips (`backend.corpus.bowing`, `backend.corpus.wording`), so that a
caption means the same whoever plays. No caption names the instrument: that is what the adapter learns to supply.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.audio.loudness import integrated_lufs
from backend.audio.transcribe import Transcription
from backend.audio.waveform import Waveform
from backend.corpus.bowing import articulation_of, line_of, motion_of, range_of, texture_of, words_of
from backend.corpus.captions import Facts, pick, worded
from backend.corpus.metadata import mood
from backend.corpus.theory import measure_key, tempo_class
from backend.corpus.wording import DENSITY, DYNAMICS, MOOD
from backend.metrics.rhythm import estimate_tempo

Array = npt.NDArray[Any]

TEMPO_FITS_FROM = 0.35
"""Below this fit of the onsets the tempo is taken from the sound, and is not said to be felt."""

FAST_FROM = 2.5
"""Onsets a second that a fast tempo needs to be believed: a slow line in two voices often fits a fast grid as well."""

SOFT_BELOW_LUFS, LOUD_ABOVE_LUFS = -32.0, -12.0
"""A recording at its own level; one that was levelled lies between them and says nothing of dynamics."""

SPARSE_BELOW, BUSY_ABOVE = 1.8, 6.0  # onsets a second, as in the corpus
PLUCKED_DB_PER_S, PLUCKED_NOTE_S, ATTACK_S = (-120.0, -18.0), 0.25, 0.07
LEVEL_HOP_S = 0.01
SAID = {
    "tempo": 0.8, "mode": 0.7, "mood": 0.4, "density": 0.2,
    "articulation": 0.8, "motion": 0.6, "register": 0.6, "texture": 0.6,
}  # fmt: skip
"""How often a caption mentions each."""

LEAST_SAID, TRIES = 3, 12


@dataclass(frozen=True)
class Description:
    """What is heard in a clip.

    Attributes:
        pitch_low: lowest MIDI pitch, a thirtieth of the notes left out as misheard.
        pitch_high: highest, likewise.
        register: ``low``, ``middle``, ``high`` or ``wide``.
        motion: see `backend.corpus.bowing.motion_of`.
        articulation: see `backend.corpus.bowing.articulation_of`; ``pizzicato`` where notes die away as plucked ones.
        texture: ``single`` or ``double_stops``.
        dynamics: ``soft``, ``medium`` or ``loud``, by the level of the recording as it is given.
        tempo_class: ``slow``, ``medium``, ``fast``, or ``none``.
        tempo_bpm: beats a minute; 0 for none.
        tempo_felt: whether the onsets keep to a beat.
        mode: ``major``, ``minor`` or ``ambiguous``.
        key: such as ``D minor``; empty when ambiguous.
        density: ``sparse``, ``moderate`` or ``busy``.
    """

    pitch_low: int
    pitch_high: int
    register: str
    motion: str
    articulation: str
    texture: str
    dynamics: str
    tempo_class: str
    tempo_bpm: float
    tempo_felt: bool
    mode: str
    key: str
    density: str


def describe(waveform: Waveform, transcription: Transcription) -> Description:
    """What is played.

    Args:
        waveform: the clip.
        transcription: of the same clip; one note at least.

    Raises:
        ValueError: no notes.
    """
    notes = transcription.notes
    low, high = np.quantile(notes["pitch"], (0.03, 0.97), method="inverted_cdf")
    span = float(notes["onset_s"][-1] + notes["duration_s"][-1] - notes["onset_s"][0])
    rate = len(line_of(notes)) / max(span, 1.0)
    fits = transcription.tempo_fit >= TEMPO_FITS_FROM
    tempo_bpm = transcription.tempo_bpm if fits else estimate_tempo(waveform)
    speed = tempo_class(tempo_bpm) if tempo_bpm > 0 else "none"
    key = measure_key(notes["pitch"].astype(np.float64), notes["duration_s"].astype(np.float64))
    clear = key.clear and len(np.unique(notes["pitch"] % 12)) >= 4
    loudness = integrated_lufs(waveform)
    return Description(
        pitch_low=int(low),
        pitch_high=int(high),
        register=range_of(notes).register,
        motion=motion_of(notes),
        articulation="pizzicato" if is_plucked(waveform, notes) else articulation_of(notes),
        texture=texture_of(notes),
        dynamics="soft" if loudness < SOFT_BELOW_LUFS else "loud" if loudness > LOUD_ABOVE_LUFS else "medium",
        tempo_class=speed,
        tempo_bpm=tempo_bpm,
        tempo_felt=fits and not (speed == "fast" and rate < FAST_FROM),
        mode=key.mode if clear else "ambiguous",
        key=key.name if clear else "",
        density="sparse" if rate < SPARSE_BELOW else "busy" if rate > BUSY_ABOVE else "moderate",
    )


def caption_of(description: Description, rng: np.random.Generator) -> str:
    """A caption that mentions most of the truth and nothing else, and names no instrument.

    Args:
        description: what is heard.
        rng: chooses what is said and how; the same state gives the same caption.
    """
    for _ in range(TRIES):
        facts = _facts_of(description, rng)
        if len(facts.adjectives) + len(facts.tail) >= LEAST_SAID:
            break
    return worded(facts, rng, "train")


def _facts_of(description: Description, rng: np.random.Generator) -> Facts:
    """Some of the truths in words."""
    meta = asdict(description)

    def keep(what: str) -> bool:
        return bool(rng.random() < SAID[what])

    facts = Facts()
    if description.tempo_class != "none" and description.tempo_felt and keep("tempo"):
        facts.say_tempo(meta, "train", rng)
    if description.mode != "ambiguous" and keep("mode"):
        facts.say_mode(meta, "train", rng)
    feeling = mood(description.mode, description.tempo_class, description.dynamics, rng)
    if feeling and description.tempo_felt and keep("mood"):
        facts.adjectives.append(pick(MOOD["train"][feeling], rng))
    if description.dynamics != "medium":
        facts.adjectives.append(pick(DYNAMICS["train"][description.dynamics], rng))
    if description.density != "moderate" and keep("density"):
        facts.tail.append(pick(DENSITY["train"][description.density], rng))
    said = [
        words_of(attribute, meta[attribute], "train", rng)
        for attribute in ("articulation", "motion", "register", "texture")
        if keep(attribute)
    ]
    facts.tail += [words for words in said if words]
    if not facts.tail:
        facts.tail.append(words_of("register", description.register, "train", rng))
    rng.shuffle(facts.adjectives)
    rng.shuffle(facts.tail)
    return facts


def is_plucked(waveform: Waveform, notes: npt.NDArray[np.void]) -> bool:
    """Whether most notes of a quarter second and more are loudest at once and die away evenly, as plucked ones do.

    The slope of the level from the peak on lies between -120 and -18 dB a second and explains nine tenths of it; a bow
    keeps the level up until the note ends.
    """
    level = _level_db(waveform)
    plucked = counted = 0
    line = line_of(notes)
    following = np.append(line["onset_s"][1:], np.float32(waveform.duration_s)).astype(np.float64)
    for onset, after in zip(line["onset_s"].astype(np.float64), following, strict=True):
        if after - onset < PLUCKED_NOTE_S:
            continue
        start, stop = int(max(onset - 0.03, 0.0) / LEVEL_HOP_S), int(min(after - 0.03, onset + 0.8) / LEVEL_HOP_S)
        heard = level[start:stop]
        if len(heard) < 12:
            continue
        counted += 1
        peak = int(heard.argmax())
        fall = heard[peak : peak + 60]
        if peak * LEVEL_HOP_S > ATTACK_S + 0.03 or len(fall) < 12:
            continue
        times = np.arange(len(fall)) * LEVEL_HOP_S
        slope = float(np.polyfit(times, fall, 1)[0])
        straight = float(np.corrcoef(times, fall)[0, 1]) ** 2 if fall.std() > 0 else 0.0
        plucked += PLUCKED_DB_PER_S[0] <= slope <= PLUCKED_DB_PER_S[1] and straight > 0.9
    return counted >= 3 and plucked > 0.6 * counted


def _level_db(waveform: Waveform) -> Array:
    """Level of each 10 ms in dBFS."""
    samples = waveform.mono().samples[0].astype(np.float64)
    hop = round(LEVEL_HOP_S * waveform.sample_rate)
    frames = len(samples) // hop
    power = (samples[: frames * hop].reshape(frames, hop) ** 2).mean(1)
    level: Array = 10.0 * np.log10(np.maximum(power, 1e-10))
    return level
