"""The bundled stimuli: ``python -m backend.instruments.brain.build --work DIR [--each 54]``; no data is needed.

Composes, renders with a soundfont of the system, codes with the bundled codec and embeds with the bundled MuLan. What
was coded, decoded again, *is* the stimulus: features and embeddings are those of the sound that people can play. Each
clip is a file in ``DIR``, so a build that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.corpus.render import Synth, find_soundfonts
from backend.instruments.brain.calibrate import calibrate
from backend.instruments.brain.composing import compose_all, drum_grooves, sound
from backend.instruments.brain.features import sound_features
from backend.instruments.brain.layout import GENRES
from backend.instruments.brain.stimuli import CARD, CHECKPOINT, Stimuli
from backend.musiclm.codec import Codec, config_of
from backend.musiclm.mulan import MuLanEmbedder

logger = logging.getLogger(__name__)

SPARE = 2  # arrangements more than clips, for those that make no sound


def make_clips(work: Path, each: int, seed: int, font: Path) -> None:
    """Write ``work/<genre>_<nn>.npz`` with codes, features and embedding of each clip that is missing."""
    if all((work / f"{genre}_{n:02d}.npz").exists() for genre in GENRES for n in range(each)):
        return
    arrangements = compose_all(each + SPARE, np.random.default_rng([seed, 540]), drum_grooves())
    store, synth = CheckpointStore(), Synth.load(font)
    codec = Codec(config_of(store.config("text_to_music.codec"))).eval()
    codec.load_state_dict(store.load("text_to_music.codec"))
    mulan = MuLanEmbedder.from_store(store)
    for genre in GENRES:
        number = 0
        for index, arrangement in enumerate(arrangements[genre]):
            path = work / f"{genre}_{number:02d}.npz"
            if path.exists() or number >= each:
                number += 1
                continue
            heard = sound(arrangement, synth, np.random.default_rng([seed, GENRES.index(genre), index]))
            if heard is None:
                continue
            with torch.inference_mode():
                codes = codec.encode(torch.from_numpy(heard.samples))
                played = codec.decode(codes)[:, : heard.n_samples].float().clamp(-1, 1)
                embedding = mulan.audio_embed(played)[0]
            np.savez(
                path, codes=codes[0].numpy().astype(np.int16), embedding=embedding.numpy(),
                features=sound_features(Waveform(played.numpy(), heard.sample_rate)),
                title=f"{genre} {number + 1}: {arrangement.title}",
            )  # fmt: skip
            number += 1
        logger.info("%s: %d clips", genre, min(number, each))


def gather(work: Path, each: int, test_each: int) -> Stimuli:
    """The clips of a finished build, training clips first."""
    train = [(g, n) for g in range(len(GENRES)) for n in range(each - test_each)]
    test = [(g, n) for n in range(each - test_each, each) for g in range(len(GENRES))]
    clips = []
    for genre, number in [*train, *test]:
        with np.load(work / f"{GENRES[genre]}_{number:02d}.npz") as file:
            clips.append({name: file[name] for name in file.files})
    return Stimuli(
        titles=tuple(str(clip["title"]) for clip in clips),
        genres=GENRES,
        genre=np.array([genre for genre, _ in [*train, *test]]),
        n_train=len(train),
        features=np.stack([clip["features"] for clip in clips]).astype(np.float32),
        embeddings=np.stack([clip["embedding"] for clip in clips]).astype(np.float32),
        codes=torch.from_numpy(np.stack([clip["codes"] for clip in clips])),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for clips under way")
    parser.add_argument("--each", type=int, default=54, help="clips of each genre, a ninth of them for tests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--soundfont", type=Path, action="append", default=[])
    parser.add_argument("--store", type=Path, help="folder of the checkpoints; the bundled ones if left out")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    font = find_soundfonts(options.soundfont)[0]
    make_clips(options.work, options.each, options.seed, font)
    stimuli = gather(options.work, options.each, options.each // 9)
    store = CheckpointStore(options.store) if options.store else CheckpointStore()
    snr, reached = calibrate(stimuli, options.seed)
    config = {
        "snr": snr,
        "clips": len(stimuli.titles),
        "seed": options.seed,
        "soundfont": font.stem,
        "each": options.each,
    }
    entry = store.save(CHECKPOINT, stimuli.tensors(), config, {"identification_at_snr": reached}, CARD, force=True)
    print(json.dumps({"clips": len(stimuli.titles), "bytes": sum(file.bytes for file in entry.files)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
