"""Neurons as an instrument of the house: a loop, pass after pass, into what the chosen neurons hear best."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from backend.audio.waveform import Waveform
from backend.contract import Instrument, InstrumentSpec, Result
from backend.errors import CheckpointError, RequestError
from backend.instruments.neurons.activity import activity
from backend.instruments.neurons.chart import NeuronMap, map_name
from backend.instruments.neurons.console import Console, Listener, LoopPass, find_console
from backend.instruments.neurons.loops import fit_loop, make_loop
from backend.instruments.neurons.networks import CHECKPOINTS, EARS, OpenNetwork, open_network
from backend.instruments.neurons.optimise import Optimiser, StepFigures, curve
from backend.instruments.neurons.request import SOUND_STARTS, NeuronsRequest
from backend.instruments.neurons.rings import rings
from backend.instruments.neurons.settings import Settings, Target

if TYPE_CHECKING:
    from backend.checkpoints import CheckpointStore
    from backend.job import Job

logger = logging.getLogger(__name__)

SAMPLE_RATE = 24_000
KEPT_NETWORKS = 2
WAIT_S = 0.05  # between two looks at the job while a live pass waits for the player


class Neurons(Instrument):
    """A loop becomes what the targets hear best. Networks are opened when first asked for; two are kept."""

    spec: ClassVar[InstrumentSpec] = InstrumentSpec("neurons", "Neurons", SAMPLE_RATE, CHECKPOINTS, memory_mb=400)
    request_type = NeuronsRequest

    def __init__(self) -> None:
        self._store: CheckpointStore | None = None
        self._device = torch.device("cpu")
        self._networks: OrderedDict[str, OpenNetwork] = OrderedDict()
        self._listeners: dict[str, Listener] = {}

    def load(self, store: CheckpointStore, device: torch.device) -> None:
        """Remember where weights are; an ear is read when a request names it."""
        self._store, self._device = store, device

    def unload(self) -> None:
        """Drop the networks."""
        self._networks.clear()
        self._listeners.clear()
        self._store = None

    def generate(self, request: NeuronsRequest, job: Job) -> Result:
        """Run the optimiser for the request's passes; the preview of each is a `LoopPass`.

        Returns:
            The last loop; ``start`` ``[samples]``; ``activation`` ``[updates, 1 + targets]``, the weighted mean first,
            in deviations, each measured before its update; log power ``scalogram_before`` and ``scalogram_after``
            ``[bins, frames]``; ``skipped``, the updates that were left out.

        Raises:
            RequestError: a target does not exist in the network, or the sound is empty.
            CheckpointError: the ear is not there.
            Cancelled, DeadlineExceeded: from ``job``.
        """
        job.step(0, 1, "Opening the ear")
        network = self._open(request.network)
        start = _start(request, network.sample_rate)
        settings = _settings(request, network)
        optimiser = Optimiser(
            network, start, settings, int(request.seed), normaliser=network.normaliser, device=self._device
        )
        before = _log_power(network, optimiser)
        listener = self._listener(request.network, network) if request.activity_fps else None
        figures = _Session(request, network, optimiser, job, listener).run()
        arrays: dict[str, Any] = {
            "start": start.samples[0],
            "activation": curve(figures),
            "scalogram_before": before,
            "scalogram_after": _log_power(network, optimiser),
            "skipped": np.array(sum(one.skipped for one in figures)),
        }
        return Result((optimiser.audio(),), arrays)

    def _open(self, name: str) -> OpenNetwork:
        if self._store is None:
            raise CheckpointError("The ears of neurons are not loaded.")
        if name not in self._networks:
            self._networks[name] = open_network(name, self._store, self._device)
        self._networks.move_to_end(name)
        while len(self._networks) > KEPT_NETWORKS:
            self._networks.popitem(last=False)
        return self._networks[name]

    def _listener(self, name: str, network: OpenNetwork) -> Listener:
        """Label, map and weights; a network whose map was not bundled gets one of plain rings."""
        assert self._store is not None
        if name not in self._listeners:
            try:
                chart = NeuronMap.from_store(self._store, name)
                if [(s.name, s.neurons) for s in chart.layers] != [(s.name, s.neurons) for s in network.shapes]:
                    raise CheckpointError(f"{map_name(name)} is the map of another network.")
            except CheckpointError as error:
                logger.info("rings in place of a map: %s", error)
                chart = rings(name, network.shapes)
            own = EARS[name][0] if name in EARS else ""
            used = {key: digest for key, digest in self._store.opened.items() if key == own}
            self._listeners[name] = Listener(network.label, chart, used)
        return self._listeners[name]


class _Session:
    """One job: passes, live changes, and what is shown of them."""

    def __init__(
        self, request: NeuronsRequest, network: OpenNetwork, optimiser: Optimiser, job: Job, listener: Listener | None
    ) -> None:
        self._request, self._network, self._optimiser, self._job = request, network, optimiser, job
        self._listener = listener
        self._console: Console | None = find_console(request.console)
        self._figures: list[StepFigures] = []
        self._refused = ""
        self._total = int(request.passes) * int(request.updates_per_pass)

    def run(self) -> list[StepFigures]:
        """All passes; the figures of every update."""
        self._show(0, [])
        for number in range(1, int(self._request.passes) + 1):
            began, made = time.monotonic(), list[StepFigures]()
            while len(made) < int(self._request.updates_per_pass):
                made.append(self._update(number, len(made)))
                if self._request.live and time.monotonic() - began >= self._request.meter.seconds:
                    break
            self._figures += made
            while self._request.live and time.monotonic() - began < self._request.meter.seconds:
                self._job.check()
                time.sleep(WAIT_S)
            self._show(number, made)
        return self._figures

    def _update(self, number: int, done: int) -> StepFigures:
        """One update, after ``done`` others of this pass, with what was sent since the last."""
        sent = None if self._console is None else self._console.take()
        if sent is not None:
            try:
                self._optimiser.change(sent)
                self._refused = ""
            except RequestError as error:  # the loop plays on; the page says why
                self._refused = str(error)
        figures = self._optimiser.step()
        self._job.step(self._done(number - 1, done + 1), self._total, _message(number, figures.activation))
        return figures

    def _done(self, passes: int, updates: int = 0) -> int:
        """Progress in updates; a live pass that ran out of time counts as whole."""
        return passes * int(self._request.updates_per_pass) + updates

    def _show(self, number: int, made: list[StepFigures]) -> None:
        """The pass as a preview."""
        activation, targets = self._optimiser.measure()
        fps = int(self._request.activity_fps)
        frames = round(fps * self._request.meter.seconds)
        lit = activity(self._network, self._network.normaliser, self._optimiser.loop, frames) if fps else None
        shown = LoopPass(
            number=number,
            loop=self._optimiser.audio(),
            updates=len(self._figures),
            activation=activation,
            targets=targets,
            change_rms=self._optimiser.change_rms(),
            skipped=sum(one.skipped for one in made),
            settings=self._optimiser.settings,
            activity=lit,
            refused=self._refused,
            listener=self._listener,
        )
        self._job.step(self._done(number), self._total, _message(number, activation), shown)


def _settings(request: NeuronsRequest, network: OpenNetwork) -> Settings:
    """The request's; who only listens has no target yet, so any serves."""
    if request.passes:
        return request.settings
    return replace(request.settings, targets=(Target(layer=network.layers[0]),))


def _start(request: NeuronsRequest, sample_rate: int) -> Waveform:
    """The loop to begin with, at the network's rate."""
    if request.start in SOUND_STARTS:
        assert request.sound is not None
        return fit_loop(request.sound, request.meter, sample_rate)
    return make_loop(request.start, request.meter, sample_rate, int(request.seed))


def _message(number: int, activation: float) -> str:
    return f"Pass {number}: {activation:+.1f} deviations"


@torch.no_grad()
def _log_power(network: OpenNetwork, optimiser: Optimiser) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Log power of the loop as it is now, ``[bins, frames]``."""
    shown: np.ndarray[Any, np.dtype[np.float32]] = network.scalogram(optimiser.loop[None])[0, 0].cpu().numpy()
    return shown
