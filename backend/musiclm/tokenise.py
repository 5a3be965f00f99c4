"""The corpus as tokens: what the stages are trained on, small enough to keep in memory and to send elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backend.corpus.catalogue import read_catalogue
from backend.musiclm.codec import Codec
from backend.musiclm.codec_train import read_excerpt
from backend.musiclm.events import Piece, true_notes
from backend.musiclm.mulan import MuLanEmbedder
from backend.musiclm.mulan_audio import FRAME_RATE
from backend.musiclm.mulan_data import FeatureCache, read_clips
from backend.musiclm.quantize import Codebook
from backend.musiclm.stages_train import EMBED_STEP_S, Ragged

logger = logging.getLogger(__name__)

CLIP_S = 30
WINDOW = EMBED_STEP_S * FRAME_RATE  # spectrogram frames of one audio embedding
WORDINGS = 5  # captions of a clip that are embedded
SPLITS = ("train", "valid", "test")


@torch.inference_mode()
def write_codes(corpus: Path, out: Path, model: Codec, name: str) -> None:
    """Codes of every clip by one codec as ``out/<name>.npy``, ``[clips, frames, codes]`` int16; resumable in parts."""
    clips = read_catalogue(corpus)
    rate = model.config.sample_rate
    parts = out / f"{name}.parts"
    parts.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(clips), 64):
        part = parts / f"{start:06d}.npy"
        if part.exists():
            continue
        audio = torch.stack([read_excerpt(c.audio_path, 0, CLIP_S * rate) for c in clips[start : start + 64]])
        with torch.autocast("cpu", torch.bfloat16):  # its rounding is far below the quantiser's
            codes = torch.cat([model.encode(chunk) for chunk in audio.split(2)])
        np.save(part, codes.numpy().astype(np.int16))
        logger.info("%s %d of %d", name, start + len(audio), len(clips))
    np.save(out / f"{name}.npy", np.concatenate([np.load(p) for p in sorted(parts.iterdir())]))


@torch.inference_mode()
@torch.no_grad()
def codebook_table(codec: Codec) -> Tensor:
    """What each code of each level adds to the latent, ``[n_quantizers, codebook_size, latent_dim]``."""
    levels = [level for level in codec.quantizer.levels if isinstance(level, Codebook)]
    every = torch.arange(codec.codebook_size, device=next(codec.parameters()).device)
    return torch.stack([level.decode(every) for level in levels])


def write_codebooks(out: Path, codec: Codec) -> None:
    """``codebooks.npy``: see `codebook_table`."""
    np.save(out / "codebooks.npy", codebook_table(codec).numpy())


@torch.inference_mode()
def write_embeddings(corpus: Path, out: Path, mulan: MuLanEmbedder, cache: Path) -> None:
    """MuLan embeddings, quantised as at inference: ``audio_embed [clips, 3, 128]``, ``text_embed [clips, n, 128]``.

    Args:
        corpus: folder of the corpus.
        out: where the arrays go.
        mulan: the trained embedder.
        cache: spectrograms and sentence states as its training left them; what is missing is computed.
    """
    features = FeatureCache(cache, mulan.sentence_encoder)
    audio, text = [], []
    for number, clip in enumerate(read_clips(corpus)):
        features.fill([clip])
        spectrogram, states = features.read(clip)
        windows = spectrogram.unfold(1, WINDOW, WINDOW).transpose(0, 1)
        audio.append(quantised(mulan, mulan.spectrogram_embed(windows.float())).numpy().astype(np.float16))
        padded = nn.utils.rnn.pad_sequence(states[:WORDINGS], batch_first=True).float()
        text.append(quantised(mulan, mulan.state_embed(padded)).numpy().astype(np.float16))
        if number % 200 == 0:
            logger.info("embeddings %d", number)
    np.save(out / "audio_embed.npy", np.stack(audio))
    np.save(out / "text_embed.npy", np.stack(text))


@torch.inference_mode()
def write_silent_embeddings(corpus: Path, out: Path, mulan: MuLanEmbedder) -> None:
    """MuLan embeddings of the captions of the clips of notes alone, ``silent_text_embed.npy [clips, n, 128]``."""
    clips = read_catalogue(corpus, silent=True)
    rows = []
    for start in range(0, len(clips), 32):
        texts = [_some(clip.meta["captions"]) for clip in clips[start : start + 32]]
        states = mulan.sentence_encoder.encode([text for row in texts for text in row], mulan.device, bf16=True)
        vectors = quantised(mulan, mulan.state_embed(states.float()))
        rows.append(vectors.view(len(texts), WORDINGS, -1).numpy().astype(np.float16))
        if start % 1024 == 0:
            logger.info("silent embeddings %d of %d", start, len(clips))
    width = mulan.config.latent_dim
    np.save(out / "silent_text_embed.npy", np.concatenate(rows) if rows else np.zeros((0, WORDINGS, width), "f2"))


def _some(captions: list[str]) -> list[str]:
    """`WORDINGS` captions, the first ones again where there are fewer."""
    return (captions * WORDINGS)[:WORDINGS]


def write_notes(corpus: Path, out: Path) -> None:
    """``notes.npz``: what is played in every clip, those with sound first; see `backend.musiclm.stages_train`."""
    rows: dict[str, list[Any]] = {"notes": [], "players": [], "ticks": [], "codes": []}
    settings, lead_in_s = [], []
    for silent in (False, True):
        for clip in read_catalogue(corpus, silent=silent):
            arrays = clip.notes()
            piece = Piece.of_clip(arrays, clip.meta)
            settings.append([piece.setting.tempo, piece.setting.key, piece.setting.bar, piece.setting.sound])
            lead_in_s.append(piece.lead_in_s)
            for name in ("players", "ticks", "codes"):
                rows[name].append(getattr(piece, name))
            if not silent:
                rows["notes"].append(true_notes(arrays, clip.meta))
    joined: dict[str, Any] = {"settings": np.array(settings, np.int16), "lead_in_s": np.array(lead_in_s, np.float32)}
    for name, parts in rows.items():
        ragged = Ragged.of(parts)
        values = ragged.values.astype(np.int32) if name == "ticks" else ragged.values
        joined |= {name: values, f"{name}_starts": ragged.starts}
    np.savez(out / "notes.npz", **joined)


def write_splits(corpus: Path, out: Path) -> None:
    """``split.npy``: 0 train, 1 valid, 2 test, and ``ids.txt``, in the catalogue's order."""
    clips = read_catalogue(corpus)
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / "split.npy", np.array([SPLITS.index(clip.split) for clip in clips], dtype=np.int8))
    (out / "ids.txt").write_text("\n".join(clip.id for clip in clips))


def quantised(mulan: MuLanEmbedder, vectors: Tensor) -> Tensor:
    """The vectors through MuLan's residual quantiser and back, as the stages see them."""
    return mulan.dequantize(mulan.quantize(vectors))
