"""Train a decoder on a scanned subject and keep its weights.

``python -m backend.instruments.brain.train --bids DIR --stimuli DIR --subject sub-001 --consent [--out FOLDER]``

Ends with one JSON object: identification of the test clips. Of the scan nothing is kept; weights alone go to ``--out``,
a checkpoint folder as ``NEUROMUSE_CHECKPOINTS`` takes them, one checkpoint a subject.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from backend.checkpoints import CheckpointStore
from backend.errors import NeuromuseError
from backend.instruments.brain.laboratory import DECODERS, Decoded, Listener
from backend.instruments.brain.layout import PAIRINGS, REGIONS
from backend.instruments.brain.material import scanned
from backend.instruments.brain.request import BrainRequest
from backend.job import Job, Step
from backend.musiclm.mulan import MuLanEmbedder


def keep(folder: Path, subject: str, region: str, listener: Listener, decoded: Decoded) -> str:
    """Write a decoder's tensors and the places of its voxels; returns the checkpoint's name."""
    space = listener.recording.space.only(decoded.voxels)
    tensors = {**decoded.decoder.state(), "xyz": torch.from_numpy(space.xyz.copy())}
    name = f"brain.{subject.replace('-', '').lower()}_{decoded.decoder.name}"
    config = {"subject": subject, "decoder": decoded.decoder.name, "region": region, "voxels": space.n_voxels}
    found = decoded.identification
    metrics = {"identification": found.accuracy, "top1": found.top1, "p": found.p}
    CheckpointStore(folder).save(name, tensors, config, metrics, better="higher identification")
    return name


def train(options: argparse.Namespace) -> dict[str, Any]:
    """Read, fit, measure, keep.

    Raises:
        NeuromuseError: one sentence about what is wrong.
    """
    request = BrainRequest(
        source="scan", bids=options.bids, stimuli=options.stimuli, subject=options.subject, consent=options.consent,
        decoder=options.decoder, region=options.region, pairing=options.pairing,
    )  # fmt: skip
    mulan = MuLanEmbedder.from_store(CheckpointStore())
    with scanned(request, mulan, Job(_show)) as (listener, _):
        decoded = listener.decode(options.decoder, options.region)
        found = decoded.identification
        answer: dict[str, Any] = {
            "subject": options.subject, "decoder": options.decoder, "region": options.region,
            "voxels": int(decoded.voxels.sum()), "training_rows": len(listener.train),
            "test_clips": len(listener.test), "identification": found.accuracy, "top1": found.top1, "p": found.p,
            "reliable": decoded.reliable, "remarks": list(listener.recording.remarks),
        }  # fmt: skip
        if options.out is not None:
            answer["checkpoint"] = keep(options.out, options.subject, options.region, listener, decoded)
    return answer


def _show(step: Step) -> None:
    sys.stderr.write(f"\r{step.message:<32}{100 * step.done / step.total:5.1f} %")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 1 and one sentence when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.brain.train", description=__doc__)
    parser.add_argument("--bids", type=Path, required=True)
    parser.add_argument("--stimuli", type=Path, required=True, help="folder of the tracks, genres/<genre>/…")
    parser.add_argument("--subject", default="sub-001")
    parser.add_argument("--consent", action="store_true", help="whoever was scanned agreed to this")
    parser.add_argument("--decoder", default="contrastive", choices=list(DECODERS))
    parser.add_argument("--region", default="auditory", choices=REGIONS)
    parser.add_argument("--pairing", default="clip", choices=PAIRINGS)
    parser.add_argument("--out", type=Path, help="checkpoint folder to keep the weights in")
    try:
        answer = train(parser.parse_args(arguments))
    except NeuromuseError as error:
        sys.stderr.write(f"\n{error}\n")
        return 1
    sys.stderr.write("\n")
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
