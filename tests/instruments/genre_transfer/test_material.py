import json

import numpy as np
import pytest

from backend.audio.io import write
from backend.audio.waveform import Waveform
from backend.errors import RequestError
from backend.instruments.genre_transfer import material
from backend.instruments.genre_transfer.produce import RATE, produce
from backend.instruments.genre_transfer.produce.sample_kit import HELD_OUT, SampleKit


@pytest.fixture
def one_shots(tmp_path):
    rng = np.random.default_rng(0)
    for machine in ("TR-808", *HELD_OUT):
        folder = tmp_path / "drum_machines" / machine
        folder.mkdir(parents=True)
        for name in ("kick", "snare", "hihat-open", "hihat"):
            sound = rng.standard_normal(2_000) * np.exp(-np.arange(2_000) / 300) * 0.2
            write(Waveform(sound.astype(np.float32), RATE), folder / f"{name}.ogg")
    return tmp_path


def test_no_drum_sound_of_one_split_is_known_to_another(one_shots):
    kits = {split: SampleKit(one_shots, split) for split in ("train", "valid", "test")}
    heard = {
        split: {s.tobytes() for sounds in kit._machines.values() for role in sounds.values() for s in role}
        for split, kit in kits.items()
    }
    assert all(heard.values())
    assert (
        not heard["train"] & heard["test"]
        and not heard["train"] & heard["valid"]
        and not heard["valid"] & heard["test"]
    )


def test_a_track_plays_the_sounds_of_a_folder(one_shots):
    kit = SampleKit(one_shots, "test")
    track = produce("boom_bap", 1, kit, duration_s=2.0)
    assert track.recipe["kit"] == "samples"
    assert not np.array_equal(track.waveform.samples, produce("boom_bap", 1, duration_s=2.0).waveform.samples)


def test_a_folder_without_drums_is_refused(tmp_path):
    with pytest.raises(RequestError, match="drum_machines"):
        SampleKit(tmp_path, "train")


def test_a_run_that_was_cut_off_makes_only_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(material, "GENRES", ("noise", "trap"))
    monkeypatch.setattr(material, "SHARES", (("train", 0.5), ("test", 0.5)))
    monkeypatch.setattr(
        material, "produce", lambda genre, seed, kit, split: produce(genre, seed, kit, split=split, duration_s=1.0)
    )
    assert material.build(tmp_path, 2, 0, None, 1) == 4
    rows = [json.loads(line) for line in (tmp_path / "tracks.jsonl").read_text().splitlines()]
    assert len({row["audio"] for row in rows}) == 4 and all((tmp_path / row["audio"]).is_file() for row in rows)
    monkeypatch.setattr(material, "make", lambda *a: pytest.fail("made again"))
    assert material.build(tmp_path, 2, 0, None, 1) == 4


def test_acoustic_styles_are_clips_of_the_split_without_drums(tmp_path):
    known = {"lead_family": "piano", "tempo_bpm": 90, "key": "C major"}
    rows = [
        known | {"audio": "a.wav", "split": "test", "families": ["piano"]},
        known | {"audio": "b.wav", "split": "test", "families": ["piano", "drums"]},
        known | {"audio": "c.wav", "split": "train", "families": ["piano"]},
    ]
    (tmp_path / "clips.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [clip.path.name for clip in material.read_acoustic_styles(tmp_path)] == ["a.wav"]
