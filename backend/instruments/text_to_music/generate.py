"""Text to music from the command line.

``python -m backend.instruments.text_to_music.generate "calm solo harp" --duration 10 --seed 7 --out clip.wav``

Prints one JSON object with the files written and how they were made.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from backend.audio.io import write
from backend.checkpoints import CheckpointStore
from backend.contract import Provenance
from backend.errors import NeuromuseError, RequestError
from backend.instruments.text_to_music.instrument import TextToMusic
from backend.instruments.text_to_music.request import TextToMusicRequest
from backend.job import Job, Step
from backend.settings import Settings, __version__

FORMATS = ("wav", "flac", "mp3", "ogg")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.text_to_music.generate", description=__doc__)
    parser.add_argument("prompt")
    parser.add_argument("--negative", default="", help="what to steer away from")
    parser.add_argument("--duration", type=float, default=10.0, help="seconds, 4 to 30")
    parser.add_argument("--variations", type=int, default=1, help="1 to 4; more than one are numbered")
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--stages", default="bundled", choices=("bundled", "package"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("clip.wav"), help="ends in .wav, .flac, .mp3 or .ogg")
    return parser


def run(options: argparse.Namespace) -> dict[str, object]:
    """Generate and write; returns what was written and its provenance.

    Raises:
        NeuromuseError: the request is wrong, a weight file is damaged, or the file cannot be written.
    """
    suffix = options.out.suffix.lstrip(".").lower()
    if suffix not in FORMATS:
        raise RequestError("out", str(options.out), "a file name that ends in .wav, .flac, .mp3 or .ogg")
    if not options.out.parent.is_dir():
        raise RequestError("out", str(options.out), "a file name in a folder that exists")
    request = TextToMusicRequest(
        prompt=options.prompt,
        negative_prompt=options.negative,
        duration_s=options.duration,
        variations=options.variations,
        guidance_scale=options.guidance,
        temperature=options.temperature,
        stages=options.stages,
        seed=options.seed,
    )
    device, instrument = _device(options.device), TextToMusic()
    store = CheckpointStore(extra=Settings.from_env().checkpoint_dirs)
    instrument.load(store, device)
    began = time.monotonic()
    result = instrument.generate(request, Job(_show))
    seconds = time.monotonic() - began
    provenance = Provenance(
        request.instrument_id, request.to_dict(), request.seed, dict(store.opened), str(device), seconds, __version__
    )
    files = []
    for i, waveform in enumerate(result.waveforms):
        path = options.out if len(result.waveforms) == 1 else options.out.with_stem(f"{options.out.stem}_{i + 1}")
        write(waveform, path, suffix, provenance.to_dict())
        files.append(str(path))
    return {"files": files, "seconds": round(seconds, 2), "provenance": provenance.to_dict()}


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise RequestError("device", name, "cpu, or a cuda or mps device that this machine has") from None


def _show(step: Step) -> None:
    sys.stderr.write(f"\r{step.message:<24}{100 * step.done / step.total:5.1f} %")
    sys.stderr.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 1 and one sentence when it cannot be done."""
    try:
        answer = run(parser().parse_args(arguments))
    except NeuromuseError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stderr.write("\n")
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
