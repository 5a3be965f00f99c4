"""What Calm made, as HTML: players with piano rolls, the road with its slider, and the calm score in bars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from backend.audio.midi import Notes
from backend.contract import Provenance, Result
from backend.instruments.calm.room import LEAD_S, RING_S
from backend.metrics.calmness import CUES, weighted
from pages.exports import Saved
from pages.parts import anew, card, links, note, provenance_line

Array = npt.NDArray[np.float64]

CUE_TITLES = {
    "mode": "Major",
    "tempo": "Slow tempo",
    "register": "Middle register",
    "dynamics": "Soft playing",
    "articulation": "Connected notes",
    "dissonance": "Consonance",
    "density": "Few notes",
    "regularity": "Even rhythm",
}
SOURCE = (
    "A weighted sum of eight cues that listeners call calm: Eerola, Friberg and Bresin, "
    '<a href="https://doi.org/10.3389/fpsyg.2013.00487" target="_blank" rel="noreferrer">Frontiers in Psychology 4:487 '
    "(2013)</a>; dissonance, density and regularity after Gabrielsson and Lindström (2010). The size of each weight is "
    "ours. It describes a style and measures no effect on anybody."
)
SHOWN_LOSS = 0.005  # of the score: below it a cue is called calm


def cards(saved: Saved, result: Result, titles: Sequence[str], stays: str = "", downloads: bool = True) -> str:
    """A card for every piece of a result, with its piano roll and calm score."""
    stem = stem_of(result.provenance) if downloads else ""
    cues = np.atleast_2d(result.arrays["session_cues" if "session_cues" in result.arrays else "piece_cues"])
    items = []
    for index, (clip, title) in enumerate(zip(saved.clips, titles, strict=True)):
        more = roll(result.notes[index], clip.duration_s, title) if index < len(result.notes) else ""
        more += score(cues[index])
        items.append(card(clip, title, f"{stem}-{index + 1}" if stem else "", more, stays))
    return anew(f'<ul class="nm-cards">{"".join(items)}</ul>')


def road(saved: Saved, result: Result) -> str:
    """One card for all steps: a slider chooses the step that is heard, seen and downloaded."""
    titles = [str(title) for title in result.arrays["anchor_titles"]]
    tempi, stem, count = result.arrays["piece_tempo_bpm"], stem_of(result.provenance), len(saved.clips)
    cues, steps, parts = result.arrays["piece_cues"], [], []
    for index, clip in enumerate(saved.clips):
        steps.append({"src": f"{clip.url}.wav", "duration": round(clip.duration_s, 3)})
        label = f"step {index + 1} of {count}"
        tempo, files = f"{float(tempi[index]):.0f} beats a minute", links(clip, label, f"{stem}-{index + 1}")
        parts.append(
            f'<div class="nm-step" data-step="{index + 1}"{" hidden" if index else ""}>'
            f"{roll(result.notes[index], clip.duration_s, label)}"
            f'<p class="nm-fact">{tempo} {files}</p>'
            f"{score(cues[index])}</div>"
        )
    data = escape(json.dumps({"steps": steps, "lead": LEAD_S, "ring": RING_S, "ends": titles}), quote=True)
    name = escape(f"{titles[0]} to {titles[1]}", quote=True)
    card_of_all = (
        f'<div class="nm-card nm-road"><div class="nm-card-head"><h3>From {name}</h3></div>'
        f'<nm-road label="the road from {name}" data-road="{data}"></nm-road>{"".join(parts)}</div>'
    )
    return f"{anew(card_of_all)}{said(result)}{provenance_line(result.provenance)}"


def session(saved: Saved, result: Result) -> str:
    """The session's player with its roll and downloads, and what was measured on it."""
    arrays = result.arrays
    figures = {
        "Loudness": f"{float(arrays['integrated_lufs']):.1f} LUFS",
        "Loudest peak": f"{float(arrays['true_peak_dbtp']):.1f} dBTP",
        "Largest rise of a note": f"{float(arrays['onset_jump_db']):.1f} dB",
        "Tempo, largest change a beat": f"{float(arrays['tempo_jump_bpm']):.2f} bpm",
        "Heard before, literally": f"{100 * float(arrays['repeat_share']):.1f} %",
    }
    facts = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items())
    made = cards(saved, result, ["Your session"], stays="calm-session")
    return f'{made}<dl class="nm-facts">{facts}</dl>{said(result)}{provenance_line(result.provenance)}'


def relatives(saved: Saved, result: Result) -> str:
    """New pieces, a card each."""
    kin = [str(title) for title in result.arrays["anchor_titles"]]
    title = f"Like {kin[0]}" if kin else "Something new"
    many = len(saved.clips) > 1
    titles = [f"{title}, {index + 1}" if many else title for index in range(len(saved.clips))]
    return f"{cards(saved, result, titles)}{said(result)}{provenance_line(result.provenance)}"


def beginning(saved: Saved) -> str:
    """What there is of a session that is still being made."""
    heard_s = saved.clips[0].duration_s
    title = f"The first {heard_s:.0f} seconds; the rest follows"
    return anew(f'<ul class="nm-cards">{card(saved.clips[0], title, stays="calm-session")}</ul>')


def said(result: Result) -> str:
    """What the reader of MIDI files remarked."""
    return "".join(note(str(remark)) for remark in result.arrays.get("remarks", ()))


def roll(notes: Notes, duration_s: float, title: str) -> str:
    """A piano roll that follows the player of its card: onset, length, pitch and part of each note, in centiseconds."""
    pitched = notes[~notes["is_drum"]] if len(notes) else notes
    flat = " ".join(
        f"{round(100 * float(n['start_s']))} {round(100 * float(n['end_s'] - n['start_s']))} {n['pitch']} {n['part']}"
        for n in pitched
    )
    label = escape(f"Piano roll of {title}: {len(pitched)} notes", quote=True)
    return f'<nm-roll role="img" aria-label="{label}" duration="{duration_s:.3f}" notes="{flat}"></nm-roll>'


def score(cues: Array) -> str:
    """The calm score of one piece as a bar for each cue, with what lowers it."""
    values = dict(zip(CUES, (float(value) for value in cues), strict=True))
    if not np.isfinite(list(values.values())).all():
        return '<p class="nm-fact">Nothing is played, so there is nothing to score.</p>'
    rows = []
    for name, cue in sorted(CUES.items(), key=lambda item: -item[1].weight * (1 - values[item[0]])):
        lost = cue.weight * (1.0 - values[name])
        why = f"−{100 * lost:.0f}: {cue.lowered_by}" if lost >= SHOWN_LOSS else "calm"
        rows.append(
            f'<li><span>{CUE_TITLES[name]}</span><i><b style="width:{100 * values[name]:.0f}%"></b></i>'
            f"<small>{escape(why)}</small></li>"
        )
    return (
        f'<details class="nm-score"><summary>Calm score {100 * weighted(values):.0f} of 100</summary>'
        f"<ul>{''.join(rows)}</ul><p>{SOURCE}</p></details>"
    )


def stem_of(provenance: Provenance | None) -> str:
    """Name of the downloads."""
    return f"neuromuse-calm-seed-{provenance.seed}" if provenance else "neuromuse-calm"
