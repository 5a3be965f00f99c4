"""Studio transfer: the content's notes and rhythm with the style's sounds, as a producer would make a remix.

Both clips are taken apart into tones and hits. The tones are played again with the style's frames and under its
spectral envelope (`resynthesis`), the hits with the style's drum kit, or its whole groove takes their place (`rhythm`).
The layers are mixed by gradients until statistics of the mix agree with the style's while onsets and pitch classes stay
the content's (`refine`), and the mix gets the style's tone and width, a noise floor nearer to theirs, and the content's
loudness (`master`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch

from backend.audio.loudness import integrated_lufs
from backend.audio.waveform import FloatArray, Waveform
from backend.instruments.genre_transfer import master, rhythm
from backend.instruments.genre_transfer.dressing import dress, pulsed
from backend.instruments.genre_transfer.overlap import Window, assemble, in_windows, windows
from backend.instruments.genre_transfer.refine import Goal, Mixer, refine
from backend.instruments.genre_transfer.resynthesis import BEE, Moments, resynthesise
from backend.instruments.genre_transfer.separation import Parts, separate
from backend.instruments.genre_transfer.tempo import Beats, at_the_level_of, track
from backend.instruments.genre_transfer.terms import Listening

SAMPLE_RATE = 44_100
STYLE_S = 12.0
"""So much of the style is used: its loudest stretch."""

SHORTEST = SAMPLE_RATE
"""Samples that a content is padded to: a second, several windows of every transform."""

ITERATIONS = 30
BALANCE_DB = 12.0
HAS_DRUMS_DB = -26.0
"""A content whose hits are this far below its tones has no drums of its own: it gets the style's groove."""

Report = Callable[[float, str, Waveform | None], None]
Part = Callable[..., None]  # share, message, samples to look at
PREVIEW_EVERY = 6


@dataclass(frozen=True)
class Controls:
    """What the sliders say, each 0 to 1.

    Attributes:
        strength: of everything; 0 gives the content back.
        timbre: of the style's sound on the content's notes.
        rhythm: of the style's drums; up to a half its kit on the content's hits, from there on its groove.
        harmony: how much of the style's own notes may come along.
        rhythm_donor: whether the style's rhythm leads everything: its groove whatever the slider says, and the
            refinement listens for its onsets instead of the content's.
        iterations: of refinement.
    """

    strength: float = 1.0
    timbre: float = 0.85
    rhythm: float = 1.0
    harmony: float = 0.15
    rhythm_donor: bool = False
    iterations: int = ITERATIONS

    @property
    def timbre_share(self) -> float:
        """Of the style's sound."""
        return self.strength * self.timbre

    @property
    def rhythm_share(self) -> float:
        """Of the style's drums."""
        return self.strength * self.rhythm


@dataclass(frozen=True)
class Style:
    """A style taken apart.

    Attributes:
        mix: ``[2, samples]`` at the content's loudness.
        parts: of the mix.
        beats: at the content's metrical level.
    """

    mix: FloatArray
    parts: Parts
    beats: Beats


def transfer(content: Waveform, style: Waveform, controls: Controls, seed: int, report: Report) -> Waveform:
    """The content in the style's clothes.

    Args:
        content: stereo at 44.1 kHz, not silent.
        style: stereo at 44.1 kHz, not silent.
        controls: the sliders.
        seed: draws activations, random filters and among similar hits.
        report: called with the share done, what is being done, and now and then the work as it stands.

    Returns:
        As long as the content and as loud, limited.
    """
    if controls.strength <= 0:
        return master.finish(content.samples, content)
    if content.n_samples < SHORTEST:
        longer = Waveform(np.pad(content.samples, ((0, 0), (0, SHORTEST - content.n_samples))), SAMPLE_RATE)
        return master.finish(transfer(longer, style, controls, seed, report).samples[:, : content.n_samples], content)
    report(0.01, "Listening to the beat", None)
    beats = track(content)
    report(0.03, "Taking the style apart", None)
    donor = prepare(style, content, beats)
    report(0.08, "Taking the song apart", None)
    harmonic, percussive, residual = in_windows(content.samples, SAMPLE_RATE, _parts)
    own = Parts(harmonic, percussive, residual)
    report(0.14, "Playing the drums", None)
    groove = rhythm.align(donor.parts.percussive, donor.beats, percussive, beats, SAMPLE_RATE)
    drums = new_drums(own, donor, groove, controls, np.random.default_rng(seed))
    plan = windows(content.n_samples, SAMPLE_RATE, beats.times_s)
    made = list[tuple[Window, FloatArray]]()
    for index, window in enumerate(plan):

        def part(share: float, message: str, sound: FloatArray | None = None, index: int = index) -> None:
            shown = None if sound is None else Waveform(sound.clip(-1, 1), SAMPLE_RATE)
            report(0.16 + 0.78 * (index + share) / len(plan), message, shown)

        scene = Scene(
            _cut(own, window), drums[:, window.start : window.stop], donor, groove, window.start / SAMPLE_RATE
        )
        made.append((window, _window(scene, controls, seed, part)))
        stop = window.stop
        so_far = master.finish(assemble(stop, made), content.slice(0, stop / SAMPLE_RATE))
        report(0.16 + 0.78 * (index + 1) / len(plan), "Mixing", so_far)
    report(0.95, "Mastering", None)
    mixed = master.tone(assemble(content.n_samples, made), donor.mix, SAMPLE_RATE, 0.8 * controls.timbre_share)
    mixed = master.quietened(mixed, [content.samples, donor.mix], SAMPLE_RATE, controls.strength)
    return master.finish(mixed, content)


def prepare(style: Waveform, content: Waveform, beats: Beats) -> Style:
    """The style's loudest stretch at the content's loudness, its parts, its beats at the content's level."""
    style = _loudest(style)
    gain_db = np.clip(integrated_lufs(content) - integrated_lufs(style), -40, 40)
    mix = (style.samples * np.float32(10 ** (np.nan_to_num(gain_db, posinf=0, neginf=0) / 20))).astype(np.float32)
    found = track(style)
    return Style(
        mix, separate(Waveform(mix, style.sample_rate)), at_the_level_of(found, beats.tempo_bpm or found.tempo_bpm)
    )


def new_drums(
    own: Parts, style: Style, groove: rhythm.Alignment | None, controls: Controls, rng: np.random.Generator
) -> FloatArray:
    """The new percussive layer ``[2, samples]``, as loud beside the tones as in the style; 0 where there is none.

    The rhythm slider goes from the content's own drums (left to the caller) through its hits on the style's kit, with
    the style's cymbals between them, to the style's groove on the content's beats: the beat makes half of a genre.
    """
    length = own.percussive.shape[1]
    kit, rest = style.parts.percussive, style.parts.residual  # a snare's tail is neither tone nor hit
    bare = _below_db(own.percussive, own.harmonic) < HAS_DRUMS_DB
    grooving = 1.0 if controls.rhythm_donor or bare else max(0.0, 2 * controls.rhythm_share - 1)
    layers = list[tuple[float, FloatArray | None]]()
    if groove is not None and grooving > 0:
        layers.append((grooving, rhythm.donate(kit, rest, groove, length, SAMPLE_RATE)))
    if grooving < 1 or not layers or layers[0][1] is None:
        share = 1 - grooving if layers and layers[0][1] is not None else 1.0
        hats = None if groove is None else rhythm.donate(kit, rest, groove, length, SAMPLE_RATE, only_hats=True)
        has_hats = hats is not None and bool(np.any(hats))
        hits = rhythm.replace_hits(own.percussive, kit, rest, SAMPLE_RATE, rng, without_hats=has_hats)
        layers += [(share, hits), (share if hits is not None else 0.0, hats)]
    played = np.zeros((2, length), np.float32)
    for share, layer in layers:
        if layer is not None:
            played += np.float32(share) * layer
    if not np.any(played):
        return played
    balance = _below_db(kit + rest, style.parts.harmonic) - _below_db(played, own.harmonic)
    return cast("FloatArray", played * np.float32(10 ** (np.clip(balance, -BALANCE_DB, BALANCE_DB) / 20)))


def drum_share(controls: Controls) -> float:
    """How far the content's own drums give way: wholly from half of the rhythm slider on."""
    return controls.rhythm_share if controls.rhythm_donor else min(1.0, 2 * controls.rhythm_share)


def pulse_share(controls: Controls) -> float:
    """How far the notes swell and stop with the style's: as far as its groove plays."""
    return controls.rhythm_share if controls.rhythm_donor else max(0.0, 2 * controls.rhythm_share - 1)


@dataclass(frozen=True)
class Scene:
    """What one window is made of.

    Attributes:
        own: the content's parts in the window.
        drums: the new percussive layer.
        style: the style taken apart.
        groove: which moment of the style belongs to which of the content; None where the style has no beat.
        start_s: of the window.
    """

    own: Parts
    drums: FloatArray
    style: Style
    groove: rhythm.Alignment | None
    start_s: float


def _window(scene: Scene, controls: Controls, seed: int, part: Part) -> FloatArray:
    """One window from parts to mix, ``[2, samples]``."""
    own, tones = scene.own, scene.style.parts.harmonic
    sound = controls.timbre_share
    beat = drum_share(controls) if np.any(scene.drums) else 0.0

    def woven(update: int) -> None:
        part(0.4 * update / BEE.iterations, "Playing the notes")

    moments = None
    if scene.groove is not None and pulse_share(controls) > 0:
        groove = scene.groove
        moments = Moments(lambda times: groove.positions(scene.start_s + times), groove.style_positions)
    made = resynthesise(
        own.harmonic, tones, SAMPLE_RATE, harmony=controls.harmony, seed=seed, step=woven, moments=moments
    )
    layers = [
        np.float32(sound) * dress(made.woven, tones, SAMPLE_RATE, sound),
        np.float32(sound) * dress(made.coloured, tones, SAMPLE_RATE, sound),
        np.float32(1 - sound) * own.harmonic,
    ]
    share = pulse_share(controls)
    if scene.groove is not None and share > 0:
        layers = [pulsed(layer, tones, scene.groove, SAMPLE_RATE, scene.start_s, share) for layer in layers]
    rest = np.float32(1 - beat) * own.percussive + np.float32(1 - max(sound, beat)) * own.residual
    mixer = Mixer([*layers, np.float32(beat) * scene.drums, rest], SAMPLE_RATE)
    _settle(mixer, scene, controls, seed, part)
    return mixer.stereo()


def _settle(mixer: Mixer, scene: Scene, controls: Controls, seed: int, part: Part) -> None:
    """Let the gradients mix."""
    listening = Listening(SAMPLE_RATE, torch.Generator().manual_seed(seed))
    style = listening.statistics(_mono(scene.style.mix))
    played = listening.statistics(mixer.mono().detach())
    notes = listening.statistics(_mono(scene.own.harmonic))
    led = scene.groove is not None and controls.rhythm_donor
    content = replace(played if led else notes, chroma=notes.chroma)
    weights = {
        "timbre": controls.timbre_share,
        "rhythm": 0.4 * controls.rhythm_share if np.any(scene.drums) else 0.0,
        "envelope": 0.6 * controls.strength,
        "content": 0.5,
    }

    def refined(update: int, terms: dict[str, float], sound: torch.Tensor) -> None:
        shown = sound.numpy()[None] if update % PREVIEW_EVERY == 1 else None
        part(0.4 + 0.6 * update / controls.iterations, "Mixing", shown)

    refine(mixer, listening, Goal(style, played, content, weights), controls.iterations, refined)


def _parts(samples: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    parts = separate(Waveform(samples, SAMPLE_RATE))
    return parts.harmonic, parts.percussive, parts.residual


def _cut(parts: Parts, window: Window) -> Parts:
    a, b = window.start, window.stop
    return Parts(parts.harmonic[:, a:b], parts.percussive[:, a:b], parts.residual[:, a:b])


def _mono(samples: FloatArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(samples.mean(0)))


def _below_db(a: FloatArray, b: FloatArray) -> float:
    return 10 * float(np.log10((float((a**2).mean()) + 1e-10) / (float((b**2).mean()) + 1e-10)))


def _loudest(style: Waveform) -> Waveform:
    """The stretch of `STYLE_S` with the most energy; a shorter sound is repeated until it lasts two seconds."""
    samples = style.samples
    least = 2 * style.sample_rate
    if style.n_samples < least:
        samples = np.tile(samples, (1, -(-least // style.n_samples)))
    length = round(STYLE_S * style.sample_rate)
    if samples.shape[1] > length:
        step = style.sample_rate // 2
        energy = np.append(0.0, np.cumsum((samples.astype(np.float64) ** 2).sum(0)))[::step]
        width = length // step
        start = int((energy[width:] - energy[:-width]).argmax()) * step
        samples = samples[:, start : start + length]
    return Waveform(samples, style.sample_rate)
