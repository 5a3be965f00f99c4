"""One listener decoded: regions chosen, decoders fitted, test clips predicted, the encoding map and the probe made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from backend.errors import RequestError
from backend.instruments.brain.decoders import ContrastiveDecoder, Decoder, RidgeDecoder, five_folds
from backend.instruments.brain.encoding import EncodingMap, encode
from backend.instruments.brain.probe import GenreProbe
from backend.instruments.brain.recording import Recording
from backend.instruments.brain.regions import Regions, choose_voxels, parcellate
from backend.instruments.brain.seed_decoders import SeedLinear, SeedMlp
from backend.metrics.identification import Identification, correlation, identify

FloatArray = npt.NDArray[np.float32]

DECODERS: dict[str, Callable[[], Decoder]] = {
    "ridge": RidgeDecoder, "contrastive": ContrastiveDecoder, "seed_linear": SeedLinear, "seed_mlp": SeedMlp,
}  # fmt: skip
P_RELIABLE = 0.05


@dataclass(frozen=True, eq=False)
class Decoded:
    """A listener's test clips as a decoder sees them.

    Attributes:
        decoder: fitted.
        voxels: those it reads ``[voxels]``.
        predicted: embeddings ``[test clips, 128]``.
        true: embeddings ``[test clips, 128]``.
        identification: of the test clips.
        reliable: whether the permutation test says that there is signal.
    """

    decoder: Decoder
    voxels: npt.NDArray[np.bool_]
    predicted: FloatArray
    true: FloatArray
    identification: Identification

    @property
    def reliable(self) -> bool:
        """Whether clips are told apart better than by chance (p < .05)."""
        return self.identification.p < P_RELIABLE


class Listener:
    """A recording with the embeddings of what was heard.

    Args:
        recording: of one person.
        train: embeddings of the training rows ``[samples, 128]``.
        test: embeddings of the test clips ``[clips, 128]``.
    """

    def __init__(self, recording: Recording, train: FloatArray, test: FloatArray) -> None:
        if len(recording.train) != len(train) or len(recording.test_clips) != len(test):
            raise ValueError("as many embeddings as rows are needed")
        self.recording, self.train, self.test = recording, train, test
        self.regions: Regions = parcellate(recording.space)
        self.folds = five_folds(len(train), recording.groups)
        self._voxels: dict[str, npt.NDArray[np.bool_]] = {}
        self._decoded: dict[tuple[str, str], Decoded] = {}
        self._map: EncodingMap | None = None

    def voxels(self, region: str) -> npt.NDArray[np.bool_]:
        """Which voxels a choice of regions means ``[voxels]``."""
        if region not in self._voxels:
            self._voxels[region] = choose_voxels(region, self.regions, self.recording.train, self.train, self.folds)
        return self._voxels[region]

    def decode(self, decoder: str = "contrastive", region: str = "auditory", permutations: int = 1000) -> Decoded:
        """Fit a decoder (once) and predict the test clips.

        Raises:
            RequestError: an unknown decoder or region.
        """
        if decoder not in DECODERS:
            raise RequestError("decoder", decoder, f"one of {', '.join(DECODERS)}")
        key = (decoder, region)
        if key not in self._decoded:
            voxels = self.voxels(region)
            part = self.recording.only(voxels)
            fitted = DECODERS[decoder]().fit(part.train, self.train, part.groups)
            predicted = fitted.predict(part.test)
            found = identify(predicted, self.test, permutations)
            self._decoded[key] = Decoded(fitted, voxels, predicted, self.test, found)
        return self._decoded[key]

    def encoding_map(self) -> EncodingMap:
        """See `encode`; made once."""
        if self._map is None:
            recording = self.recording
            self._map = encode(self.train, recording.train, self.test, recording.test, self.folds)
        return self._map

    def contributions(self, decoded: Decoded, clip: int) -> FloatArray:
        """How much each region moved the prediction of a clip towards what was heard ``[regions]``.

        A linear prediction is a sum over voxels. Each region's part is taken along the true embedding (centred as a
        correlation does), relative to the mean over test clips; parts add up to the whole. Zeros for a decoder that is
        not linear.
        """
        x = self.recording.test[:, decoded.voxels]
        return np.asarray(self._by_region(decoded, clip, (x[clip] - x.mean(0))[None])[0], np.float32)

    def contributions_over_time(self, decoded: Decoded, clip: int) -> FloatArray:
        """The same for each volume of the clip, relative to the other clips' at that moment ``[volumes, regions]``."""
        x = self.recording.test_volumes[:, :, decoded.voxels]
        return self._by_region(decoded, clip, x[clip] - x.mean(0))

    def _by_region(self, decoded: Decoded, clip: int, responses: FloatArray) -> FloatArray:
        """Parts of ``responses [rows, voxels]`` along the true embedding, summed over each region."""
        out = np.zeros((len(responses), len(self.regions.names)), np.float32)
        weight = getattr(decoded.decoder, "weight", None)
        if weight is None:
            return out
        true = decoded.true[clip] - decoded.true[clip].mean()
        parts = responses * (weight @ (true / max(float(np.linalg.norm(true)), 1e-9)))
        region = self.regions.voxel[decoded.voxels]
        np.add.at(out.T, region[region >= 0], parts.T[region >= 0])
        return out

    def probe(self, decoded: Decoded, genre: npt.NDArray[np.int64]) -> GenreProbe:
        """A genre probe for predictions, learnt from predictions made while their own clips were left out.

        What a decoder says of clips it was fitted to is better than what it says of new ones, and a probe trained on
        that would expect too much.

        Args:
            decoded: whose predictions will be probed.
            genre: of each training row.
        """
        rows = decoded.decoder.held_out
        if rows is None:  # the seed's baselines left nothing out
            rows = decoded.decoder.predict(self.recording.train[:, decoded.voxels])
        return GenreProbe().fit(rows, genre)

    def similarity(self, decoded: Decoded) -> FloatArray:
        """Correlation of every prediction with every test clip's embedding ``[clips, clips]``."""
        return np.asarray(correlation(decoded.predicted, decoded.true), np.float32)
