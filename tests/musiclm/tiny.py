"""What the model tests share: three clips, four models in miniature, a sentence encoder of no weight."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from backend.checkpoints import CheckpointStore
from backend.musiclm import acoustic, codec
from backend.musiclm.events import BAR, BAR_TICKS
from backend.musiclm.mulan import MuLanConfig, MuLanEmbedder
from backend.musiclm.package_stages import STAGES, PackageConfig, build_stage
from backend.musiclm.stages import TINY_SEMANTIC, Stage
from backend.musiclm.text import STATE_DIM

RATE = 24_000
MULAN = MuLanConfig(64, 2, 64, 2, latent_dim=8, n_quantizers=3, codebook_size=16)
PACKAGE = PackageConfig(
    dim=32, depth=1, heads=2, dim_head=16, cond_dim=8, codebook_size=32, n_quantizers=3, n_coarse=2,
    semantic_window_s=2.0, coarse_window_s=0.8, fine_window_s=0.8, overlap_s=0.4,
)  # fmt: skip
PITCHES = {"train_00000": (60, 64, 67), "valid_00000": (57, 60, 64), "test_00000": (62, 65, 69)}


def word_states(self: object, texts: Sequence[str], device: object = None, *, bf16: bool = False) -> Tensor:
    """Stands in for ``SentenceEncoder.encode``: a fixed random vector a word, ``[batch, tokens, 384]``."""
    rows = [[zlib.crc32(word.encode()) for word in text.lower().split()] for text in texts]
    states = torch.zeros(len(rows), max(map(len, rows)), STATE_DIM)
    for i, row in enumerate(rows):
        for j, number in enumerate(row):
            states[i, j] = torch.randn(STATE_DIM, generator=torch.Generator().manual_seed(number))
    return states


def write_corpus(root: Path) -> Path:
    """One 30-second clip a split: a new note every second, an octave lower a bass note, a kick on every beat."""
    t = np.arange(30 * RATE) / RATE
    lines = []
    for clip_id, pitches in PITCHES.items():
        split = clip_id.split("_")[0]
        melody = np.array([pitches[i % 3] for i in range(30)])
        hertz = 440 * 2 ** ((melody[np.minimum(t.astype(int), 29)] - 69) / 12)
        audio = 0.2 * np.sin(2 * np.pi * np.cumsum(hertz) / RATE) + 0.1 * np.sin(np.pi * np.cumsum(hertz) / RATE)
        (root / "audio" / split).mkdir(parents=True, exist_ok=True)
        (root / "notes").mkdir(exist_ok=True)
        soundfile.write(root / "audio" / split / f"{clip_id}.wav", audio.astype(np.float32), RATE, subtype="PCM_16")
        seconds = np.arange(30, dtype=np.float32)
        np.savez(
            root / "notes" / f"{clip_id}.npz",
            onset_s=np.concatenate([seconds, seconds, seconds]),
            duration_s=np.concatenate([np.full(60, 0.9), np.full(30, 0.1)]).astype(np.float32),
            pitch=np.concatenate([melody, melody - 12, np.full(30, 36)]).astype(np.uint8),
            velocity=np.full(90, 90, np.uint8),
            program=np.repeat([73, 32, 0], 30).astype(np.uint8),
            is_drum=np.repeat([False, False, True], 30),
            part=np.repeat([0, 1, 2], 30).astype(np.uint8),
            role=np.repeat([0, 1, 2], 30).astype(np.uint8),
            beats_s=seconds,
            downbeats_s=seconds[::4],
        )
        meta: dict[str, Any] = {
            "id": clip_id, "audio": f"audio/{split}/{clip_id}.wav", "notes": f"notes/{clip_id}.npz", "split": split,
            "lead_family": "woodwind", "mode": "major", "tempo_class": "slow", "tempo_bpm": 60.0,
            "instruments": [
                {"name": name, "gain_db": gain}
                for name, gain in (("flute", 0.0), ("upright bass", -5.0), ("drums", -3.0))
            ],
            "key": "C major", "soundfont": "FluidR3_GM", "room": "studio",
            "families": ["woodwind", "bass", "drums"],
            "captions": ["slow flute", "flute and drums", "Major.", "flute over bass, 60 bpm", "flute with drums"],
            "caption_unseen": ["a languid flute"],
        }  # fmt: skip
        lines.append(json.dumps(meta))
    (root / "clips.jsonl").write_text("\n".join(lines) + "\n")
    return root


def random_models() -> dict[str, tuple[nn.Module, Any]]:
    """The four models with random weights, loud enough that every input matters, and their configurations."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        models: dict[str, tuple[nn.Module, Any]] = {
            "mulan": (MuLanEmbedder(MULAN), MULAN),
            "semantic": (Stage(TINY_SEMANTIC), TINY_SEMANTIC),
            "acoustic": (acoustic.AcousticStage(acoustic.TINY), acoustic.TINY),
            "codec": (codec.Codec(codec.TINY), codec.TINY),
        }
        with torch.no_grad():
            stage: Any = models["semantic"][0]
            stage.null.normal_()
            for head in stage.heads:
                head.logits.weight.mul_(6)
            stage.heads[0].logits.weight[BAR_TICKS : BAR + 1] = 0.0  # an untrained stage would mostly rest
            player: Any = models["acoustic"][0]
            player.out.weight.mul_(6)
            player.tint.weight.mul_(50)
            player.guide.shapes.weight.mul_(30)
            player.deviation.fill_(4.0)
            quantizer: Any = models["mulan"][0].quantizer
            quantizer.codebooks.normal_(std=0.25)
    return models


def write_store(root: Path) -> CheckpointStore:
    """A store with the four miniature models."""
    store = CheckpointStore(root)
    for name, (module, config) in random_models().items():
        store.save(f"text_to_music.{name}", module.state_dict(), dataclasses.asdict(config), {})
    return store


def write_package(store: CheckpointStore) -> None:
    """Adds audiolm-pytorch's three stages in miniature."""
    generator = torch.Generator().manual_seed(1)
    for stage in STAGES:
        module = build_stage(stage, PACKAGE, 1)
        with torch.no_grad():
            for name, weights in module.named_parameters():
                if weights.ndim < 2 or any(part in name for part in ("static", "dynamic", "cross_attn_bias")):
                    # gains and mixtures that start at zero or one would hide the condition and the notes
                    weights += 0.3 * torch.randn(weights.shape, generator=generator)
                elif "logit" in name:
                    weights *= 6  # or the draw alone would decide
        store.save(f"text_to_music.package_{stage}", module.state_dict(), dataclasses.asdict(PACKAGE), {})
