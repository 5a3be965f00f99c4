from __future__ import annotations

from pathlib import Path

import mido
import numpy as np
import pytest

from backend.corpus.accompaniment import write_bass, write_comping
from backend.corpus.bands import STYLES, band_arrangement
from backend.corpus.grooves import is_swung, looped, machine_groove, read_grooves, thinned
from backend.corpus.melody import Harmony
from backend.corpus.miniatures import miniature
from backend.corpus.progressions import progressions
from backend.corpus.theory import parse_progression


def write_groove(folder: Path, bars: int = 8, late_ticks: int = 7) -> None:
    """A Groove-like folder: one rock beat whose snare is a little late, one fill, one waltz."""
    lines = ["drummer,session,id,style,bpm,beat_type,time_signature,midi_filename,audio_filename,duration,split"]
    rows = [("a/1", "beat", "4-4"), ("a/2", "fill", "4-4"), ("a/3", "beat", "3-4")]
    for name, kind, meter in rows:
        file = f"{name.replace('/', '_')}.mid"
        lines.append(f"a,a/s,{name},rock,110,{kind},{meter},{file},,10,train")
        midi = mido.MidiFile(ticks_per_beat=480)
        track = mido.MidiTrack()
        midi.tracks.append(track)
        hits = sorted((b * 480 + (late_ticks if b % 2 else 0), 38 if b % 2 else 36) for b in range(4 * bars))
        hits = sorted([*hits, *((b * 240, 22) for b in range(8 * bars))])
        now = 0
        for tick, pitch in hits:
            track.append(mido.Message("note_on", note=pitch, velocity=90, channel=9, time=tick - now))
            now = tick
        midi.save(folder / file)
    (folder / "info.csv").write_text("\n".join(lines) + "\n")


def test_only_beats_in_four_four_are_read_with_their_microtiming(tmp_path: Path) -> None:
    write_groove(tmp_path)
    (groove,) = read_grooves(tmp_path)
    assert (groove.source, groove.style, groove.split, groove.n_beats) == ("groove/a/1", "rock", "train", 32)
    snares = groove.notes[groove.notes[:, 2] == 38]
    assert np.allclose(snares[:, 0] % 2, 1 + 7 / 480)
    assert set(groove.notes[:, 2]) == {36.0, 38.0, 42.0}  # the kit's rim hat became a hat


def test_a_groove_loops_without_a_seam() -> None:
    groove = machine_groove(3)
    hits = looped(groove, 64, 1)
    kicks = hits[hits[:, 2] == 36][:, 0]
    first = looped(groove, 16, 1)
    assert hits[:, 0].max() > 63
    assert len(kicks) == 4 * (first[:, 2] == 36).sum()


def test_thinning_leaves_kick_and_snare() -> None:
    hits = looped(machine_groove(0), 16, 0)
    thin = thinned(hits)
    assert (thin[:, 2] == 36).sum() == (hits[:, 2] == 36).sum()
    off = np.abs(thin[:, 0] - np.round(thin[:, 0])) > 0.14
    assert not np.isin(thin[off, 2], (42, 44, 46)).any()


def test_shuffles_are_told_from_straight_beats() -> None:
    straight = np.array([[b / 2, 0.1, 42, 80] for b in range(32)])
    swung = np.array([[b // 2 + (b % 2) * 0.667, 0.1, 42, 80] for b in range(32)])
    assert is_swung(swung)
    assert not is_swung(straight)


@pytest.mark.parametrize("style", STYLES)
def test_bass_starts_bars_on_chord_tones_and_chords_belong_to_the_harmony(style: str) -> None:
    rng = np.random.default_rng(5)
    chords = tuple(parse_progression("I vi IV V", 2, "major", "seventh"))
    harmony = Harmony(chords, 4.0, 2, "major")
    bass = write_bass(style, harmony, 32, 31, False, rng)
    on_one = bass[bass[:, 0] % 4 == 0]
    assert all(int(p) % 12 in harmony.at(o).classes for o, _, p, _ in on_one)
    assert bass[:, 2].max() < 62
    comping = write_comping(style, harmony, 32, 40, 86, False, rng)
    steady = comping[comping[:, 0] % 4 < 3.4]
    allowed = [(*harmony.at(o).classes, (harmony.at(o).root + 7) % 12) for o in steady[:, 0]]
    assert all(int(p) % 12 in a for p, a in zip(steady[:, 2], allowed, strict=True))


@pytest.mark.parametrize("held_out", [False, True])
def test_bands_and_miniatures_use_only_their_split_s_progressions(held_out: bool) -> None:
    grooves = [machine_groove(i) for i in range(8)]
    for seed in range(4):
        for write in (band_arrangement, miniature):
            arrangement = write(grooves, held_out, np.random.default_rng(seed))
            if arrangement.progression:
                both = (*progressions("major", held_out), *progressions("minor", held_out))
                assert arrangement.progression in both


def test_most_bands_are_heard_in_a_clear_mode_and_the_stated_tempo() -> None:
    grooves = [machine_groove(i) for i in range(10)]
    made = [band_arrangement(grooves, False, np.random.default_rng(s)) for s in range(10)]
    assert np.mean([a.key().clear for a in made]) >= 0.8
    assert np.mean([a.tempo_clarity() >= 1 for a in made]) >= 0.8
