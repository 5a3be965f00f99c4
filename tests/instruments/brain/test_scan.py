"""Every kind of file that is not a usable BOLD run has its own sentence, before anything large is inflated."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from backend.errors import RequestError
from backend.instruments.brain.intake import check_length
from backend.instruments.brain.layout import Event
from backend.instruments.brain.scan import cortex_mask, inspect, read_masked
from tests.instruments.brain.miniature import AFFINE, SHAPE, brain_mask


def image(volumes: int = 24, affine: np.ndarray = AFFINE, tr: float = 1.5, unit: str = "sec") -> nibabel.Nifti1Image:
    rng, mask = np.random.default_rng(0), brain_mask()
    data = np.zeros((*SHAPE, volumes), np.float32)
    data[mask] = 1000 + rng.standard_normal((mask.sum(), volumes))
    made = nibabel.Nifti1Image(data, affine)
    made.header.set_zooms((12, 12, 12, tr))
    made.header.set_xyzt_units("mm", unit)
    return made


def changed(value: float, share: float) -> nibabel.Nifti1Image:
    made = image()
    data = np.asarray(made.dataobj).copy()
    data[: int(share * SHAPE[0])] = value
    return nibabel.Nifti1Image(data, AFFINE, made.header)


def bomb() -> bytes:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((512, 512, 400, 4096))
    header.set_sform(AFFINE, 1)
    return gzip.compress(bytes(header.binaryblock) + bytes(200_000_00))


def save(make: Callable[[], nibabel.Nifti1Image]) -> Callable[[Path], None]:
    return lambda path: nibabel.save(make(), path)


def raw(make: Callable[[], bytes]) -> Callable[[Path], None]:
    return lambda path: (path.write_bytes(make()), None)[1]


def volume_alone() -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image(np.ones(SHAPE, np.float32), AFFINE)


def fine_volume() -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image(np.ones((60, 60, 60), np.float32), np.eye(4))


def far_away() -> nibabel.Nifti1Image:
    affine = AFFINE.copy()
    affine[0, 3] += 500
    return image(affine=affine)


def without_tr() -> nibabel.Nifti1Image:
    return image(tr=0)


def truncated(path: Path) -> None:
    nibabel.save(image(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 6])


CASES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "3-D": ("a.nii.gz", save(volume_alone), "3-D"),
    "5-D": ("a.nii.gz", save(lambda: nibabel.Nifti1Image(np.ones((8, 8, 8, 24, 3), np.float32), AFFINE)), "5 dim"),
    "DICOM": ("a.nii", raw(lambda: bytes(128) + b"DICM" + bytes(500)), "DICOM"),
    "truncated": ("a.nii.gz", truncated, "end"),
    "bomb": ("a.nii.gz", raw(bomb), "GB announced"),
    "NaN": ("a.nii.gz", save(lambda: changed(np.nan, 0.8)), "not numbers"),
    "zeros": ("a.nii.gz", save(lambda: changed(0.0, 1.0)), "zeros"),
    "constant": ("a.nii.gz", save(lambda: changed(5.0, 1.0)), "all the same"),
    "another space": ("a.nii.gz", save(far_away), "MNI152"),
    "no position": ("a.nii.gz", save(lambda: _nowhere()), "no position"),
    "no TR": ("a.nii.gz", save(without_tr), "repetition time"),
    "long TR": ("a.nii.gz", save(lambda: image(tr=60)), "60 s"),
    "few volumes": ("a.nii.gz", save(lambda: image(volumes=5)), "volumes"),
    "T1w by name": ("sub-001_T1w.nii.gz", save(volume_alone), "BOLD only"),
    "T1w by voxels": ("a.nii.gz", save(fine_volume), "face"),
    "random": ("a.nii", raw(lambda: np.random.default_rng(0).bytes(4000)), "without a NIfTI header"),
    "empty": ("a.nii.gz", raw(lambda: b""), "without a NIfTI header"),
    "broken gzip": ("a.nii.gz", raw(lambda: b"\x1f\x8b" + bytes(50)), "gzip|without a NIfTI"),
}  # fmt: skip


def _nowhere() -> nibabel.Nifti1Image:
    made = image()
    made.header.set_sform(None, 0)
    made.header.set_qform(None, 0)
    return nibabel.Nifti1Image(np.asarray(made.dataobj), None, made.header)


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_used_is_refused_with_its_own_sentence(name: str, tmp_path: Path) -> None:
    file_name, write, said = CASES[name]
    write(tmp_path / file_name)
    with pytest.raises(RequestError, match=said) as caught:
        cortex_mask(inspect(tmp_path / file_name))
    assert str(tmp_path) not in str(caught.value)


def test_every_refusal_is_another_sentence(tmp_path: Path) -> None:
    said = set()
    for number, (file_name, write, _) in enumerate(CASES.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder / file_name)
        with pytest.raises(RequestError) as caught:
            cortex_mask(inspect(folder / file_name))
        said.add(str(caught.value))
    assert len(said) >= len(CASES) - 3  # two ways to a T1w, two to a file without a header


@pytest.mark.parametrize(("tr", "unit"), [(1.5, "sec"), (1500, "msec"), (1500, "sec")])
def test_the_repetition_time_is_read_in_seconds_or_milliseconds(tr: float, unit: str, tmp_path: Path) -> None:
    nibabel.save(image(tr=tr, unit=unit), tmp_path / "a.nii")
    assert inspect(tmp_path / "a.nii").tr_s == pytest.approx(1.5)


def test_a_sidecar_gives_the_repetition_time_that_the_header_lacks(tmp_path: Path) -> None:
    nibabel.save(without_tr(), tmp_path / "a.nii.gz")
    (tmp_path / "a.json").write_text('{"RepetitionTime": 1.5}')
    assert inspect(tmp_path / "a.nii.gz").tr_s == 1.5


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_masked_values_equal_nibabels_scaling_included(name: str, tmp_path: Path) -> None:
    made = image()
    stored = nibabel.Nifti1Image(np.asarray(made.dataobj), AFFINE, made.header)
    stored.header.set_data_dtype(np.int16)
    stored.header.set_slope_inter(0.25, 100)
    nibabel.save(stored, tmp_path / name)
    scan = inspect(tmp_path / name)
    space = cortex_mask(scan)
    expected = np.asarray(nibabel.load(tmp_path / name).dataobj)[tuple(space.index.T)].T
    assert space.n_voxels > 100 and np.allclose(read_masked(scan, space), expected, atol=1e-3)


def test_fewer_volumes_than_the_events_take_are_refused_and_a_short_last_clip_is_not(tmp_path: Path) -> None:
    nibabel.save(image(volumes=30), tmp_path / "a.nii")
    scan = inspect(tmp_path / "a.nii")
    check_length(scan, [Event(15.0 * i, 15.0, f"{i}", "jazz") for i in range(3)])
    with pytest.raises(RequestError, match="30 volumes"):
        check_length(scan, [Event(15.0 * i, 15.0, f"{i}", "jazz") for i in range(4)])
