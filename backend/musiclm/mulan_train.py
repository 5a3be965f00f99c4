"""Training of MuLan: ``python -m backend.musiclm.train mulan --corpus DIR --out DIR --minutes M``.

Loss = graded contrast + attributes (see ``mulan_loss``). The attributes, tempo, mode, instruments, style and more, are
read from the joint embedding of either modality by the *same* linear heads, so both towers write them in one place.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.musiclm.fit import FitConfig, fit
from backend.musiclm.mulan import BASE, TINY, MuLanConfig, MuLanEmbedder
from backend.musiclm.mulan_data import FeatureCache, Pairs, Vocabulary, read_clips
from backend.musiclm.mulan_evaluate import evaluate, recall
from backend.musiclm.mulan_loss import SHARING, AttributeHeads, agreement, soft_contrastive_loss, soft_sigmoid_loss
from backend.musiclm.mulan_quantizer import fit_codebooks
from backend.musiclm.package import mulan_parts
from backend.musiclm.text import SentenceEncoder

logger = logging.getLogger(__name__)

SIZES = {"base": BASE, "tiny": TINY}
VALIDATE_S = 90.0
MAX_SCALE = 40.0
"""Upper bound of the inverse temperature; the package lets it grow until the loss is not a number."""


class MuLanObjective(nn.Module):
    """The towers with their losses: a batch of `Pairs.batches` → ``(loss, figures)``."""

    def __init__(
        self, config: MuLanConfig, vocabulary: Vocabulary, loss: str = "softmax", attribute_weight: float = 0.1
    ) -> None:
        super().__init__()
        self.embedder = MuLanEmbedder(config)
        self.heads = AttributeHeads(config.latent_dim, vocabulary)
        self.loss, self.attribute_weight = loss, attribute_weight

    def contrast(self, audio: Tensor, text: Tensor, affinity: Tensor) -> Tensor:
        """The chosen contrastive loss of unit vectors ``[batch, latent_dim]``."""
        learned = self.embedder.mulan.contrast
        scale = learned.temperatures.exp().clamp(max=MAX_SCALE).squeeze()
        if self.loss == "sigmoid":
            return soft_sigmoid_loss(audio, text, scale, learned.bias.squeeze(), affinity)
        return soft_contrastive_loss(audio, text, scale, affinity)

    def affinity(self, targets: Mapping[str, Tensor], said: Mapping[str, Tensor]) -> Tensor:
        """Graded targets ``[clips, captions]``; for the loss ``hard`` only the diagonal."""
        similar = agreement(targets, said)
        if self.loss == "hard":
            return torch.eye(len(similar), device=similar.device)
        return ((similar - 1) / SHARING).exp()

    def forward(self, batch: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss over all wordings of the batch."""
        mulan, targets = self.embedder.mulan, batch["targets"]
        audio = mulan.get_audio_latents(batch["spectrogram"])
        texts = [mulan.get_text_latents(text) for text in batch["texts"]]
        with torch.autocast(audio.device.type, enabled=False):
            audio, texts = audio.float(), [text.float() for text in texts]
            affinities = [self.affinity(targets, said) for said in batch["said"]]
            contrast = torch.stack([self.contrast(audio, t, a) for t, a in zip(texts, affinities, strict=True)]).mean()
            attributes, heard = self.heads(audio, targets)
            read = torch.stack([self.heads(text, targets)[0] for text in texts]).mean()
            loss = contrast + self.attribute_weight * (attributes + 0.5 * read)
        figures = {"contrast": contrast, "heard": attributes, "read": read}
        return loss, {k: v.detach() for k, v in (figures | heard).items()}


class MuLanTask:
    """Augmented pairs for training; the middle of held-out clips with a known and an unseen wording for validation."""

    def __init__(self, train: Pairs, valid: Pairs, batch: int, captions: int = 2) -> None:
        self.train, self.valid, self.batch, self.captions = train, valid, batch, captions

    def batches(self, generator: torch.Generator) -> Iterator[dict[str, Any]]:
        """See `Pairs.batches`."""
        return self.train.batches(min(self.batch, len(self.train)), self.captions, generator)

    def validate(self, module: nn.Module) -> Mapping[str, float]:
        """The objective on held-out clips, and recall in the first ten for known and unseen wordings."""
        device = next(module.parameters()).device
        rows = list(range(min(len(self.valid), 256)))
        clips = [self.valid.clips[row] for row in rows]
        columns = {"seen": [0] * len(rows), "unseen": [len(clip.captions) for clip in clips]}
        texts = [self.valid.text(rows, column).to(device) for column in columns.values()]
        spectrogram = self.valid.middle(rows).to(device)
        targets = {name: table[rows].to(device) for name, table in self.valid.targets.items()}
        said = [{k: v.to(device) for k, v in self.valid.said(rows, c).items()} for c in columns.values()]
        loss, figures = module({"spectrogram": spectrogram, "texts": texts, "targets": targets, "said": said})
        embedder: Any = module.embedder
        audio = embedder.spectrogram_embed(spectrogram)
        hits = {f"r10_{k}": recall(embedder.state_embed(t), audio, 10) for k, t in zip(columns, texts, strict=True)}
        return {"loss": float(loss), **{k: float(v) for k, v in figures.items()}, **hits}


@torch.no_grad()
def finish(embedder: MuLanEmbedder, train: Pairs, seed: int) -> None:
    """Measure the modalities' means on the training clips and fit the quantiser on all their vectors, in place."""
    embedder.eval()
    for name in ("audio_mean", "text_mean"):
        getattr(embedder, name).zero_()
    device, audio, text = embedder.device, [], []
    last = train.spectrograms.shape[-1]
    for rows in torch.arange(len(train)).split(64):
        chosen = rows.tolist()
        for start in (0, last // 3, 2 * last // 3):
            crop = train.spectrograms[chosen, :, start : start + last // 3].float()
            audio.append(embedder.spectrogram_embed(crop.to(device)))
        for column in range(min(len(train.clips[row].captions) for row in chosen)):
            text.append(embedder.state_embed(train.text(chosen, [column] * len(chosen)).to(device)))
    vectors = torch.cat(audio), torch.cat(text)
    embedder.audio_mean.copy_(vectors[0].mean(0))
    embedder.text_mean.copy_(vectors[1].mean(0))
    means = embedder.audio_mean, embedder.text_mean
    centred = torch.cat([functional.normalize(v - m, dim=-1) for v, m in zip(vectors, means, strict=True)])
    books = embedder.quantizer.codebooks
    books.copy_(fit_codebooks(embedder.mulan, centred.cpu(), books.shape[0], books.shape[1], seed))


def load_pairs(
    corpus: Path, cache: Path, text_tower: str, limit: int | None = None, wordings: int | None = None
) -> tuple[dict[str, Pairs], Vocabulary]:
    """The splits of ``corpus`` in memory, caching what is not cached yet.

    Raises:
        ValueError: a split has no clips.
    """
    clips, encoder = read_clips(corpus, wordings=wordings), SentenceEncoder()
    by_split = {split: [c for c in clips if c.split == split][:limit] for split in ("train", "valid", "test")}
    for split, members in by_split.items():
        if not members:
            raise ValueError(f"{corpus}: no {split} clips")
    store, vocabulary = FeatureCache(cache, encoder), Vocabulary.of(by_split["train"])
    store.fill([c for members in by_split.values() for c in members], _report)
    tokenize = mulan_parts.tokenizer.tokenize if text_tower == "package" else None
    return {split: Pairs(members, store, vocabulary, tokenize) for split, members in by_split.items()}, vocabulary


def _report(done: int, total: int) -> None:
    if done % 100 == 0 or done == total:
        logger.info("features of %d of %d clips", done, total)


def main(argv: Sequence[str] | None = None) -> None:
    """Train, choose by validation, fit the quantiser, judge on the test split; the last line of stdout is JSON."""
    parser = argparse.ArgumentParser(prog="mulan", description="Train the joint embedding of music and sentences.")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0, help="training time, all resumed runs together")
    parser.add_argument("--cache", type=Path, help="folder for features; default OUT/features")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--loss", choices=("softmax", "hard", "sigmoid"), default="softmax")
    parser.add_argument("--text-tower", choices=("minilm", "package"), default="minilm")
    parser.add_argument("--size", choices=tuple(SIZES), default="base")
    parser.add_argument("--limit", type=int, help="at most this many clips a split")
    parser.add_argument("--wordings", type=int, help="captions used of each training clip, all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 keeps torch's choice")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--resume", action="store_true", help="go on from OUT/state.pt; otherwise start afresh")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s", force=True)
    if args.threads:
        torch.set_num_threads(args.threads)
    pairs, vocabulary = load_pairs(
        args.corpus, args.cache or args.out / "features", args.text_tower, args.limit, args.wordings
    )
    config = dataclasses.replace(SIZES[args.size], text_tower=args.text_tower)
    with torch.random.fork_rng():
        torch.manual_seed(args.seed)
        objective = MuLanObjective(config, vocabulary, args.loss)
    if not args.resume:
        for name in ("state.pt", "best.pt", "curve.csv"):
            (args.out / name).unlink(missing_ok=True)
    recipe = FitConfig(
        args.minutes,
        args.lr,
        weight_decay=0.05,
        warmup_steps=40,
        seed=args.seed,
        ema_decay=0.98,
        validate_every_s=VALIDATE_S,
    )
    cpu = None if args.device == "auto" else args.device == "cpu"
    fit(objective, MuLanTask(pairs["train"], pairs["valid"], args.batch), recipe, args.out, cpu=cpu)
    best = torch.load(args.out / "best.pt", map_location="cpu", weights_only=True)
    objective.cpu().load_state_dict(best["module"])
    embedder = objective.embedder.eval()
    finish(embedder, pairs["train"], args.seed)
    metrics = evaluate(embedder, pairs["test"])
    torch.save({"state": embedder.state_dict(), "config": config.to_dict(), "metrics": metrics}, args.out / "mulan.pt")
    sys.stdout.write(json.dumps(metrics) + "\n")
