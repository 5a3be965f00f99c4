"""What brain can be asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from backend.contract import Request, check_number
from backend.errors import RequestError
from backend.instruments.brain.layout import LABEL, N_TEST, PAIRINGS, REGIONS

SOURCES = ("simulated", "scan")
DECODERS = ("contrastive", "ridge", "seed_linear", "seed_mlp")
PRIVATE = ("bids", "stimuli", "captions", "catalogue", "upload", "consent")
"""Fields that neither provenance nor a log ever sees."""


@dataclass(frozen=True, kw_only=True)
class BrainRequest(Request):
    """Whose brain, which piece, how it is decoded and what is made of it.

    Attributes:
        source: ``simulated`` (nobody was scanned) or ``scan`` (the user's own recording, training runs included).
        clip: number of the test piece, 0 to 59.
        listener_seed: which simulated listener; the strength was calibrated for number 0.
        snr: of the simulated listener; None is the calibrated strength, 0 hears nothing.
        decoder: ``contrastive``, ``ridge``, ``seed_linear`` or ``seed_mlp``.
        region: ``auditory``, ``cortex`` or ``best``.
        pairing: of training scans and embeddings: ``clip``, ``ten_windows`` or ``four_windows``.
        duration_s: of each generated clip, 4 to 15.
        candidates: clips tried for the reconstruction, 1 to 4; the closest to the prediction is kept.
        controls: also generate from the mean, another moment's and the true embedding.
        bids: folder in the layout of ds003720.
        subject: which one of it, such as ``sub-001``.
        stimuli: folder of the tracks, ``<genre>/<genre>.00032.wav``.
        catalogue: folder of sounds to retrieve from; the training clips if None.
        captions: the published caption table (CSV) of the tracks, shown beside their names.
        upload: what was uploaded, deleted when the job ends: a folder to be read as ``bids``, or one scan by itself,
            which is looked at and refused, since a decoder fits one brain.
        consent: that whoever was scanned agreed.

    Raises:
        RequestError: naming the field, the value and the allowed range.
    """

    instrument_id: ClassVar[str] = "brain"
    source: str = "simulated"
    clip: int = 0
    listener_seed: int = 0
    snr: float | None = None
    decoder: str = "contrastive"
    region: str = "auditory"
    pairing: str = "clip"
    duration_s: float = 10.0
    candidates: int = 2
    controls: bool = True
    bids: Path | None = field(default=None, compare=False, repr=False)
    subject: str = "sub-001"
    stimuli: Path | None = field(default=None, compare=False, repr=False)
    captions: Path | None = field(default=None, compare=False, repr=False)
    catalogue: Path | None = field(default=None, compare=False, repr=False)
    upload: Path | None = field(default=None, compare=False, repr=False)
    consent: bool = False

    def validate(self) -> None:
        """Raise `RequestError` for the first field that is wrong."""
        choices = {"source": SOURCES, "decoder": DECODERS, "region": REGIONS, "pairing": PAIRINGS}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise RequestError(name, getattr(self, name), f"one of {', '.join(allowed)}")
        check_number("clip", self.clip, 0, N_TEST - 1, integer=True)
        check_number("listener_seed", self.listener_seed, 0, 99, integer=True)
        if self.snr is not None:
            check_number("snr", self.snr, 0, 5)
        check_number("duration_s", self.duration_s, 4, 15)
        check_number("candidates", self.candidates, 1, 4, integer=True)
        for name in ("controls", "consent"):
            if not isinstance(getattr(self, name), bool):
                raise RequestError(name, getattr(self, name), "true or false")
        if self.source == "scan":
            self._check_scan()

    def _check_scan(self) -> None:
        if not self.consent:
            raise RequestError("consent", self.consent, "a tick that whoever was scanned agreed to this")
        if self.bids is None and self.upload is None:
            raise RequestError("bids", None, "a folder in the layout of ds003720, or the simulated listener")
        if not (self.subject.startswith("sub-") and self.subject[4:].isalnum()):
            raise RequestError("subject", self.subject, "a name such as sub-001")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values without anything of the scan or where it lies; what is simulated says so."""
        names = [f.name for f in dataclasses.fields(self) if f.name not in PRIVATE]
        label = {"label": LABEL} if self.source == "simulated" else {}
        return label | {name: getattr(self, name) for name in names}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The request that `to_dict` described; a scan must be given again.

        Raises:
            RequestError: an unknown key or a wrong value, or it was of a scan.
        """
        if values.get("source") == "scan":
            raise RequestError("source", "scan", "the scan to be given again; nothing of it was kept")
        return super().from_dict({name: value for name, value in values.items() if name != "label"})
