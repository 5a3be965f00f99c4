"""The held-out set that the evaluation judges against, small enough to travel with the weights.

From pieces, progressions and performances no model has seen: prompts in training and in held-out wordings, what each
asks for, the codec's codes of the real clip (decoded, they are the best any generator over this codec could do) and
the judge's embedding of the real sound. ``python -m backend.instruments.text_to_music.held_out --corpus DIR`` writes
it.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.corpus.captions import describe
from backend.corpus.catalogue import Clip, note_families, read_catalogue
from backend.corpus.instruments import BY_NAME, FAMILIES
from backend.corpus.wording import TEMPO, TEMPO_TAIL
from backend.metrics.listener import Listener
from backend.metrics.pitch import distinct_top_pitches
from backend.musiclm.codec import Codec, config_of
from backend.musiclm.codec_train import read_excerpt

logger = logging.getLogger(__name__)

CHECKPOINT = "text_to_music.held_out"
CARD = "text_to_music/README.md"
RATE = 24_000
DURATION_S = 10
START_S = 5  # clips begin with a count of silence now and then
N_CLIPS = 128


@dataclass(frozen=True)
class HeldOut:
    """What is judged against.

    Attributes:
        rows: per clip ``prompt``, ``unseen``, ``families`` (asked, indices), ``tempo_class``, ``mode``,
            ``top_pitches``.
        codes: ``[clips, 500, n_quantizers]``.
        real: embeddings of the real clips ``[clips, 128]``.
        other: embeddings of as many other real clips.
    """

    rows: list[dict[str, Any]]
    codes: torch.Tensor
    real: npt.NDArray[np.float64]
    other: npt.NDArray[np.float64]

    @classmethod
    def from_store(cls, store: CheckpointStore) -> HeldOut:
        """The bundled set.

        Raises:
            CheckpointError: a file is missing or altered.
        """
        stored = store.load(CHECKPOINT)
        rows = json.loads(bytes(stored["rows"].numpy().astype(np.uint8)).decode())
        real, other = (stored[name].double().numpy() for name in ("real", "other"))
        return cls(rows, stored["codes"].long(), real, other)


def full_prompt(meta: Mapping[str, Any], split: str, rng: np.random.Generator) -> str:
    """A wording that says lead, tempo and mode: random captions are drawn until one does."""
    speed_class = meta["tempo_class"]
    tempo = {w.lower() for w in (*TEMPO[split][speed_class], *TEMPO_TAIL[split][speed_class])}
    lead = BY_NAME[meta["instruments"][0]["name"]]
    names = {n.lower() for n in (lead.name, *lead.synonyms, *lead.unseen)}
    for _ in range(4000):
        text = describe(meta, rng, split)
        low = text.lower()
        speed = any(w in low for w in tempo) or str(round(meta["tempo_bpm"])) in low
        if speed and meta["mode"] in low and any(n in low for n in names):
            return text
    raise ValueError(f"no wording of {meta['id']} says lead, tempo and mode")


def choose(corpus: Path, n_clips: int, seed: int) -> list[Clip]:
    """Held-out clips with a pitched lead, a clear mode and a tempo class, in a random order."""
    clips = [
        c for c in read_catalogue(corpus)
        if c.split == "test" and c.meta["mode"] in ("major", "minor") and c.meta["lead_family"] != "drums"
    ]  # fmt: skip
    order = np.random.default_rng(seed).permutation(len(clips))
    return [clips[i] for i in order[:n_clips]]


def build(corpus: Path, store: CheckpointStore, seed: int = 0) -> None:
    """Choose, word, encode and store the set."""
    codec = Codec(config_of(store.config("text_to_music.codec"))).eval()
    codec.load_state_dict(store.load("text_to_music.codec"))
    listener = Listener.from_store(store)
    rng = np.random.default_rng(seed)
    chosen = choose(corpus, N_CLIPS, seed)
    rows, codes, real = [], [], []
    for clip in chosen:
        audio = read_excerpt(clip.audio_path, START_S * RATE, DURATION_S * RATE)
        waveform = Waveform(audio.numpy(), RATE)
        codes.append(codec.encode(audio[None])[0].to(torch.int16))
        real.append(listener.hear([waveform])["embedding"][0])
        rows.append({**_row(clip, rng), "top_pitches": int(distinct_top_pitches(waveform))})
        logger.info("%d of %d", len(rows), len(chosen))
    rest = [c for c in read_catalogue(corpus) if c.split in ("test", "valid") and c.id not in {x.id for x in chosen}]
    other = [
        listener.hear([Waveform(read_excerpt(c.audio_path, START_S * RATE, DURATION_S * RATE).numpy(), RATE)])[
            "embedding"
        ][0]
        for c in rest[: len(chosen)]
    ]
    tensors = {
        "codes": torch.stack(codes),
        "real": torch.from_numpy(np.stack(real)),
        "other": torch.from_numpy(np.stack(other)),
        "rows": torch.from_numpy(np.frombuffer(json.dumps(rows).encode(), dtype=np.uint8).copy()),
    }
    store.save(CHECKPOINT, tensors, {"clips": len(rows), "seed": seed}, {}, CARD, force=True)


def _row(clip: Clip, rng: np.random.Generator) -> dict[str, Any]:
    meta, notes = clip.meta, clip.notes()
    sounding = (notes["onset_s"] < START_S + DURATION_S) & (notes["onset_s"] + notes["duration_s"] > START_S)
    present = {FAMILIES[i] for i in np.unique(note_families(notes)[sounding])}
    prompt, unseen = (full_prompt(meta, split, rng) for split in ("train", "unseen"))
    asked = _asked(f"{prompt} {unseen}", meta, present)
    return {
        "prompt": prompt, "unseen": unseen, "families": asked, "tempo_class": meta["tempo_class"],
        "mode": meta["mode"], "tempo_bpm": meta["tempo_bpm"],
    }  # fmt: skip


def _asked(text: str, meta: Mapping[str, Any], present: set[str]) -> list[int]:
    """Families of the instruments the wordings name, the lead always, restricted to those that really sound."""
    low, asked = text.lower(), {meta["lead_family"]}
    for part in meta["instruments"]:
        instrument = BY_NAME[part["name"]]
        if any(n.lower() in low for n in (instrument.name, *instrument.synonyms, *instrument.unseen)):
            asked.add(instrument.family)
    return sorted(FAMILIES.index(f) for f in asked if f in present or f == meta["lead_family"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    logging.basicConfig(level=logging.INFO)
    build(parser.parse_args().corpus, CheckpointStore())


if __name__ == "__main__":
    main()
