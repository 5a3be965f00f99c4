"""Calm passages of public-domain scores as rolls: cut, brought to one key, judged, chosen and kept on disk.

The scores state no tempo, so every passage is played slowly (`TEMPO_BPM`) and the calm score judges what is left: mode,
register, articulation, dissonance, density and regularity. The calmer part of each mode is kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.corpus.score_cache import load_score, split_of
from backend.corpus.scores import Score
from backend.instruments.calm.attributes import scale_mask
from backend.instruments.calm.beat import downbeat
from backend.instruments.calm.piece import (
    LOWEST,
    MAX_BARS,
    N_PITCHES,
    NOTE_GRID,
    STEPS_PER_BAR,
    CalmPiece,
    Roll,
    midi_of_piece,
    piece_of_roll,
    roll,
    tidy,
    to_normal_key,
    voiced,
)
from backend.metrics.calmness import calm_score

logger = logging.getLogger(__name__)

TEMPO_BPM = 66.0
HOP_BARS, MIN_CLIP_BARS = 8, 8
MIN_NOTES, MAX_NOTES = 3.0, 22.0  # a bar
MAX_OFF_GRID, MIN_IN_SCALE = 0.1, 0.9
KEPT_SHARE = 0.7  # of the training clips of each mode: the calmest
CLIPS_FILE = "clips.npz"


@dataclass(frozen=True, eq=False)
class Clips:
    """Passages of up to 16 bars, in the normal key.

    Attributes:
        packed: onsets and holds as bits ``[clips, 2, 256, 11]``; shorter clips end in silence.
        bars: length of each ``[clips]``.
        major: whether on C major, else on A minor ``[clips]``.
        transpose: semitones back to the score's key ``[clips]``.
        calm: calm score at `TEMPO_BPM` ``[clips]``.
        start_bar: place in its piece ``[clips]``.
        source: the piece it is from ``[clips]``.
    """

    packed: npt.NDArray[np.uint8]
    bars: npt.NDArray[np.int64]
    major: npt.NDArray[np.bool_]
    transpose: npt.NDArray[np.int64]
    calm: npt.NDArray[np.float64]
    start_bar: npt.NDArray[np.int64]
    source: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.bars)

    def take(self, which: npt.NDArray[Any]) -> Clips:
        """The clips at these places or under this mask."""
        return Clips(**{name: values[which] for name, values in self.arrays().items()})

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All columns by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def rolls(self, which: npt.NDArray[Any] | slice = slice(None)) -> npt.NDArray[np.uint8]:
        """Onsets and holds ``[n, 2, 16 bars, 16, 88]`` of 0 and 1."""
        bits = np.unpackbits(self.packed[which], axis=-1)
        return bits.reshape(len(bits), 2, MAX_BARS, STEPS_PER_BAR, N_PITCHES)

    def split(self, name: str) -> Clips:
        """The clips of ``train``, ``valid`` or ``test`` pieces."""
        known = {source: split_of(str(source)) for source in np.unique(self.source)}
        return self.take(np.array([known[source] == name for source in self.source], bool))

    def piece(self, index: int, bars: int = MAX_BARS) -> CalmPiece:
        """One clip's first bars as a piece."""
        count = min(bars, int(self.bars[index]))
        onset, hold = self.rolls(np.array([index]))[0, :, :count].reshape(2, count * STEPS_PER_BAR, N_PITCHES) > 0
        mode = "major" if self.major[index] else "minor"
        return piece_of_roll(onset, hold, tempo_bpm=TEMPO_BPM, mode=mode, transpose=int(self.transpose[index]))


def clips_of_score(score: Score) -> list[tuple[CalmPiece, int]]:
    """The usable passages of a score as ``(piece, start bar)``: on the grid, in one key, neither empty nor crowded.

    From every eighth bar on, sixteen bars are tried and then eight.
    """
    start = score.notes["onset"].astype(np.float64) * 4
    end = (score.notes["onset"] + score.notes["duration"]).astype(np.float64) * 4
    found: list[tuple[CalmPiece, int]] = []
    total = int(np.ceil(end.max() / STEPS_PER_BAR))
    for first in range(0, max(1, total - MIN_CLIP_BARS + 1), HOP_BARS):
        low = first * STEPS_PER_BAR
        a, b = np.searchsorted(start, [low - 0.5, low + (MAX_BARS + 1) * STEPS_PER_BAR])
        if b - a < MIN_CLIP_BARS * MIN_NOTES:
            continue
        pitch = score.notes["pitch"][a:b]
        if score.numerator * 4 / score.denominator in (2, 4, 8):
            shift = int(downbeat((start[a:b] - low) / 4, (end - start)[a:b] / 4, pitch))
            low += (STEPS_PER_BAR - 4 * shift) % STEPS_PER_BAR
        for bars in (MAX_BARS, MIN_CLIP_BARS):
            piece = _clip(start[a:b] - low, end[a:b] - low, pitch, bars)
            if piece is not None:
                found.append((piece, first))
                break
    return found


def _clip(
    start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], pitch: npt.NDArray[np.uint8], bars: int
) -> CalmPiece | None:
    """Notes in sixteenths as a piece of at most ``bars`` bars; None when it is not usable."""
    step = np.round(start)
    inside = (step >= 0) & (step < bars * STEPS_PER_BAR) & (pitch >= LOWEST) & (pitch < LOWEST + N_PITCHES)
    if not inside.any() or np.mean(np.abs(start - step)[inside] > 0.1) > MAX_OFF_GRID:
        return None
    bars = min(bars, int(np.ceil(end[inside].max() / STEPS_PER_BAR - 1e-6)))
    if bars < MIN_CLIP_BARS or inside.sum() > 2 * MAX_NOTES * bars:
        return None
    notes = np.zeros(int(inside.sum()), NOTE_GRID)
    notes["step"], notes["pitch"] = step[inside], pitch[inside]
    notes["length"] = np.maximum(1, np.round(end[inside]) - step[inside])
    notes = tidy(notes, bars * STEPS_PER_BAR)
    per_bar = np.bincount(notes["step"] // STEPS_PER_BAR, minlength=bars)
    if not MIN_NOTES <= per_bar.mean() <= MAX_NOTES or (per_bar == 0).sum() > 1:
        return None
    notes, mode, transpose = to_normal_key(notes)
    if scale_mask(mode)[notes["pitch"].astype(int) - LOWEST].mean() < MIN_IN_SCALE:
        return None
    return CalmPiece(voiced(notes), bars, TEMPO_BPM, mode, transpose)


def prepare(scores: Path, out: Path) -> Clips:
    """The calm clips of a folder of parsed scores (`backend.corpus.score_cache`), read again where they lie in ``out``.

    Clips of training pieces set the calm score from which on a clip of their mode is kept, for all splits.

    Raises:
        FileNotFoundError: ``scores`` holds no parsed score with a usable passage.
    """
    kept = out / CLIPS_FILE
    if kept.exists():
        with np.load(kept, allow_pickle=False) as data:
            return Clips(**{name: data[name] for name in Clips.__dataclass_fields__})
    rows: list[tuple[Any, ...]] = []
    for path in sorted(scores.glob("*.npz")):
        score = load_score(path)
        for piece, first in clips_of_score(score):
            calm = calm_score(midi_of_piece(piece), TEMPO_BPM, piece.mode)
            rows.append(
                (_packed(*roll(piece)), piece.bars, piece.mode == "major", piece.transpose, calm, first, score.source)
            )
    if not rows:
        raise FileNotFoundError(f"{scores} holds no parsed score with a passage that can be used.")
    clips = Clips(*(np.array(column) for column in zip(*rows, strict=True)))
    chosen = _calmest(clips)
    logger.info("%d of %d passages kept, from %d pieces", len(chosen), len(clips), len(np.unique(chosen.source)))
    out.mkdir(parents=True, exist_ok=True)
    part = out / ("part_" + CLIPS_FILE)
    arrays: dict[str, Any] = dict(chosen.arrays())
    np.savez_compressed(part, **arrays)
    part.replace(kept)
    return chosen


def _calmest(clips: Clips) -> Clips:
    training, keep = clips.split("train"), np.zeros(len(clips), bool)
    for major in (False, True):
        calm = training.calm[training.major == major]
        threshold = float(np.quantile(calm, 1 - KEPT_SHARE)) if len(calm) else 0.0
        keep |= (clips.major == major) & (clips.calm >= threshold)
    return clips.take(keep)


def _packed(onset: Roll, hold: Roll) -> npt.NDArray[np.uint8]:
    whole = np.zeros((2, MAX_BARS * STEPS_PER_BAR, N_PITCHES), bool)
    whole[0, : len(onset)], whole[1, : len(hold)] = onset, hold
    return np.packbits(whole, axis=-1)
