"""What Brain shows of a result, as HTML: how sure it is, the players, the regions over time, the genre it calls."""

from __future__ import annotations

import json
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from backend.contract import Result
from pages.exports import Saved
from pages.parts import anew, card, note, provenance_line

Arrays = dict[str, npt.NDArray[Any]]

HEARD = {
    "original": ("What was played", "the sound itself, as the listener heard it"),
    "reconstruction": ("Reconstruction", "composed anew from what the decoder read in the scan"),
    "retrieval": ("Retrieval", "the nearest piece of a catalogue to what the decoder read"),
    "mean_embedding": ("Control: nobody's brain", "composed from the average of all training pieces; no scan was used"),
    "random_listener": ("Control: the wrong scan", "composed from what was read while another piece was playing"),
    "true_embedding": ("Ceiling", "composed from the true embedding of what was played: the best the generator can do"),
}
"""Name of a sound → its title, and what it is."""

SHOWN_REGIONS, SHOWN_GENRES = 8, 4


def stem_of(result: Result) -> str:
    """Beginning of file names; a simulated one says so."""
    stem = f"neuromuse-{result.arrays['file_stem']!s}"
    return f"{stem}-seed-{result.provenance.seed}" if result.provenance else stem


def made(saved: Saved, result: Result) -> str:
    """The whole result."""
    arrays = dict(result.arrays)
    parts = [banner(arrays), verdict(arrays), *(note(str(remark)) for remark in arrays["remarks"])]
    parts += [players(saved, result), genre(arrays), regions(arrays), quality(arrays)]
    return anew(f'<div class="nm-brain">{"".join(parts)}</div>') + provenance_line(result.provenance)


def banner(arrays: Arrays) -> str:
    """That nobody was scanned, where nobody was."""
    label = str(arrays["label"])
    return f'<p class="nm-simulated">{escape(label)}</p>' if label else ""


def verdict(arrays: Arrays) -> str:
    """How sure the system is: of this piece, and of all of them."""
    count, rank = int(arrays["n_test"]), int(arrays["rank"])
    place = f"<b>{rank}</b><span>of {count}</span>"
    beaten = count - rank
    p, runs = float(arrays["p"]), int(arrays["permutations"])
    sure = "better than guessing" if bool(arrays["reliable"]) else "no better than guessing"
    facts = {
        "This piece": f"what was read is closer to it than to {beaten} of the {count - 1} others; a guess beats half",
        "All pieces": f"identified in {float(arrays['accuracy']):.0%} of comparisons (chance 50 %), first of {count} "
        f"for {float(arrays['top1']):.0%} of them (chance {1 / count:.1%})",
        "Chance": f"{sure}: p {_p(p, runs)} in {runs:,} shuffles",
    }
    if "rank_after_generation" in arrays:
        facts["After composing"] = (
            f"the reconstruction's own sound ranks {int(arrays['rank_after_generation'])} of {count}"
        )
    told = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return (
        f'<section class="nm-verdict"><h3>Could the piece be told from the others?</h3>'
        f'<div class="nm-rank"><p>{place}</p>{strip(arrays)}</div><dl>{told}</dl></section>'
    )


def _p(p: float, runs: int) -> str:
    return f"< {1 / runs:g}" if p * (runs + 1) < 1.5 else f"= {p:.3f}"


def strip(arrays: Arrays) -> str:
    """Every test piece as a bar, the best match first; the one that was played is brass."""
    similar = np.asarray(arrays["similarity"], np.float64)
    order, own = np.argsort(-similar), int(arrays["clip"])
    low, span = float(similar.min()), max(float(np.ptp(similar)), 1e-9)
    bars = []
    for place, piece in enumerate(order.tolist()):
        height = 6 + 34 * (similar[piece] - low) / span
        kind = ' class="own"' if piece == own else ""
        title = f"{place + 1}: {arrays['titles'][piece]}"
        bars.append(
            f'<rect{kind} x="{5 * place}" y="{40 - height:.1f}" width="3.6" height="{height:.1f}" rx="1">'
            f"<title>{escape(title)}</title></rect>"
        )
    label = f"All {len(order)} pieces by how well they match; the one that was played is number {int(arrays['rank'])}"
    return (
        f'<svg viewBox="0 0 {5 * len(order)} 40" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"{''.join(bars)}</svg>"
    )


def players(saved: Saved, result: Result) -> str:
    """A card for each sound; the first has the regions over time below its player."""
    arrays, stem, cards = dict(result.arrays), stem_of(result), []
    cosines = np.asarray(arrays.get("cosine", []), np.float64)
    for number, (name, clip) in enumerate(zip(arrays["names"].tolist(), saved.clips, strict=True)):
        title, what = HEARD[str(name)]
        if name == "original":
            what = f"{arrays['titles'][int(arrays['clip'])]}: {what}"
        elif name == "retrieval":
            what = f"{arrays['retrieved']!s}: {what}"
        near = f"<span>closeness to what was read: {cosines[number]:.2f}</span>" if number < len(cosines) else ""
        more = f'<p class="nm-fact"><span>{escape(what)}</span>{near}</p>'
        if name == "original":
            more += course(arrays)
        cards.append(card(clip, title, f"{stem}-{name}", more))
    return f'<ul class="nm-cards">{"".join(cards)}</ul>'


def course(arrays: Arrays) -> str:
    """Regions over the time of the piece, with a playhead that follows its player."""
    told = {
        "tr": float(arrays["tr_s"]),
        "fit": np.round(arrays["time_course"], 3).tolist(),
        "rows": [
            {"name": str(name), "values": np.round(values, 4).tolist()}
            for name, values in zip(
                arrays["region_names"][:SHOWN_REGIONS], np.asarray(arrays["region_course"]).T, strict=False
            )
        ],
    }
    data = escape(json.dumps(told), quote=True)
    delay = float(arrays["hrf_delay_s"])
    return (
        '<nm-course role="img" aria-label="How much each region said of the piece, moment by moment" '
        f'data-course="{data}"></nm-course><p class="nm-fact">Regions while the piece plays: brass speaks for it, blue '
        f"against it. Blood answers late, so each moment shows the scan {delay:g} s after the sound.</p>"
    )


def genre(arrays: Arrays) -> str:
    """What a probe on the decoder's prediction takes the genre for."""
    names, shares = [str(name) for name in arrays["genres"]], np.asarray(arrays["probe"], np.float64)
    true = names[int(arrays["genre"][int(arrays["clip"])])]
    order = np.argsort(-shares)[:SHOWN_GENRES]
    rows = [(names[i], float(shares[i]), names[i] == true) for i in order.tolist()]
    if true not in [name for name, *_ in rows]:
        rows.append((true, float(shares[names.index(true)]), True))
    said = f"The decoder calls it {rows[0][0]}; it is {true}."
    return f'<section class="nm-verdict"><h3>{escape(said)}</h3>{_bars(rows)}</section>'


def regions(arrays: Arrays) -> str:
    """Which regions moved the prediction towards or away from what was played."""
    shares = np.asarray(arrays["region_contribution"], np.float64)[:SHOWN_REGIONS]
    if not np.abs(shares).max(initial=0.0) > 0:
        return note("This decoder is not linear, so it cannot be said which region contributed what.")
    top = float(np.abs(shares).max())
    rows = [
        (str(name), float(share) / top, share > 0) for name, share in zip(arrays["region_names"], shares, strict=False)
    ]
    return (
        '<section class="nm-verdict"><h3>Which regions carried it</h3>'
        f"{_bars(rows, signed=True)}<p>Share of the match that each region added (brass) or took away (blue), largest "
        "first. Regions: Seitzman et al. 2020.</p></section>"
    )


def _bars(rows: list[tuple[str, float, bool]], signed: bool = False) -> str:
    items = []
    for name, share, marked in rows:
        said = f"{share:+.0%}" if signed else f"{share:.0%}"
        kind = ' class="own"' if marked else ""
        items.append(
            f'<li{kind}><span>{escape(name)}</span><i><b style="width:{100 * min(1.0, abs(share)):.0f}%"></b></i>'
            f"<small>{said.replace('-', '−')}</small></li>"
        )
    return f'<ul class="nm-bars">{"".join(items)}</ul>'


def quality(arrays: Arrays) -> str:
    """What the scan was like."""
    lines = "".join(f"<li>{escape(str(line))}</li>" for line in arrays["quality"])
    return (
        '<details class="nm-score"><summary>What the scan was like</summary>'
        f'<ul class="nm-lines">{lines}</ul></details>'
    )
