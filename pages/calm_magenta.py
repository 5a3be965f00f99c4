"""For musicians: a checkpoint of Magenta's MusicVAE is dropped, imported as a job, and becomes a choice of model."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from backend.checkpoints import CheckpointStore
from backend.contract import Done, Failed
from backend.errors import CheckpointError, NeuromuseError
from backend.instruments.calm.music_vae.config import CONFIGS
from backend.instruments.calm.request import OWN_MODEL, ImportRequest
from backend.settings import Settings
from pages.calm_form import PREFIX
from pages.parts import Desk, Story, html, note, sentence
from pages.runner import QUIET, Update

PLACE = "import"
KEPT_IMPORTS = len(CONFIGS)
SHARD = re.compile(r"(?P<prefix>.+)\.(index|meta|data-\d{5}-of-\d{5})")
TEXT = """Train or download a MusicVAE with Magenta, drop its `.tar` or the files of its `model.ckpt` here, and its own
notes are heard on the road and as new pieces. The import runs TensorFlow in a process of its own; the result is kept
for this visit. Files above {limit} MB need `NEUROMUSE_MAX_UPLOAD_MB`, or the command line, which also keeps it for
good: `python -m backend.instruments.calm.music_vae.import_checkpoint SOURCE --config NAME --out FOLDER`, with `FOLDER`
in `NEUROMUSE_CHECKPOINTS`."""

Imported = Mapping[str, str]
"""Configuration → folder of its checkpoint."""


def models(settings: Settings, imported: Imported) -> list[tuple[str, str]]:
    """Choices of a model: ours, and what this visitor or the operator has imported."""
    names = CheckpointStore(extra=settings.checkpoint_dirs).names() if settings.checkpoint_dirs else ()
    known = [name for name in CONFIGS if name in imported or f"{PREFIX}.{name.replace('-', '_')}" in names]
    return [("The calm model of this project", OWN_MODEL), *((f"MusicVAE {name}", name) for name in known)]


@dataclass(frozen=True)
class Magenta:
    """The import."""

    files: gr.File
    config: gr.Dropdown
    start: gr.Button
    stop: gr.Button
    status: gr.HTML
    imported: gr.State

    @classmethod
    def build(cls, settings: Settings) -> Magenta:
        """Lay it out."""
        with gr.Accordion("For musicians: your own MusicVAE", open=False, elem_id=f"{PREFIX}-magenta"):
            gr.Markdown(TEXT.format(limit=settings.max_upload_mb), elem_classes="nm-small")
            files = gr.File(
                label="Checkpoint: a .tar, or the files model.ckpt.index and model.ckpt.data-…", type="filepath",
                file_count="multiple", height=130, elem_id=f"{PREFIX}-checkpoint", elem_classes="nm-drop",
            )  # fmt: skip
            config = gr.Dropdown(
                list(CONFIGS), value="hierdec-mel_16bar", label="Its configuration", elem_id=f"{PREFIX}-config"
            )
            with gr.Row():
                start = gr.Button("Import", size="sm", elem_id=f"{PREFIX}-import")
                stop = gr.Button("Stop the import", size="sm", interactive=False, elem_id=f"{PREFIX}-import-stop")
            status = html("", elem_id=f"{PREFIX}-import-status")
        return cls(files, config, start, stop, status, gr.State({}))

    def wire(self, desk: Desk, model: gr.Dropdown) -> None:
        """Connect the buttons; what was imported is chosen in ``model``."""

        def run(request: gr.Request, files: Any, config: Any, imported: Imported) -> Iterator[Update]:
            session, story = str(request.session_hash), Story()
            try:
                folder = desk.exports.place(session, PLACE, KEPT_IMPORTS)
                asked = ImportRequest(source=gathered(files, folder / "source"), config=config, folder=folder)
            except NeuromuseError as error:
                yield {self.status: sentence(error), self.files: None}
                return
            yield self._busy(True)
            with closing(desk.jobs.run(session, asked, PLACE)) as events:
                for event in events:
                    if isinstance(event, Done):
                        known = {**imported, config: str(folder)}
                        millions = int(event.result.arrays["parameters"]) / 1e6
                        yield {
                            self.status: note(f"{config} is imported ({millions:.1f} million parameters) and chosen."),
                            self.imported: known,
                            model: gr.update(choices=models(desk.settings, known), value=config),
                            self.files: None,
                        } | self._busy(False)
                        break
                    if isinstance(event, Failed):
                        yield {self.status: sentence(event.error), self.files: None} | self._busy(False)
                        break
                    yield {self.status: story.tell(event)}
                else:
                    yield {self.status: note("Stopped.")} | self._busy(False)
            shutil.rmtree(folder / "source", ignore_errors=True)

        def stop(request: gr.Request) -> None:
            desk.jobs.stop(str(request.session_hash), PREFIX, PLACE)

        written = [self.status, self.files, self.imported, model, self.start, self.stop]
        limit = desk.settings.queue_size + 16
        inputs = [self.files, self.config, self.imported]
        self.start.click(run, inputs, written, preprocess=False, concurrency_limit=limit, **QUIET)
        self.stop.click(stop, None, None, queue=False, **QUIET)

    def _busy(self, busy: bool) -> Update:
        return {self.start: gr.update(interactive=not busy), self.stop: gr.update(interactive=busy)}


def gathered(files: Any, folder: Path) -> Path:
    """The uploaded files under their own names in one folder: the ``.tar``, or the prefix they share.

    Args:
        files: what the browser sent of each: ``path`` and ``orig_name``.
        folder: is made; the files are moved there.

    Raises:
        CheckpointError: nothing, or nothing that belongs together.
    """
    folder.mkdir()
    names = []
    for file in files or ():
        name = Path(str(file.get("orig_name") or file["path"])).name
        shutil.move(file["path"], folder / name)
        names.append(name)
    shards = [found for found in map(SHARD.fullmatch, names) if found]
    prefixes = {found["prefix"] for found in shards}
    if len(names) == 1 and not shards:
        return folder / names[0]
    if len(shards) == len(names) and len(prefixes) == 1:
        return folder / prefixes.pop()
    raise CheckpointError(
        f"The {len(names)} files are no checkpoint together; drop one .tar, or the .index and .data files of one "
        "model.ckpt."
    )
