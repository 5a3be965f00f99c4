"""How much of the sound the codec keeps.

``python -m backend.instruments.text_to_music.codec_evaluate --corpus DIR [--real FOLDER]`` ends with one JSON object:
multi-resolution log-mel L1 in nats and the median frame-wise cosine of CQT chroma between original and decoded, on
held-out clips of the corpus and, below ``--real``, on recordings of real instruments; the same for the first four
codebooks alone and for white noise as loud as the original; bit rate, and the perplexity of every codebook.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from backend.audio.io import read, resample
from backend.audio.spectral import MultiResolutionLogMel, chroma_cosine, cqt_chroma
from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.corpus.catalogue import read_catalogue
from backend.errors import AudioError, NeuromuseError
from backend.musiclm.codec import Codec, config_of
from backend.musiclm.codec_train import read_excerpt
from backend.musiclm.quantize import perplexity
from backend.settings import Settings

logger = logging.getLogger(__name__)

CHECKPOINT = "text_to_music.codec"
RATE = 24_000
LENGTH = 10 * RATE
START_S = 5  # clips of the corpus begin with a count of silence now and then
FEW_CODEBOOKS = 4
REAL_EXCERPTS = 2  # a recording
REAL_PEAK = 10 ** (-3 / 20)  # the corpus is levelled to -3 dBFS
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")


class Comparison:
    """Distances of decoded sounds from their originals."""

    def __init__(self) -> None:
        self._distance = MultiResolutionLogMel(RATE)
        self._l1: list[float] = []
        self._cosines: list[npt.NDArray[np.float64]] = []

    @torch.inference_mode()
    def add(self, original: Tensor, decoded: Tensor) -> None:
        """One pair of sounds ``[samples]`` of equal length at 24 kHz."""
        self._l1.append(float(self._distance(original, decoded)))
        chroma = [cqt_chroma(Waveform(sound.numpy(), RATE)) for sound in (original, decoded)]
        self._cosines.append(chroma_cosine(chroma[0], chroma[1]))

    def figures(self) -> dict[str, float]:
        """Mean over sounds of the log-mel L1, median over all sounding frames of the chroma cosine."""
        cosines = np.concatenate(self._cosines)
        return {
            "clips": len(self._l1),
            "log_mel_l1": float(np.mean(self._l1)),
            "chroma_cosine": float(np.median(cosines)) if len(cosines) else float("nan"),
        }


def compare(codec: Codec, sounds: Iterable[Tensor], rng: np.random.Generator) -> tuple[dict[str, Any], Tensor]:
    """Figures of the codec and of its baselines on ``sounds`` ``[samples]``, and the codes ``[frames, n_quantizers]``.

    Raises:
        NeuromuseError: there are no sounds.
    """
    rows = {name: Comparison() for name in ("codec", f"first_{FEW_CODEBOOKS}_codebooks", "white_noise")}
    whole, few, noise = rows.values()
    codes = []
    for number, sound in enumerate(sounds, 1):
        code = codec.encode(sound[None])
        sound = sound[: code.shape[1] * codec.config.hop]
        whole.add(sound, codec.decode(code)[0])
        few.add(sound, codec.decode(code[..., :FEW_CODEBOOKS])[0])
        hiss = torch.from_numpy(rng.standard_normal(len(sound)).astype(np.float32))
        noise.add(sound, hiss * sound.pow(2).mean().sqrt())
        codes.append(code[0])
        if number % 10 == 0:
            logger.info("%d sounds", number)
    if not codes:
        raise NeuromuseError("There are no sounds to evaluate the codec on.")
    return {name: row.figures() for name, row in rows.items()}, torch.cat(codes)


def held_out_sounds(corpus: Path, n_clips: int) -> Iterator[Tensor]:
    """Ten seconds of up to ``n_clips`` test clips, ``[samples]``.

    Raises:
        NeuromuseError: no corpus was built there.
    """
    try:
        clips = [clip for clip in read_catalogue(corpus) if clip.split == "test"]
    except FileNotFoundError:
        raise NeuromuseError(f"{corpus} is no corpus; build one with python -m backend.corpus.build.") from None
    for clip in clips[:n_clips]:
        yield read_excerpt(clip.audio_path, START_S * RATE, LENGTH)


def real_sounds(folder: Path) -> Iterator[Tensor]:
    """Ten-second excerpts of every recording below ``folder`` at a third and two thirds of it, mono, peak -3 dBFS."""
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES):
        try:
            recording = read(path, mono=True, max_bytes=2**31, max_seconds=7200)
        except AudioError as error:
            logger.warning("%s: %s", path.name, error)
            continue
        seconds = LENGTH / RATE
        for part in range(1, REAL_EXCERPTS + 1):
            start_s = max(0.0, recording.duration_s * part / (REAL_EXCERPTS + 1) - seconds / 2)
            excerpt = resample(recording.slice(start_s, start_s + seconds), RATE)
            sound = torch.from_numpy(excerpt.samples[0])
            yield sound * (REAL_PEAK / sound.abs().max().clamp_min(1e-4))


def evaluate(codec: Codec, corpus: Path, real: Path | None, n_clips: int, seed: int) -> dict[str, Any]:
    """All figures.

    Raises:
        NeuromuseError: there is no corpus, or no recording.
    """
    rng = np.random.default_rng(seed)
    rows, codes = compare(codec, held_out_sounds(corpus, n_clips), rng)
    use = perplexity(codes, codec.codebook_size)
    figures: dict[str, Any] = {
        "bits_per_second": codec.config.bits_per_second,
        "held_out": rows,
        "perplexity": [round(value, 1) for value in use],
        "perplexity_min": round(min(use), 1),
        "codebook_size": codec.codebook_size,
    }
    if real is not None:
        figures["real"] = compare(codec, real_sounds(real), rng)[0]
    return figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 1 and one sentence when it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.text_to_music.codec_evaluate")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of backend.corpus.build")
    parser.add_argument("--real", type=Path, help="folder with recordings of real instruments")
    parser.add_argument("--clips", type=int, default=128, help="held-out clips, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    try:
        store = CheckpointStore(extra=Settings.from_env().checkpoint_dirs)
        codec = Codec(config_of(store.config(CHECKPOINT))).eval()
        codec.load_state_dict(store.load(CHECKPOINT))
        figures = evaluate(codec, options.corpus, options.real, options.clips, options.seed)
    except NeuromuseError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
