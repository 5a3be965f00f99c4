"""``note_seq.NoteSequence`` ↔ the classes MusicVAE reads and writes, as Magenta's converters do without TensorFlow.

`Labels` are ``int64 [steps, parts]``, a step being a sixteenth. Melody and bass: 0 hold, 1 off, 2 to 89 the onset of
MIDI pitch 21 to 108. Drums: bit k says that the k-th of nine kinds is struck (General MIDI kits reduced to kick, snare,
closed and open hi-hat, three toms, crash and ride). Magenta's one-hot tensors are these classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.audio.midi import Notes, make_notes
from backend.errors import AudioError
from backend.instruments.calm.music_vae.config import STEPS_PER_BAR, MusicVaeConfig

Labels = npt.NDArray[np.int64]

STEPS_PER_QUARTER = 4
HOLD, OFF, FIRST_ONSET = 0, 1, 2
LOWEST_PITCH, HIGHEST_PITCH = 21, 108
MAX_MELODY_BARS = 100
MAX_TRIO_BARS = 1024
GAP_BARS = 2  # silence that does not end a part of a trio, on either side of its notes
MAX_INSTRUMENT = 127
VELOCITY = 80
PART_PROGRAMS = (0, 33, 0)  # melody piano, electric bass, drum kit
BASS_PROGRAMS = range(32, 40)
MELODY, BASS, DRUMS = range(3)


def windows(sequence: Any, config: MusicVaeConfig) -> list[Labels]:
    """Every excerpt of ``config.bars`` bars that Magenta would train on, each once, at steps of a bar.

    A sequence is cut where its tempo or metre changes, and what is not 4/4 is left out. A melody is the highest
    sounding note of an instrument, and ends at a bar of silence. Trios are all combinations of one melody, one bass and
    one drum instrument that play together throughout.

    Args:
        sequence: a ``note_seq.NoteSequence`` in seconds, with ``total_time`` set.
        config: of the model that will read them.

    Returns:
        In order of time within an instrument; none when there is nothing of that length.
    """
    from note_seq import sequences_lib

    found: dict[bytes, Labels] = {}
    for section in sequences_lib.split_note_sequence_on_time_changes(sequence):
        quantised = _quantise(section)
        if quantised is None:
            continue
        excerpts = _trio_windows(quantised, config) if config.is_trio else _melody_windows(quantised, config)
        for labels in excerpts:
            found.setdefault(labels.tobytes(), labels)
    return list(found.values())


def only_window(sequence: Any, config: MusicVaeConfig) -> Labels:
    """The one excerpt of a sequence that is exactly as long as the model's pieces.

    Raises:
        AudioError: none or several, as Magenta's ``encode`` refuses them.
    """
    found = windows(sequence, config)
    if len(found) == 1:
        return found[0]
    kind = "melody, bass and drums" if config.is_trio else "melody"
    if not found:
        raise AudioError(f"The piece holds no {config.bars} bars of {kind} in 4/4 at one tempo.")
    raise AudioError(f"The piece holds {len(found)} excerpts of {config.bars} bars of {kind}; choose one.")


def to_notes(labels: Labels, config: MusicVaeConfig, tempo_bpm: float = 120.0) -> Notes:
    """The note table of one piece ``[steps, parts]``, velocity 80 as Magenta's; parts are melody, bass, drums."""
    step_s = 60.0 / tempo_bpm / STEPS_PER_QUARTER
    rows: list[tuple[float, float, int, int, int, bool, int]] = []
    for part in range(len(config.classes)):
        spans = _drum_hits(labels[:, part]) if part == DRUMS else _melody_notes(labels[:, part])
        rows += [
            (start * step_s, end * step_s, pitch, VELOCITY, PART_PROGRAMS[part], part == DRUMS, part)
            for start, end, pitch in spans
        ]
    return make_notes(rows)


def _melody_notes(track: Labels) -> Iterator[tuple[int, int, int]]:
    """``(start, end, pitch)`` of each note, in steps; a hold with nothing before it is silence."""
    start, pitch = 0, None
    for step, label in enumerate([*track.tolist(), OFF]):
        if label == HOLD:
            continue
        if pitch is not None:
            yield start, step, pitch
        start, pitch = step, None if label == OFF else label - FIRST_ONSET + LOWEST_PITCH


def _drum_hits(track: Labels) -> Iterator[tuple[int, int, int]]:
    """``(start, end, pitch)`` of each stroke, one step long, on the first pitch of its kind."""
    from note_seq.drums_encoder_decoder import DEFAULT_DRUM_TYPE_PITCHES

    for step, label in enumerate(track.tolist()):
        for kind, pitches in enumerate(DEFAULT_DRUM_TYPE_PITCHES):
            if label >> kind & 1:
                yield step, step + 1, pitches[0]


def _quantise(section: Any) -> Any | None:
    """The section on the grid of sixteenths, or None if it is not in 4/4."""
    import note_seq

    try:
        quantised = note_seq.quantize_note_sequence(section, STEPS_PER_QUARTER)
    except (note_seq.BadTimeSignatureError, note_seq.NegativeTimeError):
        return None
    return quantised if note_seq.steps_per_bar_in_quantized_sequence(quantised) == STEPS_PER_BAR else None


def _keep(quantised: Any, programs: range) -> Any:
    """A copy with only the notes that a melody can hold."""
    kept = type(quantised)()
    kept.CopyFrom(quantised)
    del kept.notes[:]
    kept.notes.extend(
        note for note in quantised.notes if note.program in programs and LOWEST_PITCH <= note.pitch <= HIGHEST_PITCH
    )
    return kept


def _melodies(quantised: Any, instrument: int, gap_bars: float) -> Iterator[Any]:
    """The instrument's ``note_seq.Melody``, one after each silence of ``gap_bars``, padded to whole bars."""
    import note_seq

    start = 0
    while True:
        melody = note_seq.Melody()
        melody.from_quantized_sequence(
            quantised,
            search_start_step=start,
            instrument=instrument,
            gap_bars=gap_bars,
            ignore_polyphonic_notes=True,
            pad_end=True,
        )
        if not len(melody):
            return
        yield melody
        start = melody.end_step + (start - melody.end_step) % STEPS_PER_BAR


def _to_classes(melody: Any) -> Labels:
    """note_seq's events (−2 hold, −1 off, else pitches) as classes."""
    events = np.array(list(melody), dtype=np.int64)
    return np.where(events < 0, events + FIRST_ONSET, events - LOWEST_PITCH + FIRST_ONSET)


def _melody_windows(quantised: Any, config: MusicVaeConfig) -> Iterator[Labels]:
    playable = _keep(quantised, range(config.melody_programs))
    for instrument in sorted({note.instrument for note in playable.notes}):
        for melody in _melodies(playable, instrument, gap_bars=1):
            if len(melody) > MAX_MELODY_BARS * STEPS_PER_BAR:
                melody.set_length(MAX_MELODY_BARS * STEPS_PER_BAR)
            track = _to_classes(melody)
            for end in range(config.steps, len(track) + 1, STEPS_PER_BAR):
                window = track[end - config.steps : end, None].copy()
                onsets = np.flatnonzero(window >= FIRST_ONSET)
                window[: onsets[0] if len(onsets) else None] = HOLD  # what was cut off needs no end
                yield window


def _trio_windows(quantised: Any, config: MusicVaeConfig) -> Iterator[Labels]:
    bars = min(-(-quantised.total_quantized_steps // STEPS_PER_BAR), MAX_TRIO_BARS)
    kinds, plays = _roles(quantised, config, bars)
    groups = [[instrument for instrument, kind in kinds.items() if kind == part] for part in (MELODY, BASS, DRUMS)]
    if not all(groups):
        return
    tracks: dict[int, Labels] = {}
    for instrument in (instrument for group in groups for instrument in group):
        track = (_drum_track if kinds[instrument] == DRUMS else _padded_melody)(quantised, instrument, bars)
        if track is None:
            plays[:, instrument] = False
        else:
            tracks[instrument] = track
    near = np.array([plays[max(0, bar - GAP_BARS) : bar + GAP_BARS + 1].any(0) for bar in range(bars)])
    for trio in product(*groups):
        if not all(instrument in tracks for instrument in trio):
            continue
        heard = near[:, list(trio)]
        together = heard.sum(1) == len(trio)
        # at both ends it is enough that one of them plays, so that a piece cut from a longer one is still a trio
        together[:GAP_BARS] = heard[:GAP_BARS].any()
        together[-GAP_BARS:] = heard[-GAP_BARS:].any()
        combined = np.stack([tracks[instrument] for instrument in trio], 1)
        for bar in range(bars - config.bars + 1):
            if together[bar : bar + config.bars].all():
                yield combined[bar * STEPS_PER_BAR : (bar + config.bars) * STEPS_PER_BAR]


def _roles(quantised: Any, config: MusicVaeConfig, bars: int) -> tuple[dict[int, int | None], npt.NDArray[np.bool_]]:
    """Each instrument's part, None if its notes disagree or fit none; and the bars it sounds in, ``[bars, 128]``."""
    kinds: dict[int, int | None] = {}
    plays = np.zeros((bars, MAX_INSTRUMENT + 1), dtype=np.bool_)
    for note in quantised.notes:
        instrument = note.instrument
        if instrument > MAX_INSTRUMENT:
            continue
        kind: int | None = None
        if note.is_drum:
            kind = DRUMS
        elif note.program < config.melody_programs:
            kind = MELODY
        elif note.program in BASS_PROGRAMS:
            kind = BASS
        kinds[instrument] = kind if kinds.get(instrument, kind) == kind else None
        first, end = note.quantized_start_step // STEPS_PER_BAR, -(-note.quantized_end_step // STEPS_PER_BAR)
        plays[first:end, instrument] = True
    return dict(sorted(kinds.items())), plays


def _padded_melody(quantised: Any, instrument: int, bars: int) -> Labels | None:
    """The instrument's melody over all bars, silent where it rests; None without a playable note."""
    melody = next(_melodies(_keep(quantised, range(128)), instrument, gap_bars=np.inf), None)
    if melody is None:
        return None
    melody.set_length(len(melody) + melody.start_step, from_left=True)
    melody.set_length(bars * STEPS_PER_BAR)
    return _to_classes(melody)


def _drum_track(quantised: Any, instrument: int, bars: int) -> Labels | None:
    """The instrument's strokes over all bars; None without one of the nine kinds."""
    from note_seq.drums_encoder_decoder import DEFAULT_DRUM_TYPE_PITCHES

    kind_of = {pitch: kind for kind, pitches in enumerate(DEFAULT_DRUM_TYPE_PITCHES) for pitch in pitches}
    track = np.zeros(bars * STEPS_PER_BAR, dtype=np.int64)
    hits = [
        note
        for note in quantised.notes
        if note.instrument == instrument and note.is_drum and note.velocity and note.pitch in kind_of
    ]
    for note in hits:
        if note.quantized_start_step < len(track):
            track[note.quantized_start_step] |= 1 << kind_of[note.pitch]
    return track if hits else None
