"""What an adapter learns from: notes on the grid, the same notes in seconds, the codec's codes of their sound.

Recordings come without notes, so they are transcribed; clips of a rendered corpus bring their own. Everything that is
slow (transcribing, coding, embedding) happens once and lies in ``examples.npz``, so that training resumes at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.io import resample
from backend.audio.transcribe import NOTE, Transcription
from backend.audio.waveform import Waveform
from backend.corpus.catalogue import read_catalogue
from backend.corpus.instruments import BY_NAME
from backend.corpus.theory import measure_key
from backend.musiclm.codec import Codec
from backend.musiclm.events import (
    CAST,
    HIGHEST_BPM,
    LOWEST_BPM,
    N_SOUNDS,
    Events,
    Piece,
    Setting,
    notes_of,
    piece_of,
    true_notes,
)
from backend.musiclm.generator import MusicGenerator, started
from backend.musiclm.guide import Notes
from backend.musiclm.mulan import MuLanEmbedder
from backend.musiclm.stages_train import AcousticObjective, Ragged
from backend.musiclm.tokenise import codebook_table, quantised

logger = logging.getLogger(__name__)

VIOLIN = next(i for i, who in enumerate(CAST) if who.name == "violin")
EMBED_S = 10.0
WORDINGS = 4
MODES_APART = 0.05

Report = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Example:
    """One clip.

    Attributes:
        piece: its notes on the grid, for the semantic stage.
        notes: its notes in seconds, dtype `backend.musiclm.events.NOTE`, for the acoustic stage.
        codes: of its sound, int16 ``[frames, n_quantizers]``; None for a clip of notes alone.
        texts: embeddings of what it may be called, float32 ``[captions, 128]``.
        sounds: embeddings of its sound, float32 ``[windows, 128]``; as ``texts`` where there is no sound.
        source: recording or piece; splits go by it.
    """

    piece: Piece
    notes: npt.NDArray[np.void]
    codes: npt.NDArray[np.int16] | None
    texts: npt.NDArray[np.float32]
    sounds: npt.NDArray[np.float32]
    source: str


def arrays_of(heard: Transcription, player: int = VIOLIN) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """A transcription in the form of a clip of the corpus: note arrays and the metadata that notes depend on.

    Args:
        heard: at least one note.
        player: index into `CAST`; who plays it.
    """
    notes, who = heard.notes, CAST[player]
    n, bpm = len(notes), float(np.clip(heard.tempo_bpm, LOWEST_BPM, HIGHEST_BPM))
    start, end = float(notes["onset_s"][0]), float((notes["onset_s"] + notes["duration_s"]).max())
    beats = np.arange(start, max(end, start + 60.0 / bpm), 60.0 / bpm, dtype=np.float32)
    key = measure_key(notes["pitch"], notes["duration_s"])
    arrays: dict[str, npt.NDArray[Any]] = {
        "onset_s": notes["onset_s"], "duration_s": notes["duration_s"], "velocity": notes["velocity"],
        "pitch": np.clip(notes["pitch"], who.low, who.high).astype(np.uint8),
        "program": np.full(n, who.program, np.uint8), "is_drum": np.zeros(n, bool), "part": np.zeros(n, np.uint8),
        "role": np.zeros(n, np.uint8), "beats_s": beats, "downbeats_s": beats[::4],
    }  # fmt: skip
    meta = {
        "tempo_bpm": bpm, "key": key.name if key.clear else "", "soundfont": "", "room": "",
        "instruments": [{"name": who.name, "gain_db": 0.0}],
    }  # fmt: skip
    return arrays, meta


def with_sound(example: Example, sound: int) -> Example:
    """The same clip said to sound as code ``sound`` (soundfont and room) does."""
    old = example.piece
    setting = Setting(old.setting.tempo, old.setting.key, old.setting.bar, sound)
    piece = Piece(setting, old.players, old.ticks, old.codes, old.lead_in_s)
    return Example(piece, example.notes, example.codes, example.texts, example.sounds, example.source)


class Maker:
    """Turns clips into examples with the base's codec and MuLan.

    Args:
        codec: the base's.
        mulan: the base's.
    """

    def __init__(self, codec: Codec, mulan: MuLanEmbedder) -> None:
        self.codec, self.mulan = codec, mulan

    def texts(self, captions: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeddings as the stages see them ``[captions, 128]``."""
        vectors = quantised(self.mulan, self.mulan.text_embed(list(captions)))
        return np.asarray(vectors.float().cpu().numpy(), np.float32)

    @torch.no_grad()
    def of_recording(
        self, waveform: Waveform, heard: Transcription, captions: Sequence[str], source: str, player: int = VIOLIN
    ) -> Example:
        """An example of a clip at 24 kHz, mono, and its transcription."""
        audio = torch.from_numpy(np.ascontiguousarray(waveform.samples[:1])).to(self.mulan.device)
        codes = self.codec.encode(audio)[0].cpu().numpy().astype(np.int16)
        window = int(EMBED_S * waveform.sample_rate)
        starts = range(0, max(1, audio.shape[1] - window // 2), window)
        sounds = torch.cat([self.mulan.audio_embed(audio[:, s : s + window]) for s in starts])
        sounds = quantised(self.mulan, sounds).float().cpu()
        arrays, meta = arrays_of(heard, player)
        return Example(
            Piece.of_clip(arrays, meta), true_notes(arrays, meta), codes, self.texts(captions),
            np.asarray(sounds.numpy(), np.float32), source,
        )  # fmt: skip

    def of_corpus(self, folder: Path, most: int, split: str = "train", report: Report | None = None) -> list[Example]:
        """Clips of a corpus folder as notes alone, at most ``most`` of a split, spread over it."""
        clips = [c for silent in (False, True) for c in read_catalogue(folder, silent=silent) if c.split == split]
        clips = [clips[i] for i in np.linspace(0, len(clips) - 1, min(most, len(clips))).round().astype(int)]
        examples: list[Example] = []
        for start in range(0, len(clips), 32):
            part = clips[start : start + 32]
            captions = [(clip.meta["captions"] * WORDINGS)[:WORDINGS] for clip in part]
            texts = self.texts([text for row in captions for text in row]).reshape(len(part), WORDINGS, -1)
            for clip, row in zip(part, texts, strict=True):
                arrays = clip.notes()
                piece, notes = Piece.of_clip(arrays, clip.meta), true_notes(arrays, clip.meta)
                examples.append(Example(piece, notes, None, row, row, str(clip.meta["source"])))
            if report is not None:
                report(len(examples), len(clips))
        return examples


def of_events(events: Events, codes: npt.NDArray[np.int16], embed: npt.NDArray[np.float32], source: str) -> Example:
    """An example of what the generator itself composed and played."""
    return Example(piece_of(events), started(notes_of(events)), codes, embed[None], embed[None], source)


def nearest_instrument(caption: str) -> int:
    """The instrument of `CAST` that a caption names first; the violin where it names none."""
    words = caption.lower()
    found = [(words.find(name), name) for name in BY_NAME if name in words]
    name = min(found)[1] if found else "violin"
    return next(i for i, who in enumerate(CAST) if who.name == name)


def shifted(waveform: Waveform, heard: Transcription, semitones: int) -> tuple[Waveform, Transcription]:
    """A recording played faster or slower, so that it sounds ``semitones`` higher, with its notes moved along."""
    if semitones == 0:
        return waveform, heard
    ratio = 2 ** (semitones / 12)
    faster = Waveform(waveform.samples, round(waveform.sample_rate * ratio))
    notes = np.zeros(len(heard.notes), NOTE)
    notes["onset_s"], notes["duration_s"] = heard.notes["onset_s"] / ratio, heard.notes["duration_s"] / ratio
    notes["pitch"] = np.clip(heard.notes["pitch"].astype(int) + semitones, 0, 127)
    notes["velocity"] = heard.notes["velocity"]
    moved = Transcription(
        notes, heard.contour, heard.frame_rate, heard.voiced_share, heard.tempo_bpm * ratio, heard.tempo_fit
    )
    return resample(faster, waveform.sample_rate), moved


@torch.no_grad()
def nearest_sound(models: MusicGenerator, examples: Sequence[Example]) -> int:
    """The code of soundfont and room with which the base comes nearest to recordings; 0 without any.

    An adapter then starts from the sound that asks for the least change.
    """
    if not examples:
        return 0
    objective = AcousticObjective(models.acoustic.config, codebook_table(models.codec))
    objective.stage = models.acoustic.eval()
    losses = np.zeros(N_SOUNDS)
    for example in examples:
        codes = torch.from_numpy(example.codes.astype(np.int64))[None] if example.codes is not None else None
        if codes is None:
            continue
        for sound in range(N_SOUNDS - N_SOUNDS // 5):  # the last fifth is of soundfonts that were never heard
            notes = Notes.of([example.notes], [sound], [0.0], codes.shape[1] / models.codec.frame_rate)
            batch = {
                "codes": codes, "when": notes.when, "what": notes.what, "sound": notes.sound,
                "embed": torch.from_numpy(example.sounds[:1]), "drop": torch.zeros(1, dtype=torch.bool),
            }  # fmt: skip
            losses[sound] += float(objective({k: v.to(models.device) for k, v in batch.items()})[0])
    return int(losses[: N_SOUNDS - N_SOUNDS // 5].argmin())


def save_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write examples as arrays, whole or not at all."""
    rows: dict[str, list[npt.NDArray[Any]]] = {}
    width = next((e.codes.shape[1] for e in examples if e.codes is not None), 1)
    for e in examples:
        s = e.piece.setting
        columns: dict[str, npt.NDArray[Any]] = {
            "setting": np.array([s.tempo, s.key, s.bar, s.sound, e.codes is not None], np.int16)[None],
            "lead_in_s": np.array([e.piece.lead_in_s], np.float32), "players": e.piece.players,
            "ticks": e.piece.ticks.astype(np.int32), "grid": e.piece.codes, "notes": e.notes,
            "codes": e.codes if e.codes is not None else np.zeros((0, width), np.int16), "texts": e.texts,
            "sounds": e.sounds, "source": np.frombuffer(e.source.encode(), np.uint8),
        }  # fmt: skip
        for name, value in columns.items():
            rows.setdefault(name, []).append(value)
    packed = {name: Ragged.of(values) for name, values in rows.items()}
    arrays: dict[str, Any] = {name: ragged.values for name, ragged in packed.items()}
    arrays |= {f"{name}_starts": ragged.starts for name, ragged in packed.items()}
    part = path.with_suffix(".part.npz")
    np.savez(part, **arrays)
    part.replace(path)


def load_examples(path: Path) -> list[Example]:
    """Read what `save_examples` wrote.

    Raises:
        OSError, ValueError, KeyError: the file is damaged.
    """
    with np.load(path) as stored:
        columns: Mapping[str, Ragged] = {
            name: Ragged(stored[name], stored[f"{name}_starts"])
            for name in stored.files
            if not name.endswith("_starts")
        }
    examples = []
    for i in range(len(columns["setting"])):
        row = {name: ragged[i] for name, ragged in columns.items()}
        tempo, key, bar, sound, sounding = (int(x) for x in row["setting"][0])
        setting, ticks = Setting(tempo, key, bar, sound), row["ticks"].astype(np.int64)
        piece = Piece(setting, row["players"], ticks, row["grid"], float(row["lead_in_s"][0]))
        codes = row["codes"] if sounding else None
        source = row["source"].tobytes().decode()
        examples.append(Example(piece, row["notes"], codes, row["texts"], row["sounds"], source))
    return examples
