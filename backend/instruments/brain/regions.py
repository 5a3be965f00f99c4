"""Regions of cortex: functional areas around the centres of Seitzman et al. (NeuroImage 2020).

The coordinates come with nilearn (BSD-3).
A voxel belongs to the nearest centre within reach; areas of the Auditory network are the auditory cortex here. A label
atlas (Destrieux, Desikan) would need a package or a download more; centres need neither and name the networks musicians
read about.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from backend.errors import RequestError
from backend.instruments.brain.layout import REGIONS
from backend.instruments.brain.ridge import Ridge
from backend.instruments.brain.space import Space

FloatArray = npt.NDArray[np.float32]

REACH_MM = 20.0
BEST_K = 6  # regions whose predictions the paper averages
_WORDS = {
    "CinguloOpercular": "Cingulo-opercular", "DefaultMode": "Default mode", "DorsalAttention": "Dorsal attention",
    "FrontoParietal": "Fronto-parietal", "MedialTemporalLobe": "Medial temporal", "ParietoMedial": "Parieto-medial",
    "SomatomotorDorsal": "Somatomotor, dorsal", "SomatomotorLateral": "Somatomotor, lateral",
    "VentralAttention": "Ventral attention",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Regions:
    """A parcellation of some voxels.

    Attributes:
        names: network and hemisphere of each region, numbered where there are several.
        xyz: centres in MNI mm ``[regions, 3]``.
        network: of each region.
        voxel: region of each voxel, -1 for none ``[voxels]``.
    """

    names: tuple[str, ...]
    xyz: FloatArray
    network: tuple[str, ...]
    voxel: npt.NDArray[np.int64]

    @property
    def auditory(self) -> npt.NDArray[np.bool_]:
        """Voxels of the Auditory network ``[voxels]``."""
        hearing = np.array([name == "Auditory" for name in self.network])
        return np.asarray((self.voxel >= 0) & hearing[self.voxel])


@lru_cache(maxsize=1)
def centres() -> tuple[FloatArray, tuple[str, ...]]:
    """Coordinates ``[areas, 3]`` and networks of the cortical areas."""
    from nilearn.datasets import fetch_coords_seitzman_2018

    atlas = fetch_coords_seitzman_2018(ordered_regions=False)
    xyz = np.stack([np.asarray(atlas.rois[name], np.float32) for name in ("x", "y", "z")], 1)
    network, place = np.asarray(atlas.networks).astype(str), np.asarray(atlas.regions).astype(str)
    cortical = np.char.startswith(place, "cortex") & (network != "unassigned")
    return xyz[cortical], tuple(network[cortical].tolist())


def parcellate(space: Space) -> Regions:
    """The region of every voxel."""
    xyz, networks = centres()
    distance, nearest = cKDTree(xyz).query(space.xyz, distance_upper_bound=REACH_MM)
    counted: dict[str, int] = {}
    names = []
    for centre, network in zip(xyz, networks, strict=True):
        side = "left" if centre[0] < -4 else "right" if centre[0] > 4 else "middle"
        name = f"{_WORDS.get(network, network)}, {side}"
        counted[name] = counted.get(name, 0) + 1
        names.append(f"{name} {counted[name]}")
    voxel = np.where(np.isfinite(distance), nearest, -1).astype(np.int64)
    return Regions(tuple(names), xyz, networks, voxel)


def choose_voxels(
    choice: str, regions: Regions, x: FloatArray, y: FloatArray, groups: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Voxels to decode from.

    Args:
        choice: ``auditory``, ``cortex`` (all), or ``best``: the six regions whose own ridge predicts best in
            cross-validation on the training clips (the paper averages their predictions, we decode from them together).
        regions: of the voxels.
        x: training voxels ``[samples, voxels]``.
        y: training embeddings ``[samples, 128]``.
        groups: folds ``[samples]``.

    Raises:
        RequestError: an unknown choice, or no voxel of it was scanned.
    """
    if choice not in REGIONS:
        raise RequestError("region", choice, f"one of {', '.join(REGIONS)}")
    if choice == "cortex":
        return np.ones(x.shape[1], bool)
    if choice == "auditory":
        chosen = regions.auditory
    else:
        score = np.full(len(regions.names), -np.inf)
        for region in np.unique(regions.voxel[regions.voxel >= 0]):
            score[region] = Ridge().fit(x[:, regions.voxel == region], y, groups).cv_score.mean()
        chosen = np.isin(regions.voxel, np.argsort(score)[-BEST_K:])
    if not chosen.any():
        raise RequestError("region", choice, "a region that the scan covers; this scan has no voxel there")
    return np.asarray(chosen)
