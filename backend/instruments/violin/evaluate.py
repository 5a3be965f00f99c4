"""Does the adapter make a violinist? ``python -m backend.instruments.violin.evaluate`` ends with one JSON object.

The seed's three measures and the goals: how probable a solo violin is by strength, Fréchet distance to real violin,
tempo and mode against the base, whether a hummed melody is followed, the spectrogram of held-out recordings played from
their notes, and MuLan cycle consistency. Judges took no part in training or ranking; prompts, melodies and the real
recording are of pieces that nothing was trained on.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backend.audio.io import read, write
from backend.audio.spectral import LogMel
from backend.audio.transcribe import NOTE, track_pitch, transcribe
from backend.audio.waveform import Waveform
from backend.checkpoints import CheckpointStore
from backend.errors import AudioError
from backend.instruments.violin.adapter import Adapter
from backend.instruments.violin.examples import Maker, with_sound
from backend.instruments.violin.held_out import HeldOut
from backend.instruments.violin.hum import KINDS, hum
from backend.instruments.violin.instrument import HEAD_MIN_P, HIGH_HZ, LOW_HZ, SAMPLE_RATE, led, melody_duration
from backend.instruments.violin.request import BUNDLED_NAME
from backend.instruments.violin.voicing import Voicing
from backend.job import Job
from backend.metrics.contour import at_frame_rate, contour_correlation, contour_of_notes
from backend.metrics.following import follow_figures
from backend.metrics.frechet import frechet_distance, kernel_distance
from backend.metrics.listener import Listener
from backend.metrics.pitch import estimate_mode, top_voice
from backend.metrics.rhythm import estimate_tempo, tempo_class
from backend.metrics.violinist import Violinist
from backend.musiclm.compose import Wish
from backend.musiclm.decode import decode_audio
from backend.musiclm.generator import MusicGenerator
from backend.musiclm.guide import Notes
from backend.musiclm.wish import wish_of

logger = logging.getLogger(__name__)

STRENGTHS = {"s0": 0.0, "s0_5": 0.5, "s1": 1.0, "s1_5": 1.5}
DURATION_S = 10.0
BATCH = 16
MELODIES = 40
RECORDED_S = 10.0
Clips = list[Waveform]


class Studio:
    """The generator with the adapter that is measured.

    Args:
        store: of the base.
        adapter: laid over it by `at`.
    """

    def __init__(self, store: CheckpointStore, adapter: Adapter) -> None:
        self.models = MusicGenerator(store, torch.device("cpu"))
        adapter.require_base(store)
        self.voicing = Voicing({"semantic": self.models.semantic, "acoustic": self.models.acoustic})
        self.voicing.add(BUNDLED_NAME, adapter)

    def at(self, strength: float) -> MusicGenerator:
        """The models with the adapter at a strength."""
        self.voicing.set({BUNDLED_NAME: strength})
        return self.models


def generate(
    models: MusicGenerator, prompts: Sequence[str], wishes: Sequence[Wish], seed: int, strength: float = 0.0
) -> Clips:
    """A clip of ten seconds for each prompt, as the page makes them apart from loudness."""
    clips: Clips = []
    for start in range(0, len(prompts), BATCH):
        clip = models.best(
            models.embed(prompts[start : start + BATCH]), 1, DURATION_S, Job(),
            wishes=list(wishes[start : start + BATCH]), guidance_scale=3.0, temperature=1.0,
            generator=torch.Generator().manual_seed(seed + start), min_p=HEAD_MIN_P if strength else 0.0,
        )  # fmt: skip
        clips += [_safe(audio) for audio in clip.audio.numpy()]
    return clips


def _safe(audio: npt.NDArray[np.float32]) -> Waveform:
    return Waveform(audio / max(1.0, float(np.abs(audio).max())), SAMPLE_RATE)


def following(clips: Clips, ceiling: Clips, rows: list[dict[str, Any]], rng: np.random.Generator) -> dict[str, Any]:
    """Figures of tempo and mode; see `backend.metrics.following`."""
    out = {}
    for name, hear in (
        ("tempo", lambda clip: tempo_class(estimate_tempo(clip))),
        ("mode", lambda clip: estimate_mode(clip)[0]),
    ):
        asked = np.array([row["tempo_class" if name == "tempo" else "mode"] for row in rows])
        heard, best = (np.array([hear(clip) for clip in group]) for group in (clips, ceiling))
        kept = np.flatnonzero(asked != "ambiguous")
        heard, best, wanted = heard[kept], best[kept], asked[kept]
        out[name] = follow_figures(
            lambda order, heard=heard, wanted=wanted: float((heard == wanted[order]).mean()),  # type: ignore[misc]
            len(kept), float((best == wanted).mean()), rng,
        )  # fmt: skip
    return out


def melody_figures(studio: Studio, rows: list[dict[str, Any]], seed: int, keep: Path | None) -> dict[str, Any]:
    """Correlation of the contour that was hummed with that of what was played, and without having been given it."""
    models, rng = studio.at(1.0), np.random.default_rng(seed)
    figures: dict[str, list[float]] = {
        name: [] for name in ("prompted", "unprompted", "prompted_pyin", "unprompted_pyin", "heard")
    }
    by_kind: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number, row in enumerate(rows[:MELODIES]):
        kind, notes = KINDS[number % len(KINDS)], row["melody"]
        sung = hum(with_velocity(notes), kind, rng)
        try:
            heard = transcribe(sung, low_hz=LOW_HZ, high_hz=HIGH_HZ)
        except AudioError:
            for name in ("prompted", "prompted_pyin", "heard"):
                figures[name].append(0.0)
            continue
        first = float(notes["onset_s"][0])
        length_s = float((notes["onset_s"] + notes["duration_s"]).max()) - first
        wanted = contour_of_notes(notes["onset_s"] - first, notes["duration_s"], notes["pitch"], length_s)
        got = heard.notes
        figures["heard"].append(
            contour_correlation(
                wanted,
                contour_of_notes(got["onset_s"] - got["onset_s"][0], got["duration_s"], got["pitch"], length_s),
            )
        )
        wish = wish_of(row["prompt"])
        for name, asked in (("prompted", led(wish, heard, 1.0)), ("unprompted", wish)):
            clip = models.generate(
                models.embed([row["prompt"]]), melody_duration(led(wish, heard, 1.0), DURATION_S), Job(),
                guidance_scale=3.0, temperature=1.0, generator=torch.Generator().manual_seed(seed + number),
                wishes=[asked], min_p=HEAD_MIN_P,
            )  # fmt: skip
            sound = _safe(clip.audio.numpy()[0])
            figures[name].append(contour_correlation(wanted, played_contour(sound)))
            curve, _, rate = track_pitch(sound, low_hz=180.0, high_hz=HIGH_HZ)
            figures[f"{name}_pyin"].append(contour_correlation(wanted, at_frame_rate(curve, rate)))
            if keep is not None and number < 6:
                write(sung, keep / f"melody_{number}_{kind}.wav", "wav")
                write(sound, keep / f"melody_{number}_{name}.wav", "wav")
        by_kind[kind].append(figures["prompted"][-1])
    return {
        "melody_contour_correlation": float(np.mean(figures["prompted"])),
        "melody_contour_unprompted": float(np.mean(figures["unprompted"])),
        "melody_contour_by_pyin": {
            name: float(np.mean(figures[f"{name}_pyin"])) for name in ("prompted", "unprompted")
        },
        "melody_contour_transcribed": float(np.mean(figures["heard"])),
        "melody_contour_by_kind": {kind: float(np.mean(values)) for kind, values in by_kind.items() if values},
    }


def played_contour(sound: Waveform) -> npt.NDArray[np.floating[Any]]:
    """Pitch curve of the top voice, by another method than the one that listens to the melody."""
    voice = top_voice(sound).astype(np.float64)
    voice[voice == 0] = np.nan
    return at_frame_rate(voice, SAMPLE_RATE / 512)


def with_velocity(melody: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """A stored melody as a performer reads it: every note equally loud."""
    notes = np.zeros(len(melody), NOTE)
    for name in ("onset_s", "duration_s", "pitch"):
        notes[name] = melody[name]
    notes["velocity"] = 80
    return notes


@torch.inference_mode()
def recorded_figures(studio: Studio, folder: Path) -> dict[str, Any]:
    """Teacher-forced continuation of held-out recordings: their own notes, played by base and adapter.

    ``spectrogram_mse`` is the mean squared difference of log-mel spectrograms to the recording, in dB², after removing
    the mean of each; ``codec`` is the recording through the codec, which nothing can beat.
    """
    models = studio.at(0.0)
    maker, mel = Maker(models.codec, models.mulan), LogMel(SAMPLE_RATE, n_fft=2048, hop=480, n_mels=80)
    sound = int(studio.voicing.adapter(BUNDLED_NAME).settings.get("sound", 0))
    totals: dict[str, list[float]] = {"base": [], "adapter": [], "codec": []}
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        whole = read(path, sample_rate=SAMPLE_RATE, mono=True)
        n = int(RECORDED_S * SAMPLE_RATE)
        for start in range(0, whole.n_samples - n + 1, n):
            clip = Waveform(whole.samples[:, start : start + n], SAMPLE_RATE)
            try:
                heard = transcribe(clip, low_hz=LOW_HZ, high_hz=HIGH_HZ)
            except AudioError:
                continue
            example = with_sound(maker.of_recording(clip, heard, ["a line"], path.stem), sound)
            assert example.codes is not None
            notes = Notes.of([example.notes], [sound], [0.0], RECORDED_S)
            truth, embed = mel(torch.from_numpy(clip.samples)), torch.from_numpy(example.sounds[:1])
            played = {"codec": models.codec.decode(torch.from_numpy(example.codes.astype(np.int64))[None])}
            for name, strength in (("base", 0.0), ("adapter", 1.0)):
                latents = studio.at(strength).acoustic(notes, len(example.codes), embed)
                played[name] = decode_audio(models.codec, models.codec.quantizer(latents)[1])
            for name, audio in played.items():
                off = mel(audio[:, :n]) - truth
                totals[name].append(float(((off - off.mean()) * 10 / np.log(10)).square().mean()))
    return {name: float(np.mean(values)) for name, values in totals.items()} | {"clips": len(totals["base"])}


def cycle_figures(studio: Studio, base: Clips, adapted: Clips, prompts: Sequence[str]) -> dict[str, float]:
    """MuLan cycle consistency: mean cosine of sound and prompt, and with the adapter's prompts shifted."""
    mulan = studio.models.mulan
    text = mulan.text_embed(list(prompts))
    audio = [torch.cat([mulan.audio_embed(torch.from_numpy(c.samples)) for c in clips]) for clips in (base, adapted)]
    return {
        "base": float((audio[0] * text).sum(-1).mean()),
        "adapter": float((audio[1] * text).sum(-1).mean()),
        "shuffled": float((audio[1] * text.roll(len(prompts) // 2, 0)).sum(-1).mean()),
    }


def evaluate(store: CheckpointStore, adapter: Adapter, options: argparse.Namespace) -> dict[str, Any]:
    """All figures; clips are written to ``options.keep`` when given."""
    studio, held_out = Studio(store, adapter), HeldOut.from_store(store)
    judge, listener = Violinist.from_store(store), Listener.from_store(store)
    rows, rng = held_out.rows[: options.prompts], np.random.default_rng(options.seed)
    prompts = [row["prompt"] for row in rows]
    wishes = [wish_of(prompt) for prompt in prompts]
    sets = {"base": generate(MusicGenerator(store, torch.device("cpu")), prompts, wishes, options.seed)}
    for name, strength in STRENGTHS.items():
        sets[name] = generate(studio.at(strength), prompts, wishes, options.seed, strength)
        logger.info("generated at strength %g", strength)
    ceiling = [
        _safe(audio)
        for part in held_out.codes[: len(rows)].split(BATCH)
        for audio in decode_audio(studio.at(0.0).codec, part).numpy()
    ]
    if options.keep is not None:
        _keep(options.keep, sets, prompts)
    heard = {name: judge.hear(clips) for name, clips in sets.items()}
    same = all(np.array_equal(a.samples, b.samples) for a, b in zip(sets["base"], sets["s0"], strict=True))
    figures: dict[str, Any] = {
        "prompts": len(rows),
        "violin_probability": {name: float(h["violin"].mean()) for name, h in heard.items()},
        "violin_probability_of_renderings": float(judge.hear(ceiling)["violin"].mean()),
        "strength_0_is_base": same,
    }
    real, other = held_out.real["listener"], held_out.real_train["listener"]
    embeddings = {
        "base": listener.hear(sets["base"])["embedding"], "adapter": listener.hear(sets["s1"])["embedding"],
        "renderings": listener.hear(ceiling)["embedding"], "real": other,
    }  # fmt: skip
    for name, distance in (("frechet_to_real_violin", frechet_distance), ("kernel_to_real_violin", kernel_distance)):
        figures[name] = {key: float(distance(real, value.astype(np.float64))) for key, value in embeddings.items()}
    made = {"base": sets["base"], "adapter": sets["s1"]}
    followed = {name: following(clips, ceiling, rows, rng) for name, clips in made.items()}
    for what in ("tempo", "mode"):
        figures[f"{what}_reached"] = {name: values[what]["reached"] for name, values in followed.items()}
        figures[f"{what}_hit"] = {name: values[what]["hit"] for name, values in followed.items()}
        figures[f"{what}_hit"] |= {
            "chance": followed["adapter"][what]["chance"],
            "renderings": followed["adapter"][what]["codec_ceiling"],
        }
    figures["mulan_cycle"] = cycle_figures(studio, sets["base"], sets["s1"], prompts)
    logger.info("judged")
    figures |= melody_figures(studio, rows, options.seed, options.keep)
    if options.real is not None:
        figures["spectrogram_mse"] = recorded_figures(studio, options.real)
    return figures


def _keep(folder: Path, sets: dict[str, Clips], prompts: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prompts.txt").write_text("\n".join(prompts), encoding="utf-8")
    for name, clips in sets.items():
        for i, clip in enumerate(clips):
            write(clip, folder / f"{name}_{i:03d}.wav", "wav")


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m backend.instruments.violin.evaluate", description=__doc__)
    parser.add_argument("--adapter", type=Path, help="folder or .zip; the bundled one if left out")
    parser.add_argument("--real", type=Path, help="folder of held-out recordings, for the spectrogram measure")
    parser.add_argument("--prompts", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder to write the judged clips to")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    store = CheckpointStore()
    adapter = Adapter.load(options.adapter) if options.adapter else Adapter.from_store(store)
    print(json.dumps(evaluate(store, adapter, options), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
