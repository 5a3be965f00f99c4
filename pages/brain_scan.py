"""A scan of one's own: consent first, then files or a folder; deleted when its job ends, however it ends."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from backend.contract import Event, Request
from backend.errors import NeuromuseError, RequestError
from backend.instruments.brain.layout import N_TEST
from backend.instruments.brain.request import BrainRequest
from backend.settings import Settings
from pages.brain_form import PREFIX, Form
from pages.parts import Desk, html, note, sentence
from pages.runner import QUIET, Runner, Show, Update

SHELF = f"{PREFIX} scan"
CONSENT = "Whoever was scanned agreed to this"
HELP = """<p class="nm-caution" role="note"><b>A decoder fits one brain.</b> A scan can only be read by a decoder that
was trained on the same person, so bring that person's training runs as well, in the layout of ds003720, and the tracks
that were played. BOLD only: an anatomical image shows a face and is refused. The files are read in memory and deleted
when the job ends; nothing is logged or kept.</p>"""
PATHS = {
    "bids": ("BIDS folder on this computer", "with sub-001/func inside, read where it is and left there"),
    "stimuli": ("Folder of the tracks", "genres/rock/rock.00032.wav and so on, such as GTZAN"),
    "catalogue": ("Folder to retrieve from (optional)", "the training pieces if left empty"),
    "captions": ("Caption table, CSV (optional)", "the published captions of the tracks"),
}


@dataclass(frozen=True)
class ScanRunner(Runner):
    """A runner that deletes the request's upload when its job is over, also when it never began."""

    def _watch(
        self, session: str, asked: Request, events: Iterator[Event], deliver: Show, preview: Show | None
    ) -> Iterator[Update]:
        try:
            yield from super()._watch(session, asked, events, deliver, preview)
        finally:
            _forget(getattr(asked, "upload", None))


@dataclass(frozen=True)
class ScanPanel:
    """The fields of a scan."""

    consent: gr.Checkbox
    given: gr.Group
    files: gr.File
    said: gr.HTML
    folder: gr.State
    subject: gr.Textbox
    clip: gr.Slider
    paths: tuple[gr.Textbox, ...]
    runner: ScanRunner

    @classmethod
    def build(cls, settings: Settings) -> ScanPanel:
        """Lay it out. Folders can be named only where the page and its visitor are on one machine."""
        html(HELP)
        consent = gr.Checkbox(False, label=CONSENT, elem_id=f"{PREFIX}-consent")
        with gr.Group(visible=False, elem_classes="nm-plain", elem_id=f"{PREFIX}-given") as given:
            files = gr.File(
                label=f"Runs, events and tracks (at most {settings.max_upload_mb} MB each)", file_count="multiple",
                type="filepath", elem_id=f"{PREFIX}-files", elem_classes="nm-drop", height=120,
            )  # fmt: skip
            said = html("", elem_id=f"{PREFIX}-received")
            with gr.Group(visible=is_local(settings.host), elem_classes="nm-plain", elem_id=f"{PREFIX}-folders"):
                paths = tuple(
                    gr.Textbox("", label=label, info=info, elem_id=f"{PREFIX}-{name}", max_lines=1)
                    for name, (label, info) in PATHS.items()
                )
            with gr.Row():
                subject = gr.Textbox("sub-001", label="Subject", elem_id=f"{PREFIX}-subject", max_lines=1)
                clip = gr.Slider(1, N_TEST, 1, step=1, label="Test piece", elem_id=f"{PREFIX}-clip")
        runner = ScanRunner(*Runner.controls(f"{PREFIX}-scan", "Train on this brain and reconstruct"))
        return cls(consent, given, files, said, gr.State(None), subject, clip, paths, runner)

    def wire(self, desk: Desk, instrument_id: str, form: Form, written: list[Any], deliver: Show) -> Any:
        """Connect the panel; returns the event of its job."""
        self.consent.change(
            lambda given: gr.update(visible=bool(given)), self.consent, self.given, queue=False, **QUIET
        )

        def brought(request: gr.Request, files: Any, consent: Any, folder: Any) -> list[Any]:
            return take(desk, str(request.session_hash), files, consent, folder)

        self.files.upload(
            brought, [self.files, self.consent, self.folder], [self.folder, self.said, self.subject, self.files],
            preprocess=False, concurrency_limit=2, **QUIET,
        )  # fmt: skip
        fields = [self.consent, self.folder, self.subject, self.clip, *self.paths, *form.settings]
        started = self.runner.start(
            desk, instrument_id, form.seed, fields, partial(make_request, desk.settings), written, deliver
        )
        started.then(left, self.folder, [self.folder, self.said], **QUIET)
        return started


def is_local(host: str) -> bool:
    """Whether only this machine's own visitors reach the page."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def take(desk: Desk, session: str, files: Any, consent: Any, folder: Any) -> list[Any]:
    """Folder, what is said of it, subject, and an empty file field; nothing stays where it was uploaded to."""
    brought = [(Path(file["path"]), str(file.get("orig_name") or "")) for file in files or ()]
    from backend.instruments.brain.intake import listed, receive  # here, because nibabel would slow the start

    try:
        if not consent:
            raise RequestError("consent", False, "a tick that whoever was scanned agreed to this")
        if not folder or not Path(folder).is_dir():
            folder = str(desk.exports.place(session, SHELF, 1))
        intake, refused = receive(brought, Path(folder)), ""
    except NeuromuseError as error:
        refused = sentence(error)
        if not folder:
            return [None, refused, gr.skip(), None]
        intake = listed(Path(folder))
    finally:
        for path, _ in brought:
            _forget(path)
    subject = intake.subjects[0] if intake.subjects else gr.skip()
    there = intake.training + intake.test + intake.events + intake.tracks
    words = (
        f"Here: {intake.training} training runs, {intake.test} test runs, {intake.events} event tables, "
        f"{intake.tracks} tracks. Drop more, or start."
    )
    return [folder, refused + (note(words) if there else ""), subject, None]


def left(folder: Any) -> list[Any]:
    """After a job: that the upload is gone, if there was one."""
    if not folder or Path(folder).exists():
        return [gr.skip(), gr.skip()]
    return [None, note("The uploaded files were deleted.")]


def make_request(
    settings: Settings, seed: Any, consent: Any, folder: Any, subject: Any, clip: Any, bids: Any, stimuli: Any,
    catalogue: Any, captions: Any, decoder: Any, region: Any, pairing: Any, duration_s: Any, candidates: Any,
    controls: Any,
) -> BrainRequest:  # fmt: skip
    """The request for the raw values of the panel.

    Raises:
        RequestError: for the first value that is wrong.
    """
    from backend.instruments.brain.intake import listed

    named = [str(path).strip() if is_local(settings.host) else "" for path in (bids, stimuli, catalogue, captions)]
    paths = [Path(path).expanduser() if path else None for path in named]
    upload = Path(folder) if folder and any(Path(folder).rglob("*.*")) else None  # every file may have been refused
    for name, path in zip(PATHS, paths, strict=True):
        if path is not None and not path.exists():
            raise RequestError(name, str(path), "a folder or file that is there")
    own = listed(upload) if upload is not None else None
    return BrainRequest(
        source="scan", seed=seed, consent=bool(consent), upload=upload, subject=str(subject).strip(),
        clip=int(clip) - 1, bids=paths[0], stimuli=paths[1] or (upload if own and own.tracks else None),
        catalogue=paths[2], captions=paths[3] or (own.captions if own else None), decoder=decoder, region=region,
        pairing=pairing, duration_s=duration_s, candidates=candidates, controls=controls,
    )  # fmt: skip


def _forget(path: Path | None) -> None:
    if path is not None:
        from backend.instruments.brain.intake import forget

        forget(path)
