"""What an ear has learned, read out by a linear probe with few labels, beside nets that had only those labels.

The same labelled excerpts, of pieces the ear never heard, go to: logistic regression on the ear's encodings and
contexts (van den Oord et al., arXiv 1807.03748, section 3.1), logistic regression on statistics of a log-mel
spectrogram, and a net of the ear's own architecture trained from scratch on the labels. Labels of the training side and
of the test side come from different pieces (the corpus's valid and test splits). Accuracies are means over classes.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional

from backend.audio.spectral import LogMel
from backend.instruments.neurons.cpc import augmented
from backend.instruments.neurons.data import augment
from backend.instruments.neurons.ear import Ear, EarConfig
from backend.musiclm.codec_train import read_excerpt

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

FIELDS = ("instrument_family", "style")
EXCERPTS = 3  # of a clip
LEAST = 4  # clips of a class on either side; rarer classes are left out
BATCH = 16


@dataclass(frozen=True)
class Labelled:
    """Excerpts ``[n, samples]`` with their classes, and how many classes there are."""

    audio: Tensor
    classes: Ints
    names: tuple[str, ...]


def labelled(corpus: Path, field: str, config: EarConfig) -> tuple[Labelled, Labelled]:
    """The training side (valid split) and the test side (test split) of one question.

    Args:
        corpus: of `backend.corpus.build`.
        field: ``instrument_family`` of who leads, or ``style`` of a band.
        config: of the ear, for length and rate.
    """
    rows: dict[str, list[tuple[Path, str]]] = {"valid": [], "test": []}
    for line in (corpus / "clips.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if row["split"] not in rows:
            continue
        path = corpus / row["audio"]
        if field == "instrument_family":
            rows[row["split"]].append((path, row["lead_family"]))
        elif field == "style" and row["kind"] == "band":
            rows[row["split"]].append((path, row["style"]))
    counts = [Counter(name for _, name in rows[split]) for split in rows]
    names = tuple(sorted(name for name in counts[0] if all(count[name] >= LEAST for count in counts)))
    valid, test = (_read([row for row in rows[split] if row[1] in names], names, config) for split in rows)
    return valid, test


def accuracies(ear: Ear, train: Labelled, test: Labelled, labels: int, repeats: int, steps: int) -> dict[str, float]:
    """Balanced accuracy of the probe, the log-mel probe and the supervised net with ``labels`` excerpts a class.

    Args:
        ear: the trained ear.
        train: where the labelled excerpts are drawn from.
        test: what is classified.
        labels: a class.
        repeats: draws of the labelled excerpts, averaged; the supervised net is trained on the first only.
        steps: of the supervised net; 0 leaves it out.
    """
    heard = [hear(ear, side.audio) for side in (train, test)]
    mel = [mel_statistics(side.audio, ear.config.cqt.sample_rate) for side in (train, test)]
    chosen = [_few(train.classes, labels, np.random.default_rng(repeat)) for repeat in range(repeats)]

    def probe(features: Sequence[Floats]) -> float:
        scores = [_probe(features[0][few], train.classes[few], features[1], test.classes) for few in chosen]
        return float(np.mean(scores))

    figures = {"ear": probe(heard), "log_mel": probe(mel), "chance": 1 / len(train.names)}
    if steps > 0:
        figures["supervised"] = supervised(ear.config, train, chosen[0], test, steps)
    return figures


@torch.no_grad()
def hear(ear: Ear, audio: Tensor) -> Floats:
    """Mean and deviation over time of encodings and contexts, ``[n, 2 (z_channels + c_channels)]``."""
    rows = []
    for part in audio.split(BATCH):
        z, c = ear(part)
        rows.append(torch.cat([x for y in (z, c) for x in (y.mean(-1), y.std(-1))], 1))
    return torch.cat(rows).numpy()


@torch.no_grad()
def mel_statistics(audio: Tensor, sample_rate: int) -> Floats:
    """Mean and deviation over time of 128 log-mel bands, ``[n, 256]``."""
    mel = LogMel(sample_rate, n_fft=2048, hop=480, n_mels=128, f_min=40.0, f_max=sample_rate / 2.2, clamp=1e-4)
    rows = [mel(part) for part in audio.split(BATCH)]
    return torch.cat([torch.cat([row.mean(-1), row.std(-1)], 1) for row in rows]).numpy()


def supervised(config: EarConfig, train: Labelled, few: Ints, test: Labelled, steps: int) -> float:
    """Balanced accuracy of the ear's architecture and a linear head, trained from scratch, augmented as the ear was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ear, head = Ear(config), nn.Linear(2 * (config.z_channels + config.c_channels), len(train.names))
    rng = np.random.default_rng(0)
    parameters = [*ear.parameters(), *head.parameters()]
    adamw = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adamw, 1e-3, total_steps=steps)
    bins, frames = config.cqt.bins, 1 + train.audio.shape[1] // config.cqt.hop
    for _ in range(steps):
        rows = rng.choice(few, BATCH)
        batch = augment(train.audio[rows], bins, frames, rng)
        with torch.no_grad():
            scalogram = augmented(ear.scalogram(batch["audio"]), batch)
        z = ear.encode(scalogram)
        c = ear.remember(z)
        pooled = torch.cat([x for y in (z, c) for x in (y.mean(-1), y.std(-1))], 1)
        loss = functional.cross_entropy(head(pooled), torch.from_numpy(train.classes[rows]))
        adamw.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        adamw.step()
        schedule.step()
    ear.eval()
    with torch.no_grad():
        said = head(torch.from_numpy(hear(ear, test.audio))).argmax(1).numpy()
    return float(balanced_accuracy_score(test.classes, said))


def _probe(features: Floats, classes: Ints, test: Floats, truth: Ints) -> float:
    scale = StandardScaler().fit(features)
    model = LogisticRegression(C=0.1, max_iter=2000).fit(scale.transform(features), classes)
    return float(balanced_accuracy_score(truth, model.predict(scale.transform(test))))


def _few(classes: Ints, labels: int, rng: np.random.Generator) -> Ints:
    """Rows of ``labels`` excerpts a class, or of all where there are fewer."""
    rows = [rng.permutation(np.flatnonzero(classes == one))[:labels] for one in np.unique(classes)]
    return np.concatenate(rows)


def _read(rows: Sequence[tuple[Path, str]], names: Sequence[str], config: EarConfig) -> Labelled:
    """`EXCERPTS` of each clip, one after another from its beginning."""
    length = config.excerpt_samples
    audio = [read_excerpt(path, number * length, length) for path, _ in rows for number in range(EXCERPTS)]
    classes = np.repeat([names.index(name) for _, name in rows], EXCERPTS)
    return Labelled(torch.stack(audio), classes.astype(np.int64), tuple(names))
