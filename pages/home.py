"""Home: what this is, which tabs there are, and what this machine will run them on."""

from __future__ import annotations

from html import escape
from pathlib import Path

import gradio as gr

from pages.parts import Desk, Page, html

STATIC = Path(__file__).parent / "static"
HERO = """<section class="nm-hero"><div>
<p class="nm-kicker">An instrument case for neural networks</p>
<h2>Describe it. Hear it.</h2>
<p>Neuromuse makes music with neural networks that were trained for it and live in this folder. It runs on this machine:
nothing you type or drop leaves it, and every file you export can be dropped back to get its settings again.</p></div>
{art}
</section>"""


def build(desk: Desk) -> None:
    """Lay out the tab."""
    instruments = [page for page in desk.pages if page.summary]
    html(HERO.format(art=(STATIC / "hero.svg").read_text(encoding="utf-8")))
    cards = "".join(
        f'<li><a href="?tab={page.id}" data-tab="{page.id}"><h3>{escape(page.title)}</h3><p>{escape(page.summary)}</p>'
        '<span aria-hidden="true">Open</span></a></li>'
        for page in instruments
    )
    html(f'<ul class="nm-doors" id="home-doors">{cards}</ul>')
    machine = html(facts(desk), elem_id="home-machine")
    gr.on(None, lambda: facts(desk), None, machine, queue=False, show_progress="hidden", api_visibility="private")


def facts(desk: Desk) -> str:
    """What the engine says about itself, as a small table."""
    health = desk.jobs.engine.health()
    models = [str(name) for name in health.get("models") or ()]
    rows = {
        "Device": str(health.get("device") or "being chosen"),
        "State": "ready" if health.get("ready") else "starting",
        "Waiting": str(health.get("queue", 0)),
        "Loaded": ", ".join(models) if models else "nothing yet; the first job loads what it needs",
    }
    cells = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in rows.items())
    return f'<section class="nm-machine"><h3>This machine</h3><dl>{cells}</dl></section>'


PAGE = Page("home", "Home", "", build)
