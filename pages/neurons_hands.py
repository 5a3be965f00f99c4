"""What a visitor's hands do on the Neurons tab, and what follows: every event of the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from backend.audio import io
from backend.audio.waveform import Waveform
from backend.errors import NeuromuseError
from backend.instruments.neurons.request import SOUND_STARTS, NeuronsRequest
from pages.neurons_form import Form, knob_values, make_request, make_settings, read_said
from pages.neurons_live import Live, Show, begin, come_back, hold, keep, run
from pages.parts import Desk, new_seed, note, sentence
from pages.runner import QUIET, Update

LONGEST_S = 12.0  # of an upload that is kept: a loop lasts at most 8 s and needs a little more to close
NO_TARGET = ({"layer": "none"},)  # for settings that nothing is made with yet
PRESSED: dict[str, Any] = {"preprocess": False, "concurrency_limit": None, **QUIET}


@dataclass(frozen=True)
class Hands:
    """The page's events; each visitor's `Live` is in ``live``."""

    desk: Desk
    form: Form
    said: gr.Textbox
    heard: gr.HTML
    chart: gr.HTML
    status: gr.HTML
    kept: gr.HTML
    live: gr.State

    def wire(self, tab: Any) -> None:
        """Connect everything; the first loop is there when the tab is first opened."""
        form, places = self.form, [self.heard, self.chart, self.status, self.kept, self.live]
        fields = [self.live, *form.loop, *form.turned]
        tab.select(self._opened, fields, places, **PRESSED)
        for field in form.loop:
            event = field.release if isinstance(field, gr.Slider) else field.input
            event(self._chosen, fields, places, trigger_mode="multiple", **PRESSED)
        every = [*places, *form.loop, *form.turned, form.upload]
        form.upload.upload(self._uploaded, [form.upload, *fields], every, trigger_mode="multiple", **PRESSED)
        turns = [field.input for field in form.turned]
        gr.on(turns, self._turned, [self.live, *form.turned], [self.status], trigger_mode="always_last", **PRESSED)
        self.said.change(  # its `input` waits for a key
            self._said, [self.live, self.said, *form.turned], [*places, *form.turned], trigger_mode="multiple",
            **PRESSED,
        )  # fmt: skip

    def _opened(self, request: gr.Request, live: Live | None, *fields: Any) -> Iterator[Update]:
        if live is None:
            yield from self._chosen(request, live, *fields)

    def _chosen(
        self, request: gr.Request, live: Live | None, network: Any, start: Any, tempo: Any, bars: Any, *turned: Any
    ) -> Iterator[Update]:
        """Another loop, ear or tempo."""
        if live is None:
            live = Live()
            yield {self.live: live}
        if (network, start, tempo, bars) == live.chosen and start not in SOUND_STARTS:
            return  # a dropdown says a choice twice, when it is made and when it is left
        live.chosen = (network, start, tempo, bars)
        try:
            sound = live.loop if start == "last" else live.upload
            settings = make_settings(NO_TARGET, *turned)
            asked = make_request(network, start, tempo, bars, settings, sound, new_seed())
            if live.asked is not None and live.asked.network != network:
                live.targets = ()  # they mean nothing to another ear
            live.settings = make_settings(live.targets or NO_TARGET, *turned)
        except NeuromuseError as error:
            yield {self.status: sentence(error)}
            return
        yield from self._updates(begin(self.desk, str(request.session_hash), live, asked))

    def _uploaded(
        self, request: gr.Request, file: Any, live: Live | None, network: Any, start: Any, tempo: Any, bars: Any,
        *turned: Any,
    ) -> Iterator[Update]:  # fmt: skip
        """A sound becomes the loop; one that was exported here brings its knobs, its ear and its targets along."""
        live = live or Live()
        form = self.form
        try:
            live.upload, made = take(file)
        except NeuromuseError as error:
            yield {self.status: sentence(error), form.upload: None}
            return
        if made is not None:
            network, tempo, bars = made.network, made.tempo_bpm, made.bars
            turned = tuple(knob_values(made.settings))
        fields = dict(zip([*form.loop, *form.turned], [network, "upload", tempo, bars, *turned], strict=True))
        yield {self.live: live, form.upload: None} | (fields if made is not None else {form.start: "upload"})
        yield from self._chosen(request, live, network, "upload", tempo, bars, *turned)
        if made is not None:
            yield {self.status: note("The loop and its settings are back; click the map to go on.")}

    def _turned(self, live: Live | None, *turned: Any) -> Update:
        """A knob: what morphs hears of it at its next step."""
        if live is None:
            return {self.status: gr.skip()}
        try:
            live.settings = make_settings(live.targets or NO_TARGET, *turned)
            if live.running:
                live.console.send(live.settings)
        except NeuromuseError as error:
            return {self.status: sentence(error)}
        return {self.status: gr.skip()}

    def _said(self, request: gr.Request, live: Live | None, said: Any, *turned: Any) -> Iterator[Update]:
        """A message of the stage: aim, morph, hold, start, keep or return."""
        session = str(request.session_hash)
        try:
            values = read_said(said)
            if live is None:
                return
            act = values["act"]
            if act == "aim":
                yield from self._updates(self._aim(session, live, values.get("targets") or (), turned))
            elif act == "morph":
                live.settings = make_settings(live.targets or NO_TARGET, *turned)
                yield from self._updates(run(self.desk, session, live))
            elif act == "hold":
                yield from self._updates([hold(self.desk, session, live)])
            elif act == "start" and live.asked is not None:
                yield from self._updates(begin(self.desk, session, live, live.asked))
            elif act == "keep":
                yield from self._updates([keep(self.desk, session, live)])
            elif act == "return":
                morph = live.running
                shown, settings = come_back(self.desk, session, live, str(values.get("token", "")))
                fields = dict(zip(self.form.turned, knob_values(settings), strict=True))
                yield from ({**update, **fields} for update in self._updates([shown]))
                if morph and live.targets:
                    yield from self._updates(run(self.desk, session, live))
        except NeuromuseError as error:
            yield {self.status: sentence(error)}

    def _aim(self, session: str, live: Live, targets: Sequence[Any], turned: Sequence[Any]) -> Iterator[Show]:
        """Other targets: heard at the next step of what runs, or the beginning of it."""
        if not targets:
            live.targets = ()
            yield hold(self.desk, session, live) | {"status": note("No target: the loop plays on as it is.")}
            return
        live.settings = make_settings(targets, *turned)
        live.targets = tuple(targets)
        if live.running:
            live.console.send(live.settings)
        else:
            yield from run(self.desk, session, live)

    def _updates(self, shown: Any) -> Iterator[Update]:
        """Of the names that `neurons_live` uses."""
        for told in shown:
            yield {getattr(self, name): value for name, value in told.items()}


def take(file: Any) -> tuple[Waveform, NeuronsRequest | None]:
    """The uploaded sound, and the request it was made by if it was exported here; the file itself is deleted.

    Args:
        file: what the browser sent of it: ``path`` and ``orig_name``.

    Raises:
        AudioError: it is no sound that can be read.
    """
    path = Path(file["path"])
    try:
        sound = io.read(path, mono=True).slice(0, LONGEST_S)
        provenance = io.read_provenance(path)
    finally:
        path.unlink(missing_ok=True)
    if not provenance or provenance.get("instrument_id") != NeuronsRequest.instrument_id:
        return sound, None
    try:
        return sound, NeuronsRequest.from_dict(provenance["request"], sound=sound)
    except (NeuromuseError, KeyError, TypeError, ValueError):
        return sound, None  # settings of another version; the sound serves all the same
