"""BOLD files: looked at before anything is inflated, then read volume by volume and masked on the way.

Libraries accept 3-D images, blocks of NaN, brains half a metre away and gzip headers that claim terabytes; each of
these gets a sentence here. Of the header nothing is kept but shape, type, affine and repetition time. Anatomical
images are
refused: a face can be rebuilt from them, and nothing here needs one.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from backend.errors import RequestError
from backend.instruments.brain.space import Space, cortex_vertices

FloatArray = npt.NDArray[np.float32]

MAX_BYTES = 4_000_000_000  # one run inflated; ds003720's have 0.51e9
MAX_VOLUMES, MAX_SIDE = 5_000, 512
TR_RANGE_S = (0.2, 10.0)
LEAST_OVERLAP = 0.5
RIBBON_MM = 4.0
LOOK_AT = 8  # volumes that the mask is made from
NIFTI = "a BOLD run as NIfTI-1 (.nii or .nii.gz)"


@dataclass(frozen=True, eq=False)
class Scan:
    """What a header says, and has been believed.

    Attributes:
        path: of the file.
        shape: ``(x, y, z, volumes)``.
        dtype: of the stored numbers.
        offset: of the first number in bytes.
        scale: slope and intercept of stored numbers.
        affine: voxel indices to mm ``[4, 4]``.
        tr_s: repetition time in seconds.
    """

    path: Path
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    offset: int
    scale: tuple[float, float]
    affine: npt.NDArray[np.float64]
    tr_s: float

    def volumes(self) -> Iterator[npt.NDArray[Any]]:
        """Stored numbers of each volume, flat in Fortran order.

        Raises:
            RequestError: the file ends early or is damaged.
        """
        size = int(np.prod(self.shape[:3])) * self.dtype.itemsize
        with opened(self.path) as stream:
            _exactly(stream, self.offset)
            for number in range(self.shape[3]):
                try:
                    data = _exactly(stream, size)
                except RequestError:
                    raise RequestError(
                        "scan", f"a file that ends in volume {number + 1}", f"all {self.shape[3]} volumes it announces"
                    ) from None
                yield np.frombuffer(data, self.dtype)

    def values(self, flat: npt.NDArray[Any]) -> FloatArray:
        """Stored numbers as the header scales them, float32."""
        slope, intercept = self.scale
        return np.asarray(flat.astype(np.float32) * np.float32(slope) + np.float32(intercept), np.float32)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, inflated as it is read."""
    try:
        with path.open("rb") as raw:
            if raw.read(2) == b"\x1f\x8b":
                raw.seek(0)
                with gzip.GzipFile(fileobj=raw) as stream:
                    yield stream  # type: ignore[misc]
            else:
                raw.seek(0)
                yield raw
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise RequestError("scan", "a damaged gzip file", NIFTI) from None
        raise RequestError("scan", "a file that cannot be read", NIFTI) from None


def _exactly(stream: IO[bytes], size: int) -> bytes:
    """``size`` bytes, never more."""
    try:
        data = stream.read(size)
    except (EOFError, zlib.error):
        raise RequestError("scan", "a gzip file that ends early or is damaged", NIFTI) from None
    if len(data) < size:
        raise RequestError("scan", "a file that ends early", NIFTI)
    return data


def inspect(path: Path) -> Scan:
    """Read and check a header; nothing behind it is inflated.

    Raises:
        RequestError: one sentence about what is wrong.
    """
    import nibabel

    if is_anatomy(path.name):
        refuse_anatomy()
    with opened(path) as stream:
        start = _at_most(stream, 132)
        if start[128:132] == b"DICM":
            raise RequestError("scan", "a DICOM file", f"{NIFTI}; convert it with dcm2niix")
        start += _at_most(stream, 348 - len(start))
    if len(start) < 348 or start[344:348] not in (b"n+1\0", b"ni1\0"):
        raise RequestError("scan", "a file without a NIfTI header", NIFTI)
    if start[344:348] == b"ni1\0":
        raise RequestError("scan", "half of an .hdr/.img pair", NIFTI)
    try:
        header = nibabel.Nifti1Header(start, check=False)  # type: ignore[no-untyped-call]
        dtype = header.get_data_dtype()  # type: ignore[no-untyped-call]
    except Exception:
        raise RequestError("scan", "a NIfTI header that contradicts itself", NIFTI) from None
    shape = _checked_shape(header["dim"].tolist(), header["pixdim"].tolist())
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise RequestError("scan", f"numbers of type {dtype}", "whole or floating-point numbers")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > MAX_BYTES:
        raise RequestError("scan", f"{size / 1e9:,.0f} GB announced", f"a run of at most {MAX_BYTES / 1e9:g} GB")
    offset = max(352, int(header["vox_offset"])) if np.isfinite(header["vox_offset"]) else 352
    if offset > 1_000_000:
        raise RequestError("scan", "a header of more than a megabyte", NIFTI)
    with path.open("rb") as raw:
        inflated = raw.read(2) != b"\x1f\x8b"
    if inflated and path.stat().st_size < offset + size:
        raise RequestError("scan", "a file that ends before its last volume", f"all {shape[3]} volumes it announces")
    slope, intercept = (float(header[key]) for key in ("scl_slope", "scl_inter"))
    scale = (slope, intercept) if np.isfinite([slope, intercept]).all() and slope else (1.0, 0.0)
    return Scan(path, shape, dtype, offset, scale, _affine(header), _repetition_time(header, path))


def _at_most(stream: IO[bytes], size: int) -> bytes:
    try:
        return stream.read(size)
    except (EOFError, zlib.error):
        return b""


def is_anatomy(name: str) -> bool:
    """Whether a file's name says that it shows a head, not its activity."""
    return "t1w" in name.lower() or "t2w" in name.lower()


def refuse_anatomy() -> None:
    """Raise the `RequestError` about pictures of heads."""
    raise RequestError(
        "scan", "an anatomical image", "BOLD only; a face can be recognised in a T1-weighted image, and none is needed"
    )


def _checked_shape(dim: list[int], pixdim: list[float]) -> tuple[int, int, int, int]:
    n = dim[0]
    sides = dim[1 : 1 + max(0, min(n, 7))]
    while len(sides) > 4 and sides[-1] == 1:
        sides = sides[:-1]
    if len(sides) == 3 or (len(sides) == 4 and sides[3] == 1):
        if max(pixdim[1:4]) <= 1.4:
            refuse_anatomy()
        raise RequestError("scan", "one 3-D image", "a 4-D run, a volume every one or two seconds")
    if len(sides) != 4:
        raise RequestError("scan", f"{n} dimensions", "four: x, y, z and time")
    if min(sides) < 1 or max(sides[:3]) > MAX_SIDE or min(sides[:3]) < 4 or not 20 <= sides[3] <= MAX_VOLUMES:
        raise RequestError(
            "scan", " × ".join(map(str, sides)), f"4 to {MAX_SIDE} voxels a side and 20 to {MAX_VOLUMES} volumes"
        )
    return sides[0], sides[1], sides[2], sides[3]


def _affine(header: Any) -> npt.NDArray[np.float64]:
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        raise RequestError("scan", "no position in space", "an image aligned to MNI152, as fMRIPrep or SPM write it")
    affine = np.asarray(header.get_best_affine(), np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-3:
        raise RequestError("scan", "a position that is no place", "an image aligned to MNI152")
    return affine


def _repetition_time(header: Any, path: Path) -> float:
    """Seconds, from the header or the sidecar; milliseconds are recognised by their size."""
    tr = float(header["pixdim"][4])
    unit = int(header["xyzt_units"]) & 0x38
    tr *= {16: 1e-3, 24: 1e-6}.get(unit, 1.0)
    name = path.name.removesuffix(".gz").removesuffix(".nii")
    sidecar = path.with_name(f"{name}.json")
    if not np.isfinite(tr) or tr <= 0:
        tr = 0.0
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            tr = float(json.loads(sidecar.read_text("utf-8"))["RepetitionTime"])
    if 1000 * TR_RANGE_S[0] <= tr <= 1000 * TR_RANGE_S[1]:
        tr /= 1000
    if tr == 0:
        raise RequestError("scan", "no repetition time", "one in the header or in the sidecar's RepetitionTime")
    if not TR_RANGE_S[0] <= tr <= TR_RANGE_S[1]:
        low, high = TR_RANGE_S
        raise RequestError("scan", f"a repetition time of {tr:g} s", f"one of {low} to {high:g} s")
    return tr


def cortex_mask(scan: Scan) -> Space:
    """The voxels of a scan that lie in its brain and in MNI152's cortical ribbon.

    The brain is found in the mean of the first volumes (nilearn's histogram method).

    Raises:
        RequestError: nothing was recorded, numbers are missing, or the brain lies in another space.
    """
    total = np.zeros(int(np.prod(scan.shape[:3])), np.float64)
    bad, changed, first = np.zeros(len(total), bool), False, None
    for number, flat in enumerate(scan.volumes()):
        if number == LOOK_AT:
            break
        values = scan.values(flat)
        missing = ~np.isfinite(values)
        bad |= missing
        values[missing] = 0
        first = values if first is None else first
        changed = changed or not np.array_equal(first, values)
        total += values
    if bad.mean() > 0.5:
        raise RequestError("scan", f"{bad.mean():.0%} values that are not numbers", "a run without such blocks")
    if not changed:
        found = "nothing but zeros" if not total.any() else "volumes that are all the same"
        raise RequestError("scan", found, "a recording that changes from volume to volume")
    inside = _brain((total / LOOK_AT).reshape(scan.shape[:3], order="F"), scan.affine)
    to_voxel = np.linalg.inv(scan.affine)
    vertices = cortex_vertices()
    place = np.round(vertices @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
    within = ((place >= 0) & (place < np.array(scan.shape[:3]))).all(1)
    overlap = float(inside[tuple(place[within].T)].sum() / len(vertices))
    if overlap < LEAST_OVERLAP:
        raise RequestError(
            "scan", f"a brain that covers {overlap:.0%} of MNI152's cortex",
            f"at least {LEAST_OVERLAP:.0%}; normalise it to MNI152 with fMRIPrep or SPM first",
        )  # fmt: skip
    index = np.argwhere(inside & ~bad.reshape(scan.shape[:3], order="F")).astype(np.int32)
    xyz = np.asarray(index @ scan.affine[:3, :3].T + scan.affine[:3, 3], np.float32)
    near = np.isfinite(cKDTree(vertices).query(xyz, distance_upper_bound=RIBBON_MM + _size(scan.affine) / 2)[0])
    return Space(xyz[near], index[near], scan.shape[:3], scan.affine)


def _size(affine: npt.NDArray[np.float64]) -> float:
    """Largest side of a voxel in mm."""
    return float(np.linalg.norm(affine[:3, :3], axis=0).max())


def _brain(mean: npt.NDArray[np.float64], affine: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    import nibabel
    from nilearn.masking import compute_epi_mask

    try:
        image = nibabel.Nifti1Image(mean.astype(np.float32), affine)  # type: ignore[no-untyped-call]
        mask = compute_epi_mask(image, opening=0)
    except Exception:  # its own warnings and errors are many; they all mean this
        raise RequestError("scan", "no brain", "a run in which brain and air differ") from None
    return np.asarray(mask.get_fdata() > 0)


def read_masked(scan: Scan, space: Space) -> FloatArray:
    """``[volumes, voxels]`` float32 of the voxels of ``space``; only one volume is in memory beside them.

    Raises:
        RequestError: the run has another shape than the first, or the file is damaged.
    """
    if scan.shape[:3] != space.shape or not np.allclose(scan.affine, space.affine, atol=0.01):
        raise RequestError("scan", "runs on different grids", "runs resampled to one grid")
    flat_index = np.ravel_multi_index(tuple(space.index.T), space.shape, order="F")
    order = np.argsort(flat_index)  # in the order of the file, which memory likes better
    rows = np.empty((scan.shape[3], space.n_voxels), np.float32)
    for number, flat in enumerate(scan.volumes()):
        rows[number, order] = scan.values(flat[flat_index[order]])
    return rows
