"""Our acoustic stage against audiolm-pytorch's coarse transformer, trained on equal terms.

``python -m tests.benchmarks.stages --tokens DIR --minutes 14`` trains both on the same tokens for as long on one thread
each. Both then play the notes of held-out windows of ten seconds, and what they play is compared with the codec's own
rendering of the real clip. Ends with one JSON object: multi-resolution log-mel L1 in nats and the median cosine of
chroma, the seconds that ten seconds of sound take, and the same for the real clip's first codebooks, which is the best
that the package's coarse stage could do.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backend.audio.spectral import MultiResolutionLogMel, chroma_cosine, cqt_chroma
from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.musiclm import train
from backend.musiclm.acoustic import AcousticStage
from backend.musiclm.acoustic import config_of as acoustic_config_of
from backend.musiclm.codec import Codec
from backend.musiclm.codec import config_of as codec_config_of
from backend.musiclm.events import pad_events
from backend.musiclm.guide import Notes
from backend.musiclm.package_sample import StageDecoder, StageSampling, sample
from backend.musiclm.package_stages import PackageConfig, load_stage
from backend.musiclm.stages_train import TokenCorpus
from backend.musiclm.train import part_of

CODEBOOKS, RATE, SECONDS, START_S = 3, 24_000, 10, 5
RUNS = {
    "ours": ["acoustic", "--batch", "8"],
    "audiolm_pytorch": ["coarse", "--batch", "2", "--set", f"n_coarse={CODEBOOKS}"],
}
SAMPLING = StageSampling(0.95, 102, 1.0)
Player = Callable[[int], Tensor]


def fit(name: str, tokens: Path, minutes: float, out: Path) -> tuple[dict[str, Tensor], dict[str, Any], int]:
    """Train one of `RUNS`, or go on: weights, configuration, steps."""
    folder, every = out / name, max(20.0, 60 * minutes / 5)
    train.main(
        [*RUNS[name], "--tokens", str(tokens), "--out", str(folder), "--minutes", f"{minutes:g}", "--threads", "1",
         "--validate-every", f"{every:g}", "--held-out", "16"]
    )  # fmt: skip
    weights = torch.load(folder / "best.pt", map_location="cpu", weights_only=False)["module"]
    with (folder / "curve.csv").open(newline="") as file:
        steps = int(float(list(csv.DictReader(file))[-1]["step"]))
    return part_of(weights, "stage."), torch.load(folder / "config.pt", weights_only=False), steps


class Judge:
    """Compares what a stage plays with the codec's rendering of the real clip."""

    def __init__(self, corpus: TokenCorpus, codec: Codec, clips: int) -> None:
        self.corpus, self.codec, self.rows = corpus, codec, corpus.held_out[:clips].tolist()
        self.distance = MultiResolutionLogMel(RATE)

    def real(self, row: int) -> Tensor:
        """Codes of the window, ``[1, frames, n_quantizers]``."""
        start, stop = (round(s * self.codec.frame_rate) for s in (START_S, START_S + SECONDS))
        return torch.from_numpy(self.corpus.acoustic[row, start:stop].astype(np.int64))[None]

    @torch.inference_mode()
    def figures(self, play: Player) -> dict[str, float]:
        """Mean log-mel L1, median chroma cosine, median seconds a clip; ``play(row)`` gives codes."""
        distances, cosines, seconds = [], [], []
        for row in self.rows:
            began = time.perf_counter()
            codes = play(row)
            seconds.append(time.perf_counter() - began)
            sound, wanted = (self.codec.decode(x)[0] for x in (codes, self.real(row)))
            distances.append(float(self.distance(wanted, sound)))
            chroma = [cqt_chroma(Waveform(x.numpy(), RATE)) for x in (wanted, sound)]
            cosines.append(chroma_cosine(chroma[0], chroma[1]))
        return {
            "log_mel_l1": round(float(np.mean(distances)), 3),
            "chroma_cosine": round(float(np.median(np.concatenate(cosines))), 3),
            "seconds_for_10_s": round(float(np.median(seconds)), 2),
        }


def our_player(weights: dict[str, Tensor], config: dict[str, Any], judge: Judge) -> Player:
    """Our stage on the true notes."""
    stage = AcousticStage(acoustic_config_of(config)).eval()
    stage.load_state_dict(weights)
    corpus = judge.corpus

    def play(row: int) -> Tensor:
        notes = Notes.of([corpus.notes[row]], [int(corpus.settings[row, 3])], [START_S], SECONDS)
        embed = torch.from_numpy(corpus.text_embed[row, :1].astype(np.float32))
        codes: Tensor = judge.codec.quantizer(stage(notes, round(SECONDS * judge.codec.frame_rate), embed))[1]
        return codes

    return play


def package_player(weights: dict[str, Tensor], config: PackageConfig, judge: Judge) -> Player:
    """The package's coarse stage on the same notes as events, by our static cache, without guidance."""
    decoder = StageDecoder("coarse", load_stage("coarse", config, weights), config)
    corpus, generator = judge.corpus, torch.Generator().manual_seed(0)
    slots = config.semantic_frames(SECONDS)

    def play(row: int) -> Tensor:
        events = pad_events(corpus.piece(row).window(START_S, SECONDS).events(0, slots), slots)
        given = torch.from_numpy(events.astype(np.int64))[None]
        cond = torch.from_numpy(corpus.text_embed[row, :1].astype(np.float32))[None]
        frames = round(SECONDS * judge.codec.frame_rate)
        return decoder.run(cond, frames, lambda _, logits: sample(logits, SAMPLING, generator), given=given)

    return play


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.stages", description=__doc__)
    parser.add_argument("--tokens", type=Path, required=True, help="folder of backend.musiclm.train tokens")
    parser.add_argument("--minutes", type=float, default=14.0, help="of training for each")
    parser.add_argument("--out", type=Path, help="keep the runs here; a repeated command goes on")
    parser.add_argument("--clips", type=int, default=16, help="held-out windows")
    options = parser.parse_args(arguments)
    store = CheckpointStore()
    codec = Codec(codec_config_of(store.config("text_to_music.codec"))).eval()
    codec.load_state_dict(store.load("text_to_music.codec"))
    judge = Judge(TokenCorpus(options.tokens), codec, options.clips)
    figures: dict[str, Any] = {"minutes_each": options.minutes, "clips": len(judge.rows)}
    with tempfile.TemporaryDirectory() as scratch:
        for name in RUNS:
            weights, config, steps = fit(name, options.tokens, options.minutes, options.out or Path(scratch))
            player = (
                our_player(weights, config, judge)
                if name == "ours"
                else package_player(weights, PackageConfig(**config), judge)
            )
            parameters = sum(value.numel() for value in weights.values())
            figures[name] = {"parameters": parameters, "steps": steps, **judge.figures(player)}
    figures[f"real_first_{CODEBOOKS}_codebooks"] = judge.figures(lambda row: judge.real(row)[..., :CODEBOOKS])
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
