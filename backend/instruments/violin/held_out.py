"""The held-out set that the violin is judged against, small enough to travel with the weights.

From pieces nobody was trained on: prompts in held-out wordings that name no instrument, what each asks for, the codec's
codes of the rendered violin (decoded, they are the best this codec could do) and the melody it plays. And how the
judges hear real violin: embeddings of the recording that was held out and of those that were not; no sound of them.
``python -m backend.instruments.violin.held_out --corpus DIR --real DIR`` writes it.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.io import read
from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.corpus.bowing import line_of
from backend.corpus.catalogue import Clip, read_catalogue
from backend.corpus.violin import performed_notes
from backend.corpus.violin_captions import describe_violin
from backend.corpus.wording import TEMPO, TEMPO_TAIL
from backend.errors import NeuromuseError
from backend.metrics.listener import Listener
from backend.metrics.violinist import Violinist
from backend.musiclm.codec import Codec, config_of
from backend.musiclm.codec_train import read_excerpt
from backend.musiclm.violinist_data import HELD_OUT_RECORDING, RECORDINGS
from backend.musiclm.wish import wish_of

logger = logging.getLogger(__name__)

CHECKPOINT = "violin.held_out"
CARD = "violin/README.md"
RATE = 24_000
DURATION_S, START_S, HOP_S = 10, 5, 5
N_ROWS, LEAST_ROWS = 88, 60
MELODY = np.dtype([("onset_s", "f4"), ("duration_s", "f4"), ("pitch", "u1")])
SAID = ("tempo_class", "tempo_bpm", "mode", "key", "articulation", "motion", "register")
JUDGES = ("listener", "violinist")
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """What is judged against.

    Attributes:
        rows: per clip ``prompt`` (tempo and, where it is clear, mode; no instrument), ``tempo_class``, ``tempo_bpm``,
            ``mode``, ``key``, ``articulation``, ``motion``, ``register``, and ``melody``: the line it plays in these
            ten seconds, dtype `MELODY`, seconds from their start.
        codes: ``[rows, 500, n_quantizers]`` of the rendered violin.
        real: judge (``listener``, ``violinist``) → embeddings ``[windows, 128]`` of the held-out recording.
        real_train: the same of the recordings that are trained on.
    """

    rows: list[dict[str, Any]]
    codes: torch.Tensor
    real: dict[str, Array]
    real_train: dict[str, Array]

    @classmethod
    def from_store(cls, store: CheckpointStore) -> HeldOut:
        """The bundled set.

        Raises:
            CheckpointError: a file is missing or altered.
        """
        stored = store.load(CHECKPOINT)
        rows = json.loads(bytes(stored["rows"].numpy()).decode())
        melodies = np.split(stored["melody"].numpy(), stored["melody_starts"].numpy()[1:])
        for row, notes in zip(rows, melodies, strict=True):
            row["melody"] = _melody_of(notes)
        real, real_train = (
            {judge: stored[f"{name}.{judge}"].double().numpy() for judge in JUDGES} for name in ("real", "real_train")
        )
        return cls(rows, stored["codes"].long(), real, real_train)


def _melody_of(notes: npt.NDArray[np.float32]) -> npt.NDArray[np.void]:
    """``[notes, 3]`` as dtype `MELODY`."""
    out = np.zeros(len(notes), MELODY)
    for i, name in enumerate(MELODY.names or ()):
        out[name] = notes[:, i]
    return out


def prompt_of(meta: Mapping[str, Any], rng: np.random.Generator) -> str:
    """A held-out wording that says the tempo and, where it is clear, the mode, and names nobody.

    Raises:
        ValueError: there is none.
    """
    speed = meta["tempo_class"]
    tempo = {word.lower() for word in (*TEMPO["unseen"][speed], *TEMPO_TAIL["unseen"][speed])}
    for _ in range(4000):
        text = describe_violin(meta, rng, "unseen")
        low = text.lower()
        paced = any(word in low for word in tempo) or str(round(meta["tempo_bpm"])) in low
        if paced and (meta["mode"] in low or meta["mode"] == "ambiguous") and not wish_of(text).players:
            return text
    raise ValueError(f"no wording of {meta['id']} says tempo and mode")


def melody_of(clip: Clip) -> npt.NDArray[np.float32]:
    """Onset and duration in seconds and pitch of the line in the ten seconds that are judged, ``[notes, 3]``."""
    line = line_of(performed_notes(clip.notes_path))
    onset, pitch = line["onset_s"].astype(np.float32) - START_S, line["pitch"].astype(np.float32)
    inside = (onset >= 0) & (onset < DURATION_S - 0.2)
    until = np.append(onset[1:], np.inf)
    duration = np.minimum(np.minimum(line["duration_s"], until - onset), DURATION_S - onset)
    return np.stack([onset, duration, pitch], 1)[inside].astype(np.float32)


def choose(corpus: Path, seed: int) -> list[Clip]:
    """Test clips in a random order, those with a clear mode first.

    Raises:
        NeuromuseError: too few.
    """
    clips = [c for c in read_catalogue(corpus) if c.split == "test" and len(melody_of(c)) >= 5]
    order = np.random.default_rng(seed).permutation(len(clips))
    chosen = sorted((clips[i] for i in order), key=lambda c: c.meta["mode"] not in ("major", "minor"))[:N_ROWS]
    if len(chosen) < LEAST_ROWS:
        raise NeuromuseError(f"{corpus} has {len(chosen)} test clips; at least {LEAST_ROWS} are needed.")
    return chosen


def windows_of(paths: Sequence[Path]) -> list[Waveform]:
    """Ten-second windows of recordings, five seconds apart."""
    out = []
    for path in paths:
        whole = read(path, sample_rate=RATE, mono=True)
        last = int(whole.duration_s - DURATION_S)
        out += [whole.slice(start, start + DURATION_S) for start in range(0, last + 1, HOP_S)]
    return out


def build(corpus: Path, real: Path, store: CheckpointStore, seed: int = 0) -> None:
    """Choose, word, encode, hear and store the set."""
    codec = Codec(config_of(store.config("text_to_music.codec"))).eval()
    codec.load_state_dict(store.load("text_to_music.codec"))
    rng = np.random.default_rng(seed)
    rows, codes, melodies = [], [], []
    for clip in choose(corpus, seed):
        audio = read_excerpt(clip.audio_path, START_S * RATE, DURATION_S * RATE)
        codes.append(codec.encode(audio[None])[0].to(torch.int16))
        melodies.append(melody_of(clip))
        rows.append({"prompt": prompt_of(clip.meta, rng), **{name: clip.meta[name] for name in SAID}})
        logger.info("%d rows", len(rows))
    paths = sorted(p for p in real.rglob("*") if p.suffix in RECORDINGS)
    recordings = {
        "real": [p for p in paths if p.stem == HELD_OUT_RECORDING],
        "real_train": [p for p in paths if p.stem != HELD_OUT_RECORDING],
    }
    tensors = {
        "codes": torch.stack(codes),
        "rows": torch.from_numpy(np.frombuffer(json.dumps(rows).encode(), np.uint8).copy()),
        "melody": torch.from_numpy(np.concatenate(melodies)),
        "melody_starts": torch.from_numpy(np.cumsum([0, *(len(m) for m in melodies[:-1])])),
    }
    judges: dict[str, Listener | Violinist] = {
        "listener": Listener.from_store(store), "violinist": Violinist.from_store(store),
    }  # fmt: skip
    for name, files in recordings.items():
        windows = windows_of(files)
        for judge, net in judges.items():
            tensors[f"{name}.{judge}"] = torch.from_numpy(net.hear(windows)["embedding"]).half()
        logger.info("%s: %d windows", name, len(windows))
    config = {"clips": len(rows), "seed": seed, "judge": store.digest("judges.violinist")}
    store.save(CHECKPOINT, tensors, config, {}, CARD, force=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.violin.held_out", description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of backend.corpus.violin")
    parser.add_argument("--real", type=Path, required=True, help="recordings of a violin alone")
    logging.basicConfig(level=logging.INFO)
    options = parser.parse_args()
    build(options.corpus, options.real, CheckpointStore())


if __name__ == "__main__":
    main()
