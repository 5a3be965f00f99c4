"""One training as the page sees it: its command, how far it is, its samples, its figures, its file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.audio import io
from backend.contract import Progress, check_number
from backend.engine.background import Program, Report
from backend.errors import AudioError, RequestError
from backend.settings import Settings
from pages.exports import Clip, peaks
from pages.parts import Story, anew, card, note
from pages.theme import dress
from pages.violin_adapters import CONFIG, LONGEST_NAME, WEIGHTS
from pages.violin_clips import CLIPS, TABLE

if TYPE_CHECKING:
    import plotly.graph_objects as go

MODULE = "backend.instruments.violin.train"
FOLDER, ARCHIVE = "adapter", "adapter.zip"
PRIVATE = (CLIPS, TABLE, "train.npz", "valid.npz", "replay.npz", "plan.json", "state.pt", "best.pt", "log.txt")
PUBLIC = (ARCHIVE, "sample-*.wav")
SAMPLES_SHOWN = 3
STAGES = {"preparing": "Preparing", "training": "Training"}


def program(folder: Path, settings: Settings, minutes: Any, name: Any, rank: Any, replay: Any, licence: Any) -> Program:
    """The command for the raw values of the page.

    Raises:
        RequestError: for the first value that is wrong.
    """
    check_number("minutes", minutes, 0.1, 240)
    check_number("rank", rank, 1, 64, integer=True)
    check_number("replay", replay, 0, 500, integer=True)
    title = " ".join(str(name or "").split())
    if not title or len(title) > LONGEST_NAME or not title.isprintable():
        raise RequestError("name", name, f"a name of 1 to {LONGEST_NAME} characters")
    if len(str(licence or "")) > 200:
        raise RequestError("licence", licence, "at most 200 characters")
    if not (folder / CLIPS).is_dir():
        raise RequestError("clips", 0, "recordings that were dropped and checked")
    every_s = max(20.0, min(150.0, 60 * float(minutes) / 5))
    argv = [
        f"--clips={folder / CLIPS}", f"--name={title}", f"--licence={licence or ''}", f"--minutes={float(minutes)}",
        f"--rank={int(rank)}", f"--replay={int(replay)}", f"--sample-every={every_s}",
    ]  # fmt: skip
    if (folder / TABLE).exists():
        argv.append(f"--csv={folder / TABLE}")
    if settings.device != "auto":
        argv.append(f"--device={settings.device}")
    return Program(MODULE, tuple(argv), PRIVATE, PUBLIC)


def told(report: Report, before: str) -> tuple[str, str]:
    """How far it is as HTML, and the stage it names; a stage named ``before`` is not read out again."""
    if not report.alive:
        if report.state == "failed":
            return f'<p class="nm-note nm-note--error" role="alert">{escape(report.message)}</p>', ""
        return note(report.message), ""
    said = report.said
    done, total = float(said.get("done", 0)), float(said.get("total", 1))
    training = report.state == "training"
    stage = STAGES["training"] if training else report.message or STAGES["preparing"]
    left_s = 60 * max(0.0, total - done) if training else None
    story = Story([stage] if stage == before else [])
    if not training and done <= 0:
        done, total = 0.0, 0.0  # as long as nothing is known the bar moves by itself
    return story.tell(Progress(done, total, stage, eta_s=left_s)), stage


def curve(report: Report) -> go.Figure | None:
    """Training and held-out loss by minutes, from the base's on; None before the first."""
    rows = report.said.get("losses") or []
    base = report.said.get("base_loss")
    if not rows:
        return None
    from backend import plots  # here, because plotly would add seconds to the start of the server

    nan = float("nan")
    minutes = [0.0, *(float(row[0]) for row in rows)]
    train = [nan, *(float(row[1]) for row in rows)]
    held_out = [nan if base is None else float(base), *(nan if row[2] is None else float(row[2]) for row in rows)]
    figure = plots.training_curve(minutes, {"training": train, "held out": held_out}, "Loss")
    figure.update_traces(mode="lines+markers")
    figure.update_xaxes(title_text="Minutes")
    return dress(figure)


def samples(token: str, folder: Path, names: Sequence[Any]) -> str:
    """Players of the newest samples."""
    cards = []
    for name in list(names)[-SAMPLES_SHOWN:][::-1]:
        path = folder / Path(str(name)).name
        try:
            sound = io.read(path)
        except AudioError:  # not there any more
            continue
        step = path.stem.rpartition("-")[2].lstrip("0") or "0"
        clip = Clip(f"trainings/{token}/{path.stem}", sound.duration_s, peaks(sound), ("wav",))
        cards.append(card(clip, f"After {step} steps"))
    return anew(f'<ul class="nm-cards">{"".join(cards)}</ul>') if cards else ""


def archive(folder: Path) -> Path | None:
    """The adapter as one file; None as long as there is none."""
    made, packed = folder / FOLDER, folder / ARCHIVE
    if not all((made / name).is_file() for name in (CONFIG, WEIGHTS)):
        return None
    if not packed.exists():
        part = packed.with_suffix(".part")
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
            for name in (CONFIG, WEIGHTS):
                file.write(made / name, name)
        part.replace(packed)
    return packed


def download(token: str, packed: Path) -> str:
    """A link to the adapter."""
    size = packed.stat().st_size / 1e6
    return (
        f'<p class="nm-fact nm-links"><span>Your adapter, {size:.1f} MB</span>'
        f'<a href="trainings/{token}/{ARCHIVE}" download="{ARCHIVE}">Download .zip</a></p>'
    )


def losses(said: Mapping[str, Any]) -> tuple[float, float] | None:
    """Held-out loss of the base and the best one of the training."""
    base = said.get("base_loss")
    held_out = [float(row[2]) for row in said.get("losses") or () if row[2] is not None]
    return (float(base), min(held_out)) if base is not None and held_out else None
