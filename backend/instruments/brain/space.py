"""Where voxels are: cortex in MNI coordinates, drawn on fsaverage5 or written as NIfTI.

The surface and its coordinates come with nilearn (BSD-3); fsaverage5 is FreeSurfer's (Fischl et al. 1999). Nothing is
downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    import nibabel

FloatArray = npt.NDArray[np.float32]

N_VERTICES = 10_242  # a hemisphere of fsaverage5
REACH_MM = 6.0  # a vertex takes the nearest voxel's value within this distance


@dataclass(frozen=True, eq=False)
class Space:
    """The places of masked voxels.

    Attributes:
        xyz: MNI coordinates in mm ``[voxels, 3]``.
        index: place of each voxel in the volume ``[voxels, 3]``; vertex numbers ``[voxels, 1]`` of both hemispheres of
            fsaverage5, the left one first, for surface data.
        shape: of the volume, or ``(20484,)``.
        affine: voxel indices to mm ``[4, 4]``; the identity for surface data.
    """

    xyz: FloatArray
    index: npt.NDArray[np.int32]
    shape: tuple[int, ...]
    affine: npt.NDArray[np.float64]

    @property
    def n_voxels(self) -> int:
        """How many voxels there are."""
        return len(self.xyz)

    @property
    def is_surface(self) -> bool:
        """Whether voxels are vertices of fsaverage5."""
        return len(self.shape) == 1

    def only(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Space:
        """Some of the voxels."""
        return Space(self.xyz[rows], self.index[rows], self.shape, self.affine)

    def on_surface(self, values: npt.ArrayLike) -> FloatArray:
        """``[voxels]`` → both hemispheres ``[2, 10242]``; NaN where no voxel is near."""
        values = np.asarray(values, np.float32)
        out = np.full(2 * N_VERTICES, np.nan, np.float32)
        if self.is_surface:
            out[self.index[:, 0]] = values
        else:
            distance, nearest = cKDTree(self.xyz).query(cortex_vertices(), distance_upper_bound=REACH_MM)
            near = np.isfinite(distance)
            out[near] = values[nearest[near]]
        return out.reshape(2, N_VERTICES)

    def as_nifti(self, values: npt.ArrayLike, description: str) -> nibabel.Nifti1Image:
        """``[voxels]`` as an image of float32, 0 outside; surface data is written at 4 mm.

        Args:
            values: a number for each voxel.
            description: at most 79 characters of ASCII, kept in the header.
        """
        import nibabel

        place = self
        if self.is_surface:
            index, shape, affine = _grid(self.xyz, 4.0)
            place = Space(self.xyz, index, shape, affine)
        volume = np.zeros(place.shape, np.float32)
        volume[tuple(place.index.T)] = np.asarray(values, np.float32)
        image = nibabel.Nifti1Image(volume, place.affine)  # type: ignore[no-untyped-call]
        image.header["descrip"] = description.encode("ascii", "replace")[:79]
        image.header.set_xyzt_units("mm", "sec")  # type: ignore[no-untyped-call]
        return image


@lru_cache(maxsize=1)
def cortex_vertices() -> FloatArray:
    """Half-way between white and pial surface of fsaverage5, both hemispheres ``[20484, 3]`` in mm."""
    from nilearn.datasets import load_fsaverage

    mesh = load_fsaverage("fsaverage5")
    halves = [
        (mesh["pial"].parts[side].coordinates + mesh["white_matter"].parts[side].coordinates) / 2
        for side in ("left", "right")
    ]
    return np.asarray(np.concatenate(halves), np.float32)


def surface_space() -> Space:
    """All vertices of fsaverage5."""
    return Space(cortex_vertices(), np.arange(2 * N_VERTICES, dtype=np.int32)[:, None], (2 * N_VERTICES,), np.eye(4))


def cortical_ribbon(size_mm: float = 4.0) -> Space:
    """The voxels of ``size_mm`` that the cortical sheet passes through."""
    index, shape, affine = _grid(cortex_vertices(), size_mm)
    index = np.unique(index, axis=0).astype(np.int32)
    xyz = index @ affine[:3, :3].T + affine[:3, 3]
    return Space(np.asarray(xyz, np.float32), index, shape, affine)


def _grid(xyz: FloatArray, size_mm: float) -> tuple[npt.NDArray[np.int32], tuple[int, ...], npt.NDArray[np.float64]]:
    """Voxel of each point, on a grid that covers MNI152's field of view."""
    low, high = np.array([-90.0, -126.0, -72.0]), np.array([90.0, 90.0, 108.0])
    affine = np.diag([size_mm, size_mm, size_mm, 1.0])
    affine[:3, 3] = low
    shape = tuple(int(v) for v in np.ceil((high - low) / size_mm) + 1)
    index = np.clip(np.round((xyz - low) / size_mm), 0, np.array(shape) - 1)
    return index.astype(np.int32), shape, affine
