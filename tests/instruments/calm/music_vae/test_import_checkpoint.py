"""What is refused before TensorFlow is needed; the rest of the import is in `test_parity`."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import pytest

from backend.errors import CheckpointError
from backend.instruments.calm.music_vae import import_checkpoint
from backend.instruments.calm.music_vae.config import CAT_MEL_2BAR_SMALL as SMALL
from backend.instruments.calm.music_vae.import_checkpoint import import_apart, main, read_checkpoint


def archive(path: Path, *members: str | tarfile.TarInfo, size: int = 1000) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = size if info.isreg() else 0
            tar.addfile(info, io.BytesIO(bytes(size)))
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def test_a_text_file_and_a_missing_file_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a checkpoint")
    for name in ("notes.txt", "nothing.ckpt"):
        with pytest.raises(CheckpointError, match=rf"^{name} is no TensorFlow checkpoint: give a \.tar, or the prefix"):
            read_checkpoint(tmp_path / name, SMALL)


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    whole = archive(tmp_path / "whole.tar", "a.ckpt.index", "a.ckpt.data-00000-of-00001", size=100_000)
    (tmp_path / "half.tar").write_bytes(whole.read_bytes()[:-60])
    with pytest.raises(CheckpointError, match=r"^half\.tar is truncated or damaged\.$"):
        read_checkpoint(tmp_path / "half.tar", SMALL)


@pytest.mark.parametrize("members", [(), ("readme.txt",), ("a.index", "b.index")], ids=["none", "other files", "two"])
def test_an_archive_must_hold_one_checkpoint(tmp_path: Path, members: tuple[str, ...]) -> None:
    count = sum(name.endswith(".index") for name in members)
    with pytest.raises(CheckpointError, match=f"holds {count} TensorFlow checkpoints instead of one"):
        read_checkpoint(archive(tmp_path / "some.tar", *members), SMALL)


def test_nothing_leaves_the_folder_an_archive_is_unpacked_to(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "side"
    folder.mkdir(parents=True)
    source = archive(
        tmp_path / "evil.tar",
        "../../escaped.index",
        "/tmp/escaped.data-00000-of-00001",
        link("link.index", "/etc/passwd"),
        link("../link.data-00000-of-00001", "/etc/passwd"),
    )
    assert import_checkpoint._extract(source, folder) == ["escaped"]
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"evil.tar", "in/side/escaped.index", "in/side/escaped.data-00000-of-00001"}
    assert not any(path.is_symlink() for path in folder.iterdir())


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_checkpoint, "MAX_BYTES", 1500)
    source = archive(tmp_path / "bomb.tar", "a.index", "a.data-00000-of-00001")
    with pytest.raises(CheckpointError, match=r"bomb\.tar holds more than 1,500 bytes"):
        read_checkpoint(source, SMALL)


def test_the_command_line_answers_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "x"), "--config", "cat-mel_4bar", "--out", str(tmp_path)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"] and "cat-mel_2bar_small" in report["problem"]


def test_a_process_of_its_own_refuses_in_the_same_words_and_leaves_tensorflow_outside(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^none\.ckpt is no TensorFlow checkpoint: give"):
        import_apart(tmp_path / "none.ckpt", SMALL.name, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert "tensorflow" not in sys.modules
