"""What the page of Neurons is told and shown: each pass for the stage, the map, kept loops, the tables of help."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from backend.audio.waveform import Waveform
from backend.instruments.neurons.settings import Settings
from pages.exports import FRAMES, Clip, Saved
from pages.parts import anew, links

if TYPE_CHECKING:
    from backend.instruments.neurons.chart import NeuronMap
    from backend.instruments.neurons.console import LoopPass

# Controllers as on the console of the Immersions performances, a Behringer BCF2000: faders 81 to 88, dials 1 to 8.
CONTROLLERS = {
    81: ("learning_rate", "How far"),
    82: ("mix", "Mix"),
    83: ("hand-channel", "Channel"),
    84: ("hand-channels", "Width of the channels"),
    85: ("hand-pitch", "Pitch"),
    86: ("hand-pitches", "Width of the pitches"),
    87: ("hand-time", "Time in the loop"),
    88: ("hand-times", "Width of the time"),
    1: ("mask_time", "Hidden time"),
    2: ("mask_pitch", "Hidden pitch"),
    3: ("hand-layer", "Layer"),
    4: ("time_shift", "Jitter"),
    5: ("activation_penalty", "Quiet the others"),
    6: ("eq_low", "Low"),
    7: ("eq_mid", "Mid"),
    8: ("eq_high", "High"),
    75: ("!morph", "Hold or morph"),
    66: ("!start", "Back to the start"),
    67: ("!keep", "Keep this loop"),
}
KEYS = {
    "Space": ("!play", "play, pause"),
    "H": ("!morph", "hold, morph on"),
    "B": ("!start", "back to the start"),
    "K": ("!keep", "keep this loop"),
    "R": ("!record", "record, stop recording"),
    "A S": ("learning_rate", "how far: less, more"),
    "D F": ("mix", "mix: less, more"),
    "G J": ("time_shift", "jitter: less, more"),
    "Q W": ("pitch_shift", "pitch jitter: less, more"),
}


@dataclass(frozen=True)
class Kept:
    """A loop to return to."""

    saved: Saved
    title: str
    loop: Waveform
    shown: LoopPass | None
    settings: Settings
    targets: tuple[Any, ...]


def stage() -> str:
    """The stage; its scripts fill it."""
    controllers = json.dumps({str(number): name for number, (name, _) in CONTROLLERS.items()})
    keys = json.dumps({key: name for key, (name, _) in KEYS.items()})
    return (
        f"<nm-stage data-controllers='{escape(controllers, quote=True)}' data-keys='{escape(keys, quote=True)}'>"
        "</nm-stage>"
    )


def heard(saved: Saved, loop: Waveform, shown: LoopPass | None = None, **more: Any) -> str:
    """The next loop for the stage's player, with what the map shows in its time."""
    clip = saved.clips[0]
    told: dict[str, Any] = {"src": f"{clip.url}.wav", "duration": loop.duration_s, "token": saved.token, **more}
    if shown is not None:
        told |= {"activation": round(shown.activation, 3), "targets": [round(value, 3) for value in shown.targets]}
        if shown.activity is not None:
            told |= {"frames": f"{clip.url}.{FRAMES}", "count": int(shown.activity.shape[1])}
    return anew(f'<nm-loop-pass data-pass="{escape(json.dumps(told), quote=True)}"></nm-loop-pass>')


def chart(drawn: NeuronMap, label: str) -> str:
    """The map for the stage."""
    told = escape(json.dumps(drawn.page()), quote=True)
    return anew(f'<nm-loop-chart data-chart="{told}" data-label="{escape(label, quote=True)}"></nm-loop-chart>')


def keepsakes(kept: Sequence[Kept]) -> str:
    """The kept loops, newest first, each with a way back and its downloads."""
    if not kept:
        return '<p class="nm-fact">“Keep this loop” puts the loop you hear here: to return to, and to download.</p>'
    items = "".join(_keepsake(one) for one in reversed(kept))
    return anew(f'<ul class="nm-kept">{items}</ul>')


def _keepsake(one: Kept) -> str:
    clip: Clip = one.saved.clips[0]
    title, token = escape(one.title, quote=True), one.saved.token
    return (
        f'<li><button type="button" data-return="{token}" aria-label="Return to {title}">Return</button>'
        f"<span>{title}</span>{links(clip, one.title, f'neuromuse-neurons-{token[:6]}')}</li>"
    )


def help_tables() -> str:
    """Keys and controllers; the place of the MIDI button."""
    keys = "".join(
        f"<tr><td>{' '.join(f'<kbd>{k}</kbd>' for k in key.split())}</td><td>{said}</td></tr>"
        for key, (_, said) in KEYS.items()
    )
    numbers = "".join(
        f'<tr data-learn="{name}"><td>{label}</td><td class="nm-cc">{number}</td>'
        f'<td><button type="button" class="nm-learn" aria-label="Learn {label}">Learn</button></td></tr>'
        for number, (name, label) in CONTROLLERS.items()
    )
    return (
        '<div class="nm-midi"><div><p class="nm-fact"><button type="button" class="nm-midi-open">Connect MIDI</button>'
        '<span class="nm-midi-said" role="status">Controllers turn the knobs of this page.</span></p>'
        '<table><caption>MIDI controllers</caption><thead><tr><th scope="col">Knob</th><th scope="col">CC</th>'
        f'<th scope="col">Change</th></tr></thead><tbody>{numbers}</tbody></table></div>'
        '<div><p class="nm-fact">No controller? The keyboard does it, while no field is being typed in.</p>'
        '<table><caption>Keys</caption><thead><tr><th scope="col">Key</th><th scope="col">Does</th></tr></thead>'
        f"<tbody>{keys}</tbody></table></div></div>"
    )
