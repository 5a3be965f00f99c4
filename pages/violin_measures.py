"""How good is it: what was measured of the bundled adapter, and what a training says of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from backend.checkpoints import CheckpointStore
from backend.errors import NeuromuseError
from backend.settings import Settings
from pages.parts import Desk
from pages.violin_adapters import Owned
from pages.violin_training import losses

BUNDLED = "violin.adapter"
ROWS = {
    "base": "Base, without the adapter", "adapter": "With the adapter", "real": "Real violin against real violin",
    "codec": "The recording through the codec", "renderings": "Rendered violin, as in training",
    "shuffled": "With the adapter, prompts exchanged", "s0": "Strength 0", "s0_5": "Strength 0.5", "s1": "Strength 1",
    "s1_5": "Strength 1.5",
}  # fmt: skip
MEASURES = (
    (
        "spectrogram_mse", "Spectrogram error, dB²", "lower", ("base", "adapter", "codec"),
        "Recordings that nothing was trained on are played again from their own notes, and the spectrograms compared. "
        "The codec's row is as near as anything here can come. The notes are given (teacher forcing), so this is about "
        "the sound, not about the composing.",
    ),
    (
        "frechet_to_real_violin", "Fréchet distance to real violin", "lower", ("base", "adapter", "renderings", "real"),
        "How far the clips as a whole lie from recordings of a real violin, heard by a network that took no part in "
        "training. Two halves of the real recordings set the last row: that is what “the same” looks like.",
    ),
    (
        "mulan_cycle", "MuLan cycle consistency, −1 to 1", "higher", ("base", "adapter", "shuffled"),
        "Whether a clip still means its prompt: both are read into one space and compared. With the prompts exchanged "
        "it should fall; what does not fall was never listening to the prompt.",
    ),
    (
        "violin_probability", "Probability of a solo violin, 0 to 1", "higher", ("base", "s0", "s0_5", "s1", "s1_5"),
        "A further network, which took no part either, says how likely each clip is a violin alone, by strength.",
    ),
)  # fmt: skip


def bundled(settings: Settings) -> str:
    """What the manifest says of the adapter that comes with the app."""
    try:
        metrics = CheckpointStore(extra=settings.checkpoint_dirs).entry(BUNDLED).metrics
    except NeuromuseError as error:
        return f'<p class="nm-note">{escape(str(error))}</p>'
    tables = [_measure(metrics, *measure) for measure in MEASURES]
    return f'<div class="nm-brain">{"".join(tables)}</div>'


def _measure(metrics: Mapping[str, Any], key: str, title: str, better: str, rows: tuple[str, ...], words: str) -> str:
    """One measure with its rows as bars; said where it was not measured."""
    found = {row: value for row in rows if (value := figure(metrics, key, row)) is not None}
    most = max((abs(value) for value in found.values()), default=0.0) or 1.0
    bars = "".join(
        f"<li{' class=own' if row in ('adapter', 's1') else ''}><span>{escape(ROWS[row])}</span>"
        f'<i><b style="width:{100 * abs(value) / most:.0f}%"></b></i><small>{value:.3g}</small></li>'
        for row, value in found.items()
    )
    shown = f'<ul class="nm-bars">{bars}</ul>' if found else "<p>Not measured for this adapter.</p>"
    return (
        f'<section class="nm-verdict"><h3>{escape(title)} <small>({better} is better)</small></h3>{shown}'
        f"<p>{escape(words)}</p></section>"
    )


def figure(metrics: Mapping[str, Any], key: str, row: str) -> float | None:
    """A figure, in a table of its own or named by both."""
    table = metrics.get(key)
    value = table.get(row) if isinstance(table, Mapping) else metrics.get(f"{key}.{row}", metrics.get(f"{key}_{row}"))
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def own(desk: Desk, token: str, owned: Owned) -> str:
    """Held-out losses of this visitor's adapters: the training of this browser, and those that were brought."""
    found: dict[str, tuple[float, float]] = {}
    try:
        measured = losses(desk.trainings.status(token).said) if token else None
    except NeuromuseError:
        measured = None
    if measured:
        found["This browser's training"] = measured
    for name, adapter in owned.items():
        figures = adapter.figures
        if {"base_loss", "loss"} <= set(figures) and (adapter.token != token or not token):
            found[name] = (float(figures["base_loss"]), float(figures["loss"]))
    if not found:
        return (
            '<p class="nm-note">Train an adapter, or drop one on Play: its held-out losses are shown here. They are '
            "measured on recordings that were kept out of its training.</p>"
        )
    sections = []
    for name, (base, best) in found.items():
        bars = "".join(
            f'<li{extra}><span>{label}</span><i><b style="width:{100 * value / max(base, best, 1e-9):.0f}%"></b></i>'
            f"<small>{value:.3f}</small></li>"
            for label, value, extra in (("Base", base, ""), ("Adapter", best, " class=own"))
        )
        change = 100 * (base - best) / base if base else 0.0
        words = (
            f"{change:.0f} % less surprised by recordings that were kept out of training than the base is."
            if change > 0.5
            else "No better than the base on what was kept out: more, or more different, recordings would help."
        )
        sections.append(
            f'<section class="nm-verdict"><h3>{escape(name)} <small>(held-out loss, lower is better)</small></h3>'
            f'<ul class="nm-bars">{bars}</ul><p>{words}</p></section>'
        )
    return f'<div class="nm-brain">{"".join(sections)}</div>'
