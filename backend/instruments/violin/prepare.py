"""Everything before the first step of training: clips read, transcribed, captioned, coded and divided, replay made."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.audio.transcribe import Transcription, transcribe
from backend.errors import AudioError, RequestError
from backend.instruments.violin.clips import Clip, read_clips
from backend.instruments.violin.describe import caption_of, describe
from backend.instruments.violin.examples import (
    WORDINGS,
    Example,
    Maker,
    load_examples,
    nearest_instrument,
    nearest_sound,
    save_examples,
    shifted,
    with_sound,
)
from backend.instruments.violin.objective import TrainingData
from backend.instruments.violin.replay import make_replay
from backend.instruments.violin.status import StatusFile
from backend.job import Job, Step
from backend.musiclm.generator import MusicGenerator

logger = logging.getLogger(__name__)

LOW_HZ, HIGH_HZ = 65.0, 3000.0
SHIFTS = (0, -1, 1)  # semitones that recordings are moved by: a violin a semitone away is a violin still
VALID_SHARE = 0.15
LEAST_CLIPS, LEAST_NOTES = 2, 4


@dataclass(frozen=True)
class Prepared:
    """What training needs.

    Attributes:
        data: examples.
        caption: of a clip, for the samples on the way.
        sound: code of soundfont and room that the recordings were nearest to.
        notes: what was done to the clips, in sentences.
    """

    data: TrainingData
    caption: str
    sound: int
    notes: tuple[str, ...]


def prepare(models: MusicGenerator, options: argparse.Namespace, status: StatusFile) -> Prepared:
    """Read or make everything; what was made once is read again.

    Raises:
        RequestError, AudioError: clips that cannot be used.
        Cancelled: it was asked to stop.
    """
    out: Path = options.out
    plan = out / "plan.json"
    if not plan.exists():
        _make(models, options, status)
    facts = json.loads(plan.read_text(encoding="utf-8"))
    train, valid, replay = (load_examples(out / f"{name}.npz") for name in ("train", "valid", "replay"))
    data = TrainingData(train, valid, replay)
    return Prepared(data, facts["caption"], facts["sound"], tuple(facts["notes"]))


def _make(models: MusicGenerator, options: argparse.Namespace, status: StatusFile) -> None:
    maker = Maker(models.codec, models.mulan)
    clips = read_clips(options.clips, options.csv) if options.clips is not None else []
    status.step(0, 1, f"Read {len(clips)} clips", force=True)
    heard, notes = _hear(clips, status)
    if len(heard) < LEAST_CLIPS and options.corpus is None:
        raise RequestError("clips", len(heard), "two or more with a melody that can be heard")
    captions = {clip.name: captions_of(clip, found) for clip, found in heard}
    train_clips, valid_clips, how = divide([clip for clip, _ in heard], options.valid)
    notes += [how] if how else []
    train, valid = list[Example](), list[Example]()
    for number, (clip, found) in enumerate(heard):
        status.step(number, len(heard), "Coding the clips")
        held_out = clip.name in valid_clips
        assert held_out or clip.name in train_clips
        for semitones in (0,) if held_out else SHIFTS:
            waveform, moved = shifted(clip.waveform, found, semitones)
            player = nearest_instrument(clip.caption)
            (valid if held_out else train).append(
                maker.of_recording(waveform, moved, captions[clip.name], clip.source, player)
            )
    sound = nearest_sound(models, [e for e in train if e.codes is not None][:24])
    if options.corpus is not None:

        def report(done: int, total: int) -> None:
            status.step(done, total, "Reading the corpus")

        train += maker.of_corpus(options.corpus, options.corpus_clips, "train", report)
        valid += maker.of_corpus(options.corpus, 48, "valid", report)
    replay = make_replay(models, options.replay, options.seed, _job(status))
    for name, examples in (("train", train), ("valid", valid)):
        save_examples(options.out / f"{name}.npz", [with_sound(e, sound) for e in examples])
    save_examples(options.out / "replay.npz", replay)
    caption = next((captions[clip.name][0] for clip, _ in heard), "slow expressive line, minor key")
    facts = {"caption": caption, "sound": sound, "notes": notes}
    (options.out / "plan.json").write_text(json.dumps(facts), encoding="utf-8")


def _hear(clips: Sequence[Clip], status: StatusFile) -> tuple[list[tuple[Clip, Transcription]], list[str]]:
    """Clips with their notes; those in which none are heard are left out, with a sentence."""
    heard, notes = list[tuple[Clip, Transcription]](), [f"{c.name}: {n}" for c in clips for n in c.notes_of_cleaning]
    for number, clip in enumerate(clips):
        status.step(number, len(clips), "Listening for notes")
        try:
            found = clip.heard or transcribe(clip.waveform, low_hz=LOW_HZ, high_hz=HIGH_HZ)
        except AudioError as error:
            notes.append(f"{clip.name} is left out: {error}")
            continue
        if len(found.notes) < LEAST_NOTES:
            notes.append(f"{clip.name} is left out: fewer than {LEAST_NOTES} notes were heard in it.")
            continue
        heard.append((clip, found))
    return heard, notes


def captions_of(clip: Clip, heard: Transcription) -> list[str]:
    """What a clip may be called: its own caption first, then what is heard in it, in other words each time."""
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(clip.name.encode()).digest()[:4], "big"))
    found = describe(clip.waveform, heard)
    own = [] if clip.proposed or not clip.caption else [clip.caption] * 2
    return [*own, *(caption_of(found, rng) for _ in range(WORDINGS))]


def divide(clips: Sequence[Clip], wanted: Sequence[str]) -> tuple[set[str], set[str], str]:
    """Names of the clips to train and to validate on, whole recordings apart, and a sentence where that cannot be."""
    sources = sorted({clip.source for clip in clips}, key=lambda s: hashlib.sha256(s.encode()).digest())
    names = [clip.name for clip in clips]
    held_out = {s for s in sources if any(w in s for w in wanted)}
    if not held_out and len(sources) >= 4:
        for source in sources:
            if sum(clip.source in held_out for clip in clips) < VALID_SHARE * len(clips):
                held_out.add(source)
    if held_out and len(held_out) < len(sources):
        valid = {clip.name for clip in clips if clip.source in held_out}
        return set(names) - valid, valid, ""
    if len(clips) < LEAST_CLIPS:
        return set(names), set(), ""
    valid = set(names[-max(1, round(VALID_SHARE * len(names))) :])
    how = "There are too few recordings to keep one apart: the last clips are held out, from the same recordings."
    return set(names) - valid, valid, how


def _job(status: StatusFile) -> Job:
    """A job that reports to the status file."""

    def report(step: Step) -> None:
        status.step(step.done, step.total, step.message)

    return Job(report)
