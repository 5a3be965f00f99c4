"""What tabs share: how events, errors, players, seeds and provenance look, and restoring settings from a file."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from backend.audio import io
from backend.contract import MAX_SEED, Event, Failed, Loading, Progress, Provenance, Queued, Request
from backend.engine.background import Trainings
from backend.errors import AudioError, NeuromuseError
from backend.settings import Settings
from pages.exports import NOTES, SHEET, Clip, Exports, Saved
from pages.jobs import Jobs

TITLES = {NOTES: "MIDI", SHEET: "Session sheet"}


@dataclass(frozen=True)
class Desk:
    """What a page works with: jobs, the files of its sessions, settings, all the pages, trainings that outlive it."""

    jobs: Jobs
    exports: Exports
    settings: Settings
    pages: tuple[Page, ...] = ()
    trainings: Trainings = field(default_factory=lambda: Trainings(Settings()))


@dataclass(frozen=True)
class Page:
    """One tab.

    Attributes:
        id: the instrument's id, and the URL (``/?tab=id``).
        title: what the tab says.
        summary: one sentence for the home page; empty for a page that is not an instrument.
        build: lays out the tab inside the current gradio context.
    """

    id: str
    title: str
    summary: str
    build: Callable[[Desk], None]


def html(value: str, elem_id: str | None = None) -> gr.HTML:
    """HTML that only our own style sheet touches."""
    return gr.HTML(value, elem_id=elem_id, apply_default_css=False)


def sentence(error: NeuromuseError) -> str:
    """The only place where an error becomes words on a page."""
    return f'<p class="nm-note nm-note--error" role="alert">{escape(str(error))}</p>'


def note(text: str) -> str:
    """A plain remark in the place of the progress bar."""
    return f'<p class="nm-note" role="status">{escape(text)}</p>'


def seconds(value: float | None) -> str:
    """``, about 12 s left`` or nothing if it is not known."""
    if value is None:
        return ""
    return f", about {value / 60:.0f} min left" if value >= 90 else f", about {max(1, round(value))} s left"


@dataclass
class Story:
    """The events of one job so far, as a bar with the stages that are behind it."""

    stages: list[str] = field(default_factory=list)

    def turns(self, event: Event) -> bool:
        """Whether the event begins something that was not told yet."""
        return _stage(event) not in self.stages

    def tell(self, event: Event) -> str:
        """HTML for the newest event."""
        if isinstance(event, Queued):
            ahead = "next in line" if event.position == 0 else f"{event.position} ahead of you"
            return self._bar(_stage(event), f"{ahead}{seconds(event.eta_s)}", None)
        if isinstance(event, Loading):
            return self._bar(_stage(event), "the first time takes a moment", None)
        if isinstance(event, Progress):
            share = min(1.0, max(0.0, event.done / event.total)) if event.total > 0 else None
            return self._bar(_stage(event), seconds(event.eta_s).lstrip(", "), share)
        if isinstance(event, Failed):
            return sentence(event.error)
        return note("Ready.")

    def _bar(self, stage: str, remark: str, share: float | None) -> str:
        spoken = ""
        if stage not in self.stages:
            self.stages.append(stage)
            spoken = ' role="status"'  # a screen reader hears each stage once, not each percent
        behind = "".join(f"<li>{escape(s)}</li>" for s in self.stages if s != stage)
        value = "" if share is None else f'aria-valuenow="{share:.0%}"'.replace("%", "")
        percent = "" if share is None else f"<b>{share:.0%}</b>"
        running = " nm-bar--open" if share is None else ""
        width = 30.0 if share is None else 100 * share
        return (
            f'<div class="nm-story"><div class="nm-line"><span{spoken}>{escape(stage)}</span>'
            f"<small>{escape(remark)}</small>{percent}</div>"
            f'<div class="nm-bar{running}" role="progressbar" aria-label="{escape(stage)}" aria-valuemin="0" '
            f'aria-valuemax="100" {value}><i style="width:{width:.1f}%"></i></div>'
            f'<ul class="nm-behind" aria-label="Finished stages">{behind}</ul></div>'
        )


def _stage(event: Event) -> str:
    """What is going on, in a word or two."""
    if isinstance(event, Progress):
        return event.message or "Working"
    return event.message if isinstance(event, Loading) else "Waiting"


def players(saved: Saved, provenance: Provenance | None, labels: Sequence[str] = ()) -> str:
    """A player with downloads for every variation, titled by its number or its label, and how they were made."""
    cards = []
    stem = f"neuromuse-{provenance.instrument_id}-seed-{provenance.seed}" if provenance else "neuromuse"
    for number, clip in enumerate(saved.clips, 1):
        label = f"Variation {number}" if len(saved.clips) > 1 else "Your music"
        label = labels[number - 1] if labels else label
        cards.append(card(clip, label, f"{stem}-{number}"))
    return anew(f'<ul class="nm-cards">{"".join(cards)}</ul>{provenance_line(provenance)}')


def anew(inner: str) -> str:
    """HTML that takes the place of earlier HTML as a whole.

    Gradio patches what is there, element by element, which would leave a player without the parts it built itself; an
    element of another name is replaced.
    """
    name = f"nm-made-{secrets.token_hex(4)}"
    return f'<{name} style="display:block">{inner}</{name}>'


def card(clip: Clip, label: str, stem: str = "", more: str = "", stays: str = "") -> str:
    """A list item with a player.

    Args:
        clip: what it plays.
        label: its title.
        stem: name of the downloads; without one there are none.
        more: HTML below the player.
        stays: a name under which playing goes on when a card of the same name takes this one's place.
    """
    downloads, label = links(clip, label, stem) if stem else "", escape(label, quote=True)
    return (
        f'<li class="nm-card"><div class="nm-card-head"><h3>{label}</h3>{downloads}</div>'
        f'<nm-player src="{clip.url}.wav" label="{label}" duration="{clip.duration_s:.3f}" stays="{stays}" '
        f'peaks="{" ".join(map(str, clip.peaks))}"></nm-player>{more}</li>'
    )


def links(clip: Clip, label: str, stem: str) -> str:
    """Downloads of a clip in every format, named ``stem``, and the button that sends it on (`static/send_to.js`)."""
    label, stem = escape(label, quote=True), escape(stem, quote=True)
    anchors = "".join(
        f'<a href="{clip.url}.{kind}" download="{stem}.{kind}" '
        f'aria-label="Download {label} as {TITLES.get(kind, kind.upper())}">{TITLES.get(kind, kind.upper())}</a>'
        for kind in clip.formats
    )
    send = (
        f'<button type="button" class="nm-send" data-send="{clip.url}" data-title="{label}" '
        f'aria-label="Send {label} to Genre transfer">Genre transfer</button>'
    )
    return f'<span class="nm-links"><span aria-hidden="true">Download</span>{anchors}{send}</span>'


def provenance_line(provenance: Provenance | None) -> str:
    """Seed, time, device and weights of a result, with a button that copies all of its settings as JSON."""
    if provenance is None:
        return ""
    weights = ", ".join(f"{name.rpartition('.')[2]} {digest[:8]}" for name, digest in provenance.checkpoints.items())
    facts = {
        "Seed": str(provenance.seed),
        "Made in": f"{provenance.seconds:.1f} s on {provenance.device}",
        "Weights": weights or "none",
        "Neuromuse": provenance.app_version,
    }
    shown = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    copied = escape(json.dumps(provenance.to_dict(), default=str), quote=True)
    button = f'<button type="button" class="nm-copy" data-copy="{copied}">Copy settings</button>'
    return f'<div class="nm-provenance"><dl>{shown}</dl>{button}</div>'


def restore(
    path: str, request_type: type[Request], make: Callable[[Mapping[str, Any]], Request] | None = None
) -> Request:
    """The request an exported file was made from. The uploaded file is deleted.

    Args:
        path: of the uploaded file.
        request_type: whose settings are wanted.
        make: builds the request of the settings; `Request.from_dict` by default.

    Raises:
        AudioError: the file is unreadable or holds no settings of this instrument.
        RequestError: its settings are out of range.
    """
    try:
        provenance = io.read_provenance(path)
    finally:
        Path(path).unlink(missing_ok=True)
    if provenance is None:
        raise AudioError(
            "This file holds no Neuromuse settings; drop a WAV, FLAC, MP3 or MIDI file that was exported here."
        )
    origin = provenance.get("instrument_id")
    values: Any = provenance.get("request")
    if origin != request_type.instrument_id:
        raise AudioError(f"This file was made by {str(origin)[:40]!r}, not by {request_type.instrument_id!r}.")
    try:
        return (make or request_type.from_dict)(values)
    except (TypeError, ValueError) as error:  # not a mapping, or a field is missing
        raise AudioError("The settings in this file are damaged.") from error


@dataclass(frozen=True)
class SeedRow:
    """A seed, whether it stays as it is, and a button that draws another."""

    value: gr.Number
    locked: gr.Checkbox

    @classmethod
    def build(cls, prefix: str) -> SeedRow:
        """Lay out the row; element ids start with ``prefix``."""
        with gr.Row(elem_classes="nm-seed"):
            value = gr.Number(0, label="Seed", elem_id=f"{prefix}-seed", info="Same seed and settings, same music")
            locked = gr.Checkbox(False, label="Keep this seed", elem_id=f"{prefix}-seed-lock")
            dice = gr.Button("New seed", elem_id=f"{prefix}-seed-dice", size="sm", min_width=90)
        dice.click(new_seed, None, value, queue=False, show_progress="hidden", api_visibility="private")
        return cls(value, locked)


def new_seed() -> int:
    """Any seed."""
    return secrets.randbelow(MAX_SEED + 1)
