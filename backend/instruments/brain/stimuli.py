"""The bundled clips a simulated listener hears: 480 for training, 60 for tests, in ten genres, kept as codec tokens."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backend.errors import CheckpointError

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore

FloatArray = npt.NDArray[np.float32]

CHECKPOINT = "brain.stimuli"
CARD = "brain/README.md"
CODE_BITS = 10


@dataclass(frozen=True, eq=False)
class Stimuli:
    """What was heard.

    Attributes:
        titles: of each clip, such as ``jazz 12: ii-V-I …``.
        genres: names of the genres.
        genre: number of each clip's genre ``[clips]``.
        n_train: the first so many clips are for training, the others for tests.
        features: see `sound_features` ``[clips, 10, 114]``.
        embeddings: MuLan's music embedding ``[clips, 128]``, unit vectors.
        codes: the codec's tokens ``[clips, frames, n_quantizers]``, int16.
        snr: strength at which a simulated listener is read as well as people are (see `calibrate`).
    """

    titles: tuple[str, ...]
    genres: tuple[str, ...]
    genre: npt.NDArray[np.int64]
    n_train: int
    features: FloatArray
    embeddings: FloatArray
    codes: Tensor
    snr: float = 0.5

    @classmethod
    def from_store(cls, store: CheckpointStore) -> Stimuli:
        """The bundled clips.

        Raises:
            CheckpointError: missing, altered or of another make.
        """
        stored = store.load(CHECKPOINT)
        try:
            about = json.loads(bytes(stored["about"].numpy().astype(np.uint8)).decode())
            shape = about["codes_shape"]
            return cls(
                tuple(about["titles"]), tuple(about["genres"]), np.array(about["genre"]), int(about["n_train"]),
                stored["features"].float().numpy(), stored["embeddings"].float().numpy(),
                unpack_codes(stored["codes"], shape), float(store.config(CHECKPOINT).get("snr", cls.snr)),
            )  # fmt: skip
        except (KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"{CHECKPOINT} does not hold what it should ({error}).") from None

    def tensors(self) -> dict[str, Tensor]:
        """What to store."""
        about = {
            "titles": self.titles, "genres": self.genres, "genre": self.genre.tolist(), "n_train": self.n_train,
            "codes_shape": list(self.codes.shape),
        }  # fmt: skip
        return {
            "about": torch.from_numpy(np.frombuffer(json.dumps(about).encode(), np.uint8).copy()),
            "features": torch.from_numpy(self.features).half(),
            "embeddings": torch.from_numpy(self.embeddings).half(),
            "codes": pack_codes(self.codes),
        }


def pack_codes(codes: Tensor) -> Tensor:
    """Codes below 1024 → bytes, ten bits each."""
    bits = (codes.numpy().astype(np.uint16).reshape(-1, 1) >> np.arange(CODE_BITS)) & 1
    return torch.from_numpy(np.packbits(bits.astype(np.uint8).ravel()))


def unpack_codes(packed: Tensor, shape: list[int]) -> Tensor:
    """`pack_codes` undone, int16 of ``shape``."""
    n = int(np.prod(shape))
    bits = np.unpackbits(packed.numpy().astype(np.uint8))[: n * CODE_BITS].reshape(n, CODE_BITS)
    values = (bits.astype(np.uint16) << np.arange(CODE_BITS, dtype=np.uint16)).sum(1)
    return torch.from_numpy(values.astype(np.int16).reshape(shape))
