"""Training kits: packed without loss, small, and alive on a machine that has torch and numpy only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pretty_midi
import pytest
import torch

from backend.corpus.instruments import BY_NAME
from backend.errors import NeuromuseError
from backend.musiclm import pack as packing
from backend.musiclm.acoustic import AcousticConfig
from backend.musiclm.events import CAST, NOTE, PLAYER
from backend.musiclm.kit_notes import parts_of, unpacked, write_notes
from backend.musiclm.kit_tokens import (
    Kept,
    pack_bits,
    pack_tables,
    pack_vectors,
    read_tokens,
    unpack_bits,
    unpack_tables,
    write_tokens,
)
from backend.musiclm.pack import main, sources
from backend.musiclm.parcel import read_parcels, write_parcels
from backend.musiclm.stages_train import AcousticObjective, Ragged, StageTask, TokenCorpus

SOUNDFONT = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
ABSENT = ("accelerate", "soundfile", "matplotlib", "scipy", "librosa", "torchaudio", "audiolm_pytorch", "pretty_midi")
BLOCKER = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
"""
CLOCK = "import itertools, time; time.monotonic = (0.2 * n for n in itertools.count()).__next__"
"""A clock that a step moves by a fifth of a second, so that what fits into a budget is the same on every machine."""


def write_token_folder(folder: Path, clips: int = 12, silent: int = 5) -> TokenCorpus:
    """Random tokens; in every second clip a piano stands between two violins, the hardest to keep in order."""
    random = np.random.default_rng(0)
    rows: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in ("notes", "players", "ticks", "codes")}
    for number in range(clips + silent):
        count = int(random.integers(20, 60))
        cast = [CAST.index(BY_NAME[name]) for name in ("violin", "piano", "violin")][: 2 + number % 2]
        part = random.integers(0, len(cast), count)
        ticks, pitch = random.integers(0, 1440, count), random.integers(60, 80, count)
        order = np.lexsort((pitch, part, ticks))
        codes = np.stack([np.array(cast)[part], pitch, random.integers(1, 36, count), random.integers(0, 16, count)], 1)
        rows["players"].append(np.array([[PLAYER, who, 70, 0, 14] for who in cast], np.uint8))
        rows["ticks"].append(ticks[order].astype(np.int32))
        rows["codes"].append(codes[order].astype(np.uint8))
        if number < clips:
            heard = np.zeros(count, NOTE)
            heard["onset_s"] = np.sort(random.uniform(0, 29, count))
            heard["duration_s"], heard["instrument"] = random.uniform(0.05, 1, count), codes[:, 0]
            heard["pitch"], heard["velocity"], heard["gain"] = pitch, codes[:, 3], 14
            rows["notes"].append(heard)
    folder.mkdir()
    joined = {name: Ragged.of(values) for name, values in rows.items()}
    np.savez(
        folder / "notes.npz",
        settings=random.integers(2, 4, (clips + silent, 4)).astype(np.int16),
        lead_in_s=random.uniform(0, 1, clips + silent).astype(np.float32),
        **{
            name: ragged.values.astype(np.int32) if name == "ticks" else ragged.values
            for name, ragged in joined.items()
        },
        **{f"{name}_starts": ragged.starts for name, ragged in joined.items()},
    )
    vectors = {"audio_embed": (clips, 3), "text_embed": (clips, 5), "silent_text_embed": (silent, 5)}
    for name, shape in vectors.items():
        values = random.standard_normal((*shape, 128))
        np.save(folder / f"{name}.npy", (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float16))
    few, wide = random.standard_normal((8, 1024, 8)), random.standard_normal((8, 8, 128))
    np.save(folder / "codebooks.npy", (few @ wide + random.standard_normal((8, 1, 128))).astype(np.float32))
    np.save(folder / "acoustic.npy", random.integers(0, 1024, (clips, 1500, 8)).astype(np.int16))
    np.save(folder / "split.npy", (np.arange(clips) % 3).astype(np.int8))
    return TokenCorpus(folder)


def write_corpus(folder: Path) -> list[dict[str, npt.NDArray[Any]]]:
    """Three clips of a violin over a drum; no sound."""
    random = np.random.default_rng(1)
    (folder / "notes").mkdir(parents=True)
    lines, clips = [], []
    for number, split in enumerate(("train", "valid", "test")):
        onset = np.sort(random.uniform(0, 28, 20)).astype(np.float32)
        drum = np.arange(20) % 2 == 1
        notes: dict[str, npt.NDArray[Any]] = {
            "onset_s": onset,
            "duration_s": np.full(20, 0.4, np.float32),
            "pitch": np.where(drum, 38, random.integers(60, 90, 20)).astype(np.uint8),
            "velocity": np.full(20, 90, np.uint8),
            "program": np.where(drum, 0, 40).astype(np.uint8),
            "is_drum": drum,
            "part": drum.astype(np.uint8),
            "role": np.where(drum, 5, 0).astype(np.uint8),
            "beats_s": np.arange(0.1, 30, 0.5, dtype=np.float32),
            "downbeats_s": np.arange(0.1, 30, 2.0, dtype=np.float32),
        }
        name = f"{split}_{number:05d}"
        np.savez(folder / "notes" / f"{name}.npz", **notes)  # type: ignore[arg-type]
        audio = folder / "audio" / split / f"{name}.wav"
        audio.parent.mkdir(parents=True)
        audio.touch()
        lines.append(
            {"id": name, "split": split, "audio": f"audio/{split}/{name}.wav", "notes": f"notes/{name}.npz"}
            | {"lead_family": "strings", "families": ["strings", "drums"]}
        )
        clips.append(notes)
    (folder / "clips.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return clips


def run_bare(kit: Path, tmp_path: Path, *calls: str, before: str = "") -> str:
    """Run the kit's command lines in one process without this project and without the packages a bare machine lacks."""
    blocker = tmp_path / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(BLOCKER)
    script = tmp_path / "calls.py"
    lines = [f"import sys; sys.path.insert(0, {str(kit)!r})", "from backend.musiclm import kit", CLOCK, before]
    lines += [f"print('exit', kit.main({call.split()!r}), flush=True)" for call in calls]
    script.write_text("\n".join([*lines, f"assert kit.__file__.startswith({str(kit)!r})"]))
    environment = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")}
    environment |= {"PYTHONPATH": str(blocker), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1100
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize(("bits", "shape"), [(10, (3, 50, 8)), (9, (7, 5, 3)), (1, (13,)), (10, (0, 4))])
def test_codes_survive_packing_at_their_own_width(bits: int, shape: tuple[int, ...]) -> None:
    codes = np.random.default_rng(0).integers(0, 1 << bits, shape).astype(np.int16)
    packed = pack_bits(codes, bits)
    assert len(packed) == -(-codes.size * bits // 8)
    assert np.array_equal(unpack_bits(packed, bits, shape), codes)


def test_packing_works_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.musiclm.kit_tokens.BLOCK", 64)
    codes = np.random.default_rng(0).integers(0, 1024, 1003).astype(np.int16)
    assert np.array_equal(unpack_bits(pack_bits(codes, 10), 10, (1003,)), codes)


def test_a_code_too_large_for_its_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="9 bits"):
        pack_bits(np.array([512]), 9)


def test_vectors_in_eight_bits_point_the_same_way() -> None:
    vectors = np.random.default_rng(0).standard_normal((20, 128))
    values, scale = pack_vectors(vectors)
    back = values * scale[:, None].astype(np.float32)
    cosine = (back * vectors).sum(-1) / np.linalg.norm(back, axis=-1) / np.linalg.norm(vectors, axis=-1)
    assert cosine.min() > 0.9999


@pytest.mark.parametrize("rank", [1, 8, 30])
def test_tables_come_back_from_their_factors(rank: int) -> None:
    random = np.random.default_rng(0)
    tables = random.standard_normal((3, 64, rank)) @ random.standard_normal((3, rank, 20)) + 3.0
    factors = pack_tables(tables.astype(np.float32))
    assert factors["tables_left"].shape == (3, 64, min(rank, 20))
    assert np.abs(unpack_tables(factors) - tables).max() < 1e-4


def test_an_unpacked_corpus_means_what_it_meant_without_the_test_split(tmp_path: Path) -> None:
    before = write_token_folder(tmp_path / "tokens")
    kept = write_tokens(tmp_path / "tokens", tmp_path / "data")
    assert (kept.clips, kept.codebooks, kept.silent, kept.captions) == (8, (8, 8), (5, 5), (5, 5))
    read_tokens(tmp_path / "data", tmp_path / "out")
    after = TokenCorpus(tmp_path / "out")
    rows = [0, 1, 3, 4, 6, 7, 9, 10, *range(12, 17)]  # every third clip with sound is of the test split
    assert after.train.tolist() == [0, 2, 4, 6] and after.held_out.tolist() == [1, 3, 5, 7]
    assert after.silent.tolist() == list(range(8, 13))
    for new, old in enumerate(rows):
        a, b = before.piece(old), after.piece(new)
        assert (a.setting, a.lead_in_s) == (b.setting, b.lead_in_s)
        for name in ("players", "ticks", "codes"):
            assert np.array_equal(getattr(a, name), getattr(b, name))
        assert np.abs(before.text_embed[old] - after.text_embed[new]).max() < 0.002
    assert np.abs(before.codebooks - after.codebooks).max() < 1e-4
    for new, old in enumerate(rows[:8]):
        assert np.array_equal(before.acoustic[old], after.acoustic[new])
        assert np.abs(before.audio_embed[old] - after.audio_embed[new]).max() < 0.002
        heard, played = before.notes[old], after.notes[new]
        assert heard.dtype == played.dtype
        for name in ("onset_s", "duration_s"):
            assert np.abs(heard[name] - played[name]).max() < 0.00026
        for name in ("instrument", "pitch", "velocity", "gain"):
            assert np.array_equal(heard[name], played[name])


def test_unpacked_tokens_train_a_stage(tmp_path: Path) -> None:
    write_token_folder(tmp_path / "tokens")
    write_tokens(tmp_path / "tokens", tmp_path / "data", codebooks=2)
    read_tokens(tmp_path / "data", tmp_path / "out")
    corpus = TokenCorpus(tmp_path / "out")
    objective = AcousticObjective(AcousticConfig(dim=16, blocks=1), torch.from_numpy(corpus.codebooks))
    batch = next(StageTask(corpus, "acoustic", None, 2, 24).batches(torch.Generator().manual_seed(0)))
    assert batch["codes"].shape == (2, 24, 2)
    assert torch.isfinite(objective(batch)[0])


def test_captions_of_silent_clips_go_first_then_such_clips_and_codebooks_last(tmp_path: Path) -> None:
    before = write_token_folder(tmp_path / "tokens", silent=60)

    def keep(less: int, **asked: int) -> Kept:
        return write_tokens(tmp_path / "tokens", tmp_path / "data", full - less, **asked)

    full = 1 << 30
    assert keep(0).captions == (5, 5)
    full = packing.size_of(tmp_path / "data")
    vectors = 60 * 130  # bytes of one caption of each silent clip
    kept = keep(vectors)
    assert (kept.captions[0], kept.silent[0], kept.codebooks[0]) == (3, 60, 8)  # they deflate, so one is not enough
    assert packing.size_of(tmp_path / "data") <= full - vectors
    read_tokens(tmp_path / "data", tmp_path / "out")
    after = TokenCorpus(tmp_path / "out")  # the first captions stand in for those that are gone
    assert np.abs(before.text_embed[12:, [0, 1, 2, 0, 1]] - after.text_embed[8:]).max() < 0.002
    kept = keep(5 * vectors)
    assert kept.captions[0] == 2 and 0 < kept.silent[0] < 60 and kept.codebooks[0] == 8
    assert packing.size_of(tmp_path / "data") <= full - 5 * vectors
    sounding = (tmp_path / "data" / "sounding.npz").stat().st_size
    kept = keep(full - sounding - 70_000)
    assert kept.codebooks[0] == 4 and 0 < kept.silent[0] < 60  # a codebook of 8 clips takes 15,000 bytes
    assert packing.size_of(tmp_path / "data") <= sounding + 70_000
    kept = keep(0, codebooks=3, silent=7)
    assert (kept.codebooks, kept.silent, kept.captions) == ((3, 8), (7, 60), (5, 5))
    assert "3 of 8 codebooks, 7 of 60 clips of notes alone with 5 of 5 captions" in str(kept)


def test_tokens_without_silent_clips_are_packed_too(tmp_path: Path) -> None:
    write_token_folder(tmp_path / "tokens", silent=0)
    assert write_tokens(tmp_path / "tokens", tmp_path / "data", 200_000).silent == (0, 0)
    read_tokens(tmp_path / "data", tmp_path / "out")
    assert len(TokenCorpus(tmp_path / "out").silent) == 0


@pytest.mark.parametrize("codebooks", ["0", "9"])
def test_codebooks_there_are_not_are_refused(
    codebooks: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_token_folder(tmp_path / "tokens", silent=0)
    words = ["--kind", "tokens", "--tokens", str(tmp_path / "tokens"), "--out", str(tmp_path / "kit")]
    assert main([*words, "--codebooks", codebooks]) == 1
    assert f"--codebooks {codebooks}: the tokens have 8" in capsys.readouterr().err
    assert not (tmp_path / "kit").exists()


def test_arrays_of_different_corpora_are_refused(tmp_path: Path) -> None:
    write_token_folder(tmp_path / "tokens")
    np.save(tmp_path / "tokens" / "silent_text_embed.npy", np.zeros((4, 5, 128), np.float16))
    with pytest.raises(NeuromuseError, match="different numbers of clips"):
        write_tokens(tmp_path / "tokens", tmp_path / "data")
    np.save(tmp_path / "tokens" / "codebooks.npy", np.zeros((4, 1024, 128), np.float32))
    with pytest.raises(NeuromuseError, match="different codecs"):
        write_tokens(tmp_path / "tokens", tmp_path / "data")


def test_notes_come_back_to_the_half_millisecond(tmp_path: Path) -> None:
    clips = write_corpus(tmp_path / "corpus")
    write_notes(tmp_path / "corpus", tmp_path / "data")
    back = list(unpacked(tmp_path / "data"))
    assert [label["id"] for label, _ in back] == ["train_00000", "valid_00001"]
    for (_, notes), original in zip(back, clips, strict=False):
        assert set(notes) == set(original)
        for name, values in original.items():
            assert notes[name].dtype == values.dtype
            assert np.abs(notes[name].astype(float) - values.astype(float)).max() <= 0.00026
    violin, drums = parts_of(back[0][1])
    assert (violin.instrument.name, violin.role, drums.instrument.is_drum, drums.role) == (
        "violin",
        "lead",
        True,
        "drums",
    )
    assert len(violin.notes) == len(drums.notes) == 10


def test_parcels_restore_the_weights_to_eight_bits_and_notice_a_missing_part(tmp_path: Path) -> None:
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    (tmp_path / "results" / "fine").mkdir(parents=True)
    torch.save({"module": {"a.weight": weight}, "figures": {"loss": 1.5}}, tmp_path / "results" / "fine" / "best.pt")
    torch.save({"dim": 128}, tmp_path / "results" / "fine" / "config.pt")
    parts = write_parcels(tmp_path / "results", tmp_path / "parcels", 4096)
    assert len(parts) > 2 and max(path.stat().st_size for path in parts) == 4096
    assert read_parcels(tmp_path / "parcels", tmp_path / "models") == ["fine"]
    saved = torch.load(tmp_path / "models" / "fine" / "best.pt")
    assert (saved["module"]["a.weight"] - weight).abs().max() < weight.abs().max() / 200
    assert saved["figures"] == {"loss": 1.5} and torch.load(tmp_path / "models" / "fine" / "config.pt") == {"dim": 128}
    parts[1].unlink()
    with pytest.raises(NeuromuseError, match="fine"):
        read_parcels(tmp_path / "parcels", tmp_path / "other")


def test_sources_follow_imports_and_refuse_what_a_bare_machine_lacks(tmp_path: Path) -> None:
    package = tmp_path / "backend"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from backend import b\n\ndef late():\n    import scipy\n")
    (package / "b.py").write_text("import numpy\n")
    assert [p.as_posix() for p in sources(["backend.a"], tmp_path)] == [
        "backend/__init__.py",
        "backend/a.py",
        "backend/b.py",
    ]
    (package / "b.py").write_text("import scipy.fft\n")
    with pytest.raises(NeuromuseError, match=r"b\.py imports scipy"):
        sources(["backend.a"], tmp_path)


def test_a_kit_above_the_limit_is_refused_in_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_token_folder(tmp_path / "tokens")
    words = [
        "--kind",
        "tokens",
        "--tokens",
        str(tmp_path / "tokens"),
        "--out",
        str(tmp_path / "kit"),
        "--limit-mib",
        ".1",
    ]
    assert main(words) == 1
    assert re.search(r"would be 0\.\d MiB, above the limit of 0\.1", capsys.readouterr().err)
    assert not (tmp_path / "kit").exists()


def test_a_folder_that_is_no_kit_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["--kind", "tokens", "--tokens", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "not empty" in capsys.readouterr().err and (tmp_path / "thesis.txt").exists()


def test_missing_tokens_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--kind", "tokens", "--tokens", str(tmp_path), "--out", str(tmp_path / "kit")]) == 1
    assert "lacks acoustic, codebooks, audio_embed" in capsys.readouterr().err
    assert not (tmp_path / "kit").exists()


@pytest.mark.timeout(1200)  # seconds, unless other trainings keep every core busy
def test_the_tokens_kit_trains_and_resumes_on_a_bare_machine(tmp_path: Path) -> None:
    write_token_folder(tmp_path / "tokens")
    kit = tmp_path / "kit"
    assert main(["--kind", "tokens", "--tokens", str(tmp_path / "tokens"), "--out", str(kit)]) == 0
    call = "all --size tiny --threads 1 --total .2 --parcels sent"
    log = run_bare(kit, tmp_path, f"{call} --minutes .08", f"{call} --minutes 5")
    assert re.findall(r"exit (\d)", log) == ["2", "0"]  # out of time, then done
    for name in ("semantic", "acoustic"):
        assert (kit / "results" / name / "best.pt").exists() and (tmp_path / "sent" / f"{name}.parcel.0").exists()
    first, second = (kit / "results" / "semantic" / "curve.csv").read_text().splitlines()[1:]
    steps = [int(row.split(",")[0]) for row in (first, second)]
    minutes = [float(row.split(",")[1]) for row in (first, second)]
    assert 0 < steps[0] < steps[1] and 0 < minutes[0] < minutes[1]  # the second call went on, it did not start anew
    assert minutes[1] == pytest.approx(0.9 * 0.6 * 0.2, abs=0.01)
    assert main(["--receive", str(tmp_path / "sent"), "--out", str(tmp_path / "models")]) == 0
    config = torch.load(tmp_path / "models" / "acoustic" / "config.pt")
    assert (config["dim"], config["latent_dim"]) == (16, 128)


@pytest.mark.timeout(1200)  # seconds, unless other trainings keep every core busy
def test_the_notes_kit_renders_and_trains_on_a_bare_machine(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus")
    kit = tmp_path / "kit"
    words = ["--kind", "notes", "--corpus", str(tmp_path / "corpus"), "--soundfont", str(SOUNDFONT), "--out", str(kit)]
    assert main(words) == 0
    assert packing.size_of(kit) < 9 * 2**20
    assert list((kit / "site").glob("tinysoundfont.*LICEN*"))
    log = run_bare(
        kit,
        tmp_path,
        "all --size tiny --threads 1 --minutes 1 --total .15 --workers 1 --variants 2",
        before="from backend.musiclm import codec_train; codec_train.FIT_VECTORS = 400",
    )
    assert "exit 0" in log
    lines = [json.loads(line) for line in (kit / "work" / "corpus" / "clips.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["train_00000", "train_00000_1", "valid_00001"]
    for name in ("codec_encoder", "codec", "listener"):
        assert (kit / "results" / name / "best.pt").exists() and (kit / "results" / name / "config.pt").exists()
