"""Keys, scales, chords and the tempo a listener would tap: the music theory the arrangers share."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

PITCH_NAMES = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
# Krumhansl & Kessler (1982), probe-tone profiles.
_MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
_MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
CLEAR_MARGIN = 0.08
SLOW_BELOW, FAST_ABOVE = 88.0, 122.0


@dataclass(frozen=True)
class Key:
    """A measured key: tonic pitch class, ``major`` or ``minor``, and how much better it fits than the other mode."""

    tonic: int
    mode: str
    margin: float

    @property
    def clear(self) -> bool:
        """Whether a caption may state the mode."""
        return self.margin >= CLEAR_MARGIN

    @property
    def name(self) -> str:
        """Such as ``D minor``."""
        return f"{PITCH_NAMES[self.tonic]} {self.mode}"


def measure_key(pitches: Array, weights: Array) -> Key:
    """Best key of a bag of notes by correlation with the Krumhansl–Kessler profiles.

    Args:
        pitches: MIDI pitches ``[notes]``.
        weights: their durations in any unit ``[notes]``.
    """
    histogram = np.bincount(np.asarray(pitches, int) % 12, weights=weights, minlength=12)
    if histogram.std() == 0:
        return Key(0, "major", 0.0)
    scores = np.array(
        [[np.corrcoef(np.roll(profile, t), histogram)[0, 1] for t in range(12)] for profile in (_MAJOR, _MINOR)]
    )
    best = int(scores.max(1).argmax())
    return Key(int(scores[best].argmax()), ("major", "minor")[best], float(scores[best].max() - scores[1 - best].max()))


def key_profile(tonic: int, mode: str) -> Array:
    """How well each of the twelve pitch classes from C fits a key: the probe-tone profile, mean 1."""
    profile: Array = np.roll(_MAJOR if mode == "major" else _MINOR, tonic)
    fit: Array = profile / profile.mean()
    return fit


def to_mode(pitches: Array, tonic: int, mode: str, raised_leading: bool) -> Array:
    """Pitches of a passage in the parallel mode: thirds, sixths and (unless they lead to the tonic) sevenths altered.

    Args:
        pitches: MIDI pitches ``[notes]`` of a passage in the other mode.
        tonic: its tonic's pitch class.
        mode: the mode wanted.
        raised_leading: keep the leading tone in minor (harmonic minor).
    """
    degree = (pitches.astype(int) - tonic) % 12
    if mode == "minor":
        lowered = (degree == 4) | (degree == 9) | ((degree == 11) & (not raised_leading))
        return np.asarray(pitches - lowered, np.float64)
    return np.asarray(pitches + ((degree == 3) | (degree == 8) | (degree == 10)), np.float64)


def tempo_class(tempo_bpm: float) -> str:
    """``slow`` (< 88), ``medium`` or ``fast`` (> 122 beats a minute)."""
    return "slow" if tempo_bpm < SLOW_BELOW else "fast" if tempo_bpm > FAST_ABOVE else "medium"


def tempo_scores(onsets_s: Array, strengths: Array, duration_s: float = 30.0) -> tuple[Array, Array]:
    """How strongly each tempo is heard in a pattern of onsets: its autocorrelation under a tapping-rate prior.

    The prior is the usual log-normal around 120 with one octave of spread (Ellis, "Beat tracking by dynamic
    programming", 2007); the taper is that of a nine-second analysis window, which sees a slow beat less often.

    Args:
        onsets_s: note onsets in seconds ``[notes]``.
        strengths: how much each is heard ``[notes]``.
        duration_s: length of the clip.

    Returns:
        Tempi in beats a minute ``[lags]``, falling, and their scores ``[lags]``.
    """
    rate, n = 100, int(duration_s * 100)
    places = np.clip((np.asarray(onsets_s) * rate).round().astype(int), 0, n - 1)
    curve = np.sqrt(np.bincount(places, weights=strengths, minlength=n))
    curve = np.convolve(curve, np.exp(-0.5 * (np.arange(-6, 7) / 2.0) ** 2), "same")
    curve -= curve.mean()
    correlation = np.fft.irfft(np.abs(np.fft.rfft(curve, 2 * n)) ** 2)[:n]
    lags = np.arange(rate * 60 // 240, rate * 60 // 40)
    bpm = 60.0 * rate / lags
    taper = (1 - lags / rate / 8.9) ** 1.5
    return bpm, np.maximum(correlation[lags], 0) * taper * np.exp(-0.5 * np.log2(bpm / 120.0) ** 2)


def tempo_clarity(onsets_s: Array, strengths: Array, tempo_bpm: float, duration_s: float = 30.0) -> float:
    """Score of the stated tempo over the best score in another tempo class: above 1, a beat tracker agrees with it."""
    if len(onsets_s) < 4:
        return 0.0
    bpm, score = tempo_scores(onsets_s, strengths, duration_s)
    own = np.abs(bpm / tempo_bpm - 1) < 0.035
    other = ~own & np.array([tempo_class(b) != tempo_class(tempo_bpm) for b in bpm])
    return float(score[own].max() / max(score[other].max(), 1e-12))


@dataclass(frozen=True)
class Chord:
    """Root pitch class and intervals above it in semitones, sevenths and ninths included."""

    root: int
    intervals: tuple[int, ...]

    @property
    def classes(self) -> tuple[int, ...]:
        """Pitch classes."""
        return tuple((self.root + i) % 12 for i in self.intervals)

    @property
    def is_minor(self) -> bool:
        """Whether the third is minor."""
        return 3 in self.intervals


_ROMAN = {"i": 0, "ii": 1, "iii": 2, "iv": 3, "v": 4, "vi": 5, "vii": 6}
_NUMERAL = re.compile(r"^(b?)([iv]+|[IV]+)(o?)$")


def parse_progression(text: str, tonic: int, mode: str, colour: str = "triad") -> list[Chord]:
    """Chords of a progression such as ``I vi IV V`` or ``i VI III VII`` in a key.

    Args:
        text: Roman numerals; case gives the third, ``o`` a diminished fifth, ``b`` lowers the root.
        tonic: pitch class of the key.
        mode: its mode; minor degrees are natural minor.
        colour: ``triad``, ``seventh`` or ``ninth``.

    Raises:
        ValueError: a numeral that cannot be read.
    """
    chords = []
    for token in text.split():
        match = _NUMERAL.match(token)
        if match is None or match[2].lower() not in _ROMAN:
            raise ValueError(f"{token!r} is not a Roman numeral")
        degree = _ROMAN[match[2].lower()]
        offset = SCALES[mode][degree] - (match[1] == "b")
        third = 4 if match[2].isupper() else 3
        intervals = [0, third, 6 if match[3] else 7]
        if colour != "triad":
            dominant = third == 3 or (degree == 4) or match[1] == "b" or (mode == "minor" and degree == 6)
            intervals.append(9 if match[3] else 10 if dominant else 11)
            # The ninth must be of the scale, or it blurs the mode.
            if colour == "ninth" and not match[3] and (offset + 2) % 12 in SCALES[mode]:
                intervals.append(14)
        chords.append(Chord((tonic + offset) % 12, tuple(intervals)))
    return chords


def voice(chord: Chord, centre: float, size: int = 4) -> list[int]:
    """Close voicing of the chord with the mean pitch nearest ``centre``."""
    classes = chord.classes[:size] if size >= len(chord.classes) else (*chord.classes[1:size], chord.classes[0])
    best: list[int] = []
    for start in range(len(classes)):
        order = sorted(((c - classes[start]) % 12, c) for c in classes)
        base = classes[start] + 12 * round((centre - 5 - classes[start]) / 12)
        pitches = [base + step for step, _ in order]
        if not best or abs(np.mean(pitches) - centre) < abs(np.mean(best) - centre):
            best = pitches
    return best
