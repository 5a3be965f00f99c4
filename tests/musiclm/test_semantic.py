"""Semantic tokens: what the notes say at each frame, and an encoder that learns to read it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from backend.corpus.instruments import FAMILIES
from backend.musiclm.quantize import ResidualQuantizer
from backend.musiclm.semantic import DRUMS, LOWEST_PITCH, TINY, SemanticCodec, config_of
from backend.musiclm.semantic_train import SemanticObjective, SemanticTask, Targets

FLUTE, BASS, KIT = (FAMILIES.index(name) for name in ("woodwind", "bass", "drums"))
Note = tuple[float, float, int, bool, int]


def targets(*notes: Note, beats: tuple[float, ...] = (), downbeats: tuple[float, ...] = ()) -> dict[str, Any]:
    """Grids of notes given as (onset, duration, pitch, is drum, family)."""
    columns = list(zip(*notes, strict=True)) if notes else [()] * 5
    arrays: dict[str, npt.NDArray[Any]] = {
        "onset_s": np.array(columns[0], np.float32), "duration_s": np.array(columns[1], np.float32),
        "pitch": np.array(columns[2], np.uint8), "is_drum": np.array(columns[3], bool),
        "beats_s": np.array(beats, np.float32), "downbeats_s": np.array(downbeats, np.float32),
    }  # fmt: skip
    return Targets.of(arrays, np.array(columns[4], np.uint8), TINY).grids


def test_a_note_lands_in_its_row_and_its_frames() -> None:
    grids = targets((1.0, 0.5, 60, False, FLUTE))
    frames, rows = np.nonzero(grids["active"])
    assert set(rows) == {60 - LOWEST_PITCH}
    assert frames.tolist() == list(range(12, 19))  # 12.5 frames a second: 1.0 s is in frame 12, 1.5 s ends in 18
    assert np.argwhere(grids["onset"]).tolist() == [[12, 60 - LOWEST_PITCH]]
    assert np.flatnonzero(grids["onset_fine"]).tolist() == [50]  # 50 fine frames a second
    assert np.flatnonzero(grids["family"].any(0)).tolist() == [FLUTE]
    assert grids["active"].shape == (375, 88)


def test_the_top_voice_is_the_highest_note_that_sounds() -> None:
    grids = targets((0.0, 4.0, 40, False, BASS), (1.0, 1.0, 72, False, FLUTE), (1.0, 2.0, 64, False, FLUTE))
    top = [int(row.argmax()) + LOWEST_PITCH if row.any() else None for row in grids["top"]]
    assert (top[5], top[15], top[30], top[45], top[60]) == (40, 72, 64, 40, None)
    assert grids["top"].sum(1).max() == 1


@pytest.mark.parametrize(
    ("key", "name"), [(36, "kick"), (38, "snare"), (42, "hat"), (49, "cymbal"), (45, "tom"), (70, "hat")]
)
def test_drums_are_mapped_to_five_kinds_and_have_no_pitch(key: int, name: str) -> None:
    grids = targets((2.0, 0.1, key, True, KIT))
    fine = grids["drum_fine"].reshape(-1, len(DRUMS))
    assert np.argwhere(fine).tolist() == [[100, DRUMS.index(name)]]
    assert not grids["active"].any() and not grids["top"].any() and not grids["onset"].any()
    assert grids["family"][25, KIT] == 1


def test_beats_and_downbeats_have_a_column_each() -> None:
    fine = targets(beats=(0.5, 1.0, 40.0), downbeats=(1.0,))["beat_fine"].reshape(-1, 2)
    assert np.argwhere(fine).tolist() == [[25, 0], [50, 0], [50, 1]]


def test_notes_beyond_the_clip_or_the_keyboard_are_left_out() -> None:
    grids = targets((31.0, 1.0, 60, False, FLUTE), (1.0, 1.0, 120, False, FLUTE))
    assert not grids["active"].any() and not grids["top"].any()
    assert grids["family"].any()  # the one above the keyboard is still heard
    last = targets((29.9, 9.0, 60, False, FLUTE))["active"]
    assert np.flatnonzero(last.any(1)).tolist() == [373, 374]


def test_codes_and_readings_have_the_shapes_their_configuration_says() -> None:
    torch.manual_seed(0)
    codec = SemanticCodec(TINY).eval()
    codes = codec.encode(torch.randn(2, 24_000 * 2 + 100) * 0.1)
    assert codes.shape == (2, 25, 3) and int(codes.max()) < TINY.codebook_size
    readings = codec.read_codes(codes)
    assert {name: x.shape for name, x in readings.items()} == {n: (2, 25, size) for n, size in TINY.targets.items()}
    assert all(float(x.min()) >= 0 and float(x.max()) <= 1 for x in readings.values())
    assert config_of({**vars(TINY), "of a later version": 1}) == TINY
    again = SemanticCodec(TINY).eval()
    again.load_state_dict(codec.state_dict())
    assert torch.equal(again.read_codes(codes)["active"], readings["active"])


def test_the_pitches_of_one_batch_can_be_learned() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        t = torch.arange(24_000) / 24_000
        hertz = [440 * 2 ** ((pitch - 69) / 12) for pitch in (60, 67)]
        audio = torch.stack([0.4 * torch.sin(2 * math.pi * f * t) for f in hertz])
        batch = {name: torch.zeros(2, 12, size) for name, size in TINY.targets.items()}
        for row, pitch in enumerate((60, 67)):
            batch["active"][row, :, pitch - LOWEST_PITCH] = 1
        objective = SemanticObjective(TINY).train()
        optimizer = torch.optim.Adam(objective.parameters(), 1e-2)
        for _ in range(50):
            loss, _ = objective({"audio": audio, **batch})
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            logits = objective.eval().codec(audio, False)[0]["active"].mean(1)
    assert logits.argmax(-1).tolist() == [60 - LOWEST_PITCH, 67 - LOWEST_PITCH]


def test_the_quantiser_starts_when_its_time_has_come_and_never_a_second_time(
    tiny_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, objective = SemanticTask(tiny_corpus, TINY, 2, 4.0), SemanticObjective(TINY)
    task.start_quantiser(objective, 0, 0.1)
    assert not objective.quantise and objective.codec.quantizer.untouched()
    with torch.random.fork_rng():
        task.start_quantiser(objective, 5, 0.3)
    assert objective.quantise and not objective.codec.quantizer.untouched()
    resumed = SemanticObjective(TINY)
    resumed.load_state_dict(objective.state_dict())
    monkeypatch.setattr(ResidualQuantizer, "initialise", lambda *_: pytest.fail("fitted again"))
    task.start_quantiser(resumed, 9, 0.4)
    assert resumed.quantise


def test_windows_of_sound_and_targets_begin_at_the_same_moment(tiny_corpus: Path) -> None:
    task = SemanticTask(tiny_corpus, TINY, 2, 4.0)
    batch = next(task.batches(torch.Generator().manual_seed(0)))
    assert batch["audio"].shape == (2, 4 * 24_000) and batch["active"].shape == (2, 50, 88)
    hertz, heard = np.fft.rfftfreq(9600, 1 / 24_000), 0
    for audio, top in zip(batch["audio"].numpy(), batch["top"].numpy(), strict=True):
        for frame in range(45):
            if top[frame : frame + 5].sum() < 5 or (top[frame] != top[frame + 4]).any():
                continue  # the note changes in between
            spectrum = np.abs(np.fft.rfft(audio[frame * 1920 : frame * 1920 + 9600] * np.hanning(9600)))
            pitch = 69 + 12 * np.log2(hertz[spectrum.argmax()] / 440)
            assert abs(pitch - int(top[frame].argmax()) - LOWEST_PITCH) < 0.5
            heard += 1
    assert heard > 20
    with torch.no_grad():
        figures = task.validate(SemanticObjective(TINY).eval())
    assert figures["loss"] > 10  # a model whose quantiser is not on yet never beats one whose is
    assert {"f1_active", "f1_top", "f1_beat_fine"} <= figures.keys()
