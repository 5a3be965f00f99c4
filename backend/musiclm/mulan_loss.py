"""What MuLan learns from: graded contrast between sounds and captions, and attributes read off the joint embedding.

In a corpus of captioned metadata many captions are true of many clips, and pushing those apart teaches the space that
"slow violin" is not "slow violin". So the contrast's targets are shared with the clips a caption is (nearly) true of.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from backend.musiclm.mulan_data import MISSING, TAGS, Vocabulary

SHARING = 0.1
"""How fast a caption stops belonging to a clip that disagrees with it: e^-1 at a disagreement of a tenth."""
TEMPO_GRID = torch.linspace(5.4, 7.6, 23)
"""log2 of beats a minute, 42 to 194 in steps of a tenth of an octave."""
AGREEMENT = {"lead_family": 0.25, "families": 0.2, "log2_bpm": 0.2, "mode": 0.2, "style": 0.15}


def agreement(targets: Mapping[str, Tensor], said: Mapping[str, Tensor]) -> Tensor:
    """How true caption j is of clip i, judged by the metadata of the captions' own clips: ``[clips, captions]``.

    Weighted share of equal lead family, mode and style, overlap (Jaccard) of instrument families, and closeness of
    tempo (1 at the same, 0 a third of an octave apart); of mode, style and tempo only what the caption states counts.

    Args:
        targets: of the batch; see `Vocabulary.targets`.
        said: of the captions; see `Pairs.said`.

    Returns:
        Values in [0, 1], 1 on the diagonal.
    """
    total, weights = torch.zeros(()), torch.zeros(())
    for name, weight in AGREEMENT.items():
        if name not in targets:
            continue
        value = targets[name]
        if name == "log2_bpm":
            same = (1 - 3 * (value[:, None] - value[None]).abs()).clamp(min=0)
        elif name in TAGS:
            common = value @ value.T
            same = common / (value.sum(1)[:, None] + value.sum(1)[None] - common).clamp(min=1)
        else:
            same = (value[:, None] == value[None]).float()
        counts = weight * (said[name].float() if name in said else torch.ones(len(value), device=value.device))
        total, weights = total + counts[None] * same, weights + counts
    return (total / weights[None]).fill_diagonal_(1.0)


def soft_contrastive_loss(audio: Tensor, text: Tensor, scale: Tensor, affinity: Tensor) -> Tensor:
    """Symmetric cross-entropy of the similarities ``scale * audio @ text.T`` with graded targets.

    Args:
        audio: unit vectors ``[batch, dim]``.
        text: unit vectors of a caption of each, ``[batch, dim]``.
        scale: inverse temperature.
        affinity: how much caption j belongs to clip i, ``[batch, batch]``; the identity gives CLIP's loss (arXiv
            2103.00020).
    """
    logits = scale * audio @ text.T
    by_clip = (affinity / affinity.sum(1, keepdim=True) * logits.log_softmax(1)).sum()
    by_caption = (affinity / affinity.sum(0, keepdim=True) * logits.log_softmax(0)).sum()
    return -(by_clip + by_caption) / (2 * len(logits))


def soft_sigmoid_loss(audio: Tensor, text: Tensor, scale: Tensor, bias: Tensor, affinity: Tensor) -> Tensor:
    """SigLIP (arXiv 2303.15343) with graded targets in [0, 1]; the identity gives the package's loss."""
    logits = scale * audio @ text.T + bias
    return functional.binary_cross_entropy_with_logits(logits, affinity, reduction="sum") / len(logits)


class AttributeHeads(nn.Module):
    """Linear readings of a joint embedding, trained with it and thrown away."""

    def __init__(self, dim: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        sizes = {name: len(values) for name, values in vocabulary.values.items()} | {"log2_bpm": len(TEMPO_GRID)}
        self.heads = nn.ModuleDict({name: nn.Linear(dim, size) for name, size in sizes.items()})

    def forward(self, latents: Tensor, targets: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum of the attributes' cross-entropies, and the accuracy of some."""
        latents = latents * latents.shape[-1] ** 0.5  # unit vectors: bring the components to about 1
        losses, figures = [], {}
        for name, head in self.heads.items():
            logits, target = head(latents), targets[name]
            if name == "log2_bpm":
                soft = (-((target[:, None] - TEMPO_GRID.to(target)) ** 2) / (2 * 0.08**2)).softmax(-1)
                losses.append(-(soft * logits.log_softmax(-1)).sum(-1).mean())
            elif name in TAGS:
                losses.append(4 * functional.binary_cross_entropy_with_logits(logits, target))
            elif (target != MISSING).any():
                losses.append(functional.cross_entropy(logits, target, ignore_index=MISSING))
                if name in ("lead_family", "tempo_class", "mode"):
                    known = target != MISSING
                    figures[name] = (logits.argmax(-1) == target)[known].float().mean()
        return torch.stack(losses).sum(), figures
