"""One visitor's loop: what plays, what is being made of it, and what was kept. The engine owns the jobs."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from backend.audio.waveform import Waveform
from backend.contract import Done, Event, Failed, Progress, Provenance, Queued, Result
from backend.errors import DeadlineExceeded, NeuromuseError, RequestError
from backend.instruments.neurons.console import Console, LoopPass
from backend.instruments.neurons.loops import fit_loop, make_loop
from backend.instruments.neurons.request import SOUND_STARTS, NeuronsRequest
from backend.instruments.neurons.settings import Settings
from backend.settings import __version__
from pages import neurons_show as show
from pages.neurons_form import LIVE_PASSES
from pages.neurons_show import Kept
from pages.parts import Desk, Story, note, sentence

SAMPLE_RATE = 24_000  # of the loop before an ear has said its own
SHELF, KEPT_SHELF = "loops", "kept"
KEPT_LOOPS = 12
RECENT = 6  # passes whose files the player may still fetch
LONGEST_CURVE = 2_000
REFRESH_S = 0.5

Show = dict[str, Any]
"""What changes on the page: ``heard``, ``chart``, ``status`` as HTML."""


@dataclass(eq=False)
class Live:
    """The state of one browser session; handlers of the same session share it.

    Attributes:
        console: letter box of the running job.
        chosen: ear, start, tempo and bars as the fields said them last.
        asked: the request of the loop to begin with.
        start, loop: as they were at the beginning, and as the player has it now.
        settings: of all knobs and targets now.
        targets: raw, as the page sent them.
        shown: the last pass.
        chart: name of the network whose map the page has.
        curve: activation of every pass since the start.
        turn: number of the generator that may write; an older one falls silent.
        running: a job moves the loop.
    """

    console: Console = field(default_factory=Console)
    chosen: tuple[Any, ...] = ()
    asked: NeuronsRequest | None = None
    start: Waveform | None = None
    loop: Waveform | None = None
    upload: Waveform | None = None
    settings: Settings | None = None
    targets: tuple[Any, ...] = ()
    shown: LoopPass | None = None
    chart: str = ""
    curve: list[float] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    turn: int = 0
    running: bool = False
    began: float = 0.0

    def __deepcopy__(self, memo: dict[int, Any]) -> Live:
        return self  # the page's framework copies states; this one is shared by the handlers of its session

    def morphs(self) -> NeuronsRequest:
        """The live request that goes on from the loop as it is.

        Raises:
            RequestError: there are no targets yet, or no loop.
        """
        if self.asked is None or self.loop is None or self.settings is None:
            raise RequestError("loop", "none", "a loop that plays")
        if not self.targets:
            raise RequestError("targets", "none", "a click on the map")
        return replace(
            self.asked, start="last", sound=self.loop, settings=self.settings, passes=LIVE_PASSES, live=True,
            console=self.console.token,
        )  # fmt: skip


def begin(desk: Desk, session: str, live: Live, asked: NeuronsRequest) -> Iterator[Show]:
    """Play another start at once, then listen to it; with targets of this network, go on to morph."""
    live.turn += 1
    mine, morph = live.turn, live.running and live.chart == asked.network
    desk.jobs.stop(session, asked.instrument_id)
    try:
        loop = first_loop(asked)
    except NeuromuseError as error:
        yield {"status": sentence(error)}
        return
    live.asked, live.start, live.loop, live.shown, live.running = asked, loop, loop, None, False
    live.curve, live.began, live.settings = [], time.monotonic(), live.settings or asked.settings
    saved = desk.exports.save(session, Result((loop,)), shelf=SHELF, kept=RECENT)
    yield {"heard": show.heard(saved, loop, fresh=True, beats=4 * int(asked.bars))}
    yield from _turn(desk, session, live, mine, asked)
    if morph and live.turn == mine and live.targets:
        yield from run(desk, session, live)


def first_loop(asked: NeuronsRequest) -> Waveform:
    """The loop to begin with, before any ear hears it.

    Raises:
        RequestError: there is no sound.
    """
    if asked.start in SOUND_STARTS:
        assert asked.sound is not None
        return fit_loop(asked.sound, asked.meter, SAMPLE_RATE)
    return make_loop(asked.start, asked.meter, SAMPLE_RATE, int(asked.seed))


def run(desk: Desk, session: str, live: Live) -> Iterator[Show]:
    """Morph until stopped: turn after turn, each from the last loop, so that others are served in between."""
    live.turn += 1
    mine = live.turn
    live.running, live.console = True, Console()
    try:
        while live.turn == mine:
            passes = len(live.curve)
            ended = yield from _turn(desk, session, live, mine, live.morphs())
            over = isinstance(ended, Failed) and isinstance(ended.error, DeadlineExceeded)
            if live.turn != mine or not (isinstance(ended, Done) or over) or len(live.curve) <= passes:
                return  # stopped, failed for good, or too slow to get anywhere
    except RequestError as error:
        yield {"status": sentence(error)}
    finally:
        if live.turn == mine:
            live.running = False


def _turn(
    desk: Desk, session: str, live: Live, mine: int, asked: NeuronsRequest
) -> Generator[Show, None, Done | Failed | None]:
    """Updates for one job; returns its last event, None when it was stopped."""
    if live.turn != mine:
        return None  # something newer began meanwhile, and its job must not be stopped
    story, told_at = Story(), 0.0
    last: Event | None = None
    listens = asked.passes == 0
    with closing(desk.jobs.run(session, asked)) as events:
        for event in events:
            last = event
            if live.turn != mine:
                return None
            if isinstance(event, Progress) and isinstance(event.preview, LoopPass):
                yield _passed(desk, session, live, event.preview, listens)
            elif isinstance(event, Failed) and not isinstance(event.error, DeadlineExceeded):
                yield {"status": sentence(event.error)}
            elif not isinstance(event, (Progress, Done, Failed)) and time.monotonic() - told_at > REFRESH_S:
                told_at = time.monotonic()
                yield {"status": _waiting(event, story)}
    return last if isinstance(last, (Done, Failed)) else None


def _waiting(event: Event, story: Story) -> str:
    if isinstance(event, Queued):
        ahead = "next in line" if event.position == 0 else f"{event.position} ahead of you"
        return note(f"Waiting for the ear, {ahead}; your loop plays on.")
    return story.tell(event)


def _passed(desk: Desk, session: str, live: Live, shown: LoopPass, listens: bool) -> Show:
    """A pass becomes what the player plays next; the first of a turn is the loop that plays already."""
    lit = b"" if shown.activity is None else shown.activity.tobytes()
    loop = shown.loop
    saved = desk.exports.save(session, Result((loop,)), shelf=SHELF, kept=RECENT, frames=lit)
    live.loop, live.shown = loop, shown
    if not listens:
        live.curve = [*live.curve, shown.activation][-LONGEST_CURVE:]
    told: Show = {"heard": show.heard(saved, loop, shown, morph=not listens, number=len(live.curve))}
    who = shown.listener
    if who is not None and live.chart != who.chart.network:
        live.chart = who.chart.network
        told["chart"] = show.chart(who.chart, who.label)
    label = who.label if who is not None else "The ear"
    if shown.refused:
        told["status"] = note(f"{shown.refused} The loop goes on as before.")
    elif listens:
        told["status"] = note(f"{label} listens. Click the map, and the loop turns into what those neurons hear best.")
    else:
        told["status"] = note(f"{label}, pass {len(live.curve)}: {shown.activation:+.1f} deviations above silence.")
    return told


def hold(desk: Desk, session: str, live: Live) -> Show:
    """Stop morphing; the loop plays on as it is."""
    live.turn += 1
    live.running = False
    if live.asked is not None:
        desk.jobs.stop(session, live.asked.instrument_id)
    return {"status": note("Held: the loop plays on as it is.")}


def keep(desk: Desk, session: str, live: Live) -> Show:
    """Save the loop that was heard last, with everything that says how it was made.

    Raises:
        RequestError: there is none.
        AudioError: it cannot be written.
    """
    if live.asked is None or live.loop is None:
        raise RequestError("loop", "none", "a loop that plays")
    shown, settings = live.shown, live.settings or live.asked.settings
    made = replace(live.asked, settings=settings if live.targets else live.asked.settings, passes=len(live.curve))
    weights = dict(shown.listener.checkpoints) if shown is not None and shown.listener is not None else {}
    device = str(desk.jobs.engine.health().get("device", ""))
    seconds = round(time.monotonic() - live.began, 1)
    origin = Provenance(made.instrument_id, made.to_dict(), made.seed, weights, device, seconds, __version__)
    lit = b"" if shown is None or shown.activity is None else shown.activity.tobytes()
    result = Result((live.loop,), provenance=origin)
    saved = desk.exports.save(session, result, shelf=KEPT_SHELF, kept=KEPT_LOOPS, frames=lit)
    number = 1 + max((int(one.title.split()[1].rstrip(",")) for one in live.kept), default=0)
    heard = f"pass {len(live.curve)}, {shown.activation:+.1f}" if shown is not None and live.curve else "the start"
    one = Kept(saved, f"Loop {number}, {heard}", live.loop, shown, settings, live.targets)
    live.kept = [*live.kept, one][-KEPT_LOOPS:]
    return {"kept": show.keepsakes(live.kept), "status": note(f"Kept as {one.title}.")}


def come_back(desk: Desk, session: str, live: Live, token: str) -> tuple[Show, Settings]:
    """Play a kept loop again and go on from it; its settings.

    Raises:
        RequestError: it is no longer kept.
    """
    one = next((one for one in live.kept if one.saved.token == token), None)
    if one is None:
        raise RequestError("loop", token[:8], "a loop that is still kept")
    hold(desk, session, live)
    live.loop, live.shown, live.targets = one.loop, one.shown, one.targets
    live.settings = one.settings
    heard = show.heard(one.saved, one.loop, one.shown, chosen=list(one.targets))
    return {"heard": heard, "status": note(f"Back at {one.title}. Morph goes on from here.")}, one.settings
