"""What the judge `backend.metrics.violinist` learns from, and the augmentation of it.

Sounds as they are, through the codec, and as the generator plays their notes, so that no trace of a machine tells a
violin from what is none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from backend.audio.io import read
from backend.corpus.catalogue import Clip, read_catalogue
from backend.musiclm.codec_train import read_excerpt
from backend.musiclm.events import Piece
from backend.musiclm.generator import MusicGenerator

logger = logging.getLogger(__name__)

RATE = 24_000
CLIP_S, WINDOW_S = 30, 10
VIOLIN = frozenset({"violin", "fiddle"})
VARIANTS = ("raw", "codec", "acoustic")
HELD_OUT_RECORDING = "minji-kim_bwv1003_mov4"
RECORDINGS = (".mp3", ".opus", ".ogg", ".flac", ".wav")
SHORTEST_SAMPLE_S = 2.5
CODEC_START_S, ACOUSTIC_START_S = 4, 16
"""Which ten seconds of a training clip are heard through the codec, and which are played by the acoustic stage."""
HELD_OUT_START_S = 5


@dataclass(frozen=True)
class Sound:
    """A stretch of sound that is one example or many.

    Attributes:
        group: who plays: an instrument's name, ``band``, ``real violin``, ``real other``.
        violin: whether that is a violin alone.
        split: ``train``, ``valid`` or ``test``.
        variant: one of `VARIANTS`.
        samples: int16 ``[samples]`` at 24 kHz, on disk until it is looked at.
    """

    group: str
    violin: bool
    split: str
    variant: str
    samples: npt.NDArray[np.int16]

    def window(self, start: int, length: int) -> Tensor:
        """``length`` float samples from ``start``, repeated from the beginning where the sound ends."""
        piece = np.asarray(self.samples[start : start + length], np.float32) / 32768
        while len(piece) < length:
            piece = np.concatenate([piece, np.asarray(self.samples, np.float32)[: length - len(piece)] / 32768])
        return torch.from_numpy(piece)


def group_of(clip: Clip) -> str | None:
    """Who plays in a clip; None for an ensemble with a violin in it, which is neither one thing nor the other."""
    names = [player["name"] for player in clip.meta["instruments"]]
    if len(names) == 1:
        return str(names[0])
    return None if VIOLIN & set(names) else "band"


class SoundCache:
    """Sounds made once and kept as arrays below a folder.

    Args:
        folder: of the cache.
        generator: the bundled models, for codec and acoustic stage.
    """

    def __init__(self, folder: Path, generator: MusicGenerator) -> None:
        self.folder, self.generator = folder, generator

    def clip(self, corpus: str, clip: Clip, group: str, variants: Sequence[str] = VARIANTS) -> Iterator[Sound]:
        """A clip of a corpus in each variant: of a training clip all of the sound, and ten seconds by a machine."""
        held_out = clip.split != "train"
        for variant in variants:
            machine = {"codec": CODEC_START_S, "acoustic": ACOUSTIC_START_S}.get(variant, 0)
            start_s = HELD_OUT_START_S if held_out else machine
            length_s = WINDOW_S if held_out or variant != "raw" else CLIP_S
            path = self.folder / corpus / variant / f"{clip.id}.npy"
            if not path.exists():
                if variant == "acoustic":
                    sound = self._played(clip, start_s)
                else:
                    sound = read_excerpt(clip.audio_path, start_s * RATE, length_s * RATE)
                    sound = self.coded(sound) if variant == "codec" else sound
                _keep(path, sound)
            yield Sound(group, group in VIOLIN, clip.split, variant, np.load(path, mmap_mode="r"))

    def recording(self, path: Path, group: str, split: str) -> Iterator[Sound]:
        """A sound file as it is and through the codec."""
        raw, coded = (self.folder / "recordings" / v / f"{path.stem}.npy" for v in ("raw", "codec"))
        if not coded.exists():
            sound = torch.from_numpy(read(path, sample_rate=RATE, mono=True).samples[0])
            _keep(raw, sound)
            _keep(coded, torch.cat([self.coded(part) for part in sound.split(CLIP_S * RATE)]))
        for variant, stored in (("raw", raw), ("codec", coded)):
            yield Sound(group, group == "real violin", split, variant, np.load(stored, mmap_mode="r"))

    @torch.inference_mode()
    def coded(self, sound: Tensor) -> Tensor:
        """``[samples]`` through the codec and back, of the same length."""
        codec, hop = self.generator.codec, self.generator.codec.config.hop
        padded = functional.pad(sound, (0, -len(sound) % hop))[None]
        with torch.autocast("cpu", torch.bfloat16):
            codes = codec.encode(padded)
        return codec.decode(codes)[0, : len(sound)]

    @torch.inference_mode()
    def _played(self, clip: Clip, start_s: int) -> Tensor:
        """Ten seconds of a clip's notes as the acoustic stage sounds them."""
        events = Piece.of_clip(clip.notes(), clip.meta).window(start_s, WINDOW_S).events()
        embed = self.generator.embed([clip.meta["captions"][0]])
        return self.generator.play(events, embed, float(WINDOW_S))[0][0]


def _keep(path: Path, sound: Tensor) -> None:
    """Write 16-bit samples, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npy")
    np.save(part, (sound.clamp(-1, 1) * 32767).round().to(torch.int16).numpy())
    part.replace(path)


def gather(
    cache: SoundCache, corpora: dict[str, Path], real: Path, other: Path | None, most: dict[str, int]
) -> list[Sound]:
    """Every sound of the judge's data; what is missing is made.

    Args:
        cache: where sounds are kept.
        corpora: name → folder, such as the violin set, its rivals and the corpus.
        real: recordings of solo violin; the held-out one is in no split but ``test``.
        other: samples of anything but violins, or None.
        most: clips a corpus of a split; further ones for training are taken as they are, which costs nothing.
    """
    sounds: list[Sound] = []
    for path in sorted(p for p in real.rglob("*") if p.suffix in RECORDINGS):
        sounds += cache.recording(path, "real violin", "test" if path.stem == HELD_OUT_RECORDING else "train")
    samples = sorted(p for p in other.rglob("*") if p.suffix in RECORDINGS) if other else []
    for path in samples:
        waveform = read(path)
        if waveform.duration_s >= SHORTEST_SAMPLE_S:
            sounds += cache.recording(path, "real other", "train")
    for name, folder in corpora.items():
        counts = dict.fromkeys(most, 0)
        for clip in read_catalogue(folder):
            group = group_of(clip)
            if group is None or (group in VIOLIN and name != "violin"):
                continue
            counts[clip.split] += 1
            if counts[clip.split] <= most[clip.split]:
                sounds += cache.clip(name, clip, group)
            elif clip.split == "train":
                sounds += cache.clip(name, clip, group, ("raw",))
            if sum(counts.values()) % 50 == 0:
                logger.info("%s: %s", name, counts)
    return sounds


def augment(audio: Tensor, generator: torch.Generator) -> Tensor:
    """Each row in another room, through other microphones and lines: ``[batch, samples]`` → the same shape.

    A tilt and two broad resonances, a low cut and a high cut as of coded sound, a reverberant tail, noise.
    """
    batch, length = audio.shape

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, generator=generator)

    size = 1 << (length + RATE // 2 - 1).bit_length()
    frequency = torch.fft.rfftfreq(size, 1 / RATE).clamp(min=20.0)
    octaves = torch.log2(frequency / 1000.0)[None]
    gain_db = draw(-3, 3) * octaves.clamp(-3, 3.5)
    for _ in range(2):
        centre, width = torch.log2(draw(150, 6000) / 1000.0), draw(0.3, 1.2)
        gain_db = gain_db + draw(-6, 6) * torch.exp(-0.5 * ((octaves - centre) / width) ** 2)
    low_cut, high_cut = torch.log2(draw(30, 220) / 1000.0), torch.log2(draw(4500, 14_000) / 1000.0)
    gain_db = gain_db - 24 * (low_cut - octaves).clamp(min=0) - 60 * (octaves - high_cut).clamp(min=0)
    spectrum = torch.fft.rfft(audio, size) * 10 ** (gain_db / 20)
    wet = (draw(0, 1) < 0.6).float() * draw(0.05, 0.5)
    if float(wet.max()) > 0:
        n = RATE // 2
        time = torch.arange(n) / RATE
        tail = torch.randn(batch, n, generator=generator) * torch.exp(-6.9 * time / draw(0.15, 1.5))
        tail[:, : RATE // 100] = 0
        tail = tail * wet / tail.norm(dim=1, keepdim=True).clamp(min=1e-6)
        tail[:, 0] = 1.0
        spectrum = spectrum * torch.fft.rfft(tail, size)
    out = torch.fft.irfft(spectrum, size)[:, :length]
    level = out.square().mean(1, keepdim=True).sqrt()
    noise = torch.randn(batch, length, generator=generator) * level * 10 ** (-draw(18, 70) / 20)
    mixed: Tensor = (out + noise) * draw(0.2, 1.2) / (out.abs().amax(1, keepdim=True) + 1e-6)
    return mixed
