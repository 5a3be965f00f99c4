"""What MuLan trains on: clips with captions and true metadata, their features cached once, drawn as augmented pairs.

Spectrograms and sentence states are the costly part and never change, so both are kept in half precision, one file a
clip; a corpus that is still being written can be cached again later and only the new clips cost anything.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from backend.audio import io
from backend.musiclm.mulan_audio import FRAME_RATE, HOP, SAMPLE_RATE, SemitoneSpectrogram
from backend.musiclm.text import SentenceEncoder

logger = logging.getLogger(__name__)

CLASSES = ("lead_family", "tempo_class", "mode", "style", "mood", "ensemble", "density", "dynamics")
"""Metadata with one value a clip; a missing, "ambiguous" or "none" value is not trained on."""
TAGS = ("families", "instruments")
"""Metadata with several values a clip."""
CLIP_FRAMES = 30 * FRAME_RATE
CROP_FRAMES = 10 * FRAME_RATE
MISSING = -1
SAID = {
    "log2_bpm": re.compile(r"\d|tempo|pace|slow|fast|quick|moderate|unhurried|adagio|allegro", re.IGNORECASE),
    "mode": re.compile(r"\b(major|minor)\b", re.IGNORECASE),
}
"""What tells that a caption states the tempo or the mode; a style is stated by its own name."""


@dataclass(frozen=True)
class Clip:
    """One line of the corpus: where its sound is and what is true of it."""

    id: str
    audio: Path
    split: str
    captions: tuple[str, ...]
    unseen: tuple[str, ...]
    tempo_bpm: float
    classes: Mapping[str, str | None]
    tags: Mapping[str, tuple[str, ...]]

    @classmethod
    def from_line(cls, values: Mapping[str, Any], corpus: Path) -> Self:
        """The clip of one JSON line of ``clips.jsonl``."""
        classes = {name: values.get(name) for name in CLASSES}
        names = [part["name"] for part in values["instruments"]]
        unseen = values["caption_unseen"]
        return cls(
            values["id"],
            corpus / values["audio"],
            values["split"],
            tuple(values["captions"]),
            (unseen,) if isinstance(unseen, str) else tuple(unseen),
            float(values["tempo_bpm"]),
            {name: None if value in (None, "", "ambiguous", "none") else str(value) for name, value in classes.items()},
            {"families": tuple(dict.fromkeys(values["families"])), "instruments": tuple(dict.fromkeys(names))},
        )


def read_clips(
    corpus: Path, splits: Sequence[str] = ("train", "valid", "test"), wordings: int | None = None
) -> list[Clip]:
    """The clips of ``corpus/clips.jsonl`` whose sound exists; a half-written last line is left out.

    Args:
        corpus: its folder.
        splits: which parts.
        wordings: captions kept of each training clip, all by default; their unseen ones are dropped, being for judging.
    """
    clips = []
    with (corpus / "clips.jsonl").open() as lines:
        for line in lines:
            if not line.endswith("\n"):
                break
            clip = Clip.from_line(json.loads(line), corpus)
            if clip.split == "train":
                clip = dataclasses.replace(clip, captions=clip.captions[:wordings], unseen=())
            if clip.split in splits and clip.audio.exists():
                clips.append(clip)
    return clips


def clip_spectrogram(path: Path, frontend: SemitoneSpectrogram) -> Tensor:
    """``[bands, 1500]`` of a sound file's first 30 s, padded with its floor."""
    waveform = io.read(path, sample_rate=SAMPLE_RATE, mono=True)
    samples = torch.from_numpy(waveform.samples[:, : CLIP_FRAMES * HOP])
    return frontend(torch.nn.functional.pad(samples, (0, CLIP_FRAMES * HOP - samples.shape[1])))[0]  # type: ignore[no-any-return]


class FeatureCache:
    """Spectrogram and caption states of each clip, in ``directory/<clip id>.npz``."""

    def __init__(self, directory: Path, encoder: SentenceEncoder) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.encoder, self.frontend = directory, encoder, SemitoneSpectrogram()

    def fill(self, clips: Sequence[Clip], report: Callable[[int, int], None] | None = None) -> None:
        """Compute what is missing, ``report(done, total)`` after every eight clips."""
        missing = [clip for clip in clips if not self._complete(clip)]
        for start in range(0, len(missing), 8):
            group = missing[start : start + 8]
            texts = [text for clip in group for text in (*clip.captions, *clip.unseen)]
            states = self._states(texts)
            for clip in group:
                count = len(clip.captions) + len(clip.unseen)
                own, states = states[:count], states[count:]
                part_file = self._path(clip).with_suffix(".part")
                with part_file.open("wb") as file:
                    np.savez(
                        file,
                        spectrogram=clip_spectrogram(clip.audio, self.frontend).half().numpy(),
                        states=torch.cat(own).half().numpy(),
                        lengths=np.array([len(rows) for rows in own]),
                    )
                part_file.replace(self._path(clip))
            if report is not None:
                report(min(start + 8, len(missing)), len(missing))

    def _complete(self, clip: Clip) -> bool:
        """Whether all wordings of ``clip`` are cached; an earlier run may have used fewer."""
        try:
            with np.load(self._path(clip)) as stored:
                return len(stored["lengths"]) >= len(clip.captions) + len(clip.unseen)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return False

    def _states(self, texts: Sequence[str]) -> list[Tensor]:
        """``[tokens, 384]`` for each text; texts of like length are encoded together, which pads little."""
        states: dict[int, Tensor] = {}
        for part in np.array_split(np.argsort([len(text) for text in texts]), max(1, len(texts) // 24)):
            rows = self.encoder.encode([texts[k] for k in part], bf16=True)
            states |= {int(k): row[row.abs().amax(-1) > 0] for k, row in zip(part, rows, strict=True)}
        return [states[k] for k in range(len(texts))]

    def read(self, clip: Clip) -> tuple[Tensor, list[Tensor]]:
        """Spectrogram ``[bands, 1500]`` and one ``[tokens, 384]`` a caption, float16."""
        try:
            with np.load(self._path(clip)) as stored:
                states = torch.from_numpy(stored["states"]).split(stored["lengths"].tolist())
                return torch.from_numpy(stored["spectrogram"]), list(states)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self._path(clip)} cannot be read ({error}); fill the cache first") from None

    def _path(self, clip: Clip) -> Path:
        return self.directory / f"{clip.id}.npz"


class Vocabulary:
    """The values each attribute takes in the training clips, in the order of the heads' outputs."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self.values = {name: list(entries) for name, entries in values.items()}

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> Self:
        """The vocabulary of ``clips``, sorted."""
        values: dict[str, set[str]] = {name: set() for name in (*CLASSES, *TAGS)}
        for clip in clips:
            for name, value in clip.classes.items():
                values[name] |= {value} if value is not None else set()
            for name, tags in clip.tags.items():
                values[name] |= set(tags)
        return cls({name: sorted(entries) for name, entries in values.items() if len(entries) > 1})

    def targets(self, clips: Sequence[Clip]) -> dict[str, Tensor]:
        """Class numbers ``[clips]`` (-1 where missing), tags ``[clips, values]`` of 0 and 1, and ``log2_bpm``."""
        targets: dict[str, Tensor] = {"log2_bpm": torch.tensor([clip.tempo_bpm for clip in clips]).log2()}
        for name, entries in self.values.items():
            index = {value: i for i, value in enumerate(entries)}
            if name in TAGS:
                table = torch.zeros(len(clips), len(entries))
                for row, clip in enumerate(clips):
                    table[row, [index[tag] for tag in clip.tags[name] if tag in index]] = 1
                targets[name] = table
            else:
                targets[name] = torch.tensor([index.get(clip.classes.get(name) or "", MISSING) for clip in clips])
        return targets


class Pairs:
    """Clips in memory: spectrograms ``[clips, bands, 1500]``, texts ``[clips][captions]``, targets."""

    def __init__(
        self, clips: Sequence[Clip], cache: FeatureCache, vocabulary: Vocabulary, tokenize: Any = None
    ) -> None:
        """Read ``clips`` from ``cache``.

        Args:
            tokenize: texts → token numbers; when given, texts are these instead of sentence states.
        """
        self.clips, self.targets = list(clips), vocabulary.targets(clips)
        spectrograms, self.texts = [], list[list[Tensor]]()
        for clip in clips:
            spectrogram, states = cache.read(clip)
            spectrograms.append(spectrogram)
            if tokenize is not None:
                states = [row[row != 0] for row in tokenize([*clip.captions, *clip.unseen])]
            self.texts.append(states)
        self.spectrograms = torch.stack(spectrograms)

    def __len__(self) -> int:
        return len(self.clips)

    def text(self, rows: Sequence[int], columns: Sequence[int], keep: Sequence[Tensor] | None = None) -> Tensor:
        """Caption ``columns[i]`` of clip ``rows[i]``, zero-padded: ``[batch, tokens, 384]`` or ``[batch, tokens]``.

        Args:
            rows: clips.
            columns: captions; training wordings first, unseen ones after them.
            keep: for each caption the tokens to keep, bool.
        """
        texts = [self.texts[row][column] for row, column in zip(rows, columns, strict=True)]
        if keep is not None:
            texts = [text[chosen] for text, chosen in zip(texts, keep, strict=True)]
        padded = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
        return padded.float() if padded.is_floating_point() else padded.long()

    def said(self, rows: Sequence[int], columns: Sequence[int]) -> dict[str, Tensor]:
        """Whether each caption states tempo, mode and style: bool ``[batch]`` for each."""
        told: dict[str, list[bool]] = {"log2_bpm": [], "mode": [], "style": []}
        for row, column in zip(rows, columns, strict=True):
            clip = self.clips[row]
            caption = (*clip.captions, *clip.unseen)[column]
            for name, pattern in SAID.items():
                told[name].append(pattern.search(caption) is not None)
            told["style"].append((clip.classes.get("style") or "no style").lower() in caption.lower())
        return {name: torch.tensor(values) for name, values in told.items()}

    def middle(self, rows: Sequence[int]) -> Tensor:
        """The middle ten seconds, float32."""
        start = (CLIP_FRAMES - CROP_FRAMES) // 2
        return self.spectrograms[list(rows), :, start : start + CROP_FRAMES].float()

    def batches(self, size: int, captions: int, generator: torch.Generator) -> Iterator[dict[str, Any]]:
        """Endless augmented batches: each clip once before any comes twice.

        Args:
            size: clips a batch.
            captions: wordings drawn for each of them.
            generator: the only source of chance.
        """
        order: list[int] = []
        while True:
            while len(order) < size:
                order += torch.randperm(len(self), generator=generator).tolist()
            rows, order = order[:size], order[size:]
            texts, said = [], []
            for _ in range(captions):
                drawn = torch.rand(size, generator=generator).tolist()
                columns = [int(u * len(self.clips[row].captions)) for row, u in zip(rows, drawn, strict=True)]
                lengths = [len(self.texts[row][column]) for row, column in zip(rows, columns, strict=True)]
                texts.append(self.text(rows, columns, [kept_words(length, generator) for length in lengths]))
                said.append(self.said(rows, columns))
            yield {
                "spectrogram": augmented(self.spectrograms[rows], generator),
                "texts": texts,
                "said": said,
                "targets": {name: table[rows] for name, table in self.targets.items()},
            }


def kept_words(length: int, generator: torch.Generator, rate: float = 0.1) -> Tensor:
    """Bool mask of the tokens to keep; the end markers always stay, and one text in two stays whole."""
    keep = torch.rand(length, generator=generator) >= rate
    if float(torch.rand((), generator=generator)) < 0.5 or length < 6:
        keep[:] = True
    keep[0] = keep[-1] = True
    return keep


def augmented(spectrograms: Tensor, generator: torch.Generator) -> Tensor:
    """Random ten seconds of each of ``[batch, bands, 1500]``, shifted in level and pitch and masked (SpecAugment).

    A semitone is a band, so a transposition by up to two semitones is a shift of bands. Masks are filled with the mean
    of what they hide, at most one octave and one second wide (arXiv 1904.08779).
    """

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=generator))

    crops = []
    for spectrogram in spectrograms:
        start = draw(0, spectrogram.shape[-1] - CROP_FRAMES)
        crop = spectrogram[:, start : start + CROP_FRAMES].float()
        shift = draw(-2, 2) if draw(0, 1) else 0
        crop = crop.roll(shift, 0)
        if shift > 0:
            crop[:shift] = crop[shift]
        elif shift < 0:
            crop[shift:] = crop[shift - 1]
        crop = crop + 0.2 * (2 * torch.rand((), generator=generator) - 1)
        if draw(0, 1):
            low, width = draw(0, crop.shape[0] - 12), draw(1, 12)
            crop[low : low + width] = crop[low : low + width].mean(1, keepdim=True)
        if draw(0, 1):
            low, width = draw(0, CROP_FRAMES - FRAME_RATE), draw(1, FRAME_RATE)
            crop[:, low : low + width] = crop[:, low : low + width].mean(1, keepdim=True)
        crops.append(crop)
    return torch.stack(crops)
