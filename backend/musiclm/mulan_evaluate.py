"""How well MuLan's space serves: retrieval, attributes found by words alone, unseen wordings, what its codes keep.

All figures come from held-out pieces and are printed beside chance. "Unseen" wordings use sentence forms and synonyms
that no training caption uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from backend.musiclm.mulan import MuLanEmbedder
    from backend.musiclm.mulan_data import Pairs

POOL = 200
PROMPTS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "tempo_class": {
        "slow": ("slow music, 66 bpm", "a slow tempo"),
        "medium": ("medium tempo music, 105 bpm", "a moderate tempo"),
        "fast": ("fast music, 150 bpm", "a fast tempo"),
    },
    "mode": {"major": ("music in a major key", "major key"), "minor": ("music in a minor key", "minor key")},
    "lead_family": {
        "piano": ("piano music", "a piano plays the melody"),
        "guitar": ("guitar music", "a guitar plays the melody"),
        "strings": ("strings", "a violin or cello plays the melody"),
        "brass": ("brass", "a trumpet or horn plays the melody"),
        "woodwind": ("woodwinds", "a flute or clarinet plays the melody"),
        "organ": ("organ music", "an organ plays the melody"),
        "mallet": ("mallet percussion", "a vibraphone or marimba plays the melody"),
        "voice": ("a choir", "voices sing the melody"),
        "synth": ("synthesizer music", "a synth plays the melody"),
        "plucked": ("harp or sitar", "a harp plays the melody"),
        "bass": ("bass", "a bass plays alone"),
        "drums": ("drums", "drums alone"),
    },
}


def ranks(queries: Tensor, answers: Tensor) -> Tensor:
    """Place (1 = best) of answer i among all answers to query i; unit vectors ``[n, dim]`` each → int64 ``[n]``."""
    similarity = queries @ answers.T
    return 1 + (similarity > similarity.diagonal()[:, None]).sum(1)


def recall(queries: Tensor, answers: Tensor, k: int) -> float:
    """Share of queries whose own answer is among the first ``k``."""
    return float((ranks(queries, answers) <= k).float().mean())


def nearest_agrees(text: Tensor, audio: Tensor, labels: Sequence[str | None]) -> dict[str, float]:
    """Share of texts whose nearest *other* clip has the label of the text's own clip, with chance.

    Args:
        text: unit vectors ``[n, dim]`` of a caption of each clip.
        audio: unit vectors ``[n, dim]`` of the clips.
        labels: the attribute of each clip; None leaves it out.
    """
    known = [i for i, label in enumerate(labels) if label is not None]
    similarity = (text[known] @ audio[known].T).fill_diagonal_(-2.0)
    names = [labels[i] for i in known]
    hits = [names[int(j)] == names[i] for i, j in enumerate(similarity.argmax(1))]
    shares = [names.count(name) / len(names) for name in set(names)]
    return {"hit": sum(hits) / len(hits), "chance": sum(share**2 for share in shares)}


def zero_shot(audio: Tensor, classes: Mapping[str, Tensor], labels: Sequence[str | None]) -> dict[str, float]:
    """Balanced accuracy of calling each clip by the nearest class vector, with chance.

    Args:
        audio: unit vectors ``[n, dim]``.
        classes: a vector ``[dim]`` for each label.
        labels: the true label of each clip; labels that are no class are left out.
    """
    names = [name for name in classes if name in set(labels)]
    called = (audio @ torch.stack([classes[name] for name in names]).T).argmax(1)
    shares = []
    for index, name in enumerate(names):
        rows = [i for i, label in enumerate(labels) if label == name]
        shares.append(float((called[rows] == index).float().mean()))
    return {"balanced_hit": sum(shares) / len(shares), "chance": 1 / len(names)}


def _retrieval(text: Tensor, audio: Tensor) -> dict[str, float]:
    place = ranks(text[:POOL], audio[:POOL])
    matched = (text * audio).sum(1)
    return {
        "recall_1": float((place <= 1).float().mean()),
        "recall_10": float((place <= 10).float().mean()),
        "median_rank": float(place.median()),
        "pool": float(len(place)),
        "cosine_matched": float(matched.mean()),
        "cosine_shuffled": float((text * audio.roll(1, 0)).sum(1).mean()),
    }


@torch.no_grad()
def evaluate(embedder: MuLanEmbedder, pairs: Pairs) -> dict[str, dict[str, float]]:
    """All figures on held-out ``pairs``; captions are averaged over wordings, retrieval is among the first 200."""
    rows = list(range(len(pairs)))
    parts = [embedder.spectrogram_embed(pairs.middle(chunk.tolist())) for chunk in torch.arange(len(rows)).split(64)]
    audio = torch.cat(parts)
    labels = {name: [clip.classes.get(name) for clip in pairs.clips] for name in PROMPTS}
    figures: dict[str, dict[str, float]] = {}
    for wording in ("seen", "unseen"):
        columns = [0 if wording == "seen" else len(clip.captions) for clip in pairs.clips]
        chunks = torch.arange(len(rows)).split(64)
        text = torch.cat([embedder.state_embed(pairs.text(c.tolist(), [columns[i] for i in c])) for c in chunks])
        figures[f"retrieval_{wording}"] = _retrieval(text, audio)
        for name, values in labels.items():
            figures[f"nearest_{name}_{wording}"] = nearest_agrees(text, audio, values)
        codes = embedder.quantize(text)
        figures[f"codes_text_{wording}"] = {"cosine": float((embedder.dequantize(codes) * text).sum(1).mean())}
    for name, prompts in PROMPTS.items():
        classes = {key: embedder.text_embed(texts).mean(0) for key, texts in prompts.items()}
        figures[f"zero_shot_{name}"] = zero_shot(audio, classes, labels[name])
    figures["codes_audio"] = {"cosine": float((embedder.dequantize(embedder.quantize(audio)) * audio).sum(1).mean())}
    return figures
