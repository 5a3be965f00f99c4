"""``python -m backend.corpus.violin``: public scores → clips of a violin alone, as `backend.corpus.build` does.

The melodies of songs, first-violin parts of quartets, Chopin's upper voice in a violin's range, and Bach's sonatas and
partitas with their double stops; each in a random tempo and mode, bowed in one of five ways, through one of the
soundfonts. Split by piece as the corpus is; pieces of which recordings are trained on are never held out, and the one
whose recording is held out is never trained on.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.corpus.arrangement import Arrangement, Notes, Part, fit_range
from backend.corpus.bowing import articulation_of, motion_of, range_of, texture_of
from backend.corpus.build import done_clips
from backend.corpus.clips import SPLITS, Library, clip_rng, make_clip, make_silent_clip
from backend.corpus.instruments import BY_NAME, Instrument
from backend.corpus.perform import PERFORMED, PerformedPart, perform_part
from backend.corpus.render import Synth, find_soundfonts
from backend.corpus.score_cache import load_score, parse_all, split_of
from backend.corpus.score_clips import TEMPO_RANGES, draw_dynamics, draw_score, draw_window, set_mode, voices_of
from backend.corpus.scores import Score
from backend.corpus.violin_captions import origin_of, violin_captions
from backend.errors import NeuromuseError

logger = logging.getLogger(__name__)

BACH = "bach_violin"
SHARES = {"openscore_lieder": 0.36, "openscore_quartets": 0.2, "chopin_first_editions": 0.14, BACH: 0.3}
HELD_OUT = (f"{BACH}/bwv1003_mov4",)
"""Whose recording is held out."""
RECORDED = tuple(f"{BACH}/{name}" for name in ("bwv1002_mov6", "bwv1002_mov7", "bwv1002_mov8", "bwv1003_mov3"))
"""Whose recordings are trained on."""
VIOLINS = ("violin", "fiddle")
RIVALS = (
    "viola", "flute", "cello", "oboe", "viola", "clarinet", "string ensemble", "soprano sax", "trumpet", "cello",
    "pizzicato strings", "accordion", "viola", "saw lead", "voice oohs", "english horn", "synth strings", "recorder",
    "choir", "square lead",
)  # fmt: skip
"""Who may be mistaken for a violin; the likeliest occur more than once."""
CENTRES = (62.0, 69.0, 74.0, 79.0, 84.0)
FOLDED = 0.02
"""Share of a melody's notes that may be moved by an octave of their own."""
MOST_NOTES_PER_S = 10.5
LEAST_HELD_OUT = {"valid": 72, "test": 96}
TRIES = 24


@dataclass(frozen=True)
class Stroke:
    """A way to bow.

    Attributes:
        share: sounding share of the written durations, lowest and highest.
        accent: added to the velocity of every other note, at most.
        longest_beats: notes that are longer keep nine tenths.
        cut_beats: long notes are repeated this fast; 0 for never.
        probability: of being drawn.
    """

    share: tuple[float, float]
    probability: float
    accent: float = 0.0
    longest_beats: float = np.inf
    cut_beats: float = 0.0


STROKES = {
    "long bows": Stroke((0.96, 1.0), 0.24),
    "legato": Stroke((0.92, 0.99), 0.24),
    "détaché": Stroke((0.68, 0.86), 0.22, accent=4.0),
    "staccato": Stroke((0.32, 0.52), 0.15, longest_beats=1.5),
    "martelé": Stroke((0.5, 0.7), 0.1, accent=22.0, longest_beats=1.5),
    "tremolo": Stroke((0.86, 0.94), 0.05, cut_beats=0.25),
}


def find_bach(data: Path) -> list[tuple[Path, str]]:
    """Score files of whole movements below ``data`` with the names of their pieces; no variants, no whole works."""
    folder = data / BACH / "scores"
    return [(path, f"{BACH}/{path.stem}") for path in sorted(folder.glob("bwv*/bwv????_mov?.mxl"))]


def split_of_piece(source: str) -> str:
    """The corpus's split, except for pieces with recordings."""
    return "test" if source in HELD_OUT else "train" if source in RECORDED else split_of(source)


def violin_arrangement(
    scores: Sequence[Score], stroke: str, rng: np.random.Generator, rival: Instrument | None = None
) -> Arrangement:
    """A random window of a random piece for one violin, in a random tempo and mode.

    As `backend.corpus.score_clips.score_arrangement`, of which it is the soloist.

    Args:
        scores: the pieces of one split, at least one.
        stroke: how it will be bowed; long bows want long notes.
        rng: source of randomness.
        rival: who plays instead of a violin.
    """
    slow = stroke == "long bows" and rng.random() < 0.6
    tempi = "slow" if slow else str(rng.choice(list(TEMPO_RANGES)))
    mode = "minor" if rng.random() < 0.5 else "major"
    player = rival or BY_NAME["fiddle" if rng.random() < 0.1 else "violin"]
    shares = {name: SHARES.get(name, 0.1) for name in {score.source.split("/")[0] for score in scores}}
    best: tuple[float, Arrangement] | None = None
    score = scores[0]
    for attempt in range(TRIES):
        if attempt % 3 == 0:
            score = draw_score(scores, rng, shares)
        arrangement = _solo(score, float(rng.uniform(*TEMPO_RANGES[tempi])), mode, player, rng)
        if arrangement is None:
            continue
        points = arrangement.fitness(mode) - _unfit(arrangement, stroke)
        if best is None or points > best[0]:
            best = (points, arrangement)
        if points >= 3.0:
            break
    return violin_arrangement(scores, stroke, rng, rival) if best is None else best[1]


def _solo(
    score: Score, tempo_bpm: float, mode: str, player: Instrument, rng: np.random.Generator
) -> Arrangement | None:
    """One try; None when the window is unusable or too fast to play."""
    window = draw_window(score, tempo_bpm, rng)
    if window is None:
        return None
    chords = score.source.startswith(f"{BACH}/") and player.name in VIOLINS
    notes = window.notes if chords else _tune(window.notes, window.part, score)
    if len(notes) < 12 or len(np.unique(notes[:, 0])) / 30.0 > MOST_NOTES_PER_S:
        return None
    gaps = np.diff(np.concatenate([[0.0], np.unique(notes[:, 0])])) * 60 / tempo_bpm
    if gaps.max() > 4.0:
        return None
    centres = CENTRES if player.name in VIOLINS else ((player.low + player.high) / 2 + np.array([-7, 0, 7])).tolist()
    moved = _in_compass(notes, player) if chords else _placed(notes, player, float(rng.choice(centres)))
    arrangement = window.arrangement("solo", [Part(player, "lead", moved)])
    arrangement.style = origin_of(score.source)[0]
    arrangement.dynamics = draw_dynamics(rng)
    set_mode(arrangement, mode, rng)
    return arrangement


def _tune(notes: Notes, part: npt.NDArray[np.uint8], score: Score) -> Notes:
    """What a violin plays of a window: the first violin's staff as written, else the melody."""
    first: Notes = notes[part == 0]
    if score.source.startswith("openscore_quartets/") and len(first) > 12:
        return first
    melody: Notes = voices_of(notes, part, score)["melody"]
    return melody


def _placed(notes: Notes, player: Instrument, centre: float) -> Notes:
    """A melody moved by octaves to lie around ``centre``, or as near as the instrument's range allows it whole."""
    pitch, median = notes[:, 2], float(np.median(notes[:, 2]))
    shift = 12 * round((centre - median) / 12)
    while np.mean(pitch + shift > player.high) > FOLDED:
        shift -= 12
    while np.mean(pitch + shift < player.low) > FOLDED:
        shift += 12
    return fit_range(notes + np.array([0, 0, shift, 0]), player, median + shift)


def _in_compass(notes: Notes, player: Instrument) -> Notes:
    """Violin music moved by as little as keeps all of it on the instrument, without folding its chords."""
    low, high = notes[:, 2].min(), notes[:, 2].max()
    shift = max(0.0, player.low - low) - max(0.0, high - player.high)
    return fit_range(notes + np.array([0, 0, shift, 0]), player, float(np.median(notes[:, 2]) + shift))


def _unfit(arrangement: Arrangement, stroke: str) -> float:
    """What speaks against playing this so: half of a point for short notes under long bows, half for broken lines."""
    notes = arrangement.parts[0].notes
    steps_s = np.diff(np.unique(notes[:, 0])) * 60 / arrangement.tempo_bpm
    short = stroke == "long bows" and float(np.median(steps_s)) < 0.62
    onsets, top = np.unique(np.round(notes[:, 0] * 12), return_index=True)
    wild = float(np.mean(np.abs(np.diff(notes[top, 2])) > 11)) if len(onsets) > 2 else 0.0
    return 0.5 * short + 0.5 * (wild > 0.12)


def bow(arrangement: Arrangement, name: str, rng: np.random.Generator) -> list[PerformedPart]:
    """Play the arrangement's violin with one of `STROKES`."""
    stroke, part = STROKES[name], arrangement.parts[0]
    notes = part.notes.copy()
    if stroke.cut_beats:
        notes = _tremolo(notes, stroke.cut_beats * (0.5 if arrangement.tempo_bpm < 80 else 1.0))
    share = float(rng.uniform(*stroke.share))
    notes[:, 1] *= np.where(notes[:, 1] > stroke.longest_beats, 0.9, share)
    order = np.unique(np.round(notes[:, 0] * 12), return_inverse=True)[1]
    notes[:, 3] += stroke.accent * (order % 2 == 0) / 0.6
    part = Part(part.instrument, part.role, notes)
    return [perform_part(part, arrangement, 1.0, float(rng.uniform(0.0, 0.008)), rng)]


def _tremolo(notes: Notes, step: float) -> Notes:
    """Notes of two steps and more as repetitions, ``step`` beats each."""
    rows = []
    for onset, duration, pitch, velocity in notes.tolist():
        count = max(1, int(duration / step + 1e-6))
        rows += [(onset + i * step, duration / count if count == 1 else step, pitch, velocity) for i in range(count)]
    return np.array(rows).reshape(-1, 4)


def play(
    split: str, library: Library, rng: np.random.Generator, rival: Instrument | None = None
) -> tuple[Arrangement, list[PerformedPart]]:
    """Half a minute of a violin, or of a rival, from the pieces of a split."""
    stroke = str(rng.choice(list(STROKES), p=[s.probability for s in STROKES.values()]))
    arrangement = violin_arrangement(library.scores[split], stroke, rng, rival)
    return arrangement, bow(arrangement, stroke, rng)


def violin_metadata(meta: Mapping[str, Any], notes: npt.NDArray[np.void], seed: int) -> dict[str, Any]:
    """A clip's metadata with what its notes say of the bow, and captions.

    Args:
        meta: as of `backend.corpus.clips.make_clip`.
        notes: dtype `backend.corpus.perform.PERFORMED`.
        seed: of the build.
    """
    heard = {
        "form": origin_of(meta["source"])[1], "articulation": articulation_of(notes), "motion": motion_of(notes),
        "register": range_of(notes).register, "texture": texture_of(notes),
    }  # fmt: skip
    out = {**meta, **heard}
    out["captions"], out["caption_unseen"] = violin_captions(out, clip_rng(seed, f"{out['id']}/captions"))
    return out


def performed_notes(path: Path) -> npt.NDArray[np.void]:
    """The notes of a clip's file, dtype `PERFORMED`."""
    with np.load(path) as stored:
        out = np.zeros(len(stored["onset_s"]), PERFORMED)
        for name in PERFORMED.names or ():
            out[name] = stored[name]
    return out


def load_library(data: Path, scores: Path, out: Path, soundfonts: Sequence[Path], splits: Mapping[str, int]) -> Library:
    """Scores of the corpus's build and of Bach, parsed into ``out/scores``, with the soundfonts.

    Raises:
        NeuromuseError: a split that is wanted has no piece, or a soundfont cannot be read.
    """
    parse_all(find_bach(data), out / "scores", 1, lambda done, total: _say(f"\rscores {done}/{total}"))
    _say("\n")
    library = Library({split: [] for split in SPLITS}, {split: [] for split in SPLITS})
    for path in [*sorted(scores.glob("*.npz")), *sorted((out / "scores").glob("*.npz"))]:
        score = load_score(path)
        if score.source.split("/")[0] in SHARES:
            library.scores[split_of_piece(score.source)].append(score)
    for split, count in splits.items():
        if count and not library.scores[split]:
            raise NeuromuseError(f"There is no piece for the {split} clips in {scores} and {data / BACH}.")
    library.synths += [Synth.load(path) for path in find_soundfonts(soundfonts)]
    return library


def build(args: argparse.Namespace) -> Iterator[tuple[int, int]]:
    """Make every clip that is missing, yielding (done, total) as clips are written."""
    (args.out / "scores").mkdir(parents=True, exist_ok=True)
    counts = {"train": args.clips, "valid": args.valid, "test": args.test}
    library = load_library(args.data, args.scores, args.out, args.soundfont, counts)
    kind = "rival" if args.rivals else "violin"
    audible = [f"{split}_{kind}_{i:05d}" for split, n in counts.items() for i in range(n)]
    audible = [audible[i] for i in np.random.default_rng([args.seed, 77]).permutation(len(audible))]
    orders = {"clips.jsonl": audible, "silent.jsonl": [f"train_violin_silent_{i:06d}" for i in range(args.silent)]}
    count, total = 0, sum(map(len, orders.values()))
    for name, order in orders.items():
        done = done_clips(args.out, args.out / name)
        with (args.out / name).open("a", encoding="utf-8") as lines:
            for clip_id in order:
                count += 1
                if clip_id in done:
                    continue
                try:
                    meta = _make(clip_id, library, args)
                except (NeuromuseError, ValueError, IndexError) as error:
                    logger.warning("clip %s is left out: %r", clip_id, error)
                    continue
                lines.write(json.dumps(meta, ensure_ascii=False) + "\n")
                lines.flush()
                yield count, total


def _make(clip_id: str, library: Library, args: argparse.Namespace) -> dict[str, Any]:
    """One clip, written; its metadata line."""
    if "_rival_" in clip_id:
        rival = BY_NAME[RIVALS[int(clip_id.split("_")[-1]) % len(RIVALS)]]
        return make_clip(clip_id, args.seed, library, args.out, partial(play, rival=rival))
    make = make_silent_clip if "_silent_" in clip_id else make_clip
    meta = make(clip_id, args.seed, library, args.out, play)
    return violin_metadata(meta, performed_notes(args.out / meta["notes"]), args.seed)


def _say(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.corpus.violin", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the public repositories")
    parser.add_argument("--scores", type=Path, required=True, help="folder 'scores' of a build of the corpus")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=400, help="training clips with sound")
    parser.add_argument("--valid", type=int, default=LEAST_HELD_OUT["valid"])
    parser.add_argument("--test", type=int, default=LEAST_HELD_OUT["test"])
    parser.add_argument("--silent", type=int, default=2000, help="further training clips, as notes alone")
    parser.add_argument("--rivals", action="store_true", help="other instruments over the same tunes, for the judge")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--soundfont", type=Path, action="append", default=[], help="use this soundfont (repeatable)")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        for count, total in build(args):
            _say(f"\rclips {count}/{total} ")
    except NeuromuseError as error:
        _say(f"\n{error}\n")
        return 1
    _say("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
